// "Who is it?": walks beside, or laid over, those of the people they were compared with.

/** Walks with what they were compared with, as panels. */
function readGallery({ poses, frames, fps, probes }) {
  const all = unpacked(poses), walks = new Map();
  const walk = (pose) => {
    if (!walks.has(pose)) {
      const main = track(all.subarray(pose * frames * 30, (pose + 1) * frames * 30), frames, fps);
      walks.set(pose, { main, gait: gaitOf(main) });
    }
    return walks.get(pose);
  };
  return (i) => {
    const panels = probes[i].panels.map(({ pose, ...panel }) => ({ ...panel, ...walk(pose) }));
    return panels.some((panel) => panel.over) ? inStep(panels) : panels;
  };
}

/** Adapt overlaid walks to the pace and phase of the first walk, for one of its gait cycles. */
function inStep(panels) {
  const { frequency, phase } = panels[0].gait;
  if (Number.isNaN(frequency)) return panels;
  return panels.map((panel) => {
    const own = panel.gait, rate = frequency / own.frequency, turns = (own.phase - phase + 1) % 1; // strides
    return { ...panel, gait: undefined, loop: 1 / frequency, ...(panel.over && !Number.isNaN(rate) && { rate, offset: turns / own.frequency }) };
  });
}

function renderGallery({ model, el }) {
  const abort = new AbortController(), { signal } = abort;
  const root = make("div", { class: "gait gait-who", role: "group", "aria-label": model.get("label"), "data-lm-suppress-shortcuts": "true" }, make("style", {}, STYLE));
  const gallery = model.get("gallery"), panelsOf = readGallery(gallery);
  const traits = ["playing", "label", "bones", "left", "right", "box"];
  const stage = plainModel({
    ...Object.fromEntries(traits.map((name) => [name, model.get(name)])), same_scale: true, arrangement: "side by side", frame: 0, speed: 1,
    loop: true, onion: false, trails: false, panels: panelsOf(model.get("choice")), file: gallery.probes[model.get("choice")].label,
  });
  const show = () => {
    const chosen = model.get("choice");
    picker.set(chosen);
    stage.set("file", gallery.probes[chosen].label);
    stage.set("panels", panelsOf(chosen));
  };
  const picker = makePicker({
    label: "Walk", options: gallery.probes.map((p) => p.label), value: model.get("choice"), signal, color: "var(--c0)",
    onPick(i) { model.set("choice", i); model.save_changes(); show(); },
  });
  model.on("change:choice", show);
  const place = make("div", { class: "stage" });
  root.append(make("div", { class: "choices" }, picker.node), place);
  el.append(root);
  const remove = renderPlayer({ model: stage, el: place });
  return () => { abort.abort(); remove(); model.off("change:choice", show); root.remove(); };
}

const KINDS = { player: renderPlayer, exchange: renderExplorer, gallery: renderGallery };

/** Draw what a widget, or a stand-in for one, is: a player, an exchange explorer, or "who is it?". */
const render = (context) => KINDS[context.model.get("kind")](context);

export default { render };
