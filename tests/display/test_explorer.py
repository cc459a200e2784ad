import numpy as np
import pandas as pd

from gaitlib.display.player import evenly, walk_labels


def test_labels_name_the_walk(people):
    assert walk_labels(people[1])[1] == "001 · nm-01 · 54°"
    assert walk_labels(people[1].assign(view="left"))[0] == "001 · nm-01 · left"
    assert walk_labels(people[1].assign(view="nan"))[0] == "001 · nm-01 · nan"


def test_a_label_that_occurs_again_is_numbered(people):
    twice = walk_labels(pd.concat([people[1][:2]] * 2))
    assert twice == ["001 · nm-01 · 0°", "001 · nm-01 · 54°", "001 · nm-01 · 0° (2)", "001 · nm-01 · 54° (2)"]


def test_some_are_spread_evenly():
    assert evenly(3, 6) == [0, 1, 2]
    assert np.ptp(np.diff(evenly(1000, 11))) <= 1
    assert evenly(1000, 11)[-1] == 999
    assert evenly(0, 5) == []
