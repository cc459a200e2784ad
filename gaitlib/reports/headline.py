"""The headline table, as the Excel file and the pages show it: one row a probe set, from metrics.json."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HeadlineRow:
    """One probe set. All numbers are shares 0..1; None = not measured.

    name: the protocol's name of the probe set, or "mean".
    rank1, low, high: cross-view rank-1 and its 95 % interval. same_view: rank-1 with probe and gallery seen alike.
    map, eer: mean average precision and equal error rate.
    baseline, baseline_same_view: rank-1 of the hand-made baseline.
    counts: what was counted for this probe set, {"probes": 60, ...}; empty for the mean.
    """

    name: str
    rank1: float | None
    low: float | None
    high: float | None
    same_view: float | None
    map: float | None
    eer: float | None
    baseline: float | None
    baseline_same_view: float | None
    counts: dict[str, int] = field(default_factory=dict)


def headline(metrics: Mapping) -> list[HeadlineRow]:
    """The rows of the headline table in the protocol's order, the mean last.

    metrics: the content of metrics.json; keys that are missing, None or NaN become None.
    """
    rank1 = metrics.get("rank1") or {}
    names = [name for name in rank1 if name != "mean"] + ["mean"] * ("mean" in rank1)
    baseline = metrics.get("baseline") or {}
    rows = []
    for name in names:
        low, high = ((metrics.get("ci95") or {}).get(name) or (None, None))[:2]
        rows.append(
            HeadlineRow(
                name=name,
                rank1=_number(rank1[name]),
                low=_number(low),
                high=_number(high),
                same_view=_entry(metrics, "rank1_same_view", name),
                map=_entry(metrics, "map", name),
                eer=_entry(metrics, "eer", name),
                baseline=_entry(baseline, "rank1", name),
                baseline_same_view=_entry(baseline, "rank1_same_view", name),
                counts={} if name == "mean" else _counts(metrics, name),
            )
        )
    return rows


def totals(metrics: Mapping) -> dict[str, int]:
    """The counts that belong to no single probe set: {"people": 20, "gallery": 80}."""
    return {key: n for key, n in (metrics.get("counts") or {}).items() if _number(n) is not None}


def people(metrics: Mapping) -> int | None:
    """How many people were to be recognized, where the counts say so."""
    return totals(metrics).get("people")


def _counts(metrics: Mapping, name: str) -> dict[str, int]:
    counts = metrics.get("counts") or {}
    return {key: by_set[name] for key, by_set in counts.items() if isinstance(by_set, Mapping) and name in by_set}


def _entry(metrics: Mapping, key: str, name: str) -> float | None:
    value = metrics.get(key)
    return _number(value.get(name)) if isinstance(value, Mapping) else None


def _number(value) -> float | None:
    if isinstance(value, (bool, str, Mapping, list, tuple)) or value is None or not math.isfinite(value):
        return None
    return value
