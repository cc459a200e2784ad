"""What is a view of degrees, how it is written, and how views sort."""

import pytest

from gaitlib.data.views import degrees, sorted_views, view_name


@pytest.mark.parametrize(
    ("view", "number"),
    [("054", 54), ("54", 54), ("000", 0), ("0", 0), ("-18", -18), ("22.5", 22.5), ("180", 180), ("360", 360), ("1e2", 100)],
)
def test_numbers_are_degrees_however_they_are_written(view, number):
    assert degrees(view) == number


@pytest.mark.parametrize("view", ["leftward", "front", "", "cam-1", "090-left", "1,5", "inf", "-inf", "Infinity", "nan", "1e999"])
def test_other_names_and_what_is_not_finite_are_no_degrees(view):
    assert degrees(view) is None


@pytest.mark.parametrize(("angle", "name"), [(0, "000"), (18, "018"), (54, "054"), (180, "180")])
def test_degrees_are_written_as_casia_b_writes_them(angle, name):
    assert view_name(angle) == name
    assert degrees(name) == angle


@pytest.mark.parametrize(
    ("views", "wanted"),
    [
        (["090", "000", "180", "018"], ["000", "018", "090", "180"]),
        (["90", "0", "180", "18"], ["0", "18", "90", "180"]),  # by text 18 and 180 come before 90
        (["100", "022.5", "22.4", "-18", "-2"], ["-18", "-2", "22.4", "022.5", "100"]),
        (["right", "front", "left"], ["front", "left", "right"]),
        (["front", "90", "-90", "nan", "0", "inf", "back"], ["-90", "0", "90", "back", "front", "inf", "nan"]),
        (["front", "-1", "0"], ["-1", "0", "front"]),  # names stand behind degrees below zero and above
        (["90", "090", "front", "90", "front"], ["090", "90", "front"]),  # two names, each once
        ([], []),
    ],
)
def test_views_sort_by_degrees_and_then_by_name(views, wanted):
    assert sorted_views(views) == wanted
    assert sorted_views(reversed(views)) == wanted
