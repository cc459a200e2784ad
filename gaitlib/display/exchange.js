// The walks of an exchange explorer, their codes and the decoder: what an exchange looks like, and what was recorded of it.

const blend = (share) => (share === 0 ? "A" : share === 1 ? "B" : `${Math.round(100 * share)} % B`);
const around = (degrees) => ((Math.round(10 * degrees) / 10) % 360 + 360) % 360;

/**
 * content: what ExchangeExplorer.content gives. A state is { a, b, view, body, motion, turn }: two walks by place, the shares of
 * codes taken from b, and degrees the camera is then moved around the walker.
 */
function readExchange(content) {
  const { frames, fps, names, angles, views, performances, decoder, spread } = content;
  const loaded = new Map(), known = new Map();
  const add = (i, { pose, ...codes }) => {
    const read = Object.fromEntries(Object.entries(codes).map(([name, code]) => [name, unpacked(code)]));
    loaded.set(Number(i), { walk: track(unpacked(pose), frames, fps), codes: read });
  };
  for (const [i, walk] of Object.entries(content.walks)) add(i, walk);
  const viewOf = (i) => (angles[i] === null ? views[i] : around(angles[i]));
  const recordings = new Map(names.map((_, i) => [`${performances[i]} ${viewOf(i)}`, i]));
  const code = (name, i) => loaded.get(i).codes[name];
  const decode = readDecoder(decoder, code, frames);
  const gait = (key, walk) => {
    if (!known.has(key)) known.set(key, gaitOf(walk));
    return known.get(key);
  };

  /** The direction of the camera of a state in degrees, or null if the view has no angle. */
  function cameraOf({ a, b, view, turn = 0 }) {
    if (view === 0 || view === 1) {
      const angle = angles[view ? b : a];
      if (angle !== null) return around(angle + turn);
    }
    if (decoder.kind !== "geometric") return null;
    const [x, y] = [0, 1].map((k) => [a, b].reduce((sum, walk, i) => sum + (i ? view : 1 - view) * (code("view", walk)[k] + code("view", walk)[k + 2]), 0));
    return around((180 / Math.PI) * Math.atan2(y, x) + turn);
  }

  /** The walk that was recorded of the same performance from the camera of a state, by place, or undefined. */
  function recorded({ a, b, view, body, motion, turn = 0 }) {
    if (body !== motion || ![0, 1].includes(body) || ![0, 1].includes(view)) return undefined;
    const walker = body ? b : a, seen = view ? b : a;
    if (walker === seen && !turn) return walker;
    return recordings.get(`${performances[walker]} ${turn ? cameraOf({ a, b, view, turn }) : viewOf(seen)}`);
  }

  /** How far each channel moved, in its standard deviations; for the motion code, the mean over time. */
  function moved(name, { a, b, [name]: share }) {
    const steps = name === "motion" ? frames : 1;
    return Float32Array.from(spread[name], (deviation, c) => {
      let sum = 0;
      for (let t = 0; t < steps; t++) {
        const change = code(name, b)[c * steps + t] - code(name, a)[c * steps + t];
        sum += steps > 1 ? Math.abs(change) : change;
      }
      return (share * sum) / steps / deviation;
    });
  }

  /** The panel of a recorded walk. */
  const walkPanel = (i, title, color) => ({ title, subtitle: names[i], color, main: loaded.get(i).walk, gait: gait(i, loaded.get(i).walk) });

  /** The panel of a decoded walk, with the recording to compare it with, if there is one. */
  function decodedPanel(codes, title, subtitle, truth) {
    const main = track(decode(codes), frames, fps), seen = loaded.get(truth)?.walk ?? null;
    const found = gait(JSON.stringify(codes), main), cycles = Math.floor(found.frequency * main.seconds);
    return {
      title, subtitle, color: 2, main, truth: seen, gait: found, result: true, loop: cycles >= 1 ? cycles / found.frequency : undefined,
      answer: seen ? `${errors(main, seen).mean.toFixed(1)} % off the recording` : "No recording of this",
    };
  }

  /** The panel of a state, without and with what was exchanged. */
  function statePanel(state, title, subtitle) {
    const { a, b, turn } = state, taken = (name) => [a, b, state[name]];
    const codes = { motion: taken("motion"), body: taken("body"), view: taken("view"), turn };
    return decodedPanel(codes, title, subtitle, recorded(state));
  }
  function exchangePanel(state, title, subtitle) {
    return {
      ...statePanel(state, title, subtitle),
      codes: Object.fromEntries(CODES.map((name) => [name, state[name]])),
      changes: Object.fromEntries(CODES.map((name) => [name, moved(name, state)])),
    };
  }

  /** How far a walk is from itself after decoding, % of torso length. */
  const reconstruction = once((i) => {
    const own = [i, i, 0];
    return errors(track(decode({ motion: own, body: own, view: own }), frames, fps), loaded.get(i).walk).mean;
  });
  return {
    ...content, add, has: (i) => loaded.has(i), cameraOf, recorded, viewOf, reconstruction, walkPanel, decodedPanel, statePanel, exchangePanel,
  };
}
