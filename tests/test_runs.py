"""The runs in reports/: listed whatever is in their folders, tidied without losing anything that is needed, repeated."""

import json
import os
import re
import shutil
import threading

import pytest
import yaml

from gaitlib import InputError
from gaitlib.cli import main
from gaitlib.data.protocol import Protocol
from gaitlib.files import locked
from gaitlib.reports.run import FILES
from gaitlib.runs import differences, find_runs, rerun, what_can_go
from gaitlib.stages import Stages

FACTS = {"data_fingerprint": "f" * 64, "stage_seconds": {"02_training": 1.0}, "start": "2026-01-01T00:00:00+00:00"}


@pytest.fixture
def reports(tmp_path, monkeypatch):
    """A workspace with three runs; `make(name, validation...)` adds one."""
    monkeypatch.chdir(tmp_path)

    def make(name, *scores):
        folder = tmp_path / "reports" / name
        (folder / "checkpoint").mkdir(parents=True)
        (folder / "config.yaml").write_text("seed: 1\nprotocol: walkers\n")
        (folder / "metrics.json").write_text('{"rank1": {"mean": 0.8}}')
        (folder / "provenance.json").write_text(json.dumps(FACTS))
        (folder / "index.html").touch()
        rows = "".join(f"{i},{score}\n" for i, score in enumerate(scores))
        (folder / "checkpoint" / "history.csv").write_text("iteration,validation_rank1\n" + rows)
        for file in ("model.safetensors", "state.pt"):
            (folder / "checkpoint" / file).write_bytes(b"12345")
        return folder

    make("base", 0.2, 0.9)
    make("lesser", 0.5)
    return make


def listed(reports):
    return {run.name: bool(run.problem) for run in find_runs(reports)}


def going(base):
    found = what_can_go(base / "reports", Stages(base / "cache"), keep_best=True)
    return [path.relative_to(base).as_posix() for path in found]


LESSER = ["reports/lesser/checkpoint/model.safetensors", "reports/lesser/checkpoint/state.pt"]


def test_runs_are_listed_with_what_they_found(reports, tmp_path, capsys):
    main(["runs", "seed=1", "bas"], standalone_mode=False)
    out = capsys.readouterr().out
    assert re.search(r"base +2026-01-01 00:00 +walkers +1 +90\.0\u202f% +80\.0\u202f% +0\.0 MB\n1 run, ", out)
    assert 'href="base/index.html"' in (tmp_path / "reports" / "index.html").read_text()
    main(["runs", "seed=2"], standalone_mode=False)
    assert "No run in reports/ matches seed=2." in capsys.readouterr().out


def test_runs_are_listed_for_programs(reports, tmp_path, capsys):
    number(reports("broken"))
    main(["runs", "--json"], standalone_mode=False)
    base, broken, lesser = json.loads(capsys.readouterr().out)
    assert {key: base[key] for key in ("name", "protocol", "seed", "finished", "seconds", "validation", "rank1", "ci95")} == {
        "name": "base", "protocol": "walkers", "seed": 1, "finished": True, "seconds": 1.0, "validation": 0.9,
        "rank1": {"mean": 0.8}, "ci95": None,
    }  # fmt: skip
    assert base["bytes"] == sum(path.stat().st_size for path in (tmp_path / "reports" / "base").rglob("*") if path.is_file())
    assert "rank1" in broken["problem"]
    assert lesser["validation"] == 0.5
    main(["runs", "--json", "nothing"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == []


def number(folder):
    (folder / "metrics.json").write_text('{"rank1": 5}')


def deep(folder):
    (folder / "metrics.json").write_text('{"a": ' * 500 + "1" + "}" * 500)


def pipe(folder):
    (folder / "metrics.json").unlink()
    os.mkfifo(folder / "metrics.json")


def half(folder):
    (folder / "provenance.json").write_text('{"start": "2026')


def torn(folder):
    (folder / "config.yaml").write_text("a: [")


def odd(folder):
    (folder / "provenance.json").write_text('{"stage_seconds": [1], "start": 3}')


@pytest.mark.parametrize("damage", [number, deep, pipe, half, torn, odd])
def test_a_damaged_folder_is_listed_as_unreadable_and_stops_nothing(reports, tmp_path, capsys, damage):
    folder = reports("broken", 1.0)
    damage(folder)
    assert listed(tmp_path / "reports") == {"base": False, "broken": True, "lesser": False}
    main(["runs"], standalone_mode=False)
    out = capsys.readouterr().out
    assert "broken  unreadable: " in out
    assert re.search(r"lesser +2026-01-01", out)
    page = (tmp_path / "reports" / "index.html").read_text()
    assert "broken" in page
    assert 'href="lesser/index.html"' in page
    assert going(tmp_path) == LESSER  # the damaged one is neither the best nor deleted
    with pytest.raises(InputError):
        rerun(folder)


def test_the_best_is_a_number(reports, tmp_path):
    reports("nan", "nan", 0.1)
    reports("infinite", "inf", 0.3)
    assert [path for path in going(tmp_path) if "base" in path] == []
    assert len(going(tmp_path)) == 6


def test_links_are_not_followed_when_deleting(reports, tmp_path):
    """`ln -s base reports/latest` listed the weights of the base run, the best, as those of a lesser one."""
    (tmp_path / "reports" / "latest").symlink_to("base", target_is_directory=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").touch()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "training-0123456789abcdef").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    shutil.move(tmp_path / "reports" / "lesser", tmp_path / "lesser")
    (tmp_path / "reports" / "lesser").symlink_to(tmp_path / "lesser", target_is_directory=True)
    assert going(tmp_path) == []
    main(["clean", "--keep-best", "--yes"], standalone_mode=False)
    assert (tmp_path / "reports" / "base" / "checkpoint" / "model.safetensors").exists()
    assert (tmp_path / "elsewhere" / "x").exists()


def test_what_is_resumed_while_the_question_waits_stays(reports, tmp_path, monkeypatch, capsys):
    import click

    partial = tmp_path / "cache" / "training-0123456789abcdee.partial"
    for path in (partial, tmp_path / "cache" / "training-0123456789abcdef", tmp_path / "cache" / "mine"):
        path.mkdir(parents=True)
    go = threading.Event()

    def resumed():
        with locked(tmp_path / "cache" / "locks" / "training-0123456789abcdee.lock", lambda: None):
            begun.set()
            go.wait(20)

    begun, thread = threading.Event(), threading.Thread(target=resumed)

    def answer(question):
        thread.start()
        begun.wait(20)
        return True

    monkeypatch.setattr(click, "confirm", answer)
    main(["clean", "--keep-best"], standalone_mode=False)
    go.set()
    thread.join()
    assert "now in use, kept: cache/training-0123456789abcdee.partial" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == ["locks", "mine", partial.name]
    assert [p for p in LESSER if (tmp_path / p).exists()] == []
    assert (tmp_path / "reports" / "lesser" / "metrics.json").exists()


def test_numbers_that_differ_are_told():
    before = {"rank1": {"NM": 0.91, "mean": 0.9}, "ci95": {"NM": [0.8, 0.95]}, "iterations": 4}
    after = {"rank1": {"NM": 0.92, "mean": 0.9}, "ci95": {"NM": [0.8, 0.96]}, "iterations": 4}
    assert differences(before, before) == []
    assert differences(before, after) == ["rank1.NM: 0.91 -> 0.92", "ci95.NM: 0.8, 0.95 -> 0.8, 0.96"]
    assert differences(before, before | {"parameters": 9}) == ["parameters: None -> 9"]
    assert differences(before, before | {"parameters": 9}, added=False) == []
    assert differences(before | {"parameters": 9}, before, added=False) == ["parameters: 9 -> None"]


def test_what_cannot_be_repeated_is_refused(reports, tmp_path, small_run):
    with pytest.raises(InputError, match="There is no run folder reports/none"):
        rerun("reports/none")
    run = tmp_path / "reports" / "old"
    run.mkdir()
    for file in FILES:
        shutil.copy(small_run / file, run / file)
    content = yaml.safe_load((run / "config.yaml").read_text())
    content |= {"protocol": "walkers", "walkers": {"subjects": 4, "more": 0, "variety": 0.0, "seed": 0}}
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    known = vars(Protocol.named("walkers"))
    facts = json.loads((run / "provenance.json").read_text()) | {"data_fingerprint": "f" * 64, "protocol": known}
    (run / "provenance.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match="was made from data ffffffffffff, but the embedded walkers of this version are"):
        rerun(run)
    known = known | {"summary": "other words", "gallery": {"run": 9}}
    (run / "provenance.json").write_text(json.dumps(facts | {"protocol": known}))
    with pytest.raises(InputError, match=r"The protocol walkers has changed since \S+old was made \(.*gallery.run: 9 -> "):
        rerun(run)
    assert not (tmp_path / "reports" / "old-again").exists()
    assert list((tmp_path / "cache").iterdir()) == []
