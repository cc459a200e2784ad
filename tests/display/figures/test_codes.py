import re
from itertools import product

import numpy as np
import pandas as pd

from gaitlib.display import figures

VIEWS = ["000", "054", "090"]


def test_motion_maps_share_one_color_bar_and_state_the_ratio(labeled):
    a = np.zeros((128, 64))
    fig = labeled(figures.motion_difference_maps(a, a - 0.5, a + 1.5))
    left, right = (ax.images[0] for ax in fig.axes[:2])
    assert left.get_clim() == right.get_clim() == (0, 1.5)
    assert (left.get_array() == 0.5).all()
    assert "3.0 times" in fig.alt


def test_code_rows_say_whether_the_codes_are_separated(labeled):
    one, two = np.zeros(128), np.ones(128)
    person, camera = np.stack([one, one, two]), np.stack([one, two, one])
    assert labeled(figures.code_rows(person, camera)).alt.startswith("In these three walks, body codes follow the person")
    assert figures.code_rows(camera, camera).alt.startswith("In these three walks, the codes do not follow")


def test_code_maps_tell_whether_neighbors_agree(labeled):
    rng = np.random.default_rng(0)
    subject = np.repeat(["001", "002", "003", "004"], 12)
    table = pd.DataFrame({"subject": subject, "view": VIEWS * 16, "condition": ["nm", "_bg"] * 24})
    tells = 10.0 * np.eye(4)[np.repeat(range(4), 12)] + rng.normal(size=(48, 4)) * 0.1
    fig = labeled(figures.code_maps({"body": tells, "view": rng.normal(size=(48, 4))}, table))
    # matplotlib leaves names that begin with _ out of a legend
    assert [text.get_text() for text in fig.axes[2].get_legend().get_texts()] == ["_bg", "nm"]
    assert "body by identity 100 % (chance 23 %)" in fig.alt
    told = int(re.search(r"view by identity (\d+) %", fig.alt)[1])
    assert 10 < told < 45


def test_the_grid_of_probes_shows_each_code_and_target():
    cells = product((("body", "low"), ("view", "high")), ("view", "identity"), ("linear", "nearest-neighbor"))
    rows = [(code, f"{target}, {kind} probe", 0.5, 0.4, 0.6, 0.1, wanted) for (code, wanted), target, kind in cells]
    table = pd.DataFrame(rows, columns=["code", "name", "value", "low", "high", "chance", "wanted"])
    figure = figures.probe_grid(table)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("50 %") == len(figure.axes[0].patches) == 4
    assert sum("should be at chance, 10 %" in text for text in texts) == 2


def test_exchange_matrix(labeled, texts):
    views = ["000", "054", "090"]
    errors = pd.DataFrame(np.array([[np.nan, 4, 6], [5, np.nan, 3], [9, 3, np.nan]]), index=views, columns=views)
    fig = labeled(figures.exchange_matrix(errors, 20.0, 8.0))
    assert fig.alt.startswith(
        "Exchanged views miss the truth by 5.0 % of torso length; the unchanged walk by 20.0 %, the mean walk by 8.0 %"
    )
    assert "worst from 090 to 000: 9.0 %" in fig.alt
    assert [t for t in texts(fig) if t] == ["4.0", "6.0", "5.0", "3.0", "9.0", "3.0"]
    bar = fig.axes[1]
    assert bar.get_ylim() == (3, 8)
    assert "dark is good, palest: no better than the mean walk" in bar.get_ylabel()
    fig = figures.exchange_matrix(errors, 20.0, float("nan"))
    assert "mean walk" not in fig.alt + fig.axes[1].get_ylabel()
    assert fig.axes[1].get_ylim() == (3, 9)
