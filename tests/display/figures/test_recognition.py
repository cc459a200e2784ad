import re

import numpy as np
import pandas as pd
import pytest

from gaitlib.display import figures
from gaitlib.evaluation.verification import Scores, detection_error, equal_error_rate

VIEWS = ["000", "054", "090"]


def test_the_rank1_matrix_leaves_the_same_view_out_of_its_means(labeled, texts):
    table = np.array([[1.0, 0.8, 0.6], [0.4, 1.0, 0.2], [0.3, 0.5, 1.0]])
    fig = labeled(figures.rank1_matrix(pd.DataFrame(table, VIEWS, VIEWS), "NM"))
    assert fig.alt.startswith("NM: 46.7 % rank-1")
    shown = texts(fig)
    assert shown[3] == "70"  # probe 000: mean of 80 and 60
    assert shown[4] == "35"  # gallery 000: mean of 40 and 30
    assert shown[-1] == "47"
    ax = fig.axes[0]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("probe view (degrees)", "gallery view (degrees)")
    assert fig.axes[1].get_ylim() == (20, 100)
    assert fig.axes[1].get_ylabel() == "rank-1 (%), colors from 20 to 100; dark is good"
    assert figures.rank1_matrix(pd.DataFrame(table / 5 + 0.8, VIEWS, VIEWS), "NM").axes[1].get_ylim() == (60, 100)
    names = ["left", "right", "front"]
    assert figures.rank1_matrix(pd.DataFrame(table, names, names), "NM").axes[0].get_xlabel() == "gallery view"


def test_cmc_and_bars(labeled, texts):
    fig = labeled(figures.cmc({"baseline": [0.2, 0.4, 0.6], "model": [0.8, 0.9, 1.0]}))
    assert fig.alt.startswith("Model: the right person is nearest in 80.0 % of cases, among the nearest 3 in 100.0 %")
    rows = [("NM", "model", 0.9, 0.8, 0.95), ("CL", "model", 0.5, 0.4, 0.6), ("NM", "baseline", 0.3, np.nan, np.nan)]
    fig = labeled(figures.rank1_bars(pd.DataFrame(rows, columns=["condition", "arm", "rank1", "low", "high"])))
    assert texts(fig) == ["90", "50", "30"]
    assert fig.alt.startswith("Model reaches 70 % rank-1 on average, baseline 30 %")


def test_det_curves_and_histograms_tell_good_scores_from_bad():
    rng = np.random.default_rng(0)
    same = rng.random(4000) < 0.3
    scores = {
        name: Scores((d * same + rng.normal(size=4000)).astype(np.float32), same, np.zeros(4000, int))
        for name, d in (("NM", 3.0), ("CL", 0.5))
    }
    det = figures.det({name: detection_error(s.score, s.same) for name, s in scores.items()})
    errors = [float(share) for share in re.findall(r"(?:NM|CL) ([\d.]+) %", det.alt)]
    assert errors == pytest.approx([100 * equal_error_rate(s.score, s.same) for s in scores.values()], abs=0.051)
    assert det.axes[0].get_title("left").startswith("NM has the lowest")
    alone = figures.det({"CL": detection_error(scores["CL"].score, scores["CL"].same)})
    assert alone.axes[0].get_title("left").startswith("CL has an equal error rate of ")
    assert len(det.axes[0].lines) == 3  # two curves and the diagonal
    histograms = figures.score_histograms(scores)
    overlap = [float(share) for share in re.findall(r"(?:NM|CL) (\d+) %", histograms.alt)]
    assert overlap[0] < 20 < 70 < overlap[1] < 100
    assert figures.score_histograms({"NM": scores["NM"]}).axes  # one panel alone
    assert histograms.alt.startswith(f"Distances within and between people overlap by at most {overlap[1]:.0f} % (CL).")
    assert figures.det({"NM": detection_error(scores["NM"].score, np.zeros(4000, bool))}).axes  # nothing to verify


def test_the_ablation_chart_names_the_worst_change():
    shares = {"nothing changed": 0.9, "one frame kept": 0.3, "frames shuffled": 0.8, "view only": 0.1}
    rows = [("codes" if name == "view only" else "input", name, share) for name, share in shares.items()]
    table = pd.DataFrame(
        [{"kind": k, "name": n, "rank1": {"NM": 1.0, "mean": m}, "ci95": [m - 0.1, m + 0.1]} for k, n, m in rows]
    )
    figure = figures.ablation_chart(table)
    assert figure.alt.startswith("Rank-1 falls from 90 % to 30 % with one frame kept.")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [n for _, n, _ in rows]


def test_rank1_over_an_axis_names_the_highest(labeled):
    rows = [("8", 0.7, 0.66, 0.8), ("0.5", 0.5, 0.45, 0.6), ("1", 0.55, np.nan, np.nan)]
    table = pd.DataFrame(rows, columns=["value", "mean", "low", "high"])
    fig = labeled(figures.rank1_over_axis(table, "loss.view"))
    assert fig.alt.startswith("Mean rank-1 over loss.view is highest at 8 with 70.0 %")
    ax = fig.axes[0]
    assert ax.get_xlabel() == "loss.view"
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0.5, 50], [1, 55], [8, 70]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.5", "1", "8"]
    assert ax.get_ylim() == (43, 82)


def test_rank1_against_costs_says_only_what_is_known(labeled):
    costs = ["parameters", "training minutes", "ms a walk"]
    rows = [("ours", 0.9, 0.8, 0.95, 2e5, 12.0, np.nan), ("theirs", 0.7, 0.6, 0.8, 13e6, np.nan, np.nan)]
    fig = labeled(figures.rank1_against_cost(pd.DataFrame(rows, columns=["name", "mean", "low", "high", *costs])))
    assert fig.alt.startswith("ours recognizes best, 90.0 % on average")
    assert fig.alt.endswith("200,000 parameters, 12.0 training minutes; theirs 70.0 % (60.0 to 80.0), 13,000,000 parameters.")
    assert [ax.get_xlabel() for ax in fig.axes] == costs[:2]
    np.testing.assert_allclose([line.get_xydata()[0] for line in fig.axes[0].lines[::3]], [[2e5, 90], [13e6, 70]])


def test_all_names_of_a_comparison_of_costs_fit_below_it():
    rows = [
        (f"network {name}", 0.5, 0.4, 0.6, 1e6)
        for name in ("beyond", "gaitgraph", "gaittr", "gaitmixer", "gpgait", "skeletongait")
    ]
    fig = figures.rank1_against_cost(pd.DataFrame(rows, columns=["name", "mean", "low", "high", "parameters"]))
    fig.draw_without_rendering()
    legend = fig.legends[0].get_window_extent()
    assert legend.x0 >= 0
    assert legend.x1 <= fig.bbox.width


def test_a_heat_map_of_rank1_is_blank_where_nothing_was_measured(labeled, texts):
    shares = pd.DataFrame([[0.5, 0.61, np.nan], [0.4, 0.3, 0.2]], ["gated", "paper"], ["1", "2", "10"])
    shares = shares.rename_axis(index="model.decoder", columns="loss.view")
    fig = labeled(figures.rank1_heat_map(shares))
    assert texts(fig) == ["50.0", "61.0", "40.0", "30.0", "20.0"]
    assert fig.alt.startswith("Mean rank-1 is highest with model.decoder gated, loss.view 2: 61.0 %.")
    cells = fig.axes[0].collections[0]
    assert cells.get_array().mask.tolist() == [[False, False, True], [False, False, False]]
    reds = cells.to_rgba(np.array([61.0, 50, 40, 30, 20]))[:, 0]
    assert reds.argsort().tolist() == [0, 1, 2, 3, 4]  # the higher, the less red
