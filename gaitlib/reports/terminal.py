"""What runs found: as text for a terminal, and as plain values for other programs."""

from collections.abc import Mapping

from tabulate import tabulate

from gaitlib.reports.findings import CONDITIONS
from gaitlib.reports.run import Run
from gaitlib.reports.tables import UNIT
from gaitlib.rounding import with_interval


def headline(metrics: Mapping) -> str:
    """Rank-1 of each probe set beside the hand-made baseline, and how far exchanged views miss the truth.

    metrics: the content of metrics.json. Empty where no rank-1 was measured.
    """
    rank1, ends = metrics.get("rank1") or {}, metrics.get("ci95") or {}
    baseline, people = (metrics.get("baseline") or {}).get("rank1") or {}, (metrics.get("counts") or {}).get("people")
    if not rank1:
        return ""
    rows = [
        [_in_words(name), _share(share, *(ends.get(name) or ())), _share(baseline.get(name))] for name, share in rank1.items()
    ]
    who = f" of {people:,} people not seen in training" if people else ""
    said = [f"Cross-view rank-1{who}, with 95 % intervals:", _aligned(rows, ["", "this model", "hand-made baseline"], texts=1)]
    errors = {name: [value / 100 for value in values] for name, values in (metrics.get("exchange") or {}).items()}
    if {"exchange", "mean_walk"} <= set(errors):
        said.append(
            f"Exchanged views miss the truth by {_share(*errors['exchange'])} of torso length; "
            f"the mean walk of the view misses it by {_share(*errors['mean_walk'])}."
            + (f" Paired by person, the difference is {with_interval(*errors['gain'])} points." if "gain" in errors else "")
        )
    return "\n\n".join(said)


def duration(seconds: float) -> str:
    """Such as "4 min 12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(hours or minutes) + [f"{rest} s"] * (not hours)
    return " ".join(parts)


def listing(sizes: Mapping[Run, str]) -> str:
    """Runs with their sizes, a line each; below, those that cannot be read, and why."""
    rows = [
        [run.name, run.provenance.get("start", "not finished")[:16].replace("T", " "), run.content.get("protocol", ""),
         run.seed, _share(run.validation), _share(run.rank1()), size]
        for run, size in sizes.items() if not run.problem
    ]  # fmt: skip
    head = ["run", "started", "protocol", "seed", "validation", "rank-1", "size"]
    unreadable = [f"{run.name}  unreadable: {run.problem}" for run in sizes if run.problem]
    return "\n".join([*([_aligned(rows, head, texts=3)] if rows else []), *unreadable])


def facts(run: Run) -> dict[str, object]:
    """The same of one run, for JSON: shares between 0 and 1, None for what was not measured."""
    if run.problem:
        return {"name": run.name, "problem": run.problem}
    return {
        "name": run.name, "finished": run.is_finished, "started": run.provenance.get("start"), "seconds": run.seconds,
        "protocol": run.content.get("protocol"), "seed": run.seed, "validation": run.validation,
        "rank1": run.metrics.get("rank1"), "ci95": run.metrics.get("ci95"),
    }  # fmt: skip


def _in_words(probe_set: str) -> str:
    return f"{CONDITIONS[probe_set]} ({probe_set})" if probe_set in CONDITIONS else probe_set


def _share(value: float | None, low: float | None = None, high: float | None = None) -> str:
    return with_interval(value, low, high, unit=UNIT)


def _aligned(rows: list[list], head: list[str], texts: int) -> str:
    """Columns of text on the left, of numbers on the right."""
    align = ["left"] * texts + ["right"] * (len(head) - texts)
    return tabulate(rows, headers=head, tablefmt="plain", disable_numparse=True, colalign=align)
