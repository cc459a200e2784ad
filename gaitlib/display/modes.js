// The modes of the explorer: which walkers each of them shows.

const MODES = {
  camera: ["Camera", "Drag the camera around the walker. Dotted: what a camera recorded from there; off: the mean joint distance in % of torso length."],
  exchange: ["Exchange", "Take the view, the body or the motion of walk B, all of it or a share. Dotted: the recording, where there is one; off: the mean joint distance in % of torso length."],
  grid: ["Grid", "Each row shows the body of another person. Click a walker to enlarge it; dotted: the recording, where there is one."],
  map: ["Code map", "Each dot is the code of a walk, on its first two principal components. Point at one to see it walk; click to take it as A or B."],
};

/** The state as its mode uses it: in camera mode nothing is taken from B. */
const asSeen = (state) => (state.mode === "camera" ? { ...state, view: 0, body: 0, motion: 0 } : state);

/** The walks of a grid: three people, and as many cameras or motions. has(i): whether a walk can be shown. */
function gridWalks(exchange, { a, b, columns }, has) {
  const { people, takes, performances } = exchange, all = people.map((_, i) => i).filter(has);
  const like = (person) => {
    const own = all.filter((i) => people[i] === person);
    return person === people[a] ? a : own.find((i) => takes[i] === takes[a]) ?? own[0];
  };
  const rows = [...new Set([a, b, ...all].map((i) => people[i]))].slice(0, 3).map(like);
  const seen = all.filter((i) => performances[i] === performances[a]);
  const views = seen.length < 3 ? [a, ...seen.filter((i) => i !== a)] : [0, 0.5, 1].map((share) => seen[Math.round(share * (seen.length - 1))]);
  return { rows, columns: columns === "view" ? views : rows };
}

function gridPanels(exchange, state, has) {
  const { a, columns } = state, grid = gridWalks(exchange, state, has), { people } = exchange;
  const cells = grid.rows.flatMap((row) => grid.columns.map((column) => {
    const motion = columns === "motion" ? column : a, view = columns === "view" ? column : a;
    const codes = { motion: [motion, motion, 0], body: [row, row, 0], view: [view, view, 0] };
    const truth = people[row] === people[motion] ? exchange.recorded({ a: motion, b: view, view: 1, body: 0, motion: 0 }) : undefined;
    const other = columns === "view" ? cameraName(exchange.viewOf(view)) : `motion of person ${people[motion]}`;
    const panel = exchange.decodedPanel(codes, `Body of person ${people[row]}`, other, truth);
    const subtitle = panel.truth ? `${other}: ${panel.answer}` : other;
    return { ...panel, subtitle, answer: undefined, result: undefined, gait: undefined };
  }));
  const { loop } = cells[0], shown = state.enlarged < 0 ? cells : [cells[state.enlarged % cells.length]];
  return shown.map((cell) => ({ ...cell, loop })); // in step
}

const PANELS = {
  camera(exchange, state) {
    const off = `${exchange.reconstruction(state.a).toFixed(1)} % off when decoded from here`, camera = cameraName(exchange.cameraOf(state));
    return [{ ...exchange.walkPanel(state.a, "Recorded", 0), answer: off }, exchange.statePanel(state, "Decoded", camera)];
  },
  exchange(exchange, state) {
    const camera = state.turn ? cameraName(exchange.cameraOf(state)) : "";
    return [exchange.walkPanel(state.a, "A", 0), exchange.walkPanel(state.b, "B", 1), exchange.exchangePanel(state, "Exchange", camera)];
  },
  grid: gridPanels,
  map(exchange, { a, b, hovered }) {
    const pointed = hovered === undefined ? [] : [exchange.walkPanel(hovered, "Under the pointer", 2)];
    return [exchange.walkPanel(a, "A", 0), exchange.walkPanel(b, "B", 1), ...pointed];
  },
};

/** The panels of a state. */
const panelsOf = (exchange, state, has) => PANELS[state.mode](exchange, asSeen(state), has);

/** The walks of a state that are not loaded: those needed to show anything, and recordings to compare with. */
function absentWalks(exchange, state, has) {
  const { a, b, mode } = state, grid = mode === "grid" ? gridWalks(exchange, state, has) : { rows: [], columns: [] };
  const absent = (walks) => walks.filter((i) => i !== undefined && !exchange.has(i));
  return { walks: absent([a, b, ...grid.rows, ...grid.columns]), recordings: absent([exchange.recorded(asSeen(state))]) };
}
