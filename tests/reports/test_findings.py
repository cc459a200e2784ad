"""Sentences are as strong as the numbers, and no stronger."""

import pytest

from gaitlib.reports.findings import findings, lead, legend, tiles

METRICS = {
    "rank1": {"NM": 0.9, "SIDE": 0.5, "mean": 0.7},
    "ci95": {"NM": [0.8, 0.95], "SIDE": [0.4, None]},
    "baseline": {"rank1": {"NM": 0.4, "mean": 0.3}},
    "counts": {"people": 20, "training_people": 1132},
}


def plain(text):
    return text.replace("\u00a0", " ").replace("\u202f", " ")


def found(**metrics):
    return plain(" ".join(findings(metrics)))


def test_the_lead_says_on_whom():
    walkers = lead(METRICS, {"data": {"name": "walkers", "synthetic": True}})
    assert "stick figures of 1,132 walkers, then had to recognize 20 simulated walkers it had never seen" in walkers
    assert "20 people of CASIA-B it" in lead(METRICS, {"data": {"name": "CASIA-B", "synthetic": False}})
    assert "stick figures of walkers, then had to recognize people it" in lead({"rank1": {"A": 0.5}}, {})
    assert "not measured" in lead({}, {})


def test_a_tile_has_the_words_of_its_probe_set():
    shown = [tuple(map(plain, tile)) for tile in tiles(METRICS)]
    assert shown == [("Normal walking", "90.0 %", "[80.0, 95.0]", "40.0 %"), ("SIDE", "50.0 %", "", "")]
    many = {f"P{k}": 0.5 for k in range(9)} | {"mean": 0.5}
    assert [tile.title for tile in tiles({"rank1": many})] == ["P0", "P1", "P2", "P3"]
    assert tiles({}) == []


def test_the_legend_explains_only_what_is_shown():
    words = {
        plain(term): plain(meaning) for term, meaning in legend(METRICS, {"protocol": {"gallery": {"condition": "nm"}}}).items()
    }
    assert words["NM"] == "normal walking. Everybody is enrolled with normal walks."
    assert "Guessing would reach 5.0 %." in words["Rank-1"]
    assert "enrolled with" not in legend(METRICS, {})["NM"]
    assert "Guessing" not in legend({"rank1": {"A": 1.0}}, {})["Rank-1"]


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ([0.4, 0.35, 0.45], "the network gains 40.0 points [35.0, 45.0]."),
        ([-0.4, -0.45, -0.35], "the network loses 40.0 points [35.0, 45.0]."),
        ([0.01, -0.02, 0.04], "the two cannot be told apart: +1.0 [-2.0, +4.0] points."),
        ([0.4, None, None], ""),
    ],
)
def test_recognition_is_stated_with_its_paired_difference(gain, said):
    text = found(**METRICS, over_baseline={"mean": gain})
    assert text.endswith(said)
    assert bool(text) == bool(said)


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ([2.5, 2.0, 3.0], "it is 2.5 points [2.0, 3.0] better than the mean walk of that view (6.5 % [6.0, 7.0])."),
        ([-2.5, -3.0, -2.0], "it is 2.5 points [2.0, 3.0] worse than the mean walk of that view (6.5 % [6.0, 7.0])."),
        ([0.5, -1.0, 2.0], "cannot be told from the mean walk of that view (6.5 % [6.0, 7.0]): +0.5 [-1.0, +2.0] points."),
        ([None] * 3, "left unchanged, it misses by 27.0 % [26.0, 28.0]."),
    ],
)
def test_the_exchange_is_stated_with_its_paired_difference_to_the_mean_walk(gain, said):
    errors = {"exchange": [4, 3, 5], "copy": [27, 26, 28], "mean_walk": [6.5, 6, 7], "gain": gain}
    text = found(exchange=errors)
    assert text.startswith("With its view exchanged, a walk misses what the other camera saw by 4.0 % [3.0, 5.0] of the torso")
    assert text.endswith(said)


def probe(code, target, kind, value, low):
    return {
        "code": code,
        "name": f"{target}, {kind} probe",
        "value": value,
        "low": low,
        "high": 1,
        "chance": 0.1,
        "wanted": "low",
    }


def test_codes_count_as_separated_only_if_linear_probes_say_so():
    near = probe("body", "view", "nearest-neighbor", 0.1, 0.05)
    assert found(scorecard=[probe("body", "view", "linear", 0.4, 0.3), near]) == (
        "The codes are not fully separated: linear classifiers still read the view from the body code (40 %; nearest neighbors "
        "10 %, chance 10 %)."
    )
    assert found(scorecard=[probe("body", "view", "linear", 0.12, 0.08), near]).startswith(
        "Linear classifiers read nothing better than chance"
    )
    assert found(scorecard=[near]) == ""


def test_only_changes_that_surely_cost_something_are_named():
    rows = [
        {"kind": kind, "name": name, "difference": difference}
        for kind, name, difference in (
            ("input", "nothing changed", [0.0, 0.0, 0.0]),
            ("input", "noise", [-0.01, -0.03, 0.01]),
            ("input", "one frame kept", [-0.6, -0.7, -0.5]),
            ("codes", "view only", [-0.9, -0.95, -0.85]),
            ("input", "adapted", [0.1, 0.05, 0.15]),
        )
    ]
    assert found(ablations=rows) == (
        "The changes of the input that cost the trained network most: one frame kept (60.0 points [50.0, 70.0])."
    )
    assert found(ablations=rows[:2]) == ""
