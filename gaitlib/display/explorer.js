// The exchange explorer, in JupyterLab and in pages alike; the decoder runs here. Pages hold a few walks. In JupyterLab the kernel
// sends others; without a kernel, those that are loaded still work.

const START = { view: 0, body: 0, motion: 0, turn: 0, columns: "view", enlarged: -1, color: "person" };

function renderExplorer({ model, el }) {
  const abort = new AbortController(), { signal } = abort;
  const root = make("div", { class: "gait gait-explorer", role: "group", "aria-label": model.get("label"), "data-lm-suppress-shortcuts": "true" });
  if (!el.closest(".gait")) root.append(make("style", {}, STYLE));
  const note = make("p", { class: "kernel", role: "status", hidden: "" });
  root.append(note);
  el.append(root);
  const explorer = fillExplorer(root, model, readExchange(model.get("exchange")), signal, (i) => model.send({ want: i }));
  const disconnected = () => {
    note.textContent = "The kernel has stopped or was restarted. Walks that are loaded can still be explored; run the cell again for all others.";
    note.hidden = false;
    explorer.disconnect((name) => { note.textContent = `${name} is not loaded; run the cell again to see it.`; });
  };
  const hear = ({ walk, codes }) => explorer.arrived(walk, codes);
  const follow = () => explorer.show(model.get("choice"));
  const events = { "msg:custom": hear, comm_live_update: disconnected, "change:choice": follow };
  for (const [event, react] of Object.entries(events)) model.on(event, react);
  return () => {
    abort.abort();
    explorer.remove();
    for (const [event, react] of Object.entries(events)) model.off(event, react);
    root.remove();
  };
}

/** Build the explorer in `root`; ask(i) requests a walk that is not loaded. */
function fillExplorer(root, model, exchange, signal, ask) {
  const { names, keys } = exchange, hasCamera = exchange.decoder.kind === "geometric";
  const address = model.get("is_page") && document.querySelector(".gait-explorer") === root ? exchangeAddress(exchange) : null;
  const start = { ...START, ...exchange.start }, hint = make("p", { class: "hint" });
  const asked = new Set();
  let state = { ...start, ...model.get("choice"), ...address?.read() }, connected = true, tell = null, last = "";
  let hovered, taking = "a";
  const has = (i) => connected || exchange.has(i);

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
  const dial = cameraDial(signal, (angle) => change({ turn: difference(angle, exchange.cameraOf({ ...asSeen(state), turn: 0 })) }));
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
    const walks = names.map((_, i) => i).filter(has), any = (list) => list[Math.floor(Math.random() * list.length)];
    const a = any(walks), others = walks.filter((i) => exchange.people[i] !== exchange.people[a] && exchange.viewOf(i) !== exchange.viewOf(a));
    const taken = Object.fromEntries(CODES.map((code) => [code, any([0, 0, 0.5, 1])]));
    change({ a, b: any(others.length ? others : walks), ...taken, turn: 0, [any(CODES)]: 1 });
  }

  // ---- what is shown
  let request = 0;
  const refresh = () => { request ||= requestAnimationFrame(draw); };
  function draw() {
    request = 0;
    const { walks, recordings } = absentWalks(exchange, state, has);
    for (const i of connected ? [...walks, ...recordings] : []) {
      if (!asked.has(i)) ask(i);
      asked.add(i);
    }
    if (walks.length) return; // until they arrive
    const matrix = state.mode === "grid" && state.enlarged < 0;
    stage.set("pick", state.mode === "grid" ? (i) => change({ enlarged: matrix ? i : -1 }) : null);
    stage.set("columns", matrix ? gridWalks(exchange, state, has).columns.length : 0);
    stage.set("file", [state.mode, keys[state.a], state.mode === "camera" ? `camera-${exchange.cameraOf(asSeen(state))}` : keys[state.b]].join(" "));
    stage.set("panels", panelsOf(exchange, { ...state, hovered }, has));
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
      dial.set(exchange.cameraOf(asSeen(state)), seen.map((i) => around(exchange.angles[i])));
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

/** The state as a line of Python for the notebook. */
function asCode({ a, b, view, body, motion, turn }, keys) {
  const taken = `view=${view}, body=${body}, motion=${motion}${turn ? `, turn=${turn}` : ""}`;
  return `explorer.show(${JSON.stringify(keys[a])}, ${JSON.stringify(keys[b])}, ${taken})`;
}

/** Keeps the state in the address of the page, #explorer?mode=..., so that a link shows the same thing. */
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
