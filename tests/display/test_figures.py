import re
import xml.etree.ElementTree as ElementTree
from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from gaitlib import InputError
from gaitlib.data.dataset import Walk, write_dataset
from gaitlib.display import figures
from gaitlib.evaluation.verification import Scores, detection_error, equal_error_rate
from gaitlib.poses.inspect import Inspection, inspect
from gaitlib.skeleton import JOINTS

VIEWS = ["000", "054", "090"]


def texts(fig):
    return [t.get_text() for ax in fig.axes for t in ax.texts]


def labeled(fig):
    """Every figure has a statement, labeled axes and a text alternative."""
    assert isinstance(fig, Figure)
    assert len(fig.alt) > 20
    assert any(ax.get_title(loc="left") for ax in fig.axes) or fig._suptitle is not None
    assert all(ax.get_xlabel() or ax.get_ylabel() for ax in fig.axes)
    return fig


def test_a_strip_draws_one_of_five_frames(walker):
    fig = labeled(figures.skeleton_strip({"original": walker(54), "exchanged": walker(0)}, every=5))
    assert len(fig.axes[0].lines) == 2 * 13 * 14
    assert [t.get_text() for t in fig.axes[0].get_xticklabels()][:3] == ["0", "5", "10"]
    assert texts(fig) == ["original", "exchanged"]


def test_a_strip_takes_missing_joints_and_refuses_other_shapes(walker):
    pose = walker()
    pose[5:20, 4] = np.nan
    labeled(figures.skeleton_strip(pose))
    with pytest.raises(InputError, match="a pose is"):
        figures.skeleton_strip(np.zeros((64, 30)))


def test_letters_are_looked_for_in_other_fonts_that_are_installed(monkeypatch, recwarn, walker):
    """U+20DD is in STIXGeneral, which matplotlib brings, and not in DejaVu Sans."""

    def missing(*fonts):
        monkeypatch.setattr(figures, "OTHER_FONTS", fonts)
        figures._style.cache_clear()
        fig = figures.skeleton_strip({"a\u20dd": walker()})
        figures.show(fig)
        return [w for w in (str(recwarn.pop().message) for _ in range(len(recwarn))) if "missing from" in w or "not found" in w]

    try:
        assert missing("No Such Font", "STIXGeneral") == []
        assert missing("No Such Font")
    finally:
        figures._style.cache_clear()


def test_motion_maps_share_one_color_bar_and_state_the_ratio():
    a = np.zeros((128, 64))
    fig = labeled(figures.motion_difference_maps(a, a - 0.5, a + 1.5))
    left, right = (ax.images[0] for ax in fig.axes[:2])
    assert left.get_clim() == right.get_clim() == (0, 1.5)
    assert (left.get_array() == 0.5).all()
    assert "3.0 times" in fig.alt


def test_code_rows_say_whether_the_codes_are_separated():
    one, two = np.zeros(128), np.ones(128)
    assert labeled(figures.code_rows([one, one, two], [one, two, one])).alt.startswith("Body codes follow the person")
    assert figures.code_rows([one, two, one], [one, two, one]).alt.startswith("Body and view codes are not separated")


def test_the_rank1_matrix_leaves_the_same_view_out_of_its_means():
    table = np.array([[1.0, 0.8, 0.6], [0.4, 1.0, 0.2], [0.3, 0.5, 1.0]])
    fig = labeled(figures.rank1_matrix(table, VIEWS, condition="NM"))
    assert fig.alt.startswith("NM: 46.7 % rank-1")
    shown = texts(fig)
    assert shown[3] == "70"  # probe 000: mean of 80 and 60
    assert shown[4] == "35"  # gallery 000: mean of 40 and 30
    assert shown[-1] == "47"
    ax = fig.axes[0]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("probe view (degrees)", "gallery view (degrees)")
    with pytest.raises(InputError, match=r"\[2,2\]"):
        figures.rank1_matrix(table, ["a", "b"])
    assert figures.rank1_matrix(table, ["left", "right", "front"]).axes[0].get_xlabel() == "gallery view"


def test_training_curves_ring_the_best_iteration():
    history = pd.DataFrame(
        {
            "iteration": [1, 100, 200, 300],
            "reconstruction": [9.0, 3, 1, 0.5],
            "view_swap": [8.0, 2, 1, 0],
            "validation_rank1": [np.nan, 0.5, 0.8, 0.7],
        }
    )
    fig = labeled(figures.training_curves(history))
    assert "80.0 % at iteration 200" in fig.alt
    assert [line.get_label() for line in fig.axes[0].lines] == ["reconstruction", "view swap"]
    figures.training_curves(history.drop(columns="validation_rank1"))
    fig = labeled(figures.training_curves(history.rename(columns={"validation_rank1": "validation_rank1_same_view"})))
    assert "Validation rank-1 same view is best with 80.0 % at iteration 200" in fig.alt
    assert len(fig.axes[0].lines) == 2  # it is no loss


def inspection_of(rows):
    walks = pd.DataFrame(rows, columns=["subject", "condition", "view"])
    return Inspection("few", walks, pd.DataFrame(), pd.DataFrame(), [])


def test_missing_cells_are_counted_by_condition_and_binned_where_there_are_many():
    rows = [(f"{s:03d}", c, v) for s in range(300) for c, n in (("bg", 1), ("nm", 2)) for v in VIEWS for _ in range(n)]
    full = labeled(figures.missing_cells(inspection_of(rows)))
    assert full.alt.startswith("All 1,800 subject-condition-view cells are full")
    assert texts(full) == ["nm (2)", "bg (1)"]
    rows.remove(("008", "nm", "000"))
    fig = figures.missing_cells(inspection_of([row for row in rows if row != ("007", "nm", "054")]))
    assert fig.alt.startswith("2 of 1,800 subject-condition-view cells lack walks, 1 have none")
    assert fig.axes[0].images[0].get_array().shape == (100, 6)
    assert "3 a row" in fig.axes[0].get_ylabel()


def test_a_missing_cell_is_hatched():
    rows = [(s, "", v) for s in ("1", "2", "3") for v in VIEWS if (s, v) != ("2", "090")]
    fig = labeled(figures.missing_cells(inspection_of(rows)))
    assert fig.alt.startswith("1 of 9 subject-view cells have no walk")
    assert [(p.get_x(), p.get_y()) for p in fig.axes[0].patches] == [(1.5, 0.5)]
    assert texts(fig) == []


def test_missing_cells_one_above_the_other_are_one_patch():
    rows = [(s, "", v) for s in "12345" for v in VIEWS if (s, v) not in {("1", "000"), ("3", "000"), ("4", "000"), ("5", "090")}]
    fig = labeled(figures.missing_cells(inspection_of(rows)))
    found = [(p.get_x(), p.get_y(), p.get_height()) for p in fig.axes[0].patches]
    assert found == [(-0.5, -0.5, 1), (-0.5, 1.5, 2), (1.5, 3.5, 1)]


def test_walk_lengths_count_the_short_ones():
    fig = labeled(figures.walk_lengths([40, 63, 64, 65, 120], window=64))
    assert fig.alt.startswith("2 of 5 walks are shorter")
    assert sum(p.get_height() for p in fig.axes[0].patches) == 5


def test_missing_joints_by_view(tmp_path, walker):
    holes = walker(frames=20)
    holes[:5, JOINTS.index("left_wrist")] = np.nan
    walks = [
        Walk(pose, np.ones((20, 15), np.float32), 25.0, "001", "nm", 1, view)
        for view, pose in (("000", walker(frames=20)), ("090", holes))
    ]
    shares = inspect(write_dataset(tmp_path / "set", walks, name="two")).missing
    assert shares.loc["090", "left_wrist"] == 0.25
    assert shares.to_numpy().sum() == 0.25
    assert "Left wrist at view 090" in labeled(figures.missing_joints(shares)).alt
    assert figures.missing_joints(shares * 0).alt.startswith("No joint is missing")


def test_cmc_and_bars():
    fig = labeled(figures.cmc({"baseline": [0.2, 0.4, 0.6], "model": [0.8, 0.9, 1.0]}))
    assert fig.alt.startswith("Model finds the person first in 80.0 %, among 3 in 100.0 %")
    rows = [("NM", "model", 0.9, 0.8, 0.95), ("CL", "model", 0.5, 0.4, 0.6), ("NM", "baseline", 0.3, np.nan, np.nan)]
    fig = labeled(figures.rank1_bars(pd.DataFrame(rows, columns=["condition", "arm", "rank1", "low", "high"])))
    assert texts(fig) == ["90", "50", "30"]
    assert fig.alt.startswith("Model reaches 70 % rank-1 on average, baseline 30 %")


def test_exchange_matrix():
    views = ["000", "054", "090"]
    errors = pd.DataFrame(np.array([[np.nan, 4, 6], [5, np.nan, 3], [9, 3, np.nan]]), index=views, columns=views)
    fig = labeled(figures.exchange_matrix(errors, 20.0, 8.0))
    assert fig.alt.startswith("Exchanged views are 5.0 % off; the walk as it is 20.0 %, the mean walk 8.0 %")
    assert "worst from 090 to 000: 9.0 %" in fig.alt
    assert [t for t in texts(fig) if t] == ["4.0", "6.0", "5.0", "3.0", "9.0", "3.0"]
    assert "mean walk" not in figures.exchange_matrix(errors, 20.0, float("nan")).alt


def test_figures_draw_into_given_axes():
    fig = Figure()
    ax = fig.add_subplot()
    assert figures.walk_lengths([70, 80], ax=ax) is fig
    pair = Figure().subplots(1, 2)
    assert figures.motion_difference_maps(*np.zeros((3, 128, 64)), axes=pair) is pair[0].figure


def test_show_embeds_the_picture_with_its_text_and_saves_the_same_bytes_twice(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    for folder in ("one", "two"):
        fig = figures.alt(figures.walk_lengths([70, 80]), 'a "quoted" <text>')
        figures.show(fig, tmp_path / folder, "lengths")
    assert 'alt="a &quot;quoted&quot; &lt;text&gt;"' in shown[0].data
    assert 'src="data:image/png;base64,' in shown[0].data
    for kind in ("png", "svg"):
        one, two = ((tmp_path / f / f"lengths.{kind}").read_bytes() for f in ("one", "two"))
        assert one == two


def test_the_animation_is_a_small_svg_of_its_own(tmp_path, walker):
    file = figures.exchange_animation(tmp_path / "a.svg", walker(54), walker(0), walker(0), labels=("a", "b & <c>", "d"))
    text = file.read_text()
    root = ElementTree.fromstring(text)
    assert [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")] == ["a", "b & <c>", "d"]
    assert len(text) < 400_000
    assert not re.search(r"href|url\(|<script|@import", text)
    # it loops over one or two steps: the toy walks with a period of 26 frames
    assert 'dur="2.08s"' in text
    with pytest.raises(InputError, match="svg"):
        figures.exchange_animation(tmp_path / "a.gif", walker(), walker())
    with pytest.raises(InputError, match="without missing joints"):
        figures.exchange_animation(tmp_path / "b.svg", walker(), walker() * np.nan)


def test_det_curves_and_histograms_tell_good_scores_from_bad():
    rng = np.random.default_rng(0)
    same = rng.random(4000) < 0.3
    scores = {
        name: Scores((d * same + rng.normal(size=4000)).astype(np.float32), same, np.zeros(4000, int), ["a"])
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
    assert histograms.alt.startswith(f"Distances within and between people overlap by {overlap[1]:.0f} % at most (CL).")
    assert figures.det({"NM": detection_error(scores["NM"].score, np.zeros(4000, bool))}).axes  # nothing to verify


def test_the_ablation_chart_names_the_worst_change():
    shares = {"nothing changed": 0.9, "one frame kept": 0.3, "frames shuffled": 0.8, "view only": 0.1}
    rows = [("codes" if name == "view only" else "input", name, share) for name, share in shares.items()]
    table = pd.DataFrame(
        [{"kind": k, "name": n, "rank1": {"NM": 1.0, "mean": m}, "ci95": [m - 0.1, m + 0.1]} for k, n, m in rows]
    )
    figure = figures.ablation_chart(table)
    assert figure.axes[0].get_title("left") == "From 90 % to 30 % with one frame kept"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [n for _, n, _ in rows]


def test_the_grid_of_probes_shows_each_code_and_target():
    cells = product((("body", "low"), ("view", "high")), ("view", "identity"), ("linear", "nearest-neighbor"))
    rows = [(code, f"{target}, {kind} probe", 0.5, 0.4, 0.6, 0.1, wanted) for (code, wanted), target, kind in cells]
    table = pd.DataFrame(rows, columns=["code", "name", "value", "low", "high", "chance", "wanted"])
    figure = figures.probe_grid(table)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("50 %") == len(figure.axes[0].patches) == 4
    assert sum("should be 10, chance" in text for text in texts) == 2


def test_validation_curves_of_runs():
    history = pd.DataFrame({"iteration": [1, 2, 3], "validation_rank1": [0.1, np.nan, 0.4]})
    figure = figures.validation_curves({"a": history, "b": history * [1, 2]})
    assert figure.alt.endswith("Best: a 40.0 %, b 80.0 %.")
    assert len(figure.axes[0].lines[0].get_xdata()) == 2


def test_code_maps_tell_whether_neighbors_agree():
    rng = np.random.default_rng(0)
    subject = np.repeat(["001", "002", "003", "004"], 12)
    table = pd.DataFrame({"subject": subject, "view": VIEWS * 16, "condition": "nm"})
    tells = 10.0 * np.eye(4)[np.repeat(range(4), 12)] + rng.normal(size=(48, 4)) * 0.1
    fig = labeled(figures.code_maps({"body": tells, "view": rng.normal(size=(48, 4))}, table))
    assert "body by identity 100 % (chance 23 %)" in fig.alt
    told = int(re.search(r"view by identity (\d+) %", fig.alt)[1])
    assert 10 < told < 45


def test_errors_of_joints_are_in_percent_of_the_torso(walker):
    truth, pose = walker(), walker()
    pose[:, JOINTS.index("left_knee")] += [0.3, 0.4]
    fig = labeled(figures.joint_errors(pose, truth))
    torso = np.linalg.norm(truth[:, 1] - truth[:, 8], axis=-1).mean()
    np.testing.assert_allclose(fig.axes[1].images[0].get_array()[JOINTS.index("left_knee")], 50 / torso, rtol=1e-5)
    assert fig.alt.startswith("Left knee is off most, 50 %")


def test_saliency_names_the_first_joints(walker):
    shares = np.zeros((64, 15))
    shares[20:30, JOINTS.index("right_ankle")] = 0.06
    shares[:, JOINTS.index("head")] = 0.4 / 64
    fig = labeled(figures.saliency(shares, walker()[0]))
    assert fig.alt.startswith("Joints that say who: right ankle 60 %, head 40 %")


def test_gait_cycles_have_the_length_that_the_walker_has(walker):
    starts = figures.gait_starts(walker(90))
    np.testing.assert_allclose(np.diff(starts), 26, atol=1)
    still = np.repeat(walker(90)[:1], 64, axis=0)
    fig = labeled(figures.gait_cycles({"moves": walker(90), "stands": still}))
    assert "moves 26" in fig.alt
    assert "Without two beginnings of a cycle: stands" in fig.alt
