"""Every table says what metrics.json says, keeps its order and leaves nothing out."""

import numpy as np
import pandas as pd
import pytest

from gaitlib.evaluation.ranking import METRICS, RankMatrix
from gaitlib.reports import tables

VIEWS = ["000", "090", "180"]


def matrix(name, seed):
    """Eight people who have two probes in each view."""
    rng = np.random.default_rng(seed)
    sums = {metric: rng.integers(0, 3, (8, 3, 3)).astype(float) for metric in METRICS}
    return RankMatrix(name, VIEWS, VIEWS, [f"{p:03d}" for p in range(8)], sums, np.full((8, 3, 3), 2), np.zeros((20, 3, 3)))


def test_the_tables_of_a_paper():
    matrices = {name: matrix(name, seed) for seed, name in enumerate(("A_1", "B"))}
    table = tables.paper(matrices)
    assert list(table.columns) == [*VIEWS, "mean"]
    assert table.loc["B", "mean"] == pytest.approx(100 * matrices["B"].mean(), abs=0.06)
    latex, markdown = tables.latex(table), table.to_markdown(floatfmt=".1f")
    for name, row in table.iterrows():
        numbers = [f"{value:.1f}" for value in row]
        assert " & ".join([name.replace("_", r"\_"), *numbers]) in latex
        assert [cell.strip() for cell in next(x for x in markdown.splitlines() if name in x).split("|")[1:-1]] == [name, *numbers]
    assert latex.count(r"\toprule") == 1


def test_tables_keep_order_and_leave_nothing_out():
    rows = [
        {"kind": "input", "name": n, "rank1": {"NM": 0.1, "mean": 0.2}, "rank1_same_view": {"mean": None}, "ci95": [0, 1],
         "difference": [-0.1, -0.2, 0.1]}
        for n in ("nothing changed", "a")
    ]  # fmt: skip
    frame = tables.ablations({"ablations": rows}).texts()
    assert frame.index.get_level_values("Ablation").tolist() == ["nothing changed", "a"]
    assert frame["Same view"].tolist() == ["–", "–"]
    assert frame["Mean"].tolist() == ["20.0\u00a0[0.0,\u00a0100.0]"] * 2
    measures = [
        dict(zip(("code", "name", "value", "low", "high", "chance", "wanted"), row, strict=True))
        for row in (("view", "z", 0.5, 0.4, 0.6, 1, ""), ("body", "z", 0.1, 0.0, 0.2, 1, ""), ("view", "a", 0.3, 0.2, 0.4, 1, ""))
    ]
    wide = tables.scorecard({"scorecard": measures}).wide("Code", "Wanted")
    assert wide.index.tolist() == ["z", "a"]
    assert wide.columns.tolist() == ["view", "body"]
    assert wide.loc["a", "body"] == "–"


def test_a_probe_set_may_be_called_like_a_column():
    names = ["Rank", "95 % low", "95 % high", "mean"]
    table = tables.cmc({"cmc": {name: [0.1, 0.2] for name in names}})
    assert table.kinds == ["text"] + ["share"] * 4
    shown = tables.Table("", "", "", pd.DataFrame([["x", 0.5, 0.25]], columns=["Probe set", "95 % low", "a"])).texts()
    assert shown.reset_index().to_numpy().tolist() == [["x", "50.0", "25.0"]]


def test_a_notebook_shows_names_as_text():
    table = tables.headline({"rank1": {"<b>": 0.5, "mean": 0.5}, "ci95": {"<b>": [0.25, None]}, "counts": {"probes": {"<b>": 4}}})
    assert "&lt;b&gt;" in table._repr_html_()
    assert "<b>" not in table._repr_html_()
    assert table.texts()["Probes"].tolist() == ["4", ""]


def test_only_differences_whose_interval_leaves_out_zero_are_sure():
    rows = [["a", 0.1, 0.05, 0.2], ["b", 0.1, -0.05, 0.2], ["c", -0.1, -0.2, -0.05], ["d", 0.1, None, None]]
    frame = tables.frame_of(rows, ["run"], ["mean", *tables.ENDS])
    for formats, wanted in (({"mean": "points"}, [True, False, True, False]), ({}, [False] * 4)):
        assert [row[1].is_sure for row in tables.Table("", "", "", frame, formats).cells()] == wanted
