"""What a run found, in sentences as strong as its numbers: the first screen of its page, and the findings below."""

from collections.abc import Mapping
from math import isnan
from typing import NamedTuple

from gaitlib.reports.tables import bars, totals
from gaitlib.rounding import UNIT, percent, with_interval

TITLE = "Recognizing people by how they walk"
#: Probe sets that gait research abbreviates, in words.
CONDITIONS = {"NM": "normal walking", "BG": "carrying a bag", "CL": "wearing a coat"}
#: Probe sets that have a tile on the first screen.
MOST_TILES = 4


class Tile(NamedTuple):
    """One probe set: its name in words, rank-1, its 95 % interval and the baseline; "" where one is not known."""

    title: str
    rank1: str
    interval: str
    baseline: str


def lead(metrics: Mapping, provenance: Mapping) -> str:
    """What was done, and on whom. Of those it learned from only the number is known: they may be of another data set."""
    counts, data = metrics.get("counts") or {}, provenance.get("data") or {}
    if not metrics.get("rank1"):
        return "This run has not measured yet how well it recognizes anybody."
    learned, tested = (f"{counts[key]:,} " if counts.get(key) else "" for key in ("training_people", "people"))
    whom = "simulated walkers" if data.get("synthetic") else f"people of {data['name']}" if data.get("name") else "people"
    return (
        f"A neural network learned from the stick figures of {learned}walkers, then had to recognize {tested}{whom} it had never "
        "seen, across camera directions."
    )


def tiles(metrics: Mapping) -> list[Tile]:
    """The first probe sets, at most MOST_TILES, without the mean."""
    shown = bars(metrics)
    found = []
    for bar in shown[:-1] if len(shown) > 1 else shown:
        title = CONDITIONS.get(bar["name"], bar["name"])
        rank1, baseline = ("" if isnan(bar[key]) else f"{percent(bar[key])}{UNIT}" for key in ("value", "baseline"))
        interval = "" if isnan(bar["low"] + bar["high"]) else f"[{percent(bar['low'])},\u00a0{percent(bar['high'])}]"
        found.append(Tile(title[:1].upper() + title[1:], rank1, interval, baseline))
    return found[:MOST_TILES]


def legend(metrics: Mapping, provenance: Mapping) -> dict[str, str]:
    """What the words of the tiles mean."""
    people = totals(metrics).get("People", 0)
    guessing = f" Guessing would reach {percent(1 / people)}{UNIT}." if people else ""
    enrolled = ((provenance.get("protocol") or {}).get("gallery") or {}).get("condition")
    known = {name: CONDITIONS[name] for name in metrics.get("rank1") or {} if name in CONDITIONS}
    meaning = {
        "Rank-1": f"how often the nearest enrolled walk belongs to the right person; in brackets a 95 % interval.{guessing}",
        "Cross-view": "a walk is compared only with enrolled walks seen from other directions.",
        "Baseline": "the same comparison without a network, by the mean and spread of the joint positions.",
    }
    if known:
        who = " Everybody is enrolled with normal walks." if enrolled in ("nm", ["nm"]) else ""
        meaning[", ".join(known)] = f"{', '.join(known.values())}.{who}"
    return meaning


def findings(metrics: Mapping) -> list[str]:
    """What was found, a few sentences each; nothing that was not measured."""
    return [said for find in (_recognition, _ablations, _exchange, _codes) if (said := find(metrics))]


def _points(difference: list[float]) -> str:
    """A paired difference of shares as points with its interval, without its sign."""
    value, *ends = difference
    ends = sorted(map(abs, ends)) if ends[0] * ends[1] > 0 else ends
    return f"{percent(abs(value))}\u00a0points [{percent(ends[0])},\u00a0{percent(ends[1])}]"


def _is_sure(difference: list[float] | None) -> bool:
    """Whether the interval of a difference is known and leaves out zero."""
    return bool(difference) and None not in difference and difference[1] * difference[2] > 0


def _recognition(metrics: Mapping) -> str:
    rank1, baseline = ((part.get("rank1") or {}).get("mean") for part in (metrics, metrics.get("baseline") or {}))
    gain = (metrics.get("over_baseline") or {}).get("mean")
    if rank1 is None or baseline is None or not gain or None in gain:
        return ""
    both = f"Averaged over all probe sets, rank-1 is {percent(rank1)}{UNIT}, and {percent(baseline)}{UNIT} for the baseline."
    if not _is_sure(gain):
        return f"{both} Paired by person, the two cannot be told apart: {with_interval(*gain, sign='+')} points."
    return f"{both} Paired by person, the network {'gains' if gain[0] > 0 else 'loses'} {_points(gain)}."


def _ablations(metrics: Mapping) -> str:
    changed = [row for row in metrics.get("ablations") or [] if row["kind"] == "input" and _is_sure(row["difference"])]
    costs = sorted((row for row in changed if row["difference"][0] < 0), key=lambda row: row["difference"][0])
    if not costs:
        return ""
    each = ", ".join(f"{row['name']} ({_points(row['difference'])})" for row in costs[:3])
    return f"The changes of the input that cost the trained network most: {each}."


def _exchange(metrics: Mapping) -> str:
    """Errors are in % of the torso length."""
    found = metrics.get("exchange") or {}
    if None in (found.get("exchange") or [None]):
        return ""

    def off(guess: str) -> str:
        return with_interval(*(value / 100 for value in found[guess]), unit=UNIT)

    said = f"With its view exchanged, a walk misses what the other camera saw by {off('exchange')} of the torso length"
    said += f"; left unchanged, it misses by {off('copy')}." if None not in (found.get("copy") or [None]) else "."
    gain = found.get("gain")
    if not gain or None in gain:
        return said
    gain = [value / 100 for value in gain]
    mean = f"the mean walk of that view ({off('mean_walk')})"
    if not _is_sure(gain):
        return f"{said} Paired by person, it cannot be told from {mean}: {with_interval(*gain, sign='+')} points."
    return f"{said} Paired by person, it is {_points(gain)} {'better' if gain[0] > 0 else 'worse'} than {mean}."


def _codes(metrics: Mapping) -> str:
    """What linear classifiers read from codes that should not hold it, beside what the nearest neighbors see of that."""
    rows = metrics.get("scorecard") or []
    near = {(row["code"], row["name"].partition(",")[0]): row for row in rows if row["name"].endswith(", nearest-neighbor probe")}
    asked = [
        (target, row, near[row["code"], target])
        for row in rows
        for target, _, kind in [row["name"].partition(", ")]
        if kind == "linear probe" and row["wanted"] == "low" and row["low"] is not None and (row["code"], target) in near
    ]
    if not asked:
        return ""
    leaks = [
        f"the {target} from the {row['code']} code ({percent(row['value'], 0)}{UNIT}; nearest neighbors "
        f"{percent(neighbors['value'], 0)}{UNIT}, chance {percent(row['chance'], 0)}{UNIT})"
        for target, row, neighbors in asked
        if row["low"] > row["chance"]
    ]
    if not leaks:
        return "Linear classifiers read nothing better than chance from codes that should not hold it."
    return f"The codes are not fully separated: linear classifiers still read {' and '.join(leaks)}."
