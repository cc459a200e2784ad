// A text field that filters a list of walks while one types. The page holds only the visible ones, so 10,000 stay fast.

const SHOWN = 60;

/**
 * The node of a picker. onPick(i) is called when a walk is chosen; set(i) shows another one without calling it.
 * search: other words that find an option, one text each.
 */
function makePicker({ label, options, search = [], value, onPick, signal, color }) {
  const id = `walks-${Math.random().toString(36).slice(2, 10)}`;
  const input = make("input", {
    type: "text", role: "combobox", "aria-label": label, "aria-expanded": "false", "aria-autocomplete": "list", "aria-controls": id,
    autocomplete: "off", spellcheck: "false", title: "Type to filter: any parts, in any order",
  });
  const list = make("ul", { id, role: "listbox", "aria-label": label, hidden: "" });
  const name = make("span", { "aria-hidden": "true" }, make("i", { style: `--who: ${color}` }), label);
  const node = make("div", { class: "choice picker" }, name, input, list);
  const lower = options.map((text, i) => `${text} ${search[i] ?? ""}`.toLowerCase());
  let chosen = value, found = [], active = 0;

  function show(text) {
    const parts = text.toLowerCase().split(/\s+/).filter(Boolean);
    found = [];
    let more = 0;
    for (let i = 0; i < lower.length; i++) {
      if (!parts.every((part) => lower[i].includes(part))) continue;
      if (found.length < SHOWN) found.push(i);
      else more++;
    }
    active = Math.max(found.indexOf(chosen), 0);
    const rows = found.map((i, k) => {
      const row = make("li", { role: "option", id: `${id}-${k}`, "aria-selected": String(i === chosen) }, options[i]);
      row.addEventListener("pointerdown", (event) => { event.preventDefault(); pick(i); });
      return row;
    });
    const note = more ? `${more.toLocaleString("en")} more: type to filter` : found.length ? "" : "no walk has this in its name";
    list.replaceChildren(...rows, ...(note ? [make("li", { class: "note", role: "presentation" }, note)] : []));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark(active);
  }
  function mark(k) {
    list.children[active]?.classList.remove("active");
    active = k;
    if (!found.length) return input.removeAttribute("aria-activedescendant");
    list.children[k].classList.add("active");
    list.children[k].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", `${id}-${k}`);
  }
  function close() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    input.value = options[chosen] ?? "";
  }
  function pick(i) {
    const other = i !== chosen;
    chosen = i;
    close();
    if (other) onPick(i);
  }
  const open = () => { if (list.hidden) { input.select(); show(""); } };
  input.addEventListener("focus", open, { signal });
  input.addEventListener("click", open, { signal });
  input.addEventListener("blur", close, { signal });
  input.addEventListener("input", () => show(input.value), { signal });
  input.addEventListener("keydown", (event) => {
    event.stopPropagation(); // the keys of the player
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      if (list.hidden) show("");
      else if (found.length) mark((active + step + found.length) % found.length);
    } else if (event.key === "Enter" && !list.hidden && found.length) pick(found[active]);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  }, { signal });
  close();
  return { node, input, set(i) { chosen = i; close(); } };
}
