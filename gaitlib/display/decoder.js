// The decoder of gaitlib/model/autoencoder.py for pages without a kernel: the same sums from weights that the page carries.

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

function leakyReLU(x) {
  for (let i = 0; i < x.length; i++) if (x[i] < 0) x[i] *= 0.2;
  return x;
}

/**
 * decode(amounts, a, b): walk a with shares (0 to 1) of its view, body and motion codes replaced by those of walk b.
 *
 * Returns coordinates [frames, joints, 2]. What the first layer makes of a motion code is kept, as it does not depend on shares.
 */
function readDecoder({ layers, still, gated, scrambled }, codes, frames) {
  const size = 128;
  const read = ({ weight, bias }) => ({ weight: unpacked(weight), bias: Float32Array.from(bias) });
  const [first, second, third] = layers.map(read);
  const steady = { weight: unpacked(still), bias: first.bias }; // [256, body 128 + view 128], summed over the taps
  const [gate, ...stance] = gated.map(read); // of a decoder as published, none
  const known = new Map();
  const moving = (walk) => {
    if (!known.has(walk)) {
      const motion = codes.motion.subarray(walk * size * frames, (walk + 1) * size * frames);
      known.set(walk, upsampledConv(motion, first.weight, null, size, 2 * size, frames));
    }
    return known.get(walk);
  };
  const mixed = (name, a, b, share) =>
    Float32Array.from({ length: size }, (_, i) => (1 - share) * codes[name][a * size + i] + share * codes[name][b * size + i]);
  return ({ view, body, motion }, a, b) => {
    const seen = mixed("view", a, b, view), fixed = [...mixed("body", a, b, body), ...seen];
    const added = linear(steady, fixed), gain = gate ? linear(gate, seen).map((x) => 2 / (1 + Math.exp(-x))) : added.map(() => 1);
    const from = moving(a), to = motion ? moving(b) : from;
    const y = new Float32Array(2 * size * frames);
    for (let o = 0; o < 2 * size; o++) {
      for (let i = o * frames; i < (o + 1) * frames; i++) y[i] = added[o] + gain[o] * ((1 - motion) * from[i] + motion * to[i]);
    }
    const hidden = leakyReLU(upsampledConv(leakyReLU(y), second.weight, second.bias, 2 * size, size, frames));
    const rows = third.bias.length;
    const pose = upsampledConv(hidden, third.weight, third.bias, size, rows, frames);
    if (scrambled) return pose;
    const standing = gate ? linear(stance[1], leakyReLU(linear(stance[0], fixed))) : new Float32Array(rows);
    const xy = new Float32Array(pose.length);
    for (let r = 0; r < rows; r++) for (let t = 0; t < frames; t++) xy[t * rows + r] = standing[r] + pose[r * frames + t];
    return xy;
  };
}
