"""A gallery loses nobody and keeps nobody who was forgotten, whoever is killed, writes at once or hands over a damaged file."""

import json
import multiprocessing
import os
import sqlite3
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from gaitlib import InputError
from gaitlib.cli import main
from gaitlib.data.dataset import GaitDataset, write_dataset
from gaitlib.data.preprocess import normalize
from gaitlib.data.walkers import make_walkers
from gaitlib.gallery import Gallery
from gaitlib.model.checkpoint import save_weights
from gaitlib.model.recognizer import GaitModel

VIEWS = ("072", "108")


def make_checkpoint(path, seed=0):
    """A small network whose discriminants are fitted on a few walkers."""
    torch.manual_seed(seed)
    model = GaitModel(
        people=9, window=32, encoder_width=8, recognizer_width=8, embedding=8, discriminants=1.0, body_discriminants=4
    )
    model.eval()
    x = torch.randn(90, 30, 32).cumsum(2) * 0.05
    subject = np.repeat(np.arange(9), 10)
    model.autoencoder.measure(x, subject)
    model.discriminants.fit(model.code_statistics(x), subject)
    save_weights(path, model, model.state_dict())
    return str(path)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder with a checkpoint, and data sets of eight people: the first two walks from two views, and the next two."""
    folder = tmp_path_factory.mktemp("gallery")
    make_checkpoint(folder / "model.safetensors")
    make_checkpoint(folder / "other.safetensors", seed=1)
    walks = [walk for walk in make_walkers(8, 3) if walk.condition == "nm" and walk.view in VIEWS and walk.run <= 4]
    write_dataset(folder / "known", (walk for walk in walks if walk.run <= 2), name="known")
    write_dataset(folder / "later", (walk for walk in walks if walk.run > 2), name="later")
    return folder


@pytest.fixture
def opened(places, tmp_path):
    """opened(): a new gallery, or the one that is there."""
    return lambda: Gallery(tmp_path / "people.gallery", str(places / "model.safetensors"), create=True)


@pytest.fixture(scope="module")
def known(places):
    return normalize(GaitDataset.open(places / "known"))


def enrolled(gallery):
    return gallery.people().set_index("subject")["walks"].to_dict()


def test_walks_come_once_and_a_person_goes_entirely(opened, known, tmp_path):
    with opened() as gallery:
        assert list(gallery.enroll(known, keep_poses=True)) == [f"{p:03d}" for p in range(1, 9)]
        assert enrolled(gallery) == {f"{p:03d}": 4 for p in range(1, 9)}
        before = gallery.descriptions()
        list(gallery.enroll(known))
        assert torch.equal(gallery.descriptions().statistics, before.statistics)
        np.testing.assert_allclose(
            gallery.pose("003", "108"), known.frames[known.start[known.index["sequence"] == "003-nm-01-108"][0] :][:32], atol=2e-3
        )
        assert gallery.pose("003", "090") is not None
        assert b"003-nm-02-108" in (tmp_path / "people.gallery").read_bytes()
        assert gallery.forget("003") == 4
        assert gallery.pose("003", "108") is None
        assert "003" not in enrolled(gallery)
        with pytest.raises(InputError, match="nobody named '003'"):
            gallery.forget("003")
    assert b"003-nm" not in (tmp_path / "people.gallery").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.gallery"]
    if os.name == "posix":
        assert (tmp_path / "people.gallery").stat().st_mode & 0o077 == 0


def test_no_pose_is_kept_unless_it_is_asked_for(opened, known):
    with opened() as gallery:
        list(gallery.enroll(known))
        assert gallery.pose("003", "108") is None


def test_a_name_that_is_spelled_twice_changes_nothing(opened, known):
    def renamed(old, new):
        return known.index.assign(subject=known.index["subject"].replace(old, new))

    with opened() as gallery:
        list(gallery.enroll(replace(known, index=renamed("001", "Anna"))))
        before = enrolled(gallery)
        for wrong, said in {
            "anna": "nearly the same name",
            "Anna_": "nearly the same name",
            "Ben": "already enrolled as Anna",
        }.items():
            with pytest.raises(InputError, match=said):
                list(gallery.enroll(replace(known, index=renamed("001", wrong))))
            assert enrolled(gallery) == before


def test_who_is_asked_is_found_and_strangers_are_measured_once(opened, known, places):
    later = normalize(GaitDataset.open(places / "later"))
    with opened() as gallery:
        list(gallery.enroll(known))
        found = gallery.identify(later, far=0.2)
        assert len(found.answers) == len(later) == 32
        first = [answer.candidates[0] for answer in found.answers]
        right = [name == subject for (name, _), subject in zip(first, later.index["subject"], strict=True)]
        assert np.mean(right) > 0.35  # with weights drawn by chance; without any network 1 in 8
        for answer, (name, score) in zip(found.answers, first, strict=True):
            assert answer.subject == (name if score >= found.strangers.score(0.2) else "")
            assert [score for _, score in answer.candidates] == sorted((score for _, score in answer.candidates), reverse=True)
            assert len(answer.candidates) == 3
        measured = gallery._about("strangers")
        assert json.loads(measured)["people"] == 8
        gallery.identify(later)
        assert gallery._about("strangers") == measured
        gallery.forget("008")
        assert gallery.identify(later).strangers.people == 7


def test_what_is_no_gallery_or_another_one_is_said(opened, known, places, tmp_path):
    with opened() as gallery:
        list(gallery.enroll(known))
        whole = gallery.path.read_bytes()
    model = str(places / "model.safetensors")
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE walks (a)")
    connection.close()
    text, cut = tmp_path / "text.gallery", tmp_path / "cut.gallery"
    text.write_text("hello" * 100)
    cut.write_bytes(whole[: len(whole) // 2])
    for path, said in {
        other: "is not a gallery of gaitlib",
        text: "is not a gallery, or is damaged",
        tmp_path / "none": "no such file",
    }.items():
        with pytest.raises(InputError, match=said):
            Gallery(path, model)
    with pytest.raises(InputError, match="is not a gallery, or is damaged"), Gallery(cut, model) as gallery:
        gallery.descriptions()
    with pytest.raises(InputError, match="made with another checkpoint than"):
        Gallery(tmp_path / "people.gallery", str(places / "other.safetensors"))
    with pytest.raises(InputError, match="make the folder"):
        Gallery(tmp_path / "nowhere" / "people.gallery", model, create=True)
    damaged = tmp_path / "damaged.gallery"
    damaged.write_bytes(whole)
    with sqlite3.connect(damaged) as connection:
        connection.execute("UPDATE walks SET statistics = substr(statistics, 1, 7) WHERE subject = '002'")
    connection.close()
    with pytest.raises(InputError, match="is not a gallery, or is damaged"), Gallery(damaged, model) as gallery:
        gallery.identify(known)
    with opened() as gallery:
        assert len(enrolled(gallery)) == 8


def _enroll(path, model, known):
    with Gallery(path, model, create=True) as gallery:
        for _ in gallery.enroll(known):
            pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, so that they begin at once")
def test_whoever_is_killed_everybody_is_there_once_or_not_at_all(places, known, tmp_path):
    path, model = tmp_path / "people.gallery", str(places / "model.safetensors")
    chance, context = np.random.default_rng(0), multiprocessing.get_context("fork")
    began = time.monotonic()
    _enroll(tmp_path / "whole.gallery", model, known)
    usual = time.monotonic() - began
    for _ in range(10):
        process = context.Process(target=_enroll, args=(path, model, known))
        process.start()
        time.sleep(chance.uniform(0, usual))
        process.kill()
        process.join()
        if path.exists():
            with Gallery(path, model) as gallery:
                assert gallery._one("PRAGMA integrity_check") == "ok"
                assert set(enrolled(gallery).values()) <= {4}
    _enroll(path, model, known)
    with Gallery(path, model) as gallery:
        assert enrolled(gallery) == {f"{p:03d}": 4 for p in range(1, 9)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, so that they begin at once")
def test_two_processes_enroll_at_once(places, known, tmp_path):
    path, model = tmp_path / "people.gallery", str(places / "model.safetensors")
    halves = [
        known.chosen(np.isin(known.index["subject"], [f"{p:03d}" for p in people]))
        for people in ((1, 2, 3, 4, 5), (8, 7, 6, 5, 4))
    ]
    processes = [multiprocessing.get_context("fork").Process(target=_enroll, args=(path, model, half)) for half in halves]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    with Gallery(path, model) as gallery:
        assert enrolled(gallery) == {f"{p:03d}": 4 for p in range(1, 9)}


def test_the_commands(places, tmp_path):
    path, model = str(tmp_path / "people.gallery"), ["--checkpoint", str(places / "model.safetensors")]

    def said(*arguments, code=0):
        found = CliRunner().invoke(main, [*arguments, *model])
        assert found.exit_code == code, found.output
        return found.output

    assert "32 walks of 8 people" in said("enroll", path, str(places / "known"), "--keep-poses")
    page = tmp_path / "page.html"
    text = said("identify", path, str(places / "later"), "--page", str(page), "--far", "0.1")
    assert "001-nm-03-072" in text
    assert "about 10 % of strangers" in text
    assert "Who is it?" in page.read_text()
    found = json.loads(said("identify", path, str(places / "later"), "--json"))
    assert (found["far"], found["strangers"]["people"], len(found["answers"])) == (0.01, 8, 32)
    for wrong in ("0", "0.7", "nan"):
        assert "--far" in said("identify", path, str(places / "later"), "--far", wrong, code=2)
    assert "4 walks of 002 deleted" in said("forget", path, "002")
    assert "nobody named '002'" in said("forget", path, "002", code=2)
    assert "did you mean '003'?" in said("forget", path, "00-3", code=2)
    assert "no such file" in said("identify", str(tmp_path / "none"), str(places / "later"), code=2)
    for command in ("enroll", "identify"):  # before the source is looked at
        assert "is a folder" in said(command, str(tmp_path), "nothing.mp4", code=2)


def test_a_person_alone_is_told_from_nobody(opened, known):
    with opened() as gallery:
        list(gallery.enroll(known.chosen((known.index["subject"] == "001").to_numpy())))
        with pytest.raises(InputError, match="has only 001 in it"):
            gallery.identify(known)


def test_everybody_in_a_data_set_is_who_the_user_says(places, tmp_path):
    path, arguments = tmp_path / "people.gallery", ["--checkpoint", str(places / "model.safetensors"), "--as"]
    for name, code in (("O'Brien", 2), ("anna", 0)):
        found = CliRunner().invoke(main, ["enroll", str(path), str(places / "known"), *arguments, name])
        assert found.exit_code == code, found.output
        assert path.exists() == (code == 0)
    assert "32 walks of 1 person" in found.output
    with Gallery(path, arguments[1]) as gallery:
        assert enrolled(gallery) == {"anna": 32}


def test_a_gallery_that_may_only_be_read_answers(opened, known, tmp_path, monkeypatch):
    with opened() as gallery:
        list(gallery.enroll(known))
        expected = gallery.identify(known).answers
        gallery._connection.execute("UPDATE about SET value = '{}' WHERE key = 'strangers'")
    with opened() as gallery:
        gallery._connection.execute("PRAGMA query_only = ON")
        assert gallery.identify(known).answers == expected
        with pytest.raises(OSError, match="it is unchanged"):
            gallery.forget("001")
        assert len(enrolled(gallery)) == 8


def test_an_empty_file_that_a_killed_process_left_becomes_the_gallery(opened, places, tmp_path):
    (tmp_path / "people.gallery").touch()
    with pytest.raises(InputError, match="is not a gallery of gaitlib"):
        Gallery(tmp_path / "people.gallery", str(places / "model.safetensors"))
    with opened() as gallery:
        assert enrolled(gallery) == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.gallery"]


def test_no_gallery_is_left_where_none_can_be_written(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="you have no permission"):
        opened()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_and_leaves_whole_people(opened, known):
    with opened() as gallery:
        gallery._connection.execute(f"PRAGMA max_page_count = {gallery._one('PRAGMA page_count') + 6}")
        with pytest.raises(OSError, match="disk is full; it is unchanged"):
            list(gallery.enroll(known, keep_poses=True))
    with opened() as gallery:
        assert gallery._one("PRAGMA integrity_check") == "ok"
        assert set(enrolled(gallery).values()) <= {4}


def test_no_gallery_is_left_of_a_checkpoint_that_describes_nobody(tmp_path):
    model = GaitModel(people=9, window=32, encoder_width=8, recognizer_width=8, embedding=8)
    save_weights(tmp_path / "model.safetensors", model, model.state_dict(), config={"evaluation": {"stride": 16}})
    with pytest.raises(InputError, match="discriminants of the codes, which this checkpoint does not have"):
        Gallery(tmp_path / "people.gallery", str(tmp_path / "model.safetensors"), create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
