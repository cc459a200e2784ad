import numpy as np
import pandas as pd

from gaitlib.display.player import evenly, walk_keys, walk_names


def test_walks_are_named_for_newcomers_and_as_casia_b_does(people):
    assert walk_names(people[1])[1] == "Person 1, normal walk 1, camera at 54°"
    assert walk_keys(people[1])[1] == "001-nm-01-054"
    other = people[1].assign(subject="Ann", condition="cl", run=2, view="left")
    assert walk_names(other)[0] == "Person Ann, walk in a coat 2, view left"
    assert walk_names(people[1].assign(condition="limping", view="nan"))[0] == "Person 1, limping 1, view nan"


def test_a_name_that_occurs_again_is_numbered(people):
    twice = walk_keys(pd.concat([people[1][:2]] * 2))
    assert twice == ["001-nm-01-000", "001-nm-01-054", "001-nm-01-000 (2)", "001-nm-01-054 (2)"]


def test_some_are_spread_evenly():
    assert evenly(3, 6) == [0, 1, 2]
    assert np.ptp(np.diff(evenly(1000, 11))) <= 1
    assert evenly(1000, 11)[-1] == 999
    assert evenly(0, 5) == []
