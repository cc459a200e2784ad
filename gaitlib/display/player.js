// Draws walking skeletons on canvases. player.py puts it together with the files beside it into one plain ES module: JupyterLab
// loads it through anywidget; pages and the explorers pass plainModel, a small stand-in for a widget's model. It fetches nothing.
//
// Color says who walks, fill says which side: right limbs are solid, left limbs are hollow.

const SPEEDS = [0.25, 0.5, 1, 1.5, 2];
const CODES = ["view", "body", "motion"];
const ENDS = [4, 7, 11, 14]; // wrists and ankles

const STYLE = `
.gait {
  --ink: #1d2329; --muted: #59636f; --line: #dde1e6; --card: #ffffff; --control: #f3f5f7;
  --c0: #0072b2; --c1: #ad4400; --c2: #00875f; --c3: #a64d8c;
  color: var(--ink); color-scheme: light; container-type: inline-size; box-sizing: border-box; width: 100%; padding: 4px;
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; text-align: left;
}
@media (prefers-color-scheme: dark) { body:not([data-jp-theme-light="true"]) .gait { DARK } }
body[data-jp-theme-light="false"] .gait { DARK }
.gait *, .gait *::before { box-sizing: border-box; }
.gait :focus-visible, .gait:focus-visible { outline: 2px solid var(--c0); outline-offset: 2px; }
.gait:focus:not(:focus-visible) { outline: none; }
.gait .panels { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); }
.gait .card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; margin: 0; min-width: 0;
  display: flex; flex-direction: column; overflow: hidden; }
.gait figcaption { order: -1; padding: 12px 14px 0; min-height: 62px; margin: 0; color: var(--ink); font-size: 14px; }
.gait .title { font-weight: 600; display: flex; align-items: baseline; gap: 8px; overflow-wrap: anywhere; }
.gait .title::before { content: ""; flex: none; width: 9px; height: 9px; border-radius: 50%; background: var(--who); }
.gait .subtitle { color: var(--muted); font-size: 12.5px; line-height: 1.35; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.gait canvas { display: block; width: 100%; margin-top: auto; }
.gait .chips { display: flex; flex-wrap: wrap; gap: 4px; margin: 4px 0 6px; }
.gait .chip { font-size: 11.5px; line-height: 1; padding: 4px 8px; border-radius: 999px; color: var(--who);
  border: 1px solid color-mix(in srgb, var(--who) 45%, transparent); white-space: nowrap; }
.gait .chip.b { background: color-mix(in srgb, var(--who) 13%, transparent); font-weight: 600; }
.gait .bar { display: flex; flex-wrap: wrap; align-items: center; gap: 12px; margin-top: 14px; }
.gait button, .gait select { font: inherit; color: inherit; background: var(--control); cursor: pointer;
  border: 1px solid var(--line); border-radius: 8px; height: 36px; padding: 0 12px; margin: 0; }
.gait select { padding-right: 6px; min-width: 0; text-overflow: ellipsis; }
.gait button:hover, .gait select:hover { border-color: var(--muted); }
.gait .round { width: 40px; height: 40px; padding: 0; border-radius: 50%; flex: none; display: grid; place-items: center; }
.gait .choices .round { width: 36px; height: 36px; }
.gait .details { display: grid; gap: 12px; margin-top: 12px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); }
.gait .detail figcaption { min-height: 0; order: 0; padding-bottom: 4px; }
.gait .detail .title::before { display: none; }
.gait .detail p { margin: 2px 0 0; }
.gait [hidden] { display: none !important; }
.gait .line { width: 100%; height: 34px; margin-top: 8px; padding: 0 10px; border: 1px solid var(--line); border-radius: 8px;
  background: var(--control); color: var(--ink); font: 13px/1 ui-monospace, Menlo, Consolas, monospace; }
.gait .mark { font-size: 12.5px; font-weight: 600; }
.gait .distances { display: grid; grid-template-columns: 1fr max-content; grid-auto-flow: dense; gap: 2px 8px; margin: 6px 0 0;
  font-size: 12px; color: var(--muted); font-variant-numeric: tabular-nums; }
.gait .distances i { grid-column: 1 / -1; height: 6px; margin-bottom: 4px; border-radius: 3px; background: var(--line); overflow: hidden; display: block; }
.gait .distances b { display: block; height: 100%; background: var(--muted); }
.gait .menu { position: relative; }
.gait .menu summary, .gait .bar .toggle { font-size: 13px; height: 36px; padding: 0 10px; border: 1px solid var(--line);
  border-radius: 8px; background: var(--control); cursor: pointer; display: flex; align-items: center; list-style: none; width: auto;
  color: var(--ink); }
.gait .bar .toggle.round { width: 40px; height: 40px; padding: 0; border-radius: 50%; display: grid; }
.gait .menu summary::-webkit-details-marker { display: none; }
.gait .menu > div { position: absolute; right: 0; bottom: 42px; z-index: 4; display: grid; gap: 2px; padding: 6px; min-width: 150px;
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; box-shadow: 0 6px 24px rgb(0 0 0 / .18); }
.gait .menu button { border: 0; background: none; text-align: left; white-space: nowrap; }
.gait .menu button:hover { background: var(--control); }
.gait .play { background: var(--c0); border-color: transparent; color: var(--card); }
.gait button svg { width: 18px; height: 18px; fill: currentColor; display: block; }
.gait input[type=range] { flex: 1 1 110px; min-width: 60px; height: 24px; margin: 0; padding: 0; accent-color: var(--c0);
  cursor: pointer; }
.gait .clock { color: var(--muted); font-size: 12.5px; font-variant-numeric: tabular-nums; white-space: nowrap;
  min-width: 8.5em; text-align: right; }
.gait button[aria-pressed=true].toggle { border-color: var(--who, var(--c0)); color: var(--who, var(--c0));
  background: color-mix(in srgb, var(--who, var(--c0)) 6%, var(--card)); font-weight: 600; }
.gait .legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 10px 0 0; padding: 0; list-style: none;
  color: var(--muted); font-size: 12.5px; }
.gait .legend li { display: flex; align-items: center; gap: 7px; margin: 0; }
.gait .legend svg { width: 26px; height: 12px; fill: none; stroke: var(--muted); }
.gait .choices { display: flex; flex-wrap: wrap; align-items: end; gap: 12px 16px; margin-bottom: 14px; }
.gait .choice { display: flex; flex-direction: column; gap: 4px; flex: 1 1 190px; min-width: 0; max-width: 320px; }
.gait .choice > span { color: var(--muted); font-size: 12.5px; display: flex; gap: 6px; align-items: center; }
.gait .choice > span i { width: 9px; height: 9px; border-radius: 50%; background: var(--who); }
.gait .picker { position: relative; }
.gait .picker input { font: inherit; color: inherit; background: var(--control); border: 1px solid var(--line); border-radius: 8px;
  height: 36px; padding: 0 10px; width: 100%; text-overflow: ellipsis; }
.gait .picker ul { position: absolute; top: 100%; left: 0; right: 0; z-index: 5; margin: 4px 0 0; padding: 4px; list-style: none;
  max-height: 264px; overflow-y: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  box-shadow: 0 6px 24px rgb(0 0 0 / .18); }
.gait .picker li { padding: 5px 8px; border-radius: 6px; cursor: pointer; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; margin: 0; }
.gait .picker li.active, .gait .picker li:hover { background: var(--control); }
.gait .picker li[aria-selected=true] { font-weight: 600; }
.gait .picker li.note { color: var(--muted); font-size: 12.5px; cursor: default; background: none; }
.gait .shares { flex: 1 1 100%; display: flex; flex-wrap: wrap; gap: 8px 22px; align-items: center; }
.gait .shares .asked { color: var(--muted); font-size: 12.5px; }
.gait .share { flex: 1 1 200px; max-width: 340px; display: flex; gap: 10px; align-items: center; }
.gait .share button { min-width: 76px; }
.gait .share .clock { min-width: 4em; text-align: left; }
.gait .share input[type=range] { accent-color: var(--c1); flex: 1 1 70px; min-width: 70px; width: 70px; }
.gait .answer { font-size: 13px; line-height: 1.35; font-weight: 600; font-variant-numeric: tabular-nums; min-height: 1.35em; }
.gait .panels.matrix { grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); }
.gait .panels.matrix .card { cursor: zoom-in; }
.gait .panels.matrix figcaption { min-height: 0; padding: 8px 10px 0; font-size: 13px; }
.gait .controls .picker input { font-size: 13px; padding: 0 8px; }
.gait .tabs, .gait .row { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
.gait .tabs .reset { margin-left: auto; }
.gait .tabs .toggle { font-size: 15px; }
.gait .hint { margin: 10px 0 14px; color: var(--muted); font-size: 14px; max-width: none; }
.gait .kernel { margin: 0 0 12px; padding: 8px 12px; border-left: 3px solid var(--c1); background: var(--control); font-size: 14px; }
.gait .row .asked, .gait .camera .asked { color: var(--muted); font-size: 12.5px; }
.gait .desk { display: grid; grid-template-columns: minmax(250px, 310px) minmax(0, 1fr); gap: 20px; align-items: start; }
.gait .controls { display: flex; flex-direction: column; gap: 14px; }
.gait .controls .choice, .gait .controls .shares { flex: none; max-width: none; }
.gait .controls .shares { flex-direction: column; align-items: stretch; flex-wrap: nowrap; }
.gait .controls .share { flex: none; max-width: none; }
.gait .camera { display: flex; flex-direction: column; align-items: center; gap: 2px; }
.gait .dial { width: 190px; height: 190px; cursor: grab; touch-action: none; fill: none; border-radius: 50%; }
.gait .dial:active { cursor: grabbing; }
.gait .dial .ring { stroke: var(--line); stroke-width: 2; fill: var(--control); }
.gait .dial .tick { fill: var(--muted); }
.gait .dial .sight { stroke: var(--c2); stroke-width: 1.5; stroke-dasharray: 3 3; }
.gait .dial .person { fill: var(--c0); }
.gait .dial .way { stroke: var(--c0); stroke-width: 2.5; stroke-linecap: round; stroke-linejoin: round; }
.gait .dial .handle { fill: var(--c2); stroke: var(--card); stroke-width: 2.5; }
.gait .maps { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 12px; margin-bottom: 14px; }
.gait .map { margin: 0; border: 1px solid var(--line); border-radius: 12px; background: var(--card); }
.gait .map figcaption { order: 0; min-height: 0; font-weight: 600; }
.gait .map svg { display: block; width: 100%; max-height: 250px; }
.gait .map circle { cursor: pointer; stroke: transparent; stroke-width: 0.05; }
.gait .map circle:hover { stroke: var(--ink); stroke-width: 0.02; }
.gait .map circle.is-a { stroke: var(--ink); stroke-width: 0.025; r: 0.06px; }
.gait .map circle.is-b { stroke: var(--ink); stroke-width: 0.025; stroke-dasharray: 0.03 0.03; r: 0.06px; }
.gait .maps .legend { grid-column: 1 / -1; }
.gait .legend span { display: inline-flex; gap: 6px; align-items: center; }
.gait .legend span i { width: 9px; height: 9px; border-radius: 50%; }
.gait .gait-table { padding-bottom: 12px; }
.gait .gait-table table { margin: 6px 14px 0; border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; width: auto; display: table; }
.gait .gait-table :is(td, th) { padding: 3px 14px 3px 0; text-align: left; font-weight: 400; border: 0; background: none; color: inherit; }
.gait .gait-table tr:first-child th { font-weight: 600; }
.gait .spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@container (max-width: 760px) {
  .gait .desk { grid-template-columns: minmax(0, 1fr); }
  .gait .controls .shares, .gait .camera { max-width: 420px; }
}
@container (max-width: 520px) {
  .gait .desk .stage { order: -1; position: sticky; top: 0; z-index: 3; background: var(--ground, var(--card)); }
  .gait .desk .panels:not(.single, .matrix) { grid-template-columns: repeat(auto-fit, minmax(90px, 1fr)); gap: 6px; }
  .gait .desk figcaption { padding: 6px 8px 0; min-height: 0; font-size: 13px; }
  .gait .desk .card:not(.result) .answer, .gait .desk .chips, .gait .desk .subtitle, .gait .desk .legend, .gait .desk .bar > select,
  .gait .desk .bar > .toggle { display: none; }
  .gait .desk .bar { flex-wrap: nowrap; margin: 8px 0; }
  .gait .desk .bar .clock { display: none; }
  .gait .dial { width: 160px; height: 160px; }
  .gait .maps { grid-template-columns: 1fr; }
  .gait .panels { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 10px; }
  .gait .panels.single { grid-template-columns: 1fr; }
  .gait .bar { flex-wrap: wrap; gap: 10px; }
  .gait .bar input[type=range] { flex: 1 1 calc(100% - 60px); }
  .gait .clock { flex: 1; text-align: left; }
  .gait .choice { flex-basis: 100%; max-width: none; }
  .gait .choices .round { display: none; }
  .gait .share { flex-basis: 100%; max-width: none; }
  .gait .bar { position: relative; }
  .gait .menu { position: static; }
  .gait .menu > div { right: auto; left: 0; }
}
`.replaceAll("DARK", `
  --ink: #e9ecef; --muted: #a5aeb8; --line: #373d45; --card: #1a1e23; --control: #262b31;
  --c0: #56b4e9; --c1: #ff9248; --c2: #3ccf9f; --c3: #e59ccb; color-scheme: dark;`);

const ICONS = {
  play: "M7 4.5v15l12.5-7.5z",
  pause: "M6.5 5h4v14h-4zM13.5 5h4v14h-4z",
  loop: "M12 5V1.5L7 6l5 4.5V7a5 5 0 1 1-5 5H5a7 7 0 1 0 7-7z",
  swap: "M7 7h9V3.5L21.5 8.5 16 13.5V10H7zM17 17H8v3.5L2.5 15.5 8 10.5V14h9z",
};

// ---------------------------------------------------------------------------------------------------- small DOM helpers

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function drawing(markup, box) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", box);
  svg.setAttribute("aria-hidden", "true");
  svg.innerHTML = markup; // constant strings of this file only
  return svg;
}
const icon = (name) => drawing(`<path d="${ICONS[name]}"/>`, "0 0 24 24");

// ------------------------------------------------------------------------------------------------------------- the data

/** A walk ready to draw: coordinates [frames, joints, 2], NaN = missing, and the frame in which each joint was last seen. */
function track(xy, frames, fps) {
  const joints = xy.length / frames / 2;
  const held = new Int32Array(frames * joints).fill(-1);
  for (let j = 0; j < joints; j++) {
    let last = -1;
    for (let t = 0; t < frames; t++) {
      if (!Number.isNaN(xy[2 * (t * joints + j)])) last = t;
      held[t * joints + j] = last;
    }
  }
  return { xy, frames, fps, joints, held, seconds: Math.max(frames - 1, 1) / fps, ground: ground(xy, frames) };
}

/** The height of the ground: the 95th percentile over frames of the lowest joint. */
function ground(xy, frames) {
  const joints = xy.length / frames / 2;
  const lowest = Array.from({ length: frames }, (_, t) => {
    let low = -Infinity;
    for (let i = 2 * t * joints + 1; i < 2 * (t + 1) * joints; i += 2) if (xy[i] > low) low = xy[i];
    return low;
  }).filter(Number.isFinite).sort((a, b) => a - b);
  return lowest[Math.floor(0.95 * (lowest.length - 1))] ?? 0;
}

/** A panel's pose is base64 int16 with a scale, or plain (nested) numbers with null for missing. */
function readTrack(layer, fps) {
  if (typeof layer.pose === "string") return track(unpack(integers(layer.pose), layer.scale), layer.frames, fps);
  const numbers = Float32Array.from(layer.pose.flat(Infinity), (v) => (v === null ? NaN : v));
  return track(numbers, layer.frames, fps);
}

/** A panel from panel() in player.py, or one whose tracks have already been read. */
const readPanel = (panel, i) => ({
  ...panel,
  color: panel.color ?? i % 4,
  main: panel.main ?? readTrack(panel, panel.fps),
  truth: panel.truth && (panel.truth.xy ? panel.truth : readTrack(panel.truth, panel.fps)),
});

/** Panels grouped into cards: one per card, except those that are drawn over the one before. */
function inCards(panels) {
  const groups = [];
  for (const panel of panels) {
    if (panel.over && groups.length) groups.at(-1).push(panel);
    else groups.push([panel]);
  }
  return groups;
}

/** [left, right, top, bottom] of everything visible in the tracks, with the ground at height 0. */
function bounds(tracks) {
  const box = [Infinity, -Infinity, Infinity, -Infinity];
  for (const { xy, ground } of tracks) {
    for (let i = 0; i < xy.length; i += 2) {
      if (Number.isNaN(xy[i])) continue;
      box[0] = Math.min(box[0], xy[i]);
      box[1] = Math.max(box[1], xy[i]);
      box[2] = Math.min(box[2], xy[i + 1] - ground);
      box[3] = Math.max(box[3], xy[i + 1] - ground);
    }
  }
  if (!(box[1] >= box[0])) return [-1, 1, -1, 1];
  const room = 0.5 * Math.max(box[1] - box[0], 0.45 * (box[3] - box[2]), 1e-6);
  const middle = (box[0] + box[1]) / 2;
  return [middle - room, middle + room, box[2], box[3]];
}

/** Joint positions at a time in seconds, linear between frames; `seen` is false if only an earlier position is known. */
function poseAt(walk, time) {
  const position = Math.min(Math.max(time * walk.fps, 0), walk.frames - 1);
  const t = Math.floor(position + 1e-6);
  const part = Math.max(position - t, 0);
  const n = walk.joints;
  const points = [];
  for (let j = 0; j < n; j++) {
    const here = walk.held[t * n + j];
    if (here < 0) {
      points.push(null);
      continue;
    }
    const i = 2 * (here * n + j);
    const next = 2 * ((t + 1) * n + j);
    let [x, y] = [walk.xy[i], walk.xy[i + 1]];
    if (here === t && part > 0 && t + 1 < walk.frames && !Number.isNaN(walk.xy[next])) {
      x += part * (walk.xy[next] - x);
      y += part * (walk.xy[next + 1] - y);
    }
    points.push({ x, y, seen: here === t });
  }
  return points;
}

// ---------------------------------------------------------------------------------------------------------- the drawing

function drawWalk(ctx, walk, time, place, look) {
  const points = poseAt(walk, time).map((p) => p && { ...place(p.x, p.y), seen: p.seen });
  const both = look.bones.filter(([i, j]) => points[i]?.seen && points[j]?.seen);
  const side = (bone) => (bone.some((j) => look.left.has(j)) ? "left" : bone.some((j) => look.right.has(j)) ? "right" : "middle");
  const strokes = (bones, width, color, dash = []) => {
    ctx.beginPath();
    for (const [i, j] of bones) {
      ctx.moveTo(points[i].x, points[i].y);
      ctx.lineTo(points[j].x, points[j].y);
    }
    ctx.lineWidth = width;
    ctx.strokeStyle = color;
    ctx.setLineDash(dash);
    ctx.stroke();
    ctx.setLineDash([]);
  };
  ctx.lineCap = ctx.lineJoin = "round";
  const head = points[0];
  const radius = look.head;
  if (look.thin) {
    strokes(both.filter((bone) => !bone.includes(0)), 1.6, look.color, [1, 4]);
    if (head?.seen) {
      ctx.beginPath();
      ctx.arc(head.x, head.y, radius, 0, 2 * Math.PI);
      ctx.setLineDash([1, 4]);
      ctx.stroke();
      ctx.setLineDash([]);
    }
    return;
  }
  const limbs = { left: [], middle: [], right: [] };
  for (const bone of both) limbs[side(bone)].push(bone);
  strokes(limbs.left, look.width, look.color);
  strokes(limbs.left, look.width * 0.5, look.card);
  strokes(limbs.middle, look.width, look.color);
  strokes(limbs.right, look.width, look.color);
  const spots = new Set([...limbs.middle, ...limbs.right].flat());
  ctx.fillStyle = look.card;
  for (const j of spots) {
    if (j === 0) continue;
    ctx.beginPath();
    ctx.arc(points[j].x, points[j].y, look.width * 0.19, 0, 2 * Math.PI);
    ctx.fill();
  }
  if (head?.seen) {
    ctx.beginPath();
    ctx.arc(head.x, head.y, radius, 0, 2 * Math.PI);
    ctx.fillStyle = look.color;
    ctx.fill();
  }
  for (const p of points) {
    if (!p || p.seen) continue;
    ctx.beginPath();
    ctx.arc(p.x, p.y, look.width * 0.75, 0, 2 * Math.PI);
    ctx.lineWidth = 1.4;
    ctx.strokeStyle = look.muted;
    ctx.setLineDash([2.5, 2.5]);
    ctx.stroke();
    ctx.setLineDash([]);
  }
}

/** The poses shortly before, as thin lines that fade with age. */
function drawOnion(ctx, walk, time, place, look) {
  ctx.lineWidth = look.width * 0.35;
  ctx.strokeStyle = look.color;
  for (let k = 4; k > 0; k--) {
    if (time < 0.08 * k) continue;
    const points = poseAt(walk, time - 0.08 * k).map((p) => p?.seen && place(p.x, p.y));
    ctx.globalAlpha = 0.55 - 0.11 * k;
    ctx.beginPath();
    for (const [i, j] of look.bones) {
      if (!points[i] || !points[j]) continue;
      ctx.moveTo(points[i].x, points[i].y);
      ctx.lineTo(points[j].x, points[j].y);
    }
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}

/** The paths of wrists and ankles over the last second; those of the left side are dashed. */
function drawTrails(ctx, walk, time, place, look) {
  const first = Math.max(Math.ceil((time - 1) * walk.fps), 0), end = Math.floor(time * walk.fps + 1e-6);
  ctx.lineWidth = 1.6;
  ctx.strokeStyle = look.color;
  ctx.globalAlpha = 0.75;
  for (const j of ENDS) {
    let down = false;
    ctx.setLineDash(look.left.has(j) ? [3, 3] : []);
    ctx.beginPath();
    for (let t = first; t <= end && t < walk.frames; t++) {
      const i = 2 * (t * walk.joints + j);
      if (Number.isNaN(walk.xy[i])) { down = false; continue; }
      const { x, y } = place(walk.xy[i], walk.xy[i + 1]);
      if (down) ctx.lineTo(x, y);
      else ctx.moveTo(x, y);
      down = true;
    }
    ctx.stroke();
  }
  ctx.setLineDash([]);
  ctx.globalAlpha = 1;
}

/** The median distance between head and neck, in the unit of the walk: it sets the size of the head. */
function headSize(walk) {
  const distances = [];
  for (let t = 0; t < walk.frames; t++) {
    const i = 2 * t * walk.joints;
    const d = Math.hypot(walk.xy[i] - walk.xy[i + 2], walk.xy[i + 1] - walk.xy[i + 3]);
    if (!Number.isNaN(d)) distances.push(d);
  }
  return distances.sort((a, b) => a - b)[distances.length >> 1] || 0;
}

// ----------------------------------------------------------------------------------------------------------- the player

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
// The width and height of a card in a saved picture, without the lines above it, and the height of a line.
const CARD = [260, 300], LINE = 16;

/** A text broken into lines of at most `width` pixels. */
function wrapped(ctx, text, font, width) {
  ctx.font = font;
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && ctx.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** A file name made from a text. */
const fileName = (text) => text.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 120).toLowerCase();

/** A stand-in for the model of a widget, for pages and inner players; state: the traits. */
function plainModel(state) {
  const listeners = {};
  return {
    get: (name) => state[name],
    set(name, value) {
      state[name] = value;
      for (const react of listeners[`change:${name}`] ?? []) react();
    },
    save_changes() {},
    on: (event, react) => (listeners[event] ??= []).push(react),
    off(event, react) { listeners[event] = (listeners[event] ?? []).filter((other) => other !== react); },
  };
}

function renderPlayer({ model, el }) {
  const abort = new AbortController();
  const { signal } = abort;
  const bones = model.get("bones");
  const left = new Set(model.get("left"));
  const right = new Set(model.get("right"));
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  const root = make("div", {
    class: "gait gait-player", tabindex: "0", role: "group", "data-lm-suppress-shortcuts": "true",
    "aria-label": `${model.get("label") || "Skeleton player"}. Space plays and pauses, the arrow keys step.`,
  });
  const grid = make("div", { class: "panels" });
  const playButton = make("button", { type: "button", class: "round play" });
  const slider = make("input", { class: "frame", type: "range", min: 0, step: 1, "aria-label": "Frame" });
  const clock = make("span", { class: "clock" });
  const speed = make("select", { "aria-label": "Speed" });
  for (const s of SPEEDS) speed.append(make("option", { value: s }, `${s}×`));
  const loop = make("button", { type: "button", class: "round toggle", "aria-label": "Loop", title: "Loop" }, icon("loop"));
  const legend = make("ul", { class: "legend" });
  const spoken = make("div", { class: "spoken", "aria-live": "polite" });
  const [onion, trails] = [["onion", "Onion skin", "where each walker was shortly before"], ["trails", "Trails", "paths of wrists and ankles"]].map(
    ([name, text, title]) => make("button", { type: "button", class: "toggle", title, "data-trait": name }, text));
  const menu = make("details", { class: "menu" }, make("summary", {}, "Save"));
  const bar = make("div", { class: "bar" }, playButton, slider, clock, speed, loop, onion, trails, menu);
  root.append(grid, bar, legend, spoken);
  if (!el.closest(".gait")) root.prepend(make("style", {}, STYLE));
  el.append(root);

  let panels = [];
  let cards = [];
  let colors = {};
  let time = 0;
  let playing = Boolean(model.get("playing")) && !calm.matches;
  let visible = true;
  let request = 0;
  let before = null;
  let sent = -1;
  let sentAt = 0;

  const isOn = (button) => button.getAttribute("aria-pressed") === "true";
  const press = (button) => {
    button.setAttribute("aria-pressed", String(model.get(button.dataset.trait)));
    if (!panels.length) return;
    build();
    draw();
  };
  // the longest walk keeps the time; all others follow in seconds
  const clockWalk = () => panels.reduce((best, p) => (p.main.seconds > best.seconds ? p.main : best), panels[0].main);
  const tracks = (list) => list.flatMap((p) => (p.truth ? [p.main, p.truth] : [p.main]));
  /** When it starts over, seconds: after whole gait cycles, if a panel says how long they take. */
  const end = () => panels.find((p) => p.loop)?.loop ?? clockWalk().seconds;

  // ---- panels
  function build() {
    panels = model.get("panels").map(readPanel);
    const overlay = model.get("arrangement") === "overlay", columns = model.get("columns") ?? 0;
    const groups = overlay ? [panels] : inCards(panels);
    const common = model.get("box") || (model.get("same_scale") || overlay ? bounds(tracks(panels)) : null);
    if (cards.length !== groups.length || grid.style.getPropertyValue("--columns") !== String(columns)) {
      grid.replaceChildren();
      cards = groups.map(() => {
        const caption = make("figcaption");
        const canvas = make("canvas", { role: "img" });
        const card = make("figure", { class: "card" }, canvas, caption);
        const pick = () => model.get("pick")?.(cards.findIndex((c) => c.card === card));
        card.addEventListener("click", pick, { signal });
        card.addEventListener("keydown", (event) => event.key === "Enter" && pick(), { signal });
        grid.append(card);
        return { card, canvas, caption };
      });
      grid.classList.toggle("single", groups.length === 1);
      grid.classList.toggle("matrix", columns > 0);
      grid.style.setProperty("--columns", columns);
      root.style.maxWidth = `${Math.max((columns || groups.length) * 380, 560)}px`;
      sizes.disconnect();
      for (const { canvas } of cards) sizes.observe(canvas);
    }
    groups.forEach((group, i) => {
      const card = cards[i];
      card.group = group.map((p) => ({ ...p, head: headSize(p.main) }));
      card.box = common || bounds(tracks(group));
      card.caption.replaceChildren(...group.flatMap(caption));
      card.card.classList.toggle("result", group.some((p) => p.result));
      card.card.tabIndex = model.get("pick") ? 0 : -1;
    });
    for (const part of model.get("beneath") ?? []) part.read(panels);
    if (!panels.length) return;
    slider.max = clockWalk().frames - 1;
    const missing = tracks(panels).some((walk) => walk.xy.some(Number.isNaN));
    legend.replaceChildren(
      key('<path d="M3 6h20" stroke-width="6" stroke-linecap="round"/>', "right limbs, solid"),
      key('<rect x="1.3" y="3.3" width="23.4" height="5.4" rx="2.7" stroke-width="1.6"/>', "left limbs, hollow"),
      ...(missing ? [key('<circle cx="13" cy="6" r="4" stroke-width="1.4" stroke-dasharray="2.5 2.5"/>', "joint missing, last seen here")] : []),
      ...(isOn(trails) ? [key('<path d="M2 6h10" stroke-width="1.8"/><path d="M15 6h11" stroke-width="1.8" stroke-dasharray="3 2"/>', "trails: right, left")] : []),
      ...(panels.some((p) => p.truth) ? [key('<path d="M2 6h22" stroke-width="1.8" stroke-linecap="round" stroke-dasharray="1 4"/>', "recording")] : []),
    );
  }
  const key = (markup, text) => make("li", {}, drawing(markup, "0 0 26 12"), text);
  function caption(p) {
    const title = make("div", { class: "title", style: `--who: var(--c${p.color})` }, make("span", {}, p.title));
    const parts = [title];
    if (p.codes) {
      const chips = CODES.map((c) =>
        make("span", { class: `chip ${p.codes[c] ? "b" : ""}`, style: `--who: var(--c${p.codes[c] ? 1 : 0})` }, `${c} ${blend(p.codes[c])}`));
      parts.push(make("div", { class: "chips" }, ...chips));
    }
    if (p.subtitle) parts.push(make("div", { class: "subtitle" }, p.subtitle));
    if (p.answer) parts.push(make("div", { class: "answer" }, p.answer));
    if (p.mark) parts.push(make("div", { class: "mark", style: `color: var(--c${p.mark === "right" ? 2 : 1})` }, p.mark === "right" ? "✓ right person" : "✗ another person"));
    if (p.distances) {
      const rows = Object.entries(p.distances).flatMap(([name, value]) =>
        [make("span", {}, name), make("i", {}, make("b", { style: `width: ${Math.min(50 * value, 100)}%` })), make("span", {}, `${value.toFixed(2)}×`)]);
      parts.push(make("div", { class: "distances" }, ...rows));
    }
    return parts;
  }

  // ---- drawing
  function readColors() {
    const style = getComputedStyle(root);
    for (const name of ["ink", "muted", "line", "card", "c0", "c1", "c2", "c3"]) {
      colors[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }
  /** Draw the walks of a card at a time in seconds, in a part of any context, canvas or SVG. */
  function drawCard(ctx, group, box, { left: x0, top: y0, width, height, at }) {
    const margin = Math.max(16, height * 0.06), top = margin + height * 0.03; // room for the head
    const scale = Math.min((width - 20) / (box[1] - box[0]), (height - margin - top) / (box[3] - box[2]));
    const standing = (walk) => (x, y) => ({ // its feet on the line
      x: x0 + width / 2 + scale * (x - (box[0] + box[1]) / 2),
      y: y0 + height - margin + scale * (y - walk.ground - box[3]),
    });
    ctx.beginPath();
    ctx.moveTo(x0 + margin, y0 + height - margin + 7);
    ctx.lineTo(x0 + width - margin, y0 + height - margin + 7);
    ctx.lineWidth = 1;
    ctx.strokeStyle = colors.line;
    ctx.stroke();
    const limb = Math.min(Math.max(height / 44, 5), 8.5);
    for (const p of group) {
      const look = { bones, left, right, card: colors.card, muted: colors.muted, width: limb, color: colors[`c${p.color}`] };
      look.head = Math.min(Math.max(0.4 * scale * p.head, limb), height * 0.09);
      const time = (p.offset ?? 0) + at * (p.rate ?? 1), place = standing(p.truth ?? p.main);
      if (isOn(onion)) drawOnion(ctx, p.main, time, place, look);
      if (isOn(trails)) drawTrails(ctx, p.main, time, place, look);
      drawWalk(ctx, p.main, time, place, look);
      if (p.truth) drawWalk(ctx, p.truth, time, place, { ...look, color: colors.ink, thin: true });
    }
  }
  /** Which codes a panel takes from whom: "view 50 % B, body A, motion A". */
  const exchanged = (p) => (p.codes ? CODES.map((c) => `${c} ${blend(p.codes[c])}`).join(", ") : "");
  /** The lines above a card in a saved picture: [text, is bold]. */
  function headings(ctx, group) {
    const words = group.flatMap((p) => [[p.title, true], [p.subtitle], [exchanged(p)], [p.answer]].filter(([text]) => text));
    return words.flatMap(([text, bold]) => wrapped(ctx, text, bold ? `600 ${FONT}` : FONT, CARD[0] - 28).map((line) => [line, bold]));
  }
  /** The layout of the cards in a saved picture, and its size. */
  function sheet(ctx) {
    const texts = cards.map(({ group }) => headings(ctx, group));
    const across = model.get("columns") || Math.min(cards.length, 4), above = 14 + LINE * Math.max(...texts.map((lines) => lines.length));
    const place = (i) => [CARD[0] * (i % across), (CARD[1] + above) * Math.floor(i / across)];
    return { texts, above, place, width: CARD[0] * across, height: (CARD[1] + above) * Math.ceil(cards.length / across) };
  }
  /** Draw all cards with their titles, for a saved picture. */
  function drawAll(ctx, at, { texts, above, place, width, height }) {
    ctx.fillStyle = colors.card;
    ctx.fillRect(0, 0, width, height);
    cards.forEach(({ group, box }, i) => {
      const [left, top] = place(i);
      texts[i].forEach(([line, bold], k) => {
        ctx.font = bold ? `600 ${FONT}` : FONT;
        ctx.fillStyle = bold ? colors.ink : colors.muted;
        ctx.fillText(line, left + 14, top + 22 + LINE * k);
      });
      drawCard(ctx, group, box, { left, top: top + above, width: CARD[0], height: CARD[1], at });
    });
  }
  async function save(kind) {
    const walk = clockWalk();
    const page = sheet(make("canvas").getContext("2d")), { width, height } = page;
    const name = `${fileName(model.get("file") || panels.map((p) => p.title).join(" ") || "walk")}.${kind}`;
    const cycles = panels.find((p) => p.loop), frames = cycles ? Math.max(Math.round(end() * walk.fps), 1) : walk.frames;
    if (kind === "svg") {
      const ctx = new SvgContext();
      drawAll(ctx, time, page);
      return download(new Blob([ctx.svg(width, height, panels.map((p) => p.title).join(", "))], { type: "image/svg+xml" }), name);
    }
    const density = kind === "png" ? 2 : 1;
    const canvas = make("canvas", { width: width * density, height: height * density });
    const ctx = canvas.getContext("2d", { willReadFrequently: kind === "gif" });
    ctx.scale(density, density);
    if (kind === "png") {
      drawAll(ctx, time, page);
      return canvas.toBlob((blob) => download(blob, name));
    }
    if (kind !== "gif") return download(await video(canvas, (t) => drawAll(ctx, t / walk.fps, page), frames, walk.fps, videoKind()), name);
    const images = Array.from({ length: frames }, (_, t) => {
      drawAll(ctx, t / walk.fps, page);
      return ctx.getImageData(0, 0, width, height);
    });
    download(await gif(images, walk.fps), name);
  }
  function draw() {
    for (const { canvas, group, box } of cards) {
      const width = canvas.clientWidth;
      if (!width) continue;
      const tall = ((width - 20) * (box[3] - box[2])) / (box[1] - box[0]);
      const small = model.get("columns") || width < 150; // a card of a grid, or of a phone
      const height = Math.round(Math.min(Math.max(1.25 * tall, tall + 44, 190), small ? 210 : 380, width * 1.45));
      const ratio = window.devicePixelRatio || 1;
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
        canvas.style.height = `${height}px`;
      }
      const ctx = canvas.getContext("2d");
      ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
      ctx.clearRect(0, 0, width, height);
      drawCard(ctx, group, box, { left: 0, top: 0, width, height, at: time });
    }
    for (const part of model.get("beneath") ?? []) part.draw(time, colors);
    if (!panels.length) return;
    const walk = clockWalk();
    const frame = Math.round(time * walk.fps);
    slider.value = frame;
    clock.textContent = `${frame + 1} / ${walk.frames} · ${time.toFixed(2)} s`;
    slider.setAttribute("aria-valuetext", `frame ${frame + 1} of ${walk.frames}, ${time.toFixed(2)} seconds`);
  }
  function describe() {
    if (!panels.length) return;
    const walk = clockWalk();
    for (const { canvas, group } of cards) {
      const names = group.map((p) => [p.title, p.subtitle, exchanged(p)].filter(Boolean).join(", ")).join(" and ");
      canvas.setAttribute("aria-label", `Walking skeleton: ${names}; frame ${Math.round(time * walk.fps) + 1} of ${walk.frames}`);
    }
  }

  // ---- time
  function tell(always) {
    const frame = Math.round(time * clockWalk().fps);
    if (frame === sent || (!always && performance.now() - sentAt < 100)) return;
    sent = frame;
    sentAt = performance.now();
    model.set("frame", frame);
    model.save_changes();
  }
  function tick(now) {
    request = 0;
    if (!playing || !visible || !panels.length) return;
    const last = end();
    if (before !== null) time += Math.min((now - before) / 1000, 0.25) * (Number(speed.value) || 1);
    before = now;
    if (time > last) {
      if (loopOn()) time %= last;
      else {
        time = last;
        setPlaying(false);
      }
    }
    draw();
    tell(false);
    go();
  }
  function go() {
    if (playing && visible && !request) request = requestAnimationFrame(tick);
  }
  /** When to start, seconds: at the frame of the model. */
  function started() {
    sent = model.get("frame");
    return Math.min(sent / clockWalk().fps, clockWalk().seconds);
  }
  const loopOn = () => isOn(loop);
  function setPlaying(on, save = true) {
    if (on && panels.length && time >= clockWalk().seconds - 1e-6) time = 0;
    playing = on;
    before = null;
    playButton.replaceChildren(icon(on ? "pause" : "play"));
    playButton.setAttribute("aria-label", on ? "Pause" : "Play");
    playButton.title = on ? "Pause (space)" : "Play (space)";
    if (!on) {
      describe();
      if (panels.length) tell(true);
    }
    if (save && model.get("playing") !== on) {
      model.set("playing", on);
      model.save_changes();
    }
    go();
  }
  function seek(frame) {
    if (!panels.length) return;
    const walk = clockWalk();
    time = Math.min(Math.max(frame, 0), walk.frames - 1) / walk.fps;
    draw();
    describe();
    tell(true);
  }
  function step(by) {
    if (!panels.length) return;
    const walk = clockWalk();
    setPlaying(false);
    const frame = Math.round(time * walk.fps) + by;
    seek(loopOn() ? (frame + walk.frames) % walk.frames : frame);
  }

  // ---- controls
  playButton.addEventListener("click", () => setPlaying(!playing), { signal });
  slider.addEventListener("input", () => { setPlaying(false); seek(Number(slider.value)); }, { signal });
  speed.addEventListener("change", () => { model.set("speed", Number(speed.value)); model.save_changes(); }, { signal });
  loop.addEventListener("click", () => {
    loop.setAttribute("aria-pressed", String(!loopOn()));
    model.set("loop", loopOn());
    model.save_changes();
  }, { signal });
  for (const button of [onion, trails]) {
    button.addEventListener("click", () => {
      model.set(button.dataset.trait, !isOn(button));
      model.save_changes();
      press(button);
    }, { signal });
  }
  const kinds = [["png", "PNG, this frame"], ["svg", "SVG, this frame"], ["gif", "GIF, the walk"]];
  const recorded = videoKind();
  if (recorded) kinds.push([recorded.name, `${recorded.name === "mp4" ? "MP4" : "WebM"} video, the walk`]);
  const items = kinds.map(([kind, text]) => {
    const item = make("button", { type: "button" }, text);
    item.addEventListener("click", async () => {
      menu.open = false;
      spoken.textContent = `saving as ${kind}`;
      await save(kind);
      spoken.textContent = `saved as ${kind}`;
    }, { signal });
    return item;
  });
  for (const [text, content] of Object.entries(model.get("copies") ?? {})) {
    const copy = make("button", { type: "button" }, `Copy ${text}`);
    const line = make("input", { type: "text", class: "line", readonly: "", "aria-label": text, hidden: "" });
    copy.addEventListener("click", async () => {
      line.value = content();
      line.hidden = false;
      line.select();
      menu.open = false;
      await navigator.clipboard?.writeText(line.value).catch(() => {}); // where it is not allowed, the selected line can be copied
      spoken.textContent = `Copied ${text}`;
    }, { signal });
    items.push(copy);
    bar.after(line);
  }
  menu.append(make("div", {}, ...items));
  root.addEventListener("keydown", (event) => {
    const aside = ["SELECT", "SUMMARY"].includes(event.target.tagName) || (event.target.tagName === "INPUT" && event.target !== slider);
    if (event.key === "Escape") menu.open = false;
    if (event.altKey || event.ctrlKey || event.metaKey || aside) return;
    const press = event.target.tagName === "BUTTON" && event.target !== playButton;
    const actions = {
      " ": press ? null : () => setPlaying(!playing),
      ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowDown: () => step(-1), ArrowUp: () => step(1),
      Home: () => { setPlaying(false); seek(0); }, End: () => { setPlaying(false); seek(Infinity); },
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    actions[event.key]();
  }, { signal });
  // keyup on space also clicks the play button, which would undo the toggle above
  playButton.addEventListener("keyup", (event) => event.key === " " && event.preventDefault(), { signal });

  // ---- the outside world
  const sizes = new ResizeObserver(() => repaint()); // also when JupyterLab puts it into the page, which gives it its colors
  const sight = new IntersectionObserver(([entry]) => { visible = entry.isIntersecting; before = null; go(); });
  const repaint = () => { readColors(); draw(); };
  const themes = new MutationObserver(repaint);
  themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint, { signal });
  calm.addEventListener("change", () => calm.matches && setPlaying(false), { signal });

  const pick = () => { speed.value = SPEEDS.reduce((a, b) => (Math.abs(b - model.get("speed")) < Math.abs(a - model.get("speed")) ? b : a)); };
  const changes = {
    onion: () => press(onion),
    trails: () => press(trails),
    panels: () => { const isFirst = !panels.length; build(); time = !panels.length ? 0 : isFirst ? started() : Math.min(time, clockWalk().seconds); draw(); describe(); go(); },
    arrangement: () => { cards = []; build(); draw(); },
    box: () => { build(); draw(); },
    same_scale: () => { build(); draw(); },
    frame: () => { if (model.get("frame") !== sent) { setPlaying(false); seek(model.get("frame")); } },
    playing: () => { if (model.get("playing") !== playing) setPlaying(model.get("playing"), false); },
    speed: pick,
    loop: () => loop.setAttribute("aria-pressed", String(model.get("loop"))),
  };
  for (const [name, react] of Object.entries(changes)) model.on(`change:${name}`, react);

  loop.setAttribute("aria-pressed", String(model.get("loop")));
  press(onion);
  press(trails);
  pick();
  build();
  readColors();
  if (panels.length) time = started();
  setPlaying(playing);
  sight.observe(root);
  draw();
  describe();

  return () => {
    cancelAnimationFrame(request);
    playing = false;
    abort.abort();
    sizes.disconnect();
    sight.disconnect();
    themes.disconnect();
    for (const [name, react] of Object.entries(changes)) model.off(`change:${name}`, react);
    root.remove();
  };
}
