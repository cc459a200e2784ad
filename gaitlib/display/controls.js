// The controls of the explorer: sliders for shares of codes, the camera dial, and the code maps.

const cameraName = (view) => (typeof view === "number" ? `camera at ${view}°` : `view ${view}`);
/** The turn from one direction to another, -180 to 180 degrees, rounded to tenths. */
const difference = (to, from) => (around(to - from + 180) || 360) - 180;

/** A button that takes all of a code, and a slider for a share of it. */
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

/** The walker seen from above, walking down the screen, and the camera around it; dots are cameras that recorded the walk. */
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

/** One map per code; show(state) colors the dots and marks A and B. */
function codeMaps(node, { maps, mapped, people, conditions, viewOf }, { hover, pick }, signal) {
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
  };
}
