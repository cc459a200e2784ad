// The exchange explorer, in JupyterLab and in pages alike: the decoder runs here. Pages hold a few walks; in JupyterLab others come
// from the kernel, and without it those that are here go on.

const MODES = {
  camera: ["Camera", "Drag the camera around the walker. Dotted: what a camera recorded from there; off: the mean joint distance in % of torso length."],
  exchange: ["Exchange", "Take the view, the body or the motion of walk B, all of it or a share. Dotted: the recording, where there is one; off: the mean joint distance in % of torso length."],
  grid: ["Grid", "Each row shows the body of another person. Click a walker to enlarge it; dotted: the recording, where there is one."],
  map: ["Code map", "Each dot is the code of a walk, on its first two principal components. Point at one to see it walk; click to take it as A or B."],
};
const START = { view: 0, body: 0, motion: 0, turn: 0, columns: "view", enlarged: -1, color: "person" };

function renderExplorer({ model, el }) {
  const abort = new AbortController(), { signal } = abort;
  const root = make("div", { class: "gait gait-explorer", role: "group", "aria-label": model.get("label"), "data-lm-suppress-shortcuts": "true" });
  if (!el.closest(".gait")) root.append(make("style", {}, STYLE));
  const note = make("p", { class: "kernel", role: "status", hidden: "" });
  root.append(note);
  el.append(root);
  let explorer = null;

  const begin = (content) => {
    explorer ??= fillExplorer(root, model, readExchange(content), signal, (i) => model.send?.({ want: i }));
  };
  const hear = (message) => {
    if (message.content) begin(message.content);
    else explorer?.arrived(message.walk, message.codes);
  };
  const disconnected = () => {
    note.textContent = "The kernel has stopped or was restarted. Walks that are loaded can still be explored; run the cell again for all others.";
    note.hidden = false;
    explorer?.disconnect((name) => { note.textContent = `${name} is not loaded; run the cell again to see it.`; });
  };
  const follow = () => explorer?.show(model.get("choice"));
  const events = { "msg:custom": hear, comm_live_update: disconnected, "change:choice": follow };
  for (const [event, react] of Object.entries(events)) model.on(event, react);
  if (model.get("exchange")) begin(model.get("exchange"));
  else model.send({ want: "content" });
  return () => {
    abort.abort();
    explorer?.remove();
    for (const [event, react] of Object.entries(events)) model.off(event, react);
    root.remove();
  };
}

/** Build the explorer in `root`; ask(i): have a walk sent that is not here. */
function fillExplorer(root, model, exchange, signal, ask) {
  const { names, keys } = exchange, hasCamera = exchange.decoder.kind === "geometric";
  const address = model.get("is_page") && document.querySelector(".gait-explorer") === root ? exchangeAddress(exchange) : null;
  const start = { ...START, ...exchange.start }, hint = make("p", { class: "hint" });
  const asked = new Set();
  let state = { ...start, ...model.get("choice"), ...address?.read() }, connected = true, tell = null, last = "";
  let hovered = -1, taking = "a";

  // ---- the stage
  const inner = { playing: model.get("playing"), frame: address?.frame() ?? 0, speed: 1, loop: true, onion: false, trails: false };
  const stage = plainModel({
    ...inner, panels: [], box: exchange.box, arrangement: "side by side", label: model.get("label"), bones: model.get("bones"),
    left: model.get("left"), right: model.get("right"), beneath: [gaitDetail(), codeDetail(), errorDetail()],
    copies: {
      ...(address && { "a link to this": () => address.link(state, stage) }),
      "this as code for the notebook": () => asCode(state, keys),
    },
  });
  if (address?.frame() !== undefined) stage.set("playing", false);
  const controls = make("div", { class: "controls" }), place = make("div", { class: "stage" }), below = make("div", { class: "details" });

  // ---- controls
  const shownIn = (node, ...modes) => { node.dataset.modes = modes.join(" "); return node; };
  const tabs = make("div", { class: "tabs", role: "group", "aria-label": "What to explore" });
  const modes = Object.keys(MODES).filter((mode) => mode !== "camera" || hasCamera);
  const tab = Object.fromEntries(modes.map((mode) => [mode, button(MODES[mode][0], "toggle", () => change({ mode, enlarged: -1 }))]));
  tabs.append(...Object.values(tab), button("Reset", "reset", () => change(start)));
  const pickers = Object.fromEntries(["a", "b"].map((name, k) => [name, makePicker({
    label: `Walk ${name.toUpperCase()}`, options: names, search: keys, value: state[name], signal, color: `var(--c${k})`,
    onPick: (i) => change({ [name]: i, enlarged: -1 }),
  })]));
  shownIn(pickers.b.node, "exchange", "grid", "map");
  const swap = button("", "round", () => change({ a: state.b, b: state.a }));
  swap.append(icon("swap"));
  for (const name of ["aria-label", "title"]) swap.setAttribute(name, "Swap A and B");
  const both = shownIn(make("div", { class: "row" }, swap, button("Surprise me", "", surprise)), "exchange");
  const sliders = Object.fromEntries(CODES.map((code) => [code, shareSlider(code, signal, (share) => change({ [code]: share }), () => state[code])]));
  const shares = shownIn(make("div", { class: "shares", role: "group", "aria-label": "Take from B" }, make("span", { class: "asked" }, "Take from B"),
    ...CODES.map((code) => sliders[code].node)), "exchange");
  const dial = cameraDial(signal, (angle) => change({ turn: difference(angle, exchange.cameraOf({ ...state, turn: 0 })) }));
  shownIn(dial.node, "camera", "exchange").hidden = !hasCamera;
  const columns = choice("Columns", { view: "cameras", motion: "motions" }, (value) => change({ columns: value, enlarged: -1 }));
  const colors = choice("Color by", { person: "person", view: "camera", condition: "condition" }, (value) => change({ color: value }));
  const takes = choice("A click takes the walk as", { a: "A", b: "B" }, (value) => { taking = value; takes.set(value); });
  const maps = shownIn(make("div", { class: "maps" }), "map");
  controls.append(pickers.a.node, both, pickers.b.node, dial.node, shares, shownIn(columns.node, "grid"), shownIn(colors.node, "map"), shownIn(takes.node, "map"));
  root.append(tabs, hint, maps, make("div", { class: "desk" }, controls, place), below);
  below.append(...stage.get("beneath").map(({ node }) => node));
  const removeStage = renderPlayer({ model: stage, el: place });
  const dots = codeMaps(maps, exchange, {
    hover: (i) => { if (i !== hovered) { hovered = i; refresh(); } },
    pick: (i) => change({ [taking]: i }),
  }, signal);
  takes.set(taking);

  function button(text, kind, onClick) {
    const node = make("button", { type: "button", class: kind }, text);
    node.addEventListener("click", onClick, { signal });
    return node;
  }
  function choice(label, options, onChange) {
    const buttons = Object.entries(options).map(([value, text]) => [value, button(text, "toggle", () => onChange(value))]);
    const node = make("div", { class: "row", role: "group", "aria-label": label }, make("span", { class: "asked" }, label), ...buttons.map(([, b]) => b));
    return { node, set: (chosen) => buttons.forEach(([value, b]) => b.setAttribute("aria-pressed", String(value === chosen))) };
  }
  function surprise() {
    const walks = names.map((_, i) => i).filter((i) => connected || exchange.has(i)), any = (list) => list[Math.floor(Math.random() * list.length)];
    const a = any(walks), others = walks.filter((i) => exchange.people[i] !== exchange.people[a] && exchange.viewOf(i) !== exchange.viewOf(a));
    const taken = Object.fromEntries(CODES.map((code) => [code, any([0, 0, 0.5, 1])]));
    change({ a, b: any(others.length ? others : walks), ...taken, turn: 0, [any(CODES)]: 1 });
  }

  // ---- what is shown
  /** Rows and columns of the grid: three people, and as many cameras or motions. */
  function gridWalks() {
    const { a, b, columns: kind } = state, here = (i) => connected || exchange.has(i);
    const people = [...new Set([exchange.people[a], exchange.people[b], ...exchange.people.filter((_, i) => here(i))])].slice(0, 3);
    const like = (person) => {
      if (person === exchange.people[a]) return a;
      const own = names.map((_, i) => i).filter((i) => exchange.people[i] === person && here(i));
      return own.find((i) => exchange.takes[i] === exchange.takes[a]) ?? own[0];
    };
    const rows = people.map(like), seen = names.map((_, i) => i).filter((i) => exchange.performances[i] === exchange.performances[a] && here(i));
    const views = seen.length < 3 ? [a, ...seen.filter((i) => i !== a)] : [0, 0.5, 1].map((share) => seen[Math.round(share * (seen.length - 1))]);
    return { rows, columns: kind === "view" ? views : rows };
  }
  function gridPanels() {
    const { a, columns: kind } = state, grid = gridWalks(), person = (i) => exchange.people[i];
    const cells = grid.rows.flatMap((row) => grid.columns.map((column) => {
      const motion = kind === "motion" ? column : a, view = kind === "view" ? column : a, whole = person(row) === person(motion);
      const codes = { motion: [motion, motion, 0], body: [row, row, 0], view: [view, view, 0] };
      const truth = whole ? exchange.recorded({ a: motion, b: view, view: 1, body: 0, motion: 0 }) : undefined;
      const other = kind === "view" ? cameraName(exchange.viewOf(view)) : `motion of person ${person(motion)}`;
      const { result: _, gait: __, ...panel } = exchange.decodedPanel(codes, `Body of person ${person(row)}`, other, truth);
      return { ...panel, subtitle: panel.truth ? `${other}: ${panel.answer}` : other, answer: undefined };
    }));
    const loop = cells[0].loop;
    return (state.enlarged < 0 ? cells : [cells[state.enlarged]]).map((cell) => ({ ...cell, loop }));
  }
  const shown = {
    camera() {
      const camera = exchange.cameraOf({ ...state, view: 0, body: 0, motion: 0 });
      const off = `${exchange.reconstruction(state.a).toFixed(1)} % off when decoded from here`;
      const own = { ...state, view: 0, body: 0, motion: 0 };
      return [
        { ...exchange.walkPanel(state.a, "Recorded", 0), answer: off },
        { ...exchange.exchangePanel(own, "Decoded", cameraName(camera)), codes: null, changes: null },
      ];
    },
    exchange() {
      const { a, b, turn } = state, camera = cameraName(exchange.cameraOf(state));
      return [exchange.walkPanel(a, "A", 0), exchange.walkPanel(b, "B", 1), exchange.exchangePanel(state, "Exchange", turn ? camera : "")];
    },
    grid: gridPanels,
    map() {
      const pointed = hovered < 0 ? [] : [{ ...exchange.walkPanel(hovered, "Under the pointer", 2) }];
      return [exchange.walkPanel(state.a, "A", 0), exchange.walkPanel(state.b, "B", 1), ...pointed];
    },
  };
  /** The walks that a state needs, by place. */
  function needed() {
    const { a, b, mode } = state, grid = mode === "grid" ? gridWalks() : { rows: [], columns: [] };
    const truths = [exchange.recorded(state), exchange.recorded({ ...state, view: 0, body: 0, motion: 0 })];
    return [...new Set([a, b, ...truths, ...grid.rows, ...grid.columns])].filter((i) => i !== undefined && !exchange.has(i));
  }
  let request = 0;
  const refresh = () => { request ||= requestAnimationFrame(draw); };
  function draw() {
    request = 0;
    const missing = needed();
    if (missing.length && connected) {
      for (const i of missing.filter((walk) => !asked.has(walk))) { asked.add(i); ask(i); }
    }
    if (missing.some((i) => i === state.a || i === state.b)) return;
    const matrix = state.mode === "grid" && state.enlarged < 0;
    stage.set("pick", state.mode === "grid" ? (i) => change({ enlarged: matrix ? i : -1 }) : null);
    stage.set("columns", matrix ? gridWalks().columns.length : 0);
    stage.set("file", [state.mode, keys[state.a], state.mode === "camera" ? `camera-${exchange.cameraOf(state)}` : keys[state.b]].join(" "));
    stage.set("panels", shown[state.mode]());
  }
  function follow() {
    for (const [mode, node] of Object.entries(tab)) node.setAttribute("aria-pressed", String(mode === state.mode));
    hint.textContent = MODES[state.mode][1];
    root.dataset.mode = state.mode;
    for (const node of root.querySelectorAll("[data-modes]")) node.hidden = !node.dataset.modes.split(" ").includes(state.mode) || (node === dial.node && !hasCamera);
    for (const name of ["a", "b"]) pickers[name].set(state[name]);
    for (const code of CODES) sliders[code].set(state[code]);
    columns.set(state.columns);
    colors.set(state.color);
    dots.show(state);
    if (hasCamera && exchange.has(state.a) && exchange.has(state.b)) {
      const seen = names.map((_, i) => i).filter((i) => exchange.performances[i] === exchange.performances[state.a] && exchange.angles[i] !== null);
      dial.set(exchange.cameraOf(state.mode === "camera" ? { ...state, view: 0 } : state), seen.map((i) => around(exchange.angles[i])));
    }
  }
  function change(update) {
    show({ ...state, ...update });
    model.set("choice", state);
    if (connected) model.save_changes();
    address?.write(state, stage);
  }
  function show(wanted) {
    const lacking = connected ? undefined : ["a", "b"].map((name) => ({ ...state, ...wanted })[name]).find((i) => !exchange.has(i));
    if (lacking !== undefined) {
      tell(names[lacking]);
      return follow();
    }
    if (JSON.stringify({ ...state, ...wanted }) === last) return;
    state = { ...state, ...wanted };
    if (!modes.includes(state.mode)) state.mode = modes[0];
    last = JSON.stringify(state);
    follow();
    refresh();
  }
  show(state);
  stage.on("change:playing", () => address?.write(state, stage));
  if (address) {
    addEventListener("hashchange", () => show(address.read()), { signal });
    if (address.isThere()) root.scrollIntoView();
  }
  return {
    show: (wanted) => wanted && show(wanted),
    arrived(i, codes) { exchange.add(i, codes); asked.delete(i); follow(); refresh(); },
    disconnect(say) { [connected, tell] = [false, say]; },
    remove() { cancelAnimationFrame(request); removeStage(); },
  };
}

const cameraName = (view) => (typeof view === "number" ? `camera at ${view}°` : `view ${view}`);
/** From one direction to another, -180 to 180 degrees, in tenths. */
const difference = (to, from) => (around(to - from + 180) || 360) - 180;

/** The state as a line of Python for the notebook. */
function asCode({ a, b, view, body, motion, turn }, keys) {
  const taken = `view=${view}, body=${body}, motion=${motion}${turn ? `, turn=${turn}` : ""}`;
  return `explorer.show(${JSON.stringify(keys[a])}, ${JSON.stringify(keys[b])}, ${taken})`;
}

/** The state in the address of the page, #explorer?mode=...: a link shows the same thing. */
function exchangeAddress({ keys }) {
  const START_OF = "#explorer?", isThere = () => location.hash.startsWith(START_OF);
  const asked = () => new URLSearchParams(isThere() ? location.hash.slice(START_OF.length) : "");
  const numbers = { view: [0, 1], body: [0, 1], motion: [0, 1], turn: [-180, 180], enlarged: [-1, 8] };
  const words = { mode: Object.keys(MODES), columns: ["view", "motion"], color: ["person", "view", "condition"] };
  function read() {
    const found = {};
    for (const [name, text] of asked()) {
      const value = Number(text), [low, high] = numbers[name] ?? [];
      if (["a", "b"].includes(name) && keys.includes(text)) found[name] = keys.indexOf(text);
      if (text !== "" && value >= low && value <= high) found[name] = value;
      if (words[name]?.includes(text)) found[name] = text;
    }
    return found;
  }
  function text(state, stage) {
    const told = { ...state, a: keys[state.a], b: keys[state.b], ...(!stage.get("playing") && { frame: stage.get("frame") }) };
    return START_OF + new URLSearchParams(Object.entries(told));
  }
  let waiting = 0;
  return {
    isThere, read,
    frame: () => (asked().has("frame") ? Math.max(Number.parseInt(asked().get("frame"), 10) || 0, 0) : undefined),
    link: (state, stage) => location.href.split("#")[0] + text(state, stage),
    write(state, stage) { // browsers allow few changes of the address in a short time
      clearTimeout(waiting);
      waiting = setTimeout(() => history.replaceState(null, "", text(state, stage)), 300);
    },
  };
}

/** A button that takes a code as a whole and a slider for a share of it. */
function shareSlider(code, signal, onChange, share) {
  const button = make("button", { type: "button", class: "toggle", style: "--who: var(--c1)", title: `swap the ${code} code` }, code);
  const slider = make("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": `Share of the ${code} code from B` });
  const number = make("output", { class: "clock" });
  button.addEventListener("click", () => onChange(share() === 1 ? 0 : 1), { signal });
  slider.addEventListener("input", () => onChange(Number(slider.value)), { signal });
  return {
    node: make("div", { class: "share" }, button, slider, number),
    set(value) {
      button.setAttribute("aria-pressed", String(value === 1));
      slider.value = value;
      slider.setAttribute("aria-valuetext", blend(value));
      number.textContent = blend(value);
    },
  };
}

/** The walker from above, walking down, with the camera around it; dots are cameras that recorded this walk. */
function cameraDial(signal, onTurn) {
  const node = drawing("", "-76 -76 152 152"), on = (angle, r) => [Math.sin((angle * Math.PI) / 180) * r, Math.cos((angle * Math.PI) / 180) * r];
  node.removeAttribute("aria-hidden");
  for (const [name, value] of Object.entries({ class: "dial", role: "slider", tabindex: 0, "aria-label": "Camera", "aria-valuemin": 0, "aria-valuemax": 359 })) node.setAttribute(name, value);
  const number = make("output", { class: "asked" });
  const figure = make("div", { class: "camera" }, node, number);
  let angle = 0, recorded = [];
  const turn = (to, snaps) => {
    const near = snaps ? recorded.find((other) => Math.abs(difference(other, to)) <= 3) : undefined;
    onTurn(near ?? around(Math.round(to)));
  };
  const point = (event) => {
    const box = node.getBoundingClientRect(), [x, y] = [event.clientX - box.x - box.width / 2, event.clientY - box.y - box.height / 2];
    turn((180 / Math.PI) * Math.atan2(x, y), true);
  };
  node.addEventListener("pointerdown", (event) => { node.setPointerCapture(event.pointerId); node.focus(); point(event); event.preventDefault(); }, { signal });
  node.addEventListener("pointermove", (event) => node.hasPointerCapture(event.pointerId) && point(event), { signal });
  node.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 18, PageDown: -18 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    turn(angle + step, false);
  }, { signal });
  return {
    node: figure,
    set(to, cameras) {
      [angle, recorded] = [to, cameras];
      const dots = cameras.map((a) => { const [x, y] = on(a, 58); return `<circle class="tick" r="3" cx="${x}" cy="${y}"/>`; }).join("");
      const [x, y] = on(angle, 58);
      node.innerHTML = `<circle class="ring" r="58"/><path class="sight" d="M0 0L${x} ${y}"/>${dots}
        <ellipse class="person" rx="17" ry="8"/><circle class="person" r="7"/><path class="way" d="M0 14v20m-6 -7l6 7l6 -7"/>
        <circle class="handle" r="9" cx="${x}" cy="${y}"/>`; // numbers only
      node.setAttribute("aria-valuenow", Math.round(angle));
      node.setAttribute("aria-valuetext", `camera at ${angle} degrees`);
      number.textContent = cameraName(angle);
    },
  };
}

/** The maps of the codes, one a code: show(state) marks A and B. */
function codeMaps(node, { maps, mapped, names, people, conditions, viewOf }, { hover, pick }, signal) {
  const kinds = { person: mapped.map((i) => people[i]), view: mapped.map(viewOf), condition: mapped.map((i) => conditions[i]) };
  const order = Object.fromEntries(Object.entries(kinds).map(([name, labels]) => [name, [...new Set(labels)].sort((a, b) => a - b || (a > b ? 1 : -1))]));
  const colorOf = (by, k) => {
    const place = order[by].indexOf(kinds[by][k]), last = Math.max(order[by].length - 1, 1);
    return last < 4 && by !== "view" ? `var(--c${place})` : `color-mix(in oklch, var(--c0), var(--c1) ${Math.round((100 * place) / last)}%)`;
  };
  const all = CODES.map((code) => {
    const svg = drawing("", "-1.12 -1.12 2.24 2.24"), text = make("figcaption", {}, `${code[0].toUpperCase()}${code.slice(1)} codes`);
    const dots = mapped.map((i, k) => {
      const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      for (const [name, value] of Object.entries({ cx: maps[code][k][0], cy: maps[code][k][1], r: 0.035 })) dot.setAttribute(name, value);
      dot.addEventListener("pointerenter", () => hover(i), { signal });
      dot.addEventListener("click", () => pick(i), { signal });
      svg.append(dot);
      return dot;
    });
    node.append(make("figure", { class: "map" }, text, svg));
    return dots;
  });
  const legend = make("p", { class: "asked legend" });
  node.append(legend);
  return {
    show({ a, b, color }) {
      for (const dots of all) {
        dots.forEach((dot, k) => {
          dot.style.fill = colorOf(color, k);
          dot.setAttribute("class", mapped[k] === a ? "is-a" : mapped[k] === b ? "is-b" : "");
        });
      }
      const few = order[color].length <= 12;
      legend.replaceChildren(...(few ? order[color] : [order[color][0], order[color].at(-1)]).map((label) => {
        const k = kinds[color].indexOf(label);
        return make("span", {}, make("i", { style: `background: ${colorOf(color, k)}` }), color === "view" ? cameraName(label) : color === "person" ? `person ${label}` : label);
      }));
    },
    names,
  };
}
