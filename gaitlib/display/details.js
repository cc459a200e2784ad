// Shown below the walkers: gait parameters, code channels that changed, and the error of each joint.

const percent = (value) => `${value.toFixed(1)} % of torso length`;

/** Distances between the joints of two walks in % of the true one's torso length: [frames, joints], and their mean. */
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

const JOINTS = ["head", "neck", "r shoulder", "r elbow", "r wrist", "l shoulder", "l elbow", "l wrist", "mid-hip", "r hip", "r knee",
  "r ankle", "l hip", "l knee", "l ankle"];

/** A canvas with a title and a line of text above it: paint(height, draw) draws it, say(words) sets the text. */
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

/** How far each code channel moved, as bars in standard deviations of the channel over the walks. */
function codeDetail() {
  const view = detail("Channels that changed");
  let changes = null, painted = "";
  return {
    node: view.node,
    read(panels) {
      changes = panels.find((panel) => panel.changes)?.changes;
      view.node.hidden = !changes;
      painted = "";
      if (!changes) return;
      const count = (values) => values.filter((v) => Math.abs(v) > 0.5).length;
      const counted = CODES.map((c) => `${count(changes[c])} of ${changes[c].length} ${c} channels`).join(", ");
      view.say(`${counted} moved by more than half of their standard deviation`);
    },
    draw(_time, colors) {
      const look = `${view.canvas.clientWidth} ${colors.c2}`;
      if (!changes || look === painted) return;
      painted = look;
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
            const tall = Math.min(Math.abs(v) * 6, 19);
            ctx.fillStyle = Math.abs(v) > 0.5 ? colors.c2 : colors.muted;
            ctx.fillRect(start + i * step, v > 0 ? middle - tall : middle, Math.max(step - 1, 1), tall);
          });
        });
      });
    },
  };
}

/** How far each joint is from the recording in each frame, as a heat map with a line at the current frame. */
function errorDetail() {
  const view = detail("Distance from the recording, by joint and frame");
  let known = null;
  const heat = document.createElement("canvas");
  return {
    node: view.node,
    read(panels) {
      const panel = panels.find((p) => p.result && p.truth);
      known = panel ? { ...errors(panel.main, panel.truth), walk: panel.main } : null;
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

/** The gait parameters of the panels that have some (`gait`), a column each. */
function gaitDetail() {
  const table = make("table"), node = make("figure", { class: "card detail gait-table" }, make("figcaption", {}, make("div", { class: "title" }, "Gait parameters in the image")), table);
  return {
    node,
    read(panels) {
      const shown = panels.filter((panel) => panel.gait);
      node.hidden = !shown.length;
      const head = make("tr", {}, make("td"), ...shown.map((panel) => make("th", { scope: "col" }, panel.title)));
      const told = (value, digits) => (Number.isNaN(value) ? "not seen" : value.toFixed(digits).replace("-", "−"));
      const rows = Object.entries(GAIT).map(([name, [words, digits]]) => make("tr", {}, make("th", { scope: "row" }, words),
        ...shown.map(({ gait }) => make("td", {}, told(gait[name], digits)))));
      table.replaceChildren(head, ...rows);
    },
    draw() {},
  };
}
