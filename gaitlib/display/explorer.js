// The exchange explorer and "who is it?" of pages without a kernel, and the drawings under the walkers that both forms share.

const percent = (value) => `${value.toFixed(1)} % of torso length`;

/** Distances between joints of two walks in % of the torso of the true one: [frames, joints], and their mean. */
function errors(walk, truth) {
  const n = walk.joints, [neck, hip] = [1, 8];
  const each = new Float32Array(walk.frames * n);
  let torso = 0;
  for (let t = 0; t < walk.frames; t++) {
    const i = 2 * t * n;
    torso += Math.hypot(truth.xy[i + 2 * neck] - truth.xy[i + 2 * hip], truth.xy[i + 2 * neck + 1] - truth.xy[i + 2 * hip + 1]) / walk.frames;
    for (let j = 0; j < n; j++) {
      each[t * n + j] = Math.hypot(walk.xy[i + 2 * j] - truth.xy[i + 2 * j], walk.xy[i + 2 * j + 1] - truth.xy[i + 2 * j + 1]);
    }
  }
  let sum = 0, known = 0;
  for (let i = 0; i < each.length; i++) {
    each[i] *= 100 / torso;
    if (Number.isFinite(each[i])) { sum += each[i]; known++; }
  }
  return { each, mean: sum / known };
}

const blend = (share) => (share === 0 ? "A" : share === 1 ? "B" : `${Math.round(100 * share)} % B`);

/** A chosen set of walks with their codes and the decoder: everything else is worked out in the page. */
function readExchange(exchange) {
  const { frames, fps, walks } = exchange;
  const poses = unpacked(exchange.poses);
  const size = frames * 30;
  const codes = Object.fromEntries([...CODES, "motion"].map((name) => [name, unpacked(exchange[name])]));
  const sizeOf = (name) => codes[name].length / walks.length;
  const code = (name, walk) => codes[name].subarray(walk * sizeOf(name), (walk + 1) * sizeOf(name));
  const decode = readDecoder(exchange.decoder, code, frames);
  const pose = (k) => track(poses.subarray(k * size, (k + 1) * size), frames, fps);
  const none = { view: 0, body: 0, motion: 0, turn: 0 };
  const kept = new Map();
  const reconstruction = (a) => {
    if (!kept.has(a)) {
      const walk = track(decode(none, a, a), frames, fps);
      kept.set(a, { walk, error: errors(walk, pose(a)).mean });
    }
    return kept.get(a);
  };
  // how far each channel moved, in its own spread; for the motion code the mean over time
  const moved = (name, a, b, share) => {
    const steps = name === "motion" ? frames : 1;
    return Float32Array.from(exchange.spread[name], (spread, c) => {
      let sum = 0;
      for (let t = 0; t < steps; t++) {
        const change = code(name, b)[c * steps + t] - code(name, a)[c * steps + t];
        sum += steps > 1 ? Math.abs(change) : change;
      }
      return (share * sum) / steps / spread;
    });
  };
  return {
    box: exchange.box,
    panels({ a, b, turn, ...shares }) {
      const walk = track(decode({ ...shares, turn }, a, b), frames, fps);
      const pair = `${a}.${b}`;
      const known = shares.view === 1 && !turn && !shares.body && !shares.motion && pair in exchange.truth;
      const truth = known ? pose(exchange.truth[pair]) : null;
      const own = reconstruction(a);
      return [
        { title: "A, original", subtitle: walks[a], color: 0, main: pose(a) },
        { title: "B, original", subtitle: walks[b], color: 1, main: pose(b) },
        { title: "A, reconstructed", color: 0, main: own.walk, subtitle: `${percent(own.error)} from A` },
        {
          title: "Exchange", color: 2, main: walk, truth, codes: shares,
          subtitle: known ? `${percent(errors(walk, truth).mean)} from the truth` : turn ? `camera turned by ${turn}°` : "",
          changes: Object.fromEntries(CODES.map((name) => [name, moved(name, a, b, shares[name])])),
        },
      ];
    },
  };
}

/** Probes with the first of their ranked gallery, as panels. */
function readGallery({ poses, frames, fps, probes }) {
  const all = unpacked(poses);
  return (i) => probes[i].panels.map(({ pose, ...panel }) => ({
    ...panel, main: track(all.subarray(pose * frames * 30, (pose + 1) * frames * 30), frames, fps),
  }));
}

// ------------------------------------------------------------------------------------------------- under the walkers

const JOINTS = ["head", "neck", "r shoulder", "r elbow", "r wrist", "l shoulder", "l elbow", "l wrist", "mid-hip", "r hip", "r knee",
  "r ankle", "l hip", "l knee", "l ankle"];

/** A canvas of a height in pixels with a line of text above it; draw(ctx, width, height, colors) is called when it is shown. */
function detail(title) {
  const canvas = make("canvas", { role: "img" });
  const text = make("p", { class: "subtitle" });
  const node = make("figure", { class: "card detail" }, make("figcaption", {}, make("div", { class: "title" }, title), text), canvas);
  const paint = (height, draw) => {
    const width = canvas.clientWidth, ratio = window.devicePixelRatio || 1;
    if (!width) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
    const ctx = canvas.getContext("2d");
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw(ctx, width, height);
  };
  const say = (words) => {
    text.textContent = words;
    canvas.setAttribute("aria-label", `${title}: ${words}`);
  };
  return { node, canvas, paint, say };
}

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

/** Which channels of each code moved, as bars in units of each channel's spread over the walks. */
function codeDetail() {
  const view = detail("Channels that changed");
  return {
    node: view.node,
    draw(panel, colors) {
      const changes = panel?.changes;
      view.node.hidden = !changes;
      if (!changes) return;
      const count = (values) => values.filter((v) => Math.abs(v) > 0.5).length;
      view.say(`${CODES.map((c) => `${c} ${count(changes[c])} of ${changes[c].length}`).join(", ")} moved by more than half of their spread over the walks`);
      view.paint(132, (ctx, width) => {
        const start = 62, across = width - start - 12;
        CODES.forEach((code, k) => {
          const middle = 24 + 42 * k, step = across / changes[code].length;
          ctx.fillStyle = colors.muted;
          ctx.font = FONT;
          ctx.fillText(code, 12, middle + 4);
          ctx.fillStyle = colors.line;
          ctx.fillRect(start, middle - 0.5, across, 1);
          changes[code].forEach((v, i) => {
            const tall = Math.max(Math.min(Math.abs(v) * 6, 19), 0);
            ctx.fillStyle = Math.abs(v) > 0.5 ? colors.c2 : colors.muted;
            ctx.fillRect(start + i * step, v > 0 ? middle - tall : middle, Math.max(step - 1, 1), tall);
          });
        });
      });
    },
  };
}

/** The distance from the truth of each joint in each frame, as a heat map with a line where the walk is. */
function errorDetail() {
  const view = detail("Distance from the truth, each joint and frame");
  let known = null;
  const heat = document.createElement("canvas");
  return {
    node: view.node,
    read(panel) {
      known = panel?.truth ? { ...errors(panel.main, panel.truth), walk: panel.main } : null;
      view.node.hidden = !known;
      if (!known) return;
      const { each, walk } = known, n = walk.joints;
      known.top = each.reduce((top, v) => (v > top ? v : top), 0);
      const byJoint = JOINTS.map((_, j) => {
        let sum = 0;
        for (let t = 0; t < walk.frames; t++) sum += each[t * n + j] || 0;
        return sum / walk.frames;
      });
      const worst = byJoint.indexOf(Math.max(...byJoint));
      known.words = `mean ${percent(known.mean)}; worst joint ${JOINTS[worst]} with ${byJoint[worst].toFixed(1)} %; strongest color ${known.top.toFixed(0)} %`;
      view.say(known.words);
    },
    draw(time, colors) {
      if (!known) return;
      const { each, walk, top } = known, n = walk.joints;
      view.paint(15 * 11 + 16, (ctx, width) => {
        const start = 76, wide = (width - start - 12) / walk.frames;
        if (heat.width !== walk.frames || heat.from !== each || heat.color !== colors.c1) {
          Object.assign(heat, { width: walk.frames, height: n, from: each, color: colors.c1 });
          const small = heat.getContext("2d");
          small.fillStyle = colors.c1;
          for (let t = 0; t < walk.frames; t++) {
            for (let j = 0; j < n; j++) {
              small.globalAlpha = Math.min((each[t * n + j] || 0) / top, 1);
              small.fillRect(t, j, 1, 1);
            }
          }
        }
        ctx.imageSmoothingEnabled = false;
        ctx.drawImage(heat, start, 8, walk.frames * wide, 11 * n);
        ctx.fillStyle = colors.muted;
        ctx.font = `10.5px ${FONT.slice(5)}`;
        JOINTS.forEach((joint, j) => ctx.fillText(joint, 12, 17 + 11 * j));
        ctx.fillStyle = colors.ink;
        ctx.fillRect(start + (time * walk.fps + 0.5) * wide - 0.75, 4, 1.5, 11 * n + 8);
      });
    },
  };
}

// ------------------------------------------------------------------------------------- the controls of a static page

/** Walk A, walk B, what to take from B and how much of it. */
function choices(model, signal, changed) {
  const row = make("div", { class: "choices" });
  const walks = model.get("exchange").walks;
  const controls = {};
  const change = (update) => {
    model.set("choice", { ...model.get("choice"), ...update });
    model.save_changes();
    follow();
    changed();
  };
  const pickers = Object.fromEntries(["a", "b"].map((name, k) => [name, makePicker({
    label: `Walk ${name.toUpperCase()}`, options: walks, value: model.get("choice")[name], signal, color: `var(--c${k})`,
    onPick: (i) => change({ [name]: i }),
  })]));
  const swap = make("button", { type: "button", class: "round", "aria-label": "Swap A and B", title: "Swap A and B" }, icon("swap"));
  swap.addEventListener("click", () => {
    const { a, b } = model.get("choice");
    change({ a: b, b: a });
  }, { signal });
  const surprise = make("button", { type: "button" }, "Surprise me");
  surprise.addEventListener("click", () => {
    const any = (n) => Math.floor(Math.random() * n);
    const a = any(walks.length), b = (a + 1 + any(Math.max(walks.length - 1, 1))) % walks.length;
    const shares = Object.fromEntries(CODES.map((code) => [code, any(5) / 4]));
    change({ a, b, ...shares, turn: 0, [CODES[any(3)]]: 1 });
  }, { signal });
  row.append(pickers.a.node, swap, pickers.b.node, surprise);
  const shares = make("div", { class: "shares", role: "group", "aria-label": "Take from B" }, make("span", { class: "asked" }, "Take from B"));
  for (const code of CODES) {
    const button = make("button", { type: "button", class: "toggle", style: "--who: var(--c1)", title: `swap the ${code} code` }, code);
    const slider = make("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": `Share of the ${code} code from B` });
    const number = make("output", { class: "clock" });
    button.addEventListener("click", () => change({ [code]: model.get("choice")[code] === 1 ? 0 : 1 }), { signal });
    slider.addEventListener("input", () => change({ [code]: Number(slider.value) }), { signal });
    shares.append(make("div", { class: "share" }, button, slider, number));
    controls[code] = { button, slider, number };
  }
  const turn = make("input", { type: "range", min: -180, max: 180, step: 1, "aria-label": "Camera turned by" });
  const turnedBy = make("output", { class: "clock" });
  turn.addEventListener("input", () => change({ turn: Number(turn.value) }), { signal });
  if (model.get("exchange").decoder.kind === "geometric") {
    shares.append(make("div", { class: "share" }, make("span", { class: "asked" }, "Camera turned by"), turn, turnedBy));
  }
  row.append(shares);
  function follow() {
    const choice = model.get("choice");
    pickers.a.set(choice.a);
    pickers.b.set(choice.b);
    turn.value = choice.turn;
    turnedBy.textContent = `${choice.turn}°`;
    for (const code of CODES) {
      const { button, slider, number } = controls[code];
      button.setAttribute("aria-pressed", String(choice[code] === 1));
      slider.value = choice[code];
      slider.setAttribute("aria-valuetext", blend(choice[code]));
      number.textContent = blend(choice[code]);
    }
  }
  follow();
  return row;
}

/** The state as a line of Python for the notebook. */
function asCode({ a, b, view, body, motion, turn }, walks) {
  const taken = `view=${view}, body=${body}, motion=${motion}${turn ? `, turn=${turn}` : ""}`;
  return `explorer.show(${JSON.stringify(walks[a])}, ${JSON.stringify(walks[b])}, ${taken})`;
}
