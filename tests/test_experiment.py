"""What stages are kept by, and what a run folder is while it is made."""

import json
import threading

import numpy as np
import pytest
import yaml
from filelock import FileLock

from gaitlib import InputError, experiment
from gaitlib.data.dataset import write_dataset
from gaitlib.data.walkers import make_walkers, walkers_index
from gaitlib.evaluation import results
from gaitlib.experiment import Experiment, run_experiment
from gaitlib.model import checkpoint
from gaitlib.reports import tables


@pytest.fixture
def make(workbook):
    """An experiment on nine walkers, by a protocol that is written anew with some changes."""
    walks = (w for w in make_walkers(9, seed=3, views=[0, 90]) if w.condition == "nm" and w.run <= 4)
    write_dataset(workbook / "data" / "nine", walks, name="nine")

    def make(**changes):
        protocol = {
            "name": "mine", "train": "1-5", "test": "6-8", "validation": 2,
            "gallery": {"run": 1}, "probes": {"LATER": {"run": 2}},
        }  # fmt: skip
        (workbook / "configs" / "protocols" / "mine.yaml").write_text(yaml.safe_dump(protocol | changes))
        return Experiment.open("configs/quick.yaml", "protocol=mine", data="data/nine", cache="cache-of-nine")

    return make


@pytest.mark.parametrize(
    ("change", "trains_anew"),
    [
        ({"probes": {"LATER": {"run": 3}}}, True),
        ({"probes": {"LATER": {"run": 2}, "LAST": {"run": 3}}}, True),
        ({"gallery": {"run": [1, 4]}}, True),
        ({"validation": 3}, True),
        ({"test": "6-9"}, False),
        ({"summary": "the same"}, None),
    ],
)
def test_stages_are_kept_by_what_the_protocol_says_not_by_its_name(make, monkeypatch, change, trains_anew):
    monkeypatch.setattr(experiment, "_file_fingerprint", lambda path: "")
    monkeypatch.setattr(Experiment, "_weights", None)

    def keys(tested):
        return tested._training_key, tested._evaluation_key

    before = keys(make())
    trained, evaluated = (one == other for one, other in zip(before, keys(make(**change)), strict=True))
    assert (trained, evaluated) == (trains_anew is not True, trains_anew is None)


def test_a_checkpoint_is_read_once(workbook, small_run, monkeypatch):
    opened = Experiment.open(checkpoint=str(small_run))
    monkeypatch.setattr(checkpoint, "load_model", lambda path: pytest.fail("it is read again"))
    assert opened.model.embedding_size > 0


def test_people_whom_the_checkpoint_knows_are_no_test(make, monkeypatch):
    tested = make()
    facts = {"data": tested.dataset.fingerprint, "people": {"train": ["001", "007"], "validation": ["008"]}}
    monkeypatch.setattr(Experiment, "_loaded", (None, facts))
    monkeypatch.setattr(Experiment, "embeddings", lambda self: pytest.fail("it is said before anything is measured"))
    with pytest.raises(InputError, match=r"mine tests 2 people on whom this checkpoint was trained or chosen, such as 007, 008;"):
        tested.evaluate()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gallery": {"condition": "nm"}}, "walks are both gallery and LATER"),
        ({"probes": {"LATER": {"condition": "nm", "run": 9}}}, "fits LATER"),
        ({"gallery": {"run": 1, "view": "090"}, "probes": {"LATER": {"run": 2, "view": "090"}}}, "all seen from view 090"),
        ({"test": "6"}, "Protocol mine, test people: The pictures need two views that show two people each"),
        ({"test": "90-99"}, "has no 090"),
    ],
)
@pytest.mark.parametrize("walkers", [False, True])
def test_what_a_protocol_lacks_is_said_before_anything_is_made(make, workbook, monkeypatch, changes, words, walkers):
    make(**changes)
    monkeypatch.setattr(experiment, "write_dataset", lambda *_, **__: pytest.fail("walkers are made"))
    with pytest.raises(InputError) as error:
        run_experiment("configs/quick.yaml", ["protocol=mine"], data="" if walkers else "data/nine", cache="cache-of-nine")
    assert words in str(error.value)
    assert not (workbook / "reports" / "quick").exists()
    assert not (workbook / "cache-of-nine").exists()


def test_walkers_are_known_before_they_are_made():
    made = [(w.subject, w.condition, w.run, w.view, w.recording, w.sequence) for w in make_walkers(2, 0, views=[0, 90])]
    assert sorted(walkers_index(2, [0, 90]).itertuples(index=False, name=None)) == sorted(made)


def test_a_run_cannot_take_the_place_of_a_file(workbook):
    (workbook / "reports").mkdir()
    (workbook / "reports" / "mine").write_text("read me")
    for resume in (False, True):
        with pytest.raises(InputError, match="reports/mine is a file; give another --name"):
            run_experiment("configs/quick.yaml", name="mine", resume=resume)


def test_measures_on_some_of_the_people_say_so(workbook, small_run, monkeypatch):
    opened = Experiment.open(checkpoint=str(small_run))
    counts = opened.evaluate().metrics["counts"]
    people = counts["people"]
    assert not {"verification_people", "study_people"} & set(counts)
    for module in (results, experiment):
        monkeypatch.setattr(module, "VERIFICATION_PEOPLE", people - 1)
    monkeypatch.setattr(experiment, "MOST_PEOPLE", people - 2)
    found = opened.evaluate()
    counts = found.metrics["counts"]
    assert (counts["verification_people"], counts["study_people"]) == (people - 1, people - 2)
    assert {len(np.unique(s.person)) for s in found.scores.values()} == {people - 1}
    assert tables.measured_on(counts, "study_people").startswith(f"Measured on {people - 2} of the {people} people")
    assert tables.measured_on({"people": 20}, "study_people") == "Measured on all 20 people."


def test_a_training_is_not_deleted_while_another_run_makes_it(make):
    mine = make()
    folder, partial = mine._folders("training", mine._training_key)
    partial.mkdir(parents=True)
    (mine.cache / "locks").mkdir()
    with FileLock(mine.cache / "locks" / f"{folder.name}.lock"):
        deleting = threading.Thread(target=mine.forget_training)
        deleting.start()
        deleting.join(1.0)
        assert deleting.is_alive()
        assert partial.is_dir()
    deleting.join(30)
    assert not partial.exists()


def test_a_run_that_is_made_again_is_not_finished_meanwhile(workbook, monkeypatch):
    """Its old pages and numbers would pass for those of the new configuration."""
    run = workbook / "reports" / "again"
    run.mkdir(parents=True)
    (run / "index.html").write_text("old")
    (run / "metrics.json").write_text(json.dumps({"rank1": {"mean": 0.5}}))

    def interrupted(folder, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "run_notebooks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_experiment("configs/quick.yaml", ["seed=5"], name="again", resume=True)
    assert yaml.safe_load((run / "config.yaml").read_text())["seed"] == 5
    assert [p.name for p in run.iterdir()] == ["config.yaml"]
