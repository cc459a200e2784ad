// Gait parameters as evaluation/gait.py defines them, but from the mean cycle of a few strides without missing joints: outliers are
// not weighted down, and single steps are not detected.

/** What is shown: name -> [words, decimals]. */
const GAIT = {
  cadence: ["Cadence (steps/min)", 0], stride: ["Stride time (s)", 2], symmetry: ["Step time, right − left (%)", 1],
  rightKnee: ["Right knee range (°)", 0], leftKnee: ["Left knee range (°)", 0],
};
const PAIRS = [[10, 13], [11, 14], [3, 6], [4, 7]]; // right and left: knees, ankles, elbows, wrists
const SMALLEST_SWING = 0.25, LEAST_EXPLAINED = 12; // as in evaluation/gait.py

const dot = (a, b) => {
  let sum = 0;
  for (let t = 0; t < a.length; t++) sum += a[t] * b[t];
  return sum;
};

/**
 * The least-squares weights of the columns of a basis, [n][frames], for each of several ys, [m][frames], and how much of their
 * energy these explain: Gaussian elimination of the normal equations.
 */
function leastSquares(basis, ys) {
  const n = basis.length, shared = ys.map((y) => basis.map((column) => dot(column, y)));
  const rows = basis.map((column, i) => [...basis.map((other) => dot(column, other)), ...shared.map((parts) => parts[i])]);
  for (let i = 0; i < n; i++) {
    const best = rows.reduce((top, row, k) => (k > i && Math.abs(row[i]) > Math.abs(rows[top][i]) ? k : top), i);
    [rows[i], rows[best]] = [rows[best], rows[i]];
    for (let k = 0; k < n; k++) {
      if (k === i) continue;
      const share = rows[k][i] / rows[i][i];
      for (let j = i; j < rows[i].length; j++) rows[k][j] -= share * rows[i][j];
    }
  }
  const weights = ys.map((_, j) => rows.map((row, i) => row[n + j] / row[i]));
  return { weights, explained: weights.reduce((sum, each, j) => sum + dot(each, shared[j]), 0) };
}

const combined = (basis, weights, t) => basis.reduce((sum, column, i) => sum + weights[i] * column[t], 0);

/** A constant, a straight line, and cos and sin of harmonics of a frequency: [2 + 2 harmonics][times]. */
function waves(times, frequency, harmonics) {
  const middle = times.reduce((sum, time) => sum + time, 0) / times.length;
  const turns = harmonics.flatMap((k) => [Math.cos, Math.sin].map((f) => times.map((time) => f(2 * Math.PI * k * frequency * time))));
  return [times.map(() => 1), times.map((time) => time - middle), ...turns];
}

const coordinate = ({ xy, frames, joints }, joint, axis) => Array.from({ length: frames }, (_, t) => xy[2 * (t * joints + joint) + axis]);

/** The position of the largest value, refined with a parabola; NaN at either end. */
function topOf(values) {
  const i = values.indexOf(Math.max(...values));
  if (i <= 0 || i >= values.length - 1) return NaN;
  const [before, at, after] = values.slice(i - 1, i + 2);
  return i + (before - after) / (2 * Math.min(before - 2 * at + after, -1e-12));
}

/** Strides a second; NaN without steady strides. The sides differ in the odd harmonics and share the even ones. */
function strideFrequency(walk) {
  const times = Array.from({ length: walk.frames }, (_, t) => t / walk.fps), trend = waves(times, 0, []);
  const level = (y) => { const [w] = leastSquares(trend, [y]).weights; return y.map((value, t) => value - combined(trend, w, t)); };
  const sides = [-1, 1].map((sign) => PAIRS.flatMap(([right, left]) => [0, 1].map((axis) => {
    const other = coordinate(walk, left, axis);
    return level(coordinate(walk, right, axis).map((value, t) => value + sign * other[t]));
  })));
  const explained = (frequency, harmonics) => sides.reduce((sum, ys, k) => sum + leastSquares(waves(times, frequency, harmonics[k]), ys).explained, 0);
  const fewest = (1.3 * walk.fps) / walk.frames;
  const tried = Array.from({ length: 55 }, (_, i) => 0.5 + 0.02 * i).filter((frequency) => frequency >= fewest);
  if (tried.length < 3) return NaN;
  const found = tried.map((frequency) => explained(frequency, [[1], [2]])), best = found.indexOf(Math.max(...found));
  const total = sides.flat().reduce((sum, y) => sum + dot(y, y), 0);
  if (best === 0 || best === tried.length - 1 || found[best] < (LEAST_EXPLAINED / walk.frames) * total) return NaN;
  let frequency = tried[best];
  for (const reach of [0.08, 0.02]) {
    const near = Array.from({ length: 21 }, (_, i) => frequency + reach * (i / 10 - 1));
    frequency = near[0] + (topOf(near.map((f) => explained(f, [[1, 3], [2, 4]]))) * reach) / 10;
  }
  return frequency;
}

/** Flexion of a knee in the image, degrees, [frames]; 0 is straight, clockwise positive. */
function kneeAngle(walk, hip, knee, ankle) {
  const [hx, hy, kx, ky, ax, ay] = [hip, knee, ankle].flatMap((joint) => [coordinate(walk, joint, 0), coordinate(walk, joint, 1)]);
  return hx.map((_, t) => {
    const [thighX, thighY, shankX, shankY] = [kx[t] - hx[t], ky[t] - hy[t], ax[t] - kx[t], ay[t] - ky[t]];
    return (180 / Math.PI) * Math.atan2(thighX * shankY - thighY * shankX, thighX * shankX + thighY * shankY);
  });
}

/** The frequency in strides a second, the phase of the legs in strides, and the GAIT parameters; NaN = not visible. */
function gaitOf(walk) {
  const unseen = Object.fromEntries(Object.keys(GAIT).map((name) => [name, NaN]));
  const frequency = strideFrequency(walk);
  if (Number.isNaN(frequency)) return { frequency, phase: 0, ...unseen };
  const times = Array.from({ length: walk.frames }, (_, t) => t / walk.fps);
  const cycle = Array.from({ length: 200 }, (_, i) => i / 200 / frequency);
  const meanCycle = (y, most) => {
    const harmonics = Array.from({ length: most }, (_, k) => k + 1);
    const [weights] = leastSquares(waves(times, frequency, harmonics), [y]).weights;
    const basis = waves(cycle, frequency, harmonics);
    return { weights, values: cycle.map((_, t) => combined(basis, weights, t) - weights[1] * basis[1][t]) };
  };
  const left = coordinate(walk, 14, 1), lifts = meanCycle(coordinate(walk, 11, 1).map((value, t) => value - left[t]), 1).weights;
  const phase = Math.atan2(lifts[3], lifts[2]) / (2 * Math.PI);
  const found = { frequency, phase, ...unseen, cadence: 120 * frequency, stride: 1 / frequency };
  const hip = coordinate(walk, 8, 0), swings = [11, 14].map((ankle) => coordinate(walk, ankle, 0).map((x, t) => x - hip[t]));
  const swing = swings.map((x) => Math.hypot(...meanCycle(x, 1).weights.slice(2))).reduce((a, b) => a + b) / 2;
  if (swing < SMALLEST_SWING) return found; // from the front or from behind
  const knees = [[9, 10, 11], [12, 13, 14]].map((leg) => kneeAngle(walk, ...leg));
  const heading = Math.sign(knees.flat().reduce((sum, angle) => sum + angle, 0)) || 1;
  [found.rightKnee, found.leftKnee] = knees.map((angles) => {
    const { values } = meanCycle(angles, 6);
    return Math.max(...values) - Math.min(...values);
  });
  const [right, leftStep] = swings.map((x) => {
    const { values } = meanCycle(x.map((value) => heading * value), 4), half = values.indexOf(Math.max(...values)) + 100;
    return (half - 100 + topOf([...Array(5)].map((_, i) => values[(half + 98 + i) % 200])) - 2) / 200;
  });
  const rightStep = (right - leftStep + 1) % 1; // from the left foot's step to the right foot's, strides
  found.symmetry = 200 * (2 * rightStep - 1);
  return found;
}
