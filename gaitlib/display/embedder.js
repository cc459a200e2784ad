// Who a walk is of, worked out in the page: what gaitlib/data/preprocess.py, gaitlib/model and Identifier do with one walk.

/**
 * vectorOf(walk): the vector of a walk as readWalk gives it, as Identifier.vectors has it for a view from which nobody is enrolled.
 *
 * weights: what embedder_weights() of embedder.py gives.
 */
export function readEmbedder({ layers, scales, levels, skeleton, window, stride, variance, gain, ...settings }) {
  const numbers = (parts) => Object.fromEntries(Object.entries(parts).map(([name, values]) => [name, Float64Array.from(values)]));
  const read = (named, each) => Object.fromEntries(Object.entries(named).map(([name, part]) => [name, each(part)]));
  const model = { layers: readLayers(layers), scales: read(scales, numbers), levels: read(levels, readLayers), skeleton, ...settings };
  return (walk) => {
    const poses = normalized(walk, skeleton), starts = windowStarts(walk.frames, window, stride), place = new Float64Array(gain.length);
    for (const start of starts) {
      const x = cutWindow(poses, walk.frames, start, window), statistics = windowStatistics(x, window, skeleton);
      const [seen, mirrored] = [x, inMirror(x, window, skeleton)].map((pose) => codeStatistics(model, pose, statistics, window));
      const said = seen.map((value, i) => (value + mirrored[i]) / 2);
      discriminantsOf(said, model.scales.codes, model.layers.places, model.largest).forEach((value, i) => { place[i] += value / starts.length; });
    }
    const length = Math.sqrt(place.reduce((sum, value, i) => sum + value ** 2 / variance[i], 0) / place.length);
    return place.map((value, i) => (value / Math.max(length, TINY)) * gain[i]);
  };
}

/** The scores of the enrolled people for the vector of a walk, [{ name, score }], the best first; people: of enrolled_people(). */
export function scoresOf(vector, { names, person, vectors, share, offset }) {
  const all = unpacked(vectors), best = new Float64Array(names.length).fill(-Infinity);
  const weigh = (at) => vector.reduce((sum, _, i) => sum + (share[i] * at(i) ** 2) / 2, 0), own = weigh((i) => vector[i]);
  person.forEach((who, walk) => {
    const at = (i) => all[walk * vector.length + i];
    best[who] = Math.max(best[who], vector.reduce((sum, value, i) => sum + value * at(i), 0) - own - weigh(at) + offset);
  });
  return names.map((name, i) => ({ name, score: best[i] })).sort((a, b) => b.score - a.score);
}

const TINY = 1e-12; // as in model/discriminants.py

/** What `normalize` does with one walk: gaps filled, neck at the origin, torso of length one; [frames, 15, 2] without NaN. */
function normalized({ frames, xy }, { middles, neck, mid_hip }) {
  const pose = Float64Array.from(xy), size = xy.length / frames;
  for (let t = 0; t < frames; t++) {
    for (const [middle, a, b] of middles) {
      const [at, left, right] = [middle, a, b].map((joint) => t * size + 2 * joint);
      if (Number.isNaN(pose[at])) for (const axis of [0, 1]) pose[at + axis] = (pose[left + axis] + pose[right + axis]) / 2;
    }
  }
  for (let row = 0; row < size; row++) fillGaps(pose, row, size, frames);
  for (let t = 0; t < frames; t++) {
    const [x, y] = pose.subarray(t * size + 2 * neck);
    for (let i = t * size; i < (t + 1) * size; i += 2) {
      pose[i] -= x;
      pose[i + 1] -= y;
    }
  }
  const torso = torsoLength(Array.from({ length: frames }, (_, t) => Math.hypot(...pose.subarray(t * size + 2 * mid_hip).slice(0, 2))));
  return pose.map((value, i) => (Number.isNaN(value) ? 0 : value / torso[Math.floor(i / size)]));
}

/** Interpolate a coordinate linearly over the frames in which it is missing; the ends repeat the nearest one, if there is any. */
function fillGaps(pose, row, size, frames) {
  const known = Array.from({ length: frames }, (_, t) => t).filter((t) => !Number.isNaN(pose[t * size + row]));
  for (let t = 0, after = 0; known.length && t < frames; t++) {
    while (after < known.length && known[after] < t) after++;
    const b = known[Math.min(after, known.length - 1)], a = b === t ? b : known[Math.max(Math.min(after, known.length) - 1, 0)];
    const share = (t - a) / Math.max(b - a, 1);
    pose[t * size + row] = (1 - share) * pose[a * size + row] + share * pose[b * size + row];
  }
}

/** What `torso_length` makes of the length from neck to mid-hip in each frame. */
function torsoLength(torso) {
  const middle = median(torso) || 1, half = (torso.length - 1) / 2;
  const inverse = torso.map((length) => 1 / Math.min(Math.max(length, middle / 2), middle * 2));
  const mean = inverse.reduce((sum, value) => sum + value) / torso.length;
  const slope = inverse.reduce((sum, value, t) => sum + value * (t - half), 0)
    / Math.max(inverse.reduce((sum, _, t) => sum + (t - half) ** 2, 0), 1);
  return inverse.map((_, t) => 1 / Math.max(mean + slope * (t - half), 0.25 / middle));
}

/** Where the windows begin that cover a walk: one each `stride` frames and one flush with the end. */
function windowStarts(frames, window, stride) {
  const room = Math.max(frames - window, 0);
  return Array.from({ length: 1 + Math.ceil(room / stride) }, (_, step) => Math.min(step * stride, room));
}

/** Frames of a walk, which is looped where it is short, as the network sees them: [frames, 15, 2] -> [30, window]. */
function cutWindow(poses, frames, start, window) {
  const size = poses.length / frames;
  return Float32Array.from({ length: size * window }, (_, i) => (
    poses[((start + (i % window)) % frames) * size + Math.floor(i / window)]));
}

/** The walk in a mirror: [30, frames] -> [30, frames]. */
function inMirror(x, frames, { mirror }) {
  return x.map((_, i) => {
    const row = Math.floor(i / frames), other = 2 * mirror[row >> 1] + (row % 2);
    return (row % 2 ? 1 : -1) * x[other * frames + (i % frames)];
  });
}

/** Rows between joints, of each pair a, b: x and y of b minus those of a, [pairs, 2, frames]. */
function between(x, pairs, frames) {
  const sides = new Float32Array(2 * pairs.length * frames);
  pairs.forEach(([a, b], p) => {
    for (let i = 0; i < 2 * frames; i++) sides[2 * p * frames + i] = x[2 * b * frames + i] - x[2 * a * frames + i];
  });
  return sides;
}

/** What each row of [rows, frames] is like over time: its mean, its variance, and its extremes, [rows] each. */
function course(x, frames) {
  const rows = x.length / frames, found = ["mean", "variance", "highest", "lowest"].map(() => new Float64Array(rows));
  const [mean, variance, highest, lowest] = found;
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * frames, (r + 1) * frames);
    mean[r] = row.reduce((sum, value) => sum + value, 0) / frames;
    variance[r] = row.reduce((sum, value) => sum + (value - mean[r]) ** 2, 0) / frames;
    highest[r] = row.reduce((a, b) => Math.max(a, b));
    lowest[r] = row.reduce((a, b) => Math.min(a, b));
  }
  return { mean, deviation: (added) => variance.map((value) => Math.sqrt(value + added)), highest, lowest };
}

const joined = (...parts) => Float64Array.from(parts.flatMap((part) => [...part]));

/** The change in two frames: [rows, frames] -> [rows, frames - 2]. */
function changes(x, frames) {
  const steps = frames - 2;
  return Float32Array.from({ length: (x.length / frames) * steps }, (_, i) => {
    const at = Math.floor(i / steps) * frames + (i % steps);
    return x[at + 2] - x[at];
  });
}

/** Mean, deviation and extremes of rows, then deviation and size of their changes. */
function statisticsOf(x, moving, frames) {
  const { mean, deviation, highest, lowest } = course(x, frames), change = changes(moving, frames);
  const hurry = course(change, frames - 2).deviation(TINY), size = course(change.map(Math.abs), frames - 2).mean;
  return joined(mean, deviation(TINY), highest, lowest, hurry, size);
}

/** What `window_statistics` gives of a window [30, frames]. */
function windowStatistics(x, frames, skeleton) {
  const { bones, legs } = skeleton, { mean } = course(x, frames);
  const bend = legs.reduce((sum, [hip, knee, ankle]) => sum + mean[2 * knee] - (mean[2 * hip] + mean[2 * ankle]) / 2, 0);
  const pose = bend < 0 ? inMirror(x, frames, skeleton) : x, joints = pose.length / frames / 2;
  const pairs = Array.from({ length: joints }, (_, a) => Array.from({ length: joints - a - 1 }, (_, i) => [a, a + 1 + i])).flat();
  const sides = between(pose, pairs, frames), distance = new Float32Array(pairs.length * frames);
  distance.forEach((_, i) => {
    const at = i + Math.floor(i / frames) * frames;
    distance[i] = Math.sqrt(sides[at] ** 2 + sides[at + frames] ** 2 + TINY);
  });
  const courses = new Float32Array(pose.length + distance.length);
  courses.set(pose);
  courses.set(distance, pose.length);
  const swing = course(between(pose, bones, frames), frames).deviation(TINY);
  const of = (axis) => swing.filter((_, i) => i % 2 === axis);
  return joined(statisticsOf(courses, pose, frames), of(0), of(1));
}

/** What `pose_features` gives of a window: [30, frames] -> [88, frames]. */
function poseFeatures(x, frames, { bones }, velocity) {
  const sides = between(x, bones, frames), features = new Float32Array(2 * x.length + sides.length);
  features.set(x);
  features.set(sides, x.length);
  for (let i = 0; i < x.length; i++) {
    const t = i % frames;
    features[x.length + sides.length + i] = (x[t + 1 < frames ? i + 1 : i] - x[t ? i - 1 : i]) * velocity;
  }
  return features;
}

/** The means over the first and the last half of the frames: [rows, frames] -> [2 rows]. */
function halves(x, frames) {
  const rows = x.length / frames, half = (frames + 1) >> 1;
  return Float64Array.from({ length: 2 * rows }, (_, i) => {
    const from = (i % rows) * frames + (i < rows ? 0 : frames - half);
    return x.subarray(from, from + half).reduce((sum, value) => sum + value, 0) / half;
  });
}

/** Rows [rows, frames] times the gain of each and plus its shift. */
const scaled = (x, { gain, shift }, frames = 1) => x.map((value, i) => value * gain[Math.floor(i / frames)] + shift[Math.floor(i / frames)]);

/** A vector scaled to length one. */
function unit(x) {
  const length = Math.max(Math.hypot(...x), TINY);
  return x.map((value) => value / length);
}

const added = (a, b) => a.map((value, i) => value + b[i]);
const stillHead = ({ straight, first, second }, x) => added(linear(straight, x), linear(second, relu(linear(first, x))));

function discriminantsOf(statistics, scale, projection, largest) {
  return linear(projection, scaled(statistics, scale).map((value) => Math.min(Math.max(value, -largest), largest)));
}

/** The codes of a window as `encode` of the geometric autoencoder gives them in eval mode: { motion [64, frames], body, view }. */
function encode({ layers, scales, levels, skeleton, pace, velocity, largest, share }, x, statistics, frames) {
  const { first, second, context } = layers, steps = Math.ceil(frames / pace);
  const features = scaled(poseFeatures(x, frames, skeleton, velocity), scales.features, frames);
  const hidden = conv(second, relu(conv(first, features, frames, pace)), steps), seen = relu(hidden.slice());
  const means = halves(seen, steps), shown = linear(context, means);
  const whole = joined(means, course(seen, steps).highest, halves(features, frames), course(features, frames).deviation(1e-4));
  const paced = conv(layers.motion, relu(hidden.map((value, i) => value + shown[Math.floor(i / steps)])), steps);
  const motion = Float32Array.from({ length: (paced.length / steps / pace) * frames }, (_, i) => {
    const row = Math.floor(i / frames), t = i % frames;
    return paced[(row * pace + (t % pace)) * steps + Math.floor(t / pace)];
  });
  const found = discriminantsOf(statistics, scales.discriminants, layers.discriminants, largest).map((value) => share * value);
  const head = (name) => ({ straight: layers[`${name}_straight`], first: layers[`${name}_first`], second: layers[`${name}_second`] });
  const body = joined(stillHead(head("body"), joined(whole, scaled(statistics, scales.statistics))), found);
  const way = stillHead(head("view"), whole), view = [...unit(way.subarray(0, 2)), ...unit(way.subarray(2))];
  return { motion: levelMotion(levels.motion, motion, view, frames), body: levelBody(levels.body, body, view), view };
}

/** 1, cos k a, sin k a of the direction a of the camera, as many as there are columns in a layer. */
function harmonics(view, { weight, bias }) {
  const angle = Math.atan2(view[1] + view[3], view[0] + view[2]), count = (weight.length / bias.length - 1) / 2;
  const turns = Array.from({ length: count }, (_, k) => (k + 1) * angle);
  return [1, ...turns.map(Math.cos), ...turns.map(Math.sin)];
}

const levelBody = ({ excess }, body, view) => added(body, linear(excess, harmonics(view, excess)).map((value) => -value));

function levelMotion({ excess, liveliness }, motion, view, frames) {
  const basis = harmonics(view, excess), off = linear(excess, basis), usual = liveliness.bias, { mean } = course(motion, frames);
  const gain = linear(liveliness, basis).map((lively, c) => Math.min(Math.max(usual[c] / Math.max(lively, 1e-4), 0.5), 2));
  return motion.map((value, i) => {
    const c = Math.floor(i / frames);
    return (value - mean[c]) * gain[c] + mean[c] - off[c];
  });
}

/** What `code_statistics` gives of a window [30, frames] whose statistics, which a mirror leaves as they are, are known. */
function codeStatistics(model, x, statistics, frames) {
  const codes = encode(model, x, statistics, frames);
  return joined(statisticsOf(codes.motion, codes.motion, frames), codes.body);
}
