"""The tables of an evaluation say what its parts measured."""

import math

import numpy as np
import pandas as pd
import pytest

from gaitlib.evaluation.embedding import Embeddings
from gaitlib.evaluation.results import ablation_frame, evaluate, scorecard_frame, with_interval
from gaitlib.rounding import half_up, percent


@pytest.fixture(scope="module")
def evaluation():
    rows = [(f"{p:03d}", v, r) for p in range(8) for v in ("000", "090", "180") for r in range(4)]
    index = pd.DataFrame(rows, columns=["subject", "view", "run"])
    index["sequence"] = [f"{p}-{r}-{v}" for p, v, r in rows]
    rng = np.random.default_rng(0)
    person = pd.factorize(index["subject"])[0]
    values = (rng.normal(size=(8, 5))[person] + 0.8 * rng.normal(size=(len(index), 5))).astype(np.float32)
    noise = rng.normal(size=values.shape).astype(np.float32)
    gallery = (index["run"] < 2).to_numpy()
    return evaluate(
        Embeddings(values, index), Embeddings(noise, index), gallery, {"A_1": ~gallery & (index["run"] == 2).to_numpy(),
        "B": (index["run"] == 3).to_numpy()}, repeats=100,
    )  # fmt: skip


def test_what_is_said_twice_is_the_same(evaluation):
    m = evaluation.metrics
    assert m["rank1"]["mean"] == pytest.approx((m["rank1"]["A_1"] + m["rank1"]["B"]) / 2)
    for name in ("A_1", "B"):
        value, low, high = m["ranking"]["single view"][name]["rank1"]
        assert (value, [low, high]) == (m["rank1"][name], m["ci95"][name])
        assert m["over_baseline"][name][0] == pytest.approx(value - m["baseline"]["rank1"][name])
    assert m["over_baseline"]["mean"][1] > 0  # noise is beaten
    subjects = pd.DataFrame(m["subjects"]).T
    assert subjects["A_1"].mean() == pytest.approx(m["rank1"]["A_1"])  # all have as many probes
    assert subjects["mean"].is_monotonic_increasing


def test_the_tables_of_a_paper(evaluation):
    table = evaluation.paper_frame()
    assert list(table.columns) == ["000", "090", "180", "mean"]
    np.testing.assert_allclose(table["mean"], table[["000", "090", "180"]].mean(axis=1))
    latex, markdown = evaluation.to_latex(), evaluation.to_markdown()
    for name, row in table.iterrows():
        numbers = [f"{value:.1f}" for value in row]
        assert " & ".join([name.replace("_", r"\_"), *numbers]) in latex
        assert [cell.strip() for cell in next(x for x in markdown.splitlines() if name in x).split("|")[1:-1]] == [name, *numbers]
    assert latex.count(r"\toprule") == 1


def test_shares_with_their_intervals():
    assert with_interval(0.953, 0.912, 0.984).replace("\u00a0", " ") == "95.3 [91.2, 98.4]"
    assert with_interval(0.5) == with_interval(0.5, None, None) == with_interval(0.5, float("nan"), 0.6) == "50.0"
    assert with_interval(None) == with_interval(float("nan"), 0, 1) == "–"


def test_tables_keep_order_and_leave_nothing_out():
    rows = [
        {"kind": "input", "name": n, "rank1": {"NM": 0.1, "mean": 0.2}, "rank1_same_view": {"mean": None}, "ci95": [0, 1],
         "difference": [-0.1, -0.2, 0.1]}
        for n in ("nothing changed", "a")
    ]  # fmt: skip
    frame = ablation_frame(pd.DataFrame(rows))
    assert frame.index.tolist() == ["nothing changed", "a"]
    assert frame["same view"].tolist() == ["–", "–"]
    measures = pd.DataFrame(
        [["view", "z", 0.5, 0.4, 0.6, 1, ""], ["body", "z", 0.1, 0.0, 0.2, 1, ""], ["view", "a", 0.3, 0.2, 0.4, 1, ""]],
        columns=["code", "name", "value", "low", "high", "chance", "wanted"],
    )
    frame = scorecard_frame(measures)
    assert frame.index.tolist() == ["z", "a"]
    assert frame.columns.tolist() == ["view", "body"]
    assert frame.loc["a", "body"] == "–"


@pytest.mark.parametrize(
    ("number", "digits", "wanted"),
    [
        (92.25, 1, 92.3), (97.75, 1, 97.8), (-11.45, 1, -11.5), (92.5, 0, 93.0), (100 * 0.8625, 1, 86.3),
        (100 * 0.922499999, 1, 92.2), (0.9225, 3, 0.923), (1e-12, 1, 0.0), (100.0, 1, 100.0),
    ],
)  # fmt: skip
def test_halves_are_rounded_as_spreadsheets_do(number, digits, wanted):
    assert half_up(number, digits) == wanted
    assert percent(number / 100, digits) == f"{wanted:.{digits}f}"
    assert math.isnan(half_up(float("nan"), digits))
    assert with_interval(0.9225, 0.86250, 0.97749) == "92.3\u00a0[86.3,\u00a097.7]"
