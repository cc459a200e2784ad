"""What a terminal says of a run."""

import pytest

from gaitlib.reports.terminal import duration, headline

METRICS = {
    "rank1": {"NM": 0.956, "rainy": 1.0, "mean": 0.978},
    "ci95": {"NM": [0.921, 0.983], "rainy": [1.0, 1.0]},
    "baseline": {"rank1": {"NM": 0.5415, "rainy": None}},
    "counts": {"people": 1200},
}


def test_the_headline_names_conditions_and_sets_the_baseline_beside_the_model():
    assert len({len(line) for line in headline(METRICS).splitlines()[2:]}) == 1  # aligned
    lines = headline(METRICS).replace("\u202f%", "%").replace("\xa0", " ").splitlines()
    assert lines[0] == "Cross-view rank-1 of 1,200 people not seen in training, with 95 % intervals:"
    assert [" ".join(line.split()) for line in lines[2:]] == [
        "this model hand-made baseline",
        "normal walking (NM) 95.6% [92.1, 98.3] 54.2%",
        "rainy 100.0% [100.0, 100.0] –",
        "mean 97.8% –",
    ]


def test_exchanged_views_stand_beside_the_mean_walk():
    exchange = {"exchange": [6.24, 5.9, 6.6], "copy": [27.4, 26.0, 28.0], "mean_walk": [9.8, 9.1, 10.4]}
    said = headline(METRICS | {"exchange": exchange}).splitlines()[-1].replace("\u202f%", "%").replace("\xa0", " ")
    assert said == (
        "Exchanged views miss the truth by 6.2% [5.9, 6.6] of torso length; "
        "the mean walk of the view misses it by 9.8% [9.1, 10.4]."
    )  # fmt: skip
    paired = headline(METRICS | {"exchange": exchange | {"gain": [3.56, 3.1, 4.0]}}).replace("\u202f%", "%").replace("\xa0", " ")
    assert paired.endswith(" Paired by person, the difference is 3.6 [3.1, 4.0] points.")


def test_nothing_measured_is_nothing_said():
    assert headline({}) == headline({"rank1": {}, "exchange": {}}) == ""


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (252, "4 min 12 s"), (3600, "1 h 0 min"), (7325, "2 h 2 min")]
)
def test_durations_are_in_words(seconds, said):
    assert duration(seconds) == said
