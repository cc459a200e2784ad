"""Numbers as text."""

import math

import pytest

from gaitlib.rounding import half_up, percent, with_interval


def test_shares_with_their_intervals():
    assert with_interval(0.953, 0.912, 0.984).replace("\u00a0", " ") == "95.3 [91.2, 98.4]"
    assert with_interval(0.5) == with_interval(0.5, None, None) == with_interval(0.5, float("nan"), 0.6) == "50.0"
    assert with_interval(None) == with_interval(float("nan"), 0, 1) == "–"


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
