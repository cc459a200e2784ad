"""Who walks are of: as a table, in sentences, with the walkers side by side, and as a page that also takes further walks."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from gaitlib.data.preprocess import NormalizedWalks, as_poses, opening_windows
from gaitlib.display.embedder import MODULE, embedder_weights, enrolled_people, layouts
from gaitlib.display.identify import gallery_html
from gaitlib.display.player import packed
from gaitlib.evaluation.identification import FEWEST_PEOPLE
from gaitlib.gallery import Answer, Found, Gallery
from gaitlib.reports.html import write_page

#: So many walks are shown; each takes 10 to 40 kB.
SHOWN = 50
NOBODY = "nobody enrolled"


def answers_table(found: Found) -> pd.DataFrame:
    """A row a walk: who it is, how many strangers would come as near, and the likeliest people with their scores."""
    rows = []
    for answer in found.answers:
        row = {"walk": answer.sequence, "who": answer.subject or NOBODY, "strangers this close": in_words(answer.strangers)}
        rows.append(row | {f"{k + 1}.": f"{name} ({round(score)})" for k, (name, score) in enumerate(answer.candidates)})
    return pd.DataFrame(rows).fillna("")


def in_words(share: float) -> str:
    """A share of strangers as one says it, in two digits: "1 in 240"; "not known" for NaN."""
    if np.isnan(share):
        return "not known"
    if share > 0.5:
        return "most"
    return f"1 in {float(f'{1 / share:.2g}'):,.0f}" if share > 1e-6 else "under 1 in a million"


def note(found: Found) -> str:
    """What the answers rest on, in sentences."""
    said = (
        "In brackets are scores: the natural logarithm of how many times likelier the walk is if it is that person's than if it "
        "is somebody else's."
    )
    threshold = f"{found.strangers.score(found.far):.0f}"
    if found.strangers.people < FEWEST_PEOPLE:
        return (
            f"{said} With fewer than {FEWEST_PEOPLE} people enrolled, nobody can tell how often a stranger would be taken for "
            f"one of them; a person is named at a score of {threshold} or more."
        )
    return (
        f"{said} A person is named at a score of {threshold} or more, which about {100 * found.far:.3g} % of strangers reach, as "
        f"measured on {found.strangers.people} of the enrolled people, each compared with a gallery without them."
    )


def limits(found: Found, walks: NormalizedWalks, walk: int, window: int) -> list[str]:
    """What would make the answer about a walk more certain, a sentence each. window: frames that the network sees at once."""
    count, frames, view = np.bincount(found.identifier.person), walks.length[walk], walks.index["view"][walk]
    said = []
    if len(count) < FEWEST_PEOPLE:
        said.append(f"Fewer than {FEWEST_PEOPLE} people are enrolled, too few to tell how near strangers come.")
    if once := int((count < 2).sum()):
        said.append(f"{once} of the {len(count)} people are enrolled with one walk; two or more would show how much theirs vary.")
    if view not in found.identifier.views.index:
        said.append(f"Nobody is enrolled from view {view}; comparisons are most certain within one view.")
    if frames < 2 * window:
        said.append(
            f"The walk has {frames} frames, and the network looks at {window} at a time; {2 * window} or more are better."
        )
    return said


def write_identified(path: Path, gallery: Gallery, walks: NormalizedWalks, found: Found) -> None:
    """Write the page: who was asked about beside the likeliest people, and a place to drop further walks.

    It holds the vectors of the enrolled people, and moments of their walks where these were kept: biometric data.
    """
    player = answers_player(gallery, walks, found.answers)
    weights = embedder_weights(gallery.model, found.identifier)
    payload = json.dumps(
        {"weights": weights, "people": enrolled_people(found.identifier, found.strangers, found.far), "layouts": layouts()},
        allow_nan=False,
    )
    write_page(
        path, "identified.html.j2", found=found, table=answers_table(found), note=note(found), player=Markup(player),
        shown=min(SHOWN, len(walks)), payload=Markup(payload.replace("<", "\\u003c")), module=Markup(MODULE),
    )  # fmt: skip


def answers_player(gallery: Gallery, walks: NormalizedWalks, answers: Sequence[Answer]) -> str:
    """One player with a choice of the walks that were asked about, each beside those of the likeliest people that were kept."""
    asked = as_poses(opening_windows(walks, np.arange(min(SHOWN, len(walks))), gallery.model.window))
    poses, places, probes = list(asked), {}, []
    for i, (answer, view) in enumerate(zip(answers[:SHOWN], walks.index["view"], strict=False)):
        said = f"{answer.subject or NOBODY}; strangers this close: {in_words(answer.strangers)}"
        panels = [_entry(answer.sequence, said, i, 0)]
        for name, score in answer.candidates:
            if (name, view) not in places and (kept := gallery.pose(name, view)) is not None:
                places[name, view] = len(poses)
                poses.append(kept)
            if place := places.get((name, view)):
                panels.append(_entry(name, f"score {round(score)}", place, 2 if name == answer.subject else 1))
        probes.append({"label": answer.sequence, "panels": panels})
    frames, fps = asked.shape[1], float(walks.index["fps"].iloc[0])
    content = {"poses": packed(np.stack(poses)), "frames": frames, "fps": fps, "probes": probes}
    return gallery_html(content)


def _entry(title: str, subtitle: str, place: int, color: int) -> dict:
    return {"title": title, "subtitle": subtitle, "pose": place, "color": color}
