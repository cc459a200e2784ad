// A walk that is dropped on the page, or chosen from a dialog: who it is, worked out here. What was dropped stays on this page.

const LARGEST_FILES = 50e6, LONGEST_WALK = 3000; // bytes, frames: more would keep the page busy for a minute

/** Let `zone` take files. zone: an element with an input and places .answer and .walker; content: { weights, people, layouts }. */
export function takeWalks(zone, { weights, people, layouts }) {
  const input = zone.querySelector("input"), answer = zone.querySelector(".answer"), walker = zone.querySelector(".walker");
  let vectorOf = null;

  async function take(list) {
    walker.replaceChildren();
    answer.textContent = "Reading …";
    try {
      const chosen = [...list];
      if (chosen.reduce((sum, { size }) => sum + size, 0) > LARGEST_FILES) throw new Error("That is more than 50 MB; choose one walk.");
      const files = await Promise.all(chosen.map(async (file) => ({ name: file.name, text: await file.text() })));
      const walk = readWalk(files, layouts);
      if (walk.frames > LONGEST_WALK) throw new Error(`The walk has ${walk.frames} frames; choose one of at most ${LONGEST_WALK}.`);
      vectorOf ??= readEmbedder(weights);
      const scores = scoresOf(vectorOf(walk), people);
      answer.textContent = inWords(scores, people);
      const pose = Array.from(walk.xy, (value) => (Number.isNaN(value) ? null : value));
      const panels = [{ title: files[0].name, subtitle: scores.slice(0, 3).map(({ name, score }) => `${name} ${Math.round(score)}`).join(", "),
        pose, frames: walk.frames, fps: 25 }];
      mount(walker, { ...PLAYER, panels, label: files[0].name });
    } catch (error) {
      answer.textContent = error.message;
    }
  }

  input.addEventListener("change", () => take(input.files));
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take(event.dataTransfer.files);
  });
}

function inWords([best], { threshold, strangers }) {
  const reached = strangers.filter(([score]) => best.score >= score).at(-1);
  const others = reached ? `1 in ${reached[1].toLocaleString("en")} strangers comes this close`
    : strangers.length ? "most strangers come this close" : "how many strangers come this close is not known";
  const said = `score ${Math.round(best.score)}; ${others}`;
  return best.score >= threshold ? `${best.name} (${said})` : `Nobody enrolled (the nearest is ${best.name}, ${said})`;
}
