"""What stages are kept by, and what a run folder is while it is made."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from gaitlib import InputError, experiment, notebooks, training
from gaitlib.config import load_config
from gaitlib.data import preprocess
from gaitlib.data.dataset import write_dataset
from gaitlib.data.walkers import make_walkers, walkers_index
from gaitlib.evaluation import results
from gaitlib.experiment import Experiment
from gaitlib.files import locked
from gaitlib.model import checkpoint
from gaitlib.notebooks import run_experiment
from gaitlib.reports import tables
from gaitlib.stages import Stages


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
    monkeypatch.setattr(experiment, "file_fingerprint", lambda path: "")
    monkeypatch.setattr(Experiment, "_weights", None)

    def keys(tested):
        return tested._training_key, tested._evaluation_key("gaitlib.evaluation.ablations")

    before = keys(make())
    trained, evaluated = (one == other for one, other in zip(before, keys(make(**change)), strict=True))
    assert (trained, evaluated) == (trains_anew is not True, trains_anew is None)


def test_more_walkers_train_and_no_protocol_knows_them(workbook):
    """Not even one that tests everybody else."""
    protocol = {
        "name": "open", "train": "1-4", "test": "5-", "validation": 2,
        "gallery": {"run": 1}, "probes": {"LATER": {"run": 2}},
    }  # fmt: skip
    (workbook / "configs" / "protocols" / "open.yaml").write_text(yaml.safe_dump(protocol))
    changes = "protocol=open walkers.subjects=6 walkers.more=2"
    opened = Experiment.open("configs/quick.yaml", changes, cache="cache-of-more")
    found = opened.split
    assert sorted(found.train.index["subject"].unique()) == ["001", "004", "10001", "10002"]
    assert sorted(found.validation.walks.index["subject"].unique()) == ["002", "003"]
    assert sorted(found.test.walks.index["subject"].unique()) == ["005", "006"]
    studied = [sorted(walks.index["subject"].unique()) for walks in opened._few]
    assert studied == [["001", "004"], ["005", "006"]]
    walk = next(make_walkers(1, 0, first_subject=10_002))
    (same,) = found.train.select(sequence=walk.sequence)
    np.testing.assert_array_equal(same.pose, walk.pose)


def test_embedded_walkers_are_compared_with_the_truth_unless_the_arm_does_not(workbook, monkeypatch):
    given = []
    monkeypatch.setattr(training, "train", lambda *args, truth, **others: given.append(truth))
    for changes in ("losses.target=truth", "losses.target=seen"):
        changes = f"protocol=small walkers.subjects=16 walkers.more=0 seed=3 {changes}"
        opened = Experiment.open("configs/quick.yaml", changes, cache="cache-of-truth")
        opened.trained()
    truth, nothing = given
    assert nothing is None
    train = opened.split.train
    assert truth.index["sequence"].tolist() == train.index["sequence"].tolist()
    assert truth.index["frames"].tolist() == train.index["frames"].tolist()
    assert np.isfinite(truth[0].pose).all()
    assert np.nanmax(np.abs(truth[0].pose - train[0].pose)) > 0.1


def test_training_sees_mapped_frames_that_are_made_once(make, monkeypatch):
    given, written = [], []
    monkeypatch.setattr(training, "train", lambda *args, normalized, **others: given.append(normalized))
    monkeypatch.setattr(experiment, "write_normalized", lambda *args: written.append(args) or preprocess.write_normalized(*args))
    opened = make()
    opened.trained()
    parts = opened.split.train, opened.split.validation.walks, opened.split.test.walks
    for walks, found in zip(parts, (given[0](parts[0]), given[0](parts[1]), opened.test_walks), strict=True):
        wanted = preprocess.normalize(walks)
        assert isinstance(found.frames, np.memmap)
        for i in range(len(walks)):
            a, b = (one.frames[one.start[i] :][: one.length[i]] for one in (found, wanted))
            np.testing.assert_array_equal(a, b)
    assert len(written) == 1


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
    with pytest.raises(InputError, match="mine tests 2 people on whom"):
        replace(tested, other_people=True).evaluate()


def test_names_that_the_checkpoint_knows_from_other_data_have_to_be_said_to_be_others(make, monkeypatch):
    """A data set that grew by a person had another fingerprint, and whom training had seen passed for unseen."""
    tested = make()
    facts = {"data": "of twelve", "people": {"train": ["001", "007"], "validation": ["008"]}}
    monkeypatch.setattr(Experiment, "_loaded", (None, facts))
    with pytest.raises(InputError, match=r"mine tests 2 people whose names are in this checkpoint's list .* --other-people"):
        tested.evaluate()
    assert replace(tested, other_people=True)._shared_names() == ["007", "008"]
    monkeypatch.setattr(Experiment, "_loaded", (None, facts | {"people": {"train": ["001"], "validation": ["009"]}}))
    assert tested._shared_names() == []


@pytest.mark.usefixtures("own_cache")
def test_shared_names_are_counted_in_the_metrics(small_run):
    opened = Experiment.open(checkpoint=str(small_run), other_people=True)
    some = sorted(opened.split.test.walks.index["subject"].unique())
    facts = opened._facts | {"data": "others", "people": {"train": some[:1], "validation": some[1:2]}}
    asked = replace(opened, loaded=(opened.model, facts))
    assert asked.evaluate().metrics["counts"]["names_shared_with_training"] == 2


def test_what_a_training_took_is_known_of_our_own_only(tmp_path, monkeypatch):
    """A checkpoint that is given may lie beside any file of that name, unless notebook 02 of this run put it there."""
    monkeypatch.setattr(Experiment, "_weights", tmp_path / checkpoint.WEIGHTS)
    monkeypatch.setattr(Experiment, "_embeddings_key", [])
    opened = Experiment(load_config("configs/default.yaml"), "", Stages(tmp_path / "cache"), tmp_path)
    assert opened.cost() == {"training_minutes": None, "milliseconds_per_walk": None}
    (tmp_path / "seconds.json").write_text("90.0")
    assert opened.cost()["training_minutes"] == 1.5
    (tmp_path / "seconds.json").write_text('"long"')
    assert replace(opened, checkpoint=tmp_path).cost()["training_minutes"] is None
    (tmp_path / "seconds.json").write_text("60.0")
    monkeypatch.setattr(Experiment, "_weights", tmp_path / "checkpoint" / checkpoint.WEIGHTS)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "seconds.json").rename(tmp_path / "checkpoint" / "seconds.json")
    assert replace(opened, checkpoint=tmp_path).cost()["training_minutes"] == 1


def test_how_many_people_are_studied_decides_what_is_kept(workbook, small_run, monkeypatch):
    opened = Experiment.open(checkpoint=str(small_run))
    before = opened._evaluation_key("gaitlib.evaluation.codes")
    monkeypatch.setattr(experiment, "MOST_PEOPLE", 3)
    assert opened._evaluation_key("gaitlib.evaluation.codes") != before


def test_the_view_from_the_side_is_told_from_its_degrees(make, monkeypatch):
    """Names such as 90.0 or -90 were taken for the side themselves."""

    asked = make()
    seen = []
    monkeypatch.setattr(experiment, "mean_walks", lambda train, side, window: seen.append(side))
    monkeypatch.setattr(experiment, "exchange_errors", lambda *_: None)
    monkeypatch.setattr(Experiment, "_few_normalized", (None, None))
    monkeypatch.setattr(Experiment, "model", SimpleNamespace(window=64, autoencoder=True))
    for views in (["-90", "0", "36.5", "85.0"], ["0", "85.0", "180"]):
        monkeypatch.setattr(type(asked.dataset), "views", views)
        asked.exchange()
    assert seen == ["85.0", "85.0"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gallery": {"condition": "nm"}}, "walks are both gallery and LATER"),
        ({"probes": {"LATER": {"condition": "nm", "run": 9}}}, "fits LATER"),
        ({"gallery": {"run": 1, "view": "090"}, "probes": {"LATER": {"run": 2, "view": "090"}}}, "all seen from view 090"),
        ({"test": "6"}, "Protocol mine, test people: The pictures need two views with two people each"),
        ({"test": "90-99"}, "do not include 090"),
    ],
)
@pytest.mark.parametrize("walkers", [False, True])
def test_what_a_protocol_lacks_is_said_before_anything_is_made(make, workbook, monkeypatch, changes, words, walkers):
    make(**changes)
    monkeypatch.setattr(experiment, "write_dataset", lambda *_, **__: pytest.fail("walkers are made"))
    with pytest.raises(InputError) as error:
        run_experiment(
            load_config("configs/quick.yaml", ["protocol=mine"]),
            "quick",
            data="" if walkers else "data/nine",
            cache="cache-of-nine",
        )
    assert words in str(error.value)
    assert not (workbook / "reports" / "quick").exists()
    assert not (workbook / "cache-of-nine").exists()


def test_walkers_are_known_before_they_are_made():
    made = [(w.subject, w.condition, w.run, w.view, w.recording, w.sequence) for w in make_walkers(2, 0, views=[0, 90])]
    known = walkers_index(2)
    assert sorted(known[known["view"].isin(["000", "090"])].itertuples(index=False, name=None)) == sorted(made)
    assert known["view"].nunique() == 11


def test_a_run_cannot_take_the_place_of_a_file(workbook):
    (workbook / "reports").mkdir()
    (workbook / "reports" / "mine").write_text("read me")
    for resume in (False, True):
        with pytest.raises(InputError, match="reports/mine is a file; give another --name"):
            run_experiment(load_config("configs/quick.yaml"), "mine", resume=resume)


@pytest.fixture
def own_cache(workbook):
    """A copy of the small run's cache: stages that are made here are not found by other tests."""
    cache = workbook / "cache"
    kept = cache.resolve()
    cache.unlink()
    shutil.copytree(kept, cache)


def test_measures_on_some_of_the_people_say_so(own_cache, small_run, monkeypatch):
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


# ------------------------------------------------------------------------------------------------------------ the run folder


@pytest.fixture
def small_settings_run(own_cache, small_run, small_settings, monkeypatch):
    """Run the small configuration as reports/small, with `execute` in place of a notebook's execution."""

    def run(execute, **options):
        monkeypatch.setattr(notebooks, "_execute", execute)
        return run_experiment(load_config("configs/quick.yaml", small_settings), "small", **options)

    return run


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("error", [KeyboardInterrupt, notebooks.StageFailed])
def test_a_report_stays_until_the_new_one_is_complete(workbook, small_run, small_settings_run, error):
    run = workbook / "reports" / "small"
    shutil.copytree(small_run, run)
    before = contents(run)

    def stops(path, experiment, *_):
        (experiment.run / "metrics.json").write_text("new")
        raise error("stopped")

    for options in ({"resume": True}, {"force": True}):
        with pytest.raises(error):
            small_settings_run(stops, **options)
        assert contents(run) == before
    assert (run.parent / ".small.new").exists() == (error is notebooks.StageFailed)  # to be looked at


def test_what_somebody_keeps_in_a_run_folder_stays(tmp_path):
    run = tmp_path / "reports" / "mine"
    (run / "figures").mkdir(parents=True)
    for name in ("notes.txt", "index.html", "figures/old.png"):
        (run / name).write_text("old")
    (run / "mine").mkdir()
    (run / "mine" / "x").touch()
    (run / "link").symlink_to("nowhere")
    os.mkfifo(run / "pipe")
    with notebooks._taking_the_place_of(run) as folder:
        (folder / "index.html").write_text("new")
    assert {str(p.relative_to(run)) for p in run.rglob("*")} == {"index.html", "notes.txt", "mine", "mine/x", "link"}
    assert (run / "index.html").read_text() == "new"


def test_what_a_first_run_reached_can_be_looked_at(workbook, small_settings_run):
    def stops(path, experiment, trained, seen, *_):
        (experiment.run / path.name).write_text("half")
        assert seen == workbook / "reports" / "small" / path.name
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_settings_run(stops)
    assert sorted(contents(workbook / "reports" / "small")) == ["01_data_preparation.ipynb", "config.yaml"]


def test_two_runs_of_one_name_do_not_meet(workbook, small_settings_run):
    def raise_if_called(*_):
        pytest.fail("two processes make one run")

    with (
        locked(workbook / "reports" / ".locks" / "small.lock", raise_if_called),
        pytest.raises(InputError, match=r"Another process is making .*small; wait for it"),
    ):
        small_settings_run(raise_if_called, resume=True)


def test_force_trains_anew_and_takes_nothing_from_a_run_beside_it(make):
    """It deleted the training that another run of the same configuration was about to read."""
    opened = make()
    before = opened.stages.folder("training", opened._training_key)
    before.mkdir(parents=True)
    opened.train_anew()
    assert before.is_dir()
    assert opened.stages.folder("training", opened._training_key) != before


# -------------------------------------------------------------------------------------------------------------- the kernels


@pytest.fixture
def short_folder():
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def test_folders_of_sockets_whose_process_was_killed_are_cleared(short_folder, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(short_folder))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f"gaitlib-{dead.pid}-x", f"gaitlib-{os.getpid()}-x", "gaitlib-mine-x", "else"):
        (short_folder / name).mkdir()
    with notebooks._sockets() as settings:
        made = Path(settings.KernelManager.ip).parent
        assert made.parent == short_folder
    left = {f"gaitlib-{os.getpid()}-x", "gaitlib-mine-x", "else"}
    assert {p.name for p in short_folder.iterdir()} == left


def test_a_long_temporary_folder_is_no_place_for_sockets(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with notebooks._sockets() as settings:
        assert len(settings.KernelManager.get("ip", "")) < 100
    assert list(long.iterdir()) == []


def test_reports_belong_into_the_clone_from_whichever_of_its_folders(workbook, monkeypatch):
    from gaitlib.config import root, workspace

    (workbook / "docs").mkdir()
    for folder in (workbook, workbook / "docs", workbook / "notebooks"):
        monkeypatch.chdir(folder)
        assert root() == workspace() == workbook
