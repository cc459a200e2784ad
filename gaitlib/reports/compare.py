"""Runs against each other on one page: differences for the same people, curves, and what was set differently."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from gaitlib import InputError
from gaitlib.config import Config, config_folder, read_yaml, resolve
from gaitlib.data.protocol import Protocol
from gaitlib.display import figures
from gaitlib.evaluation.bootstrap import paired_differences, rank_intervals
from gaitlib.evaluation.embedding import Embeddings
from gaitlib.evaluation.ranking import RankMatrix, pooled, rank_matrix
from gaitlib.evaluation.results import RANKING, with_interval
from gaitlib.reports.html import template, write_page
from gaitlib.reports.run import flat


@dataclass(frozen=True)
class Run:
    """A finished run, or several that differ in the seed and count as one."""

    name: str
    folders: list[Path]

    @classmethod
    def open(cls, text: str) -> "Run":
        """text: a run folder, or several separated by commas. Raises InputError where one was not finished."""
        folders = [Path(part) for part in text.split(",") if part]
        for folder in folders:
            for file in ("embeddings.npz", "metrics.json", "config.yaml", "provenance.json"):
                if not (folder / file).is_file():
                    raise InputError(f"{folder} is no finished run: it holds no {file}; `gaitlib run` makes one.")
        if not folders:
            raise InputError(f"{text!r} names no run folder.")
        return cls(", ".join(folder.resolve().name for folder in folders), folders)

    @cached_property
    def config(self) -> Config:
        path = self.folders[0] / "config.yaml"
        return resolve(read_yaml(path), str(path))

    @cached_property
    def metrics(self) -> list[dict]:
        return [json.loads((folder / "metrics.json").read_text()) for folder in self.folders]

    @cached_property
    def provenance(self) -> dict:
        return json.loads((self.folders[0] / "provenance.json").read_text())

    @cached_property
    def data(self) -> set[str]:
        """Fingerprints of the data sets it was measured on."""
        known = (json.loads((folder / "provenance.json").read_text()) for folder in self.folders)
        return {facts["data_fingerprint"] for facts in known}

    @cached_property
    def matrices(self) -> dict[str, RankMatrix]:
        """Probe set -> what each person scored, all seeds together, from embeddings.npz."""
        known = self.provenance.get("protocol")  # the file may have changed since
        protocol = Protocol(**known) if known else Protocol.load(config_folder() / "protocols" / f"{self.config.protocol}.yaml")
        found = []
        for folder in self.folders:
            embeddings = Embeddings.load(folder / "embeddings.npz")
            gallery, probes = protocol.roles(embeddings.index)
            found.append({name: rank_matrix(embeddings, gallery, rows, name) for name, rows in probes.items()})
        return {name: pooled([matrices[name] for matrices in found]) for name in found[0]}

    @cached_property
    def history(self) -> pd.DataFrame | None:
        path = self.folders[0] / "checkpoint" / "history.csv"
        return pd.read_csv(path) if path.is_file() else None


def compare(texts: Sequence[str], out: str | Path) -> Path:
    """Write the page OUT/index.html that compares runs with the first of them.

    texts: run folders, "A", or several seeds as one, "A-0,A-1,A-2". Raises InputError where fewer than two are given, one is not
    finished, they were measured on other data or other people, or OUT is a run or a grid itself.
    """
    out = Path(out)
    if any((out / file).exists() for file in ("config.yaml", "grid.json")):
        raise InputError(f"{out} is a run or a grid, whose page would be lost; give another --name.")
    runs = [Run.open(text) for text in texts]
    if len(runs) < 2:
        raise InputError("Give two runs or more to compare.")
    if len({run.name for run in runs}) < len(runs):
        raise InputError("The runs to compare must have different names.")
    if len(set().union(*(run.data for run in runs))) > 1:
        raise InputError(
            "The runs were measured on different data sets, in which people of the same name may be others; compare runs on one."
        )
    first, *others = runs
    drawn = {"repeats": first.config.evaluation.bootstrap, "seed": first.config.seed}
    differences = {run.name: paired_differences(run.matrices, first.matrices, **drawn) for run in others}
    sets = [*(name for name in first.matrices if all(name in run.matrices for run in runs)), "mean"]
    ends = {run.name: rank_intervals(run.matrices, **drawn) for run in runs}
    means = {run.name: _means(run, sets) for run in runs}
    bars = pd.DataFrame(
        [[name, run.name, means[run.name][name], *ends[run.name][name]] for name in sets for run in runs],
        columns=["condition", "arm", "rank1", "low", "high"],
    )
    drawings = [figures.rank1_bars(bars), figures.cmc({run.name: _curve(run, sets) for run in runs})]
    histories = {run.name: run.history for run in runs if run.history is not None}
    if histories:
        drawings.append(figures.validation_curves(histories))
    ranks = {run.name: [with_interval(means[run.name][name], *ends[run.name][name]) for name in sets] for run in runs}
    other = {
        measure: [with_interval(_mean_of([m.get(key, {}).get("mean") for m in run.metrics])) for run in runs]
        for key, measure in {"rank1_same_view": "Rank-1, same view", "map": RANKING["map"], "eer": "EER"}.items()
    }
    settings = [dict(flat(run.config.model_dump(mode="json"))) for run in runs]
    facts = [dict(flat({k: v for k, v in run.provenance.items() if k not in ("stage_seconds", "start")})) for run in runs]
    page = template("compare.html.j2").render(
        runs=runs,
        sentence=_sentence(first, others, differences),
        sets=sets,
        ranks=ranks,
        differences={name: [with_interval(*found[s]) for s in sets] for name, found in differences.items()},
        sure={name: [_is_sure(found[s]) for s in sets] for name, found in differences.items()},
        other=other,
        figures=[Markup(figures.embedded(drawing)) for drawing in drawings],
        settings=_differing(settings),
        facts=_differing(facts),
        people=len(first.matrices[sets[0]].people),
    )
    out.mkdir(parents=True, exist_ok=True)
    write_page(out / "index.html", page)
    return out / "index.html"


def _means(run: Run, sets: list[str]) -> dict[str, float]:
    found = {name: run.matrices[name].mean() for name in sets if name != "mean"}
    return {**found, "mean": _mean_of(found.values())}


def _mean_of(values) -> float:
    values = [v for v in values if v is not None and math.isfinite(v)]
    return sum(values) / len(values) if values else float("nan")


def _curve(run: Run, sets: list[str]):
    return sum(run.matrices[name].curve() for name in sets if name != "mean") / (len(sets) - 1)


def _is_sure(difference: list[float]) -> bool:
    """Whether the interval leaves out no difference."""
    _, low, high = difference
    return low > 0 or high < 0


def _sentence(first: Run, others: list[Run], differences: dict) -> str:
    said = []
    for run in others:
        value, low, high = (100 * share for share in differences[run.name]["mean"])
        verb = ("beats" if value > 0 else "loses to") if _is_sure([value, low, high]) else "cannot be told from"
        said.append(f"{run.name} {verb} {first.name} ({value:+.1f} points [{low:+.1f}, {high:+.1f}])")
    return f"Cross-view rank-1, the same people in all runs: {'; '.join(said)}."


def _differing(columns: list[dict]) -> list[tuple[str, list[str]]]:
    """Keys whose values are not the same in all, with those values."""
    keys = dict.fromkeys(key for column in columns for key in column)
    rows = [(key, [str(column.get(key, "–")) for column in columns]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]
