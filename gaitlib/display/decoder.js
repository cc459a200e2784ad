// The decoders of gaitlib/model in JavaScript, with weights from the page.

const MISSING = -32768;

/** base64 of little-endian int16 -> Int16Array */
const integers = (text) => new Int16Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

function unpack(values, scale) {
  const numbers = new Float32Array(values.length);
  for (let i = 0; i < numbers.length; i++) numbers[i] = values[i] === MISSING ? NaN : values[i] * scale;
  return numbers;
}

/** A Float32Array from {data, scale}, base64 int16, or from plain numbers. */
const unpacked = (packed) => (packed.data ? unpack(integers(packed.data), packed.scale) : Float32Array.from(packed));

/** Layers by name, as packed_layers gives them. */
function readLayers(layers) {
  const read = ({ weight, bias }) => {
    const rows = weight.map(unpacked), all = new Float32Array(rows.length * rows[0].length);
    rows.forEach((row, i) => all.set(row, i * row.length));
    return { weight: all, bias: Float32Array.from(bias) };
  };
  return Object.fromEntries(Object.entries(layers).map(([name, layer]) => [name, read(layer)]));
}

/** What upsampled_conv does: x [inputs, frames] and weight [outputs, inputs, 7] -> [outputs, frames]; bias may be null. */
function upsampledConv(x, weight, bias, inputs, outputs, frames) {
  const y = new Float32Array(outputs * frames);
  for (let o = 0; o < outputs; o++) {
    const row = y.subarray(o * frames, (o + 1) * frames);
    if (bias) row.fill(bias[o]);
    for (let c = 0; c < inputs; c++) {
      const k = 7 * (o * inputs + c);
      const w0 = weight[k], w12 = weight[k + 1] + weight[k + 2], w34 = weight[k + 3] + weight[k + 4], w56 = weight[k + 5] + weight[k + 6];
      const at = c * frames, last = at + frames - 1;
      let p0 = x[at], p1 = x[at], p2 = x[at + 1]; // the first frame counts twice
      row[0] += (w0 + weight[k + 1] + w56) * p2 + (weight[k + 2] + w34) * p1;
      for (let t = 1; t < frames - 1; t++) {
        const p3 = x[at + t + 1];
        row[t] += w0 * p0 + w12 * p1 + w34 * p2 + w56 * p3;
        p0 = p1;
        p1 = p2;
        p2 = p3;
      }
      row[frames - 1] += w0 * x[last - 2] + (w12 + weight[k + 6]) * x[last - 1] + (w34 + weight[k + 5]) * x[last];
    }
  }
  return y;
}

/** A linear layer: x [inputs] -> [outputs]. */
function linear({ weight, bias }, x) {
  return Float32Array.from(bias, (sum, o) => {
    for (let i = 0; i < x.length; i++) sum += weight[o * x.length + i] * x[i];
    return sum;
  });
}

/** A convolution padded with zeros, of an odd kernel: x [inputs, frames] -> [outputs, frames / stride, rounded up]. */
function conv({ weight, bias }, x, frames, stride = 1) {
  const inputs = x.length / frames, outputs = bias.length, kernel = weight.length / outputs / inputs, half = kernel >> 1;
  const steps = Math.ceil(frames / stride), y = new Float32Array(outputs * steps);
  for (let o = 0; o < outputs; o++) {
    const row = y.subarray(o * steps, (o + 1) * steps);
    row.fill(bias[o]);
    for (let c = 0; c < inputs; c++) {
      for (let k = 0; k < kernel; k++) {
        const w = weight[(o * inputs + c) * kernel + k], from = c * frames + k - half;
        const last = Math.min(steps, Math.ceil((frames + half - k) / stride));
        for (let t = Math.max(0, Math.ceil((half - k) / stride)); t < last; t++) row[t] += w * x[from + stride * t];
      }
    }
  }
  return y;
}

function leakyReLU(x, slope = 0.2) {
  for (let i = 0; i < x.length; i++) if (x[i] < 0) x[i] *= slope;
  return x;
}

const relu = (x) => leakyReLU(x, 0);

const mix = (a, b, share) => (share ? Float32Array.from(a, (value, i) => (1 - share) * value + share * b[i]) : a);

/** A function of the number of a walk that computes each value once. */
function once(make) {
  const known = new Map();
  return (walk) => {
    if (!known.has(walk)) known.set(walk, make(walk));
    return known.get(walk);
  };
}

/**
 * decode({ motion, body, view, turn }): a walk from codes, each [walk, other walk, share of the other, 0 to 1], with the camera
 * then moved around the walker by `turn` degrees. Returns coordinates [frames, joints, 2].
 *
 * decoder: what decoder_weights gives; code(name, walk): a code. What the first layer makes of a motion code is kept, as are the
 * last walkers, since neither depends on the camera.
 */
function readDecoder({ kind, layers, ...settings }, code, frames) {
  const { moving, walker, see } = { paper: paperDecoder, geometric: geometricDecoder }[kind](readLayers(layers), frames, settings);
  const first = once((walk) => moving(code("motion", walk))), walkers = new Map();
  const blended = (values, [a, b, share]) => mix(values(a), share ? values(b) : null, share);
  return ({ motion, body, view, turn = 0 }) => {
    const key = `${motion} ${body}`;
    if (!walkers.has(key)) {
      if (walkers.size > 20) walkers.clear();
      walkers.set(key, walker(blended(first, motion), blended((walk) => code("body", walk), body)));
    }
    return see(walkers.get(key), rotated(blended((walk) => code("view", walk), view), turn));
  };
}

/** A view code whose camera moved around the walker by some degrees. */
function rotated(view, degrees) {
  if (!degrees) return view;
  const cosine = Math.cos((degrees * Math.PI) / 180), sine = Math.sin((degrees * Math.PI) / 180);
  return view.map((value, i) => (i % 2 ? view[i - 1] * sine + value * cosine : value * cosine - view[i + 1] * sine));
}

function paperDecoder({ first, still, second, third }, frames, { scrambled }) {
  const size = 128;
  return {
    moving: (motion) => upsampledConv(motion, first.weight, null, size, 2 * size, frames),
    walker: (moved, body) => ({ moved, body }),
    see({ moved, body }, view) {
      const added = linear(still, [...body, ...view]); // what does not change, summed over the taps
      const hidden = leakyReLU(moved.map((value, i) => value + added[Math.floor(i / frames)]));
      const again = leakyReLU(upsampledConv(hidden, second.weight, second.bias, 2 * size, size, frames));
      const pose = upsampledConv(again, third.weight, third.bias, size, third.bias.length, frames);
      return scrambled ? pose : turned(pose, frames);
    },
  };
}

/** [rows, frames] -> [frames, rows] */
function turned(pose, frames) {
  const rows = pose.length / frames;
  return pose.map((_, i) => pose[(i % rows) * frames + Math.floor(i / rows)]);
}

function geometricDecoder({ first, manner, second, third, stance, standing, optics, lens }, frames, { pace, steepest, nearest }) {
  const steps = Math.ceil(frames / pace);
  return {
    moving(motion) { // each of our steps is two frames of the walk
      const channels = motion.length / frames;
      const paced = new Float32Array(channels * pace * steps);
      paced.forEach((_, i) => {
        const row = Math.floor(i / steps), frame = pace * (i % steps) + (row % pace);
        paced[i] = motion[Math.floor(row / pace) * frames + Math.min(frame, frames - 1)];
      });
      return conv(first, paced, steps);
    },
    walker(moved, body) {
      const width = moved.length / steps, how = linear(manner, body);
      const shown = relu(moved.map((value, i) => value * (1 + how[Math.floor(i / steps)]) + how[width + Math.floor(i / steps)]));
      const moves = conv(third, relu(conv(second, shown, steps)), steps), stands = linear(standing, relu(linear(stance, body)));
      const at = (row, t) => stands[row] + moves[(row * pace + (t % pace)) * steps + Math.floor(t / pace)];
      return Float32Array.from({ length: stands.length * frames }, (_, i) => {
        const row = i % stands.length, t = Math.floor(i / stands.length);
        return at(row, t) - at(3 + (row % 3), t); // the neck is the second joint
      });
    },
    see(walker, view) {
      const [pitch, nearness] = linear(lens, relu(linear(optics, view)));
      return seen(walker, frames, view, steepest * Math.tanh(pitch), nearest / (1 + Math.exp(-nearness)));
    },
  };
}

/** What `project` does: a walker [frames, 15, 3] in a camera whose direction goes from view[0..1] to view[2..3]. */
function seen(walker, frames, view, pitch, nearness) {
  const joints = walker.length / frames / 3, image = new Float32Array(2 * joints * frames);
  let torso = 0;
  for (let t = 0; t < frames; t++) {
    const share = t / (frames - 1), way = [0, 1].map((i) => (1 - share) * view[i] + share * view[2 + i]);
    const [cosine, sine] = way.map((value) => value / Math.hypot(...way));
    for (let j = 0; j < joints; j++) {
      const i = t * joints + j, [x, y, z] = walker.subarray(3 * i, 3 * i + 3), ahead = x * cosine + y * sine;
      const toward = ahead * Math.cos(pitch) + z * Math.sin(pitch), depth = Math.max(1 - nearness * toward, 0.5);
      image[2 * i] = (y * cosine - x * sine) / depth;
      image[2 * i + 1] = (ahead * Math.sin(pitch) - z * Math.cos(pitch)) / depth;
    }
    const neck = 2 * (t * joints + 1), hip = 2 * (t * joints + 8);
    torso += Math.hypot(image[hip] - image[neck], image[hip + 1] - image[neck + 1]) / frames;
  }
  return image.map((value) => value / torso);
}
