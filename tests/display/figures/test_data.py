import numpy as np
import pandas as pd

from gaitlib.data.dataset import Walk, write_dataset
from gaitlib.display import figures
from gaitlib.poses.inspect import Inspection, inspect
from gaitlib.skeleton import JOINTS

VIEWS = ["000", "054", "090"]


def inspection_of(rows):
    walks = pd.DataFrame(rows, columns=["subject", "condition", "view"])
    return Inspection("few", walks, pd.DataFrame(), pd.DataFrame(), [])


def test_missing_cells_are_counted_by_condition_and_binned_where_there_are_many(labeled, texts):
    rows = [(f"{s:03d}", c, v) for s in range(300) for c, n in (("bg", 1), ("nm", 2)) for v in VIEWS for _ in range(n)]
    assert figures.missing_cells(inspection_of(rows)) == "No walk is missing: all 1,800 subject-condition-view cells are full."
    rows.remove(("008", "nm", "000"))
    fig = labeled(figures.missing_cells(inspection_of([row for row in rows if row != ("007", "nm", "054")])))
    assert texts(fig) == ["nm (2)", "bg (1)"]
    assert fig.alt.startswith("2 of 1,800 subject-condition-view cells lack walks, 1 have none")
    assert fig.axes[0].images[0].get_array().shape == (100, 6)
    assert "3 a row" in fig.axes[0].get_ylabel()


def test_a_missing_cell_is_hatched(labeled, texts):
    rows = [(s, "", v) for s in ("1", "2", "3") for v in VIEWS if (s, v) != ("2", "090")]
    fig = labeled(figures.missing_cells(inspection_of(rows)))
    assert fig.alt.startswith("1 of 9 subject-view cells have no walk")
    assert [(p.get_x(), p.get_y()) for p in fig.axes[0].patches] == [(1.5, 0.5)]
    assert texts(fig) == []


def test_missing_cells_one_above_the_other_are_one_patch(labeled):
    rows = [(s, "", v) for s in "12345" for v in VIEWS if (s, v) not in {("1", "000"), ("3", "000"), ("4", "000"), ("5", "090")}]
    fig = labeled(figures.missing_cells(inspection_of(rows)))
    found = [(p.get_x(), p.get_y(), p.get_height()) for p in fig.axes[0].patches]
    assert found == [(-0.5, -0.5, 1), (-0.5, 1.5, 2), (1.5, 3.5, 1)]


def test_walk_lengths_count_the_short_ones(labeled):
    fig = labeled(figures.walk_lengths(pd.Series([40, 63, 64, 65, 120]), 64))
    assert fig.alt.startswith("2 of 5 walks are shorter")
    assert sum(p.get_height() for p in fig.axes[0].patches) == 5


def test_missing_joints_by_view(tmp_path, walker, labeled):
    holes = walker(frames=20)
    holes[:5, JOINTS.index("left_wrist")] = np.nan
    walks = [
        Walk(pose, np.ones((20, 15), np.float32), 25.0, "001", "nm", 1, view)
        for view, pose in (("000", walker(frames=20)), ("090", holes))
    ]
    shares = inspect(write_dataset(tmp_path / "set", walks, name="two")).missing
    assert shares.loc["090", "left_wrist"] == 0.25
    assert shares.to_numpy().sum() == 0.25
    assert "The left wrist is missing most often at view 090" in labeled(figures.missing_joints(shares)).alt
    assert figures.missing_joints(shares * 0).alt.startswith("No joint is missing")
