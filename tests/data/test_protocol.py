"""Who trains, who is gallery, who is probe: on tiny tables of walks, by hand."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from gaitlib import InputError
from gaitlib.data.dataset import COLUMNS, GaitDataset
from gaitlib.data.protocol import Protocol
from gaitlib.skeleton import NUM_JOINTS

PROTOCOLS = Path(__file__).parents[2] / "configs" / "protocols"
NM, BG, CL = [("nm", run) for run in range(1, 7)], [("bg", 1), ("bg", 2)], [("cl", 1), ("cl", 2)]


def dataset_of(subjects, recordings=(*NM, *BG, *CL), views=("000", "090")):
    rows = [
        [f"{s}-{c}-{r:02d}-{v}", f"{s}-{c}-{r:02d}", s, c, r, v, 2 * n, 2, 25.0, ""]
        for n, (s, (c, r), v) in enumerate((s, cr, v) for s in subjects for cr in recordings for v in views)
    ]
    poses = np.zeros((2 * len(rows), NUM_JOINTS, 2), np.float32)
    return GaitDataset(pd.DataFrame(rows, columns=COLUMNS), poses, poses[..., 0])


def numbered(first, last):
    return [f"{n:03d}" for n in range(first, last + 1)]


def protocol(**changes):
    plain = {"name": "small", "train": "1-8", "test": "9-", "validation": 2, "gallery": {"condition": "nm", "run": "1-4"},
             "probes": {"NM": {"condition": "nm", "run": "5-6"}, "other": {"condition": ["bg", "cl"]}}}  # fmt: skip
    return Protocol(**plain | changes)


def people(part):
    return sorted((part if isinstance(part, GaitDataset) else part.walks).index["subject"].unique())


@pytest.mark.parametrize(
    ("train", "test", "training", "testing"),
    [
        ("1-8", "9-", numbered(1, 8), numbered(9, 12)),
        ("1-6", "12", numbered(1, 6), ["012"]),
        ("5-", "1-4", numbered(5, 12), numbered(1, 4)),
        ("7-12", 3, numbered(7, 12), ["003"]),
        (["002", "001", "005", "009"], ["003"], ["001", "002", "005", "009"], ["003"]),
    ],
)
def test_people_by_range_and_by_list(train, test, training, testing):
    split = protocol(train=train, test=test).split(dataset_of(numbered(1, 12)))
    assert sorted(people(split.train) + people(split.validation)) == training
    assert people(split.test) == testing


def test_a_protocol_may_train_nobody():
    split = Protocol.load(PROTOCOLS / "asked.yaml").split(dataset_of(["eve", "007", "adam"]))
    assert len(split.train) == len(split.validation.walks) == 0
    assert split.validation.probes == {}
    assert people(split.test) == ["007", "adam", "eve"]
    with pytest.raises(InputError, match="0 training people are too few"):
        protocol(train=[], test="all", validation=2).split(dataset_of(["eve", "007", "adam"]))


def test_too_few_to_train():
    with pytest.raises(InputError, match="Protocol small: 3 training people are too few; at least 4 are needed, 2 to validate"):
        protocol(train="1-3", test="4-").split(dataset_of([*numbered(1, 6), "²"]))


def test_a_walk_is_not_both_gallery_and_probe():
    """It would find itself."""
    overlapping = protocol(probes={"NM": {"condition": "nm", "run": "4-6"}})
    with pytest.raises(InputError, match=r"small: 4 walks are both gallery and NM, such as 003-nm-04-000, and would match"):
        overlapping.split(dataset_of(numbered(1, 12)))


def test_names_that_are_the_same_number_are_not_chosen_by_number():
    data = dataset_of([*numbered(1, 12), "12"])
    with pytest.raises(InputError, match=r"protocol small, train: the data set has people 012 and 12, which are the same number"):
        protocol().split(data)
    assert people(protocol(train=numbered(1, 8), test=["12"]).split(data).test) == ["12"]


@pytest.mark.parametrize(("one", "other"), [("Ann", "ann"), ("A", "A "), ("Anna  Maria", "anna maria"), ("001", "001 ")])
def test_people_whose_names_differ_in_case_or_blanks_are_refused(one, other):
    """One person in train and test makes recognition look better than it is."""
    data = dataset_of([*numbered(1, 12), "bob", one, other])
    for train, test in (([*numbered(1, 8), one], [other]), ([*numbered(1, 8), one, other], ["bob"]), (numbered(2, 8), [one])):
        with pytest.raises(InputError) as error:
            protocol(train=train, test=test).split(data)
        assert f"the data set has people {one!r} and {other!r}, who may be the same" in str(error.value)
    assert protocol(train=numbered(2, 8), test=["bob"]).split(data)  # who takes no part does no harm


def test_people_of_odd_numbers_hold_nothing_up():
    """A number of many digits is a name, and nobody counts up to a large one."""
    data = dataset_of([*numbered(1, 12), "9" * 5000, "9" * 18])
    assert people(protocol(test="9-").split(data).test) == ["009", "010", "011", "012", "9" * 18]
    assert people(protocol(test="9-12").split(data).test) == ["009", "010", "011", "012"]


def test_who_is_named_twice_counts_once():
    with pytest.raises(InputError, match="3 training people are too few"):
        protocol(train=["001", "001", "002", "003"], test=["004"]).split(dataset_of(numbered(1, 4)))


def test_a_list_may_name_people_without_numbers():
    split = protocol(train=["ann", "bob", "eve", "7"], test=["joe"]).split(dataset_of(["ann", "bob", "eve", "joe", "7"]))
    assert len(people(split.train)) == len(people(split.validation)) == 2
    assert people(split.test) == ["joe"]


def test_ranges_count_numbers_not_letters():
    split = protocol(train="1-8", test="9-11").split(dataset_of([str(n) for n in range(1, 12)] + ["guest"]))
    assert people(split.test) == ["10", "11", "9"]


@pytest.mark.parametrize("validation", [2, 3, 5, 8, 38])
def test_validation_people_come_evenly_out_of_the_training_people(validation):
    split = protocol(train="1-40", test="41-", validation=validation).split(dataset_of(numbered(1, 42)))
    assert set(people(split.train)) & set(people(split.validation)) == set()
    assert sorted(people(split.train) + people(split.validation)) == numbered(1, 40)
    held = np.array([int(p) for p in people(split.validation)])
    assert len(held) == validation
    assert np.ptp(np.diff([1, *held, 40])) <= 1
    assert people(split.test) == ["041", "042"]


def test_roles_by_hand():
    dataset = dataset_of(numbered(1, 9), recordings=[*NM, ("bg", 1), ("hat", 1)], views=["000", "090"])
    split = protocol().split(dataset)
    walks, table = split.test.walks, split.test.walks.index
    assert len(walks) == 14  # the hat has no role
    assert table["condition"].tolist() == ["nm"] * 12 + ["bg"] * 2
    np.testing.assert_array_equal(split.test.gallery, (table["condition"] == "nm") & (table["run"] <= 4))
    assert list(split.test.probes) == ["NM", "other"]
    np.testing.assert_array_equal(split.test.probes["NM"], (table["condition"] == "nm") & (table["run"] > 4))
    np.testing.assert_array_equal(split.test.probes["other"], table["condition"] == "bg")
    assert not (split.test.gallery & split.test.probes["NM"]).any()
    assert np.shares_memory(walks.poses, dataset.poses)
    assert set(split.train.index["condition"]) == {"nm", "bg", "hat"}  # training uses every walk
    assert len(split.validation.gallery) == len(split.validation.walks) == 28


def test_walks_are_selected_by_view_too():
    chosen = protocol(gallery={"view": "000"}, probes={"side": {"view": ["090"], "run": [1, 2], "condition": "nm"}})
    roles = chosen.split(dataset_of(numbered(1, 9))).test
    assert roles.walks.index["view"][roles.gallery].unique().tolist() == ["000"]
    assert roles.walks.index[roles.probes["side"]][["condition", "run", "view"]].to_numpy().tolist() == [
        ["nm", 1, "090"],
        ["nm", 2, "090"],
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": "1-15"}, r"small, train: .*12 people do not include 013, 014, 015;"),
        ({"train": "1-99"}, r"013, 014, 015, 016, 017 and more"),
        ({"test": "20-"}, r"small, test: .*not include 20-"),
        ({"test": ["009", "nobody"]}, r"not include nobody;"),
        ({"test": []}, r"small, test"),
        ({"test": "8-2"}, r"not include 8-2"),
        ({"test": "nine"}, r"'nine' is not a range; write 1-74, 75- or a list"),
        ({"test": None}, r"is not a range"),
        ({"test": "7-10"}, r"007, 008 are in both train and test"),
        ({"validation": 1}, r"between 2 and 6 of the 8 training people, not 1"),
        ({"validation": 7}, r"between 2 and 6 of the 8 training people, not 7"),
        (
            {"gallery": {"condition": "hat"}},
            r"fits gallery \{'condition': 'hat'\}.*conditions bg, cl, nm and runs 1, 2, 3, 4, 5, 6\.",
        ),
        ({"probes": {"HAT": {"run": "9-"}}}, r"fits HAT"),
        ({"gallery": {"speed": "fast"}}, r"condition, run or view, not by 'speed'"),
        ({"gallery": {"run": "first"}}, r"run: 'first' is not a range"),
        ({"gallery": {"view": 90}}, r"quotes"),
        ({"gallery": {"view": ["000", 64]}}, r"quotes"),
        ({"gallery": {"run": ["1"]}}, r"run cannot be '1': write a whole number"),
        ({"gallery": {"run": [[1]]}}, r"run cannot be \[1\]"),
        ({"gallery": {"condition": [["nm"]]}}, r"condition cannot be \['nm'\]"),
        ({"train": "1-999999999999999999"}, r"not include 013, 014, 015, 016, 017 and more"),
        ({"train": "999999999999999990-999999999999999999"}, r"not include 999999999999999990, 999999999999999991, .* and more"),
        ({"train": "9" * 5000}, r"is not a range"),
        ({"train": "1-" + "9" * 5000}, r"is not a range"),
        ({"train": "1-8:" + "9" * 5000}, r"is not a range"),
        ({"train": "1-8:²"}, r"is not a range"),
        ({"gallery": {"run": "1-" + "9" * 5000}}, r"is not a range"),
    ],
)
def test_what_does_not_fit_is_an_input_error(changes, words):
    with pytest.raises(InputError, match=words):
        protocol(**changes).split(dataset_of(numbered(1, 12)))


def written(tmp_path, **changes):
    plain = {"name": "small", "train": "1-8", "test": "9-", "validation": 2, "gallery": {"run": "1-4"},
             "probes": {"NM": {"run": "5-6"}}}  # fmt: skip
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in (plain | changes).items() if v != "left out"}))
    return path


def test_a_file_is_loaded(tmp_path):
    assert Protocol.load(written(tmp_path, summary="a few")) == protocol(
        gallery={"run": "1-4"}, probes={"NM": {"run": "5-6"}}, summary="a few"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"galery": {"run": 1}},
        {"validation": "left out"},
        {"validation": "some"},
        {"validation": True},
        {"probes": {}},
        {"probes": ["NM"]},
        {"probes": {"NM": "5-6"}},
        {"gallery": ["nm"]},
        {"probes": {"mean": {"run": 5}}},
        {"name": "other"},
        {"probes": {1: {"run": 5}}},
        {"probes": {"x" * 300: {"run": 5}}},
        {"probes": {"a/b": {"run": 5}}},
        {"probes": {"-rf": {"run": 5}}},
    ],
)
def test_a_file_with_other_keys_or_values_is_an_input_error(tmp_path, changes):
    path = written(tmp_path, **changes)
    with pytest.raises(InputError) as error:
        Protocol.load(path)
    assert str(path) in str(error.value)


def test_the_name_is_that_of_the_file(tmp_path):
    assert Protocol.load(written(tmp_path, name="left out")).name == "small"
    with pytest.raises(InputError, match="its name is 'walkers'; it must be the file's, 'small'"):
        Protocol.load(written(tmp_path, name="walkers"))


@pytest.mark.parametrize("text", [b"name: [", b"- a list", b"", b"name: \xff\xfe"])
def test_a_file_that_is_no_yaml_of_keys_is_an_input_error(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_bytes(text)
    with pytest.raises(InputError) as error:
        Protocol.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_protocol_names_those_there_are():
    with pytest.raises(InputError, match=r"no protocol .*the folder has: asked, casia-b-lt, .*kgbd-2v.*walkers"):
        Protocol.load(PROTOCOLS / "casia.yaml")


def test_protocols_have_names():
    assert Protocol.named("walkers") == Protocol.load(PROTOCOLS / "walkers.yaml")
    with pytest.raises(InputError, match=r"no protocol .*casia\.yaml; the folder has"):
        Protocol.named("casia")
    for name in ("../protocols/walkers", "x" * 300, "a\0b", " ", "\ud800", ""):
        with pytest.raises(InputError, match=r"^protocol: .* cannot be the name of a folder"):
            Protocol.named(name)


def test_a_protocol_that_may_not_be_opened_is_not_called_missing(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(InputError, match=r"pipe\.yaml cannot be read: it is not a regular file"):
        Protocol.load(tmp_path / "pipe.yaml")


def test_the_walkers_protocol():
    split = Protocol.load(PROTOCOLS / "walkers.yaml").split(dataset_of(numbered(1, 44), views=["090"]))
    assert [len(people(part)) for part in (split.train, split.validation, split.test)] == [32, 8, 4]
    assert split.test.gallery.sum() == 4 * 4
    assert {name: rows.sum() for name, rows in split.test.probes.items()} == {"NM": 8, "BG": 8, "CL": 8}
    assert split.test.gallery.sum() + 24 == len(split.test.walks)


@pytest.mark.parametrize(
    ("name", "views"), [("kgbd-2v", ["leftward", "rightward"]), ("kgbd-11v", [f"{v:03d}" for v in range(0, 181, 18)])]
)
def test_the_protocols_of_real_people(name, views):
    walks = [("walk", run) for run in range(1, 6)]
    loaded = Protocol.load(PROTOCOLS / f"{name}.yaml")
    split = loaded.split(dataset_of(numbered(1, 124), walks, views))
    assert loaded.name == name
    assert [len(people(part)) for part in (split.train, split.validation, split.test)] == [68, 6, 50]
    assert split.test.gallery.sum() == 50 * 3 * len(views)
    assert split.test.probes["WALK"].sum() == 50 * 2 * len(views)


def test_a_range_may_step_and_have_parts():
    split = protocol(train="1-11:2", test="2-8:4, 12, 10").split(dataset_of(numbered(1, 12)))
    assert sorted(people(split.train) + people(split.validation)) == ["001", "003", "005", "007", "009", "011"]
    assert people(split.test) == ["002", "006", "010", "012"]
    for wrong in ("1-9:0", "1-9:two", "1-4,,5"):
        with pytest.raises(InputError, match="is not a range"):
            protocol(train=wrong, test="10-").split(dataset_of(numbered(1, 12)))


@pytest.mark.parametrize(("name", "last", "held"), [("lt", 74, 15), ("mt", 62, 12), ("st", 24, 4)])
def test_the_protocols_of_casia_b(name, last, held):
    lacking = {("005", "nm", 6), ("005", "bg", 1), ("109", "cl", 2)}  # single walks may lack
    dataset = dataset_of(numbered(1, 124), views=["090"])
    rows = [key not in lacking for key in dataset.index[["subject", "condition", "run"]].itertuples(index=False, name=None)]
    dataset = GaitDataset(dataset.index[rows].reset_index(drop=True), dataset.poses, dataset.confidence)
    loaded = Protocol.load(PROTOCOLS / f"casia-b-{name}.yaml")
    split = loaded.split(dataset)
    assert loaded.name == f"casia-b-{name}"
    assert [len(people(part)) for part in (split.train, split.validation, split.test)] == [last - held, held, 124 - last]
    assert people(split.test)[0] == f"{last + 1:03d}"
    assert split.test.gallery.sum() == (124 - last) * 4
    assert {n: rows.sum() for n, rows in split.test.probes.items()} == {
        "NM": (124 - last) * 2, "BG": (124 - last) * 2, "CL": (124 - last) * 2 - 1,
    }  # fmt: skip
    with pytest.raises(InputError, match="not include 120"):  # a lacking person would be a smaller test
        loaded.split(dataset.select(subject=[p for p in numbered(1, 124) if p != "120"]))


def test_the_protocol_of_ou_mvlp():
    dataset = dataset_of([f"{n:05d}" for n in range(1, 10308)], [("", 0), ("", 1)], ["000"])
    split = Protocol.load(PROTOCOLS / "ou-mvlp.yaml").split(dataset)
    assert [len(people(part)) for part in (split.train, split.validation, split.test)] == [4653, 500, 5154]
    assert people(split.test)[-2:] == ["10306", "10307"]
    assert {int(p) % 2 for p in people(split.train) + people(split.validation)} == {1}
    assert split.test.gallery.sum() == split.test.probes["WALK"].sum() == 5154
    assert set(split.test.walks.index["run"][split.test.gallery]) == {1}


def test_the_template_works_as_it_stands():
    split = Protocol.load(PROTOCOLS / "template.yaml").split(dataset_of(numbered(1, 40), views=["090"]))
    assert [len(people(part)) for part in (split.train, split.validation, split.test)] == [24, 6, 10]
    assert split.test.gallery.sum() == 10 * (2 + 2 + 2)


@pytest.mark.parametrize("path", sorted(PROTOCOLS.glob("*.yaml")), ids=lambda path: path.stem)
def test_nobody_stands_in_two_parts(path):
    loaded = Protocol.load(path)
    assert loaded.name == path.stem
    assert loaded.summary
    width, last = (5, 10307) if path.stem == "ou-mvlp" else (3, 124)
    split = loaded.split(dataset_of([f"{n:0{width}d}" for n in range(1, last + 1)], [("nm", 0), *NM, *BG, *CL], ["090"]))
    parts = [set(people(part)) for part in (split.train, split.validation, split.test)]
    assert len(set.union(*parts)) == sum(len(part) for part in parts)


def test_every_protocol_is_tried_here():
    assert {path.stem for path in PROTOCOLS.glob("*.yaml")} == {
        "walkers", "kgbd-2v", "kgbd-11v", "casia-b-lt", "casia-b-mt", "casia-b-st", "ou-mvlp", "template", "asked",
    }  # fmt: skip
