"""A run folder is read with care: what is damaged is said in a sentence, and costs nobody else anything."""

import json
import os

import pytest

from gaitlib import InputError
from gaitlib.reports.html import write_overview
from gaitlib.reports.run import FILES, Run, flat


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "reports" / "mine"
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 3\nprotocol: walkers\ntraining: {iterations: 5}\n")
    (folder / "metrics.json").write_text('{"rank1": {"NM": 0.75, "mean": 0.5}, "ci95": {"mean": [0.25, 0.75]}, "iterations": 5}')
    facts = {"start": "2026-01-01T00:00:00", "stage_seconds": {"a": 1800, "b": 1800.0}, "hardware": {"threads": 2}}
    (folder / "provenance.json").write_text(json.dumps(facts))
    (folder / "checkpoint" / "history.csv").write_text("iteration,validation_rank1\n1,nan\n2,0.5\n3,inf\n4,0.25\n5,7\n6,x\n")
    (folder / "index.html").touch()
    return folder


def test_what_a_run_says(folder):
    run = Run(folder)
    assert (run.name, run.seed, run.problem, run.is_finished) == ("mine", 3, "", True)
    assert (run.rank1("NM"), run.rank1(), run.rank1("CL")) == (0.75, 0.5, None)
    assert (run.seconds, run.core_hours) == (3600, 2)
    assert run.validation == 0.5  # nan, inf and what is no share choose nothing
    assert run.matches(["min*", "training.iterations=5"])
    assert not run.matches(["seed=4"])


def test_a_run_that_has_only_begun_has_no_numbers(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 1")
    run = Run(tmp_path)
    assert (run.problem, run.rank1(), run.validation, run.seconds, run.core_hours) == ("", None, None, None, None)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.json", "[1]"),
        ("metrics.json", '{"rank1": 7}'),
        ("metrics.json", '{"rank1": {"mean": "high"}}'),
        ("metrics.json", '{"rank1": {"mean": 1' + "0" * 400 + "}}"),
        ("metrics.json", '{"ci95": {"mean": [0.5]}}'),
        ("metrics.json", '{"baseline": {"rank1": {"mean": "0.5"}}}'),
        ("metrics.json", '{"iterations": 1e9}'),
        ("metrics.json", '{"rank1_everyone": 1}'),
        ("metrics.json", '{"ablations": [{"rank1": {"mean": 1}}]}'),
        ("metrics.json", '{"exchange": {"exchange": []}}'),
        ("metrics.json", "[" * 10_000),
        ("metrics.json", None),
        ("provenance.json", '{"stage_seconds": {"a": -1}}'),
        ("provenance.json", '{"hardware": {"threads": "two"}}'),
        ("provenance.json", '{"protocol": {"gallery": 1, "probes": {}}}'),
        ("config.yaml", "a: ["),
        ("checkpoint/history.csv", "iteration,validation_rank1\n1,2,3,4,5\n1\n1,2,3,4,5,6"),
        ("checkpoint/history.csv", "iteration\n1"),
    ],
)
def test_a_damaged_run_is_listed_with_the_reason(folder, tmp_path, file, content):
    """None: a pipe, which would be read forever."""
    if content is None:
        (folder / file).unlink()
        os.mkfifo(folder / file)
    else:
        (folder / file).write_text(content)
    run = Run(folder, "<b>mine")
    assert file in run.problem
    assert not run.matches(["seed=3"])
    write_overview(tmp_path / "index.html", [(run, "1 MB"), (Run(tmp_path / "reports" / "none"), "0 MB")], [])
    page = (tmp_path / "index.html").read_text()
    assert "Unreadable" in page
    assert "<b>" not in page
    assert file in page


def test_a_finished_run_has_all_its_files(folder):
    (folder / "embeddings.npz").touch()
    assert Run.open(folder).folder == folder
    for file in reversed(FILES):
        (folder / file).unlink()
        with pytest.raises(InputError, match=rf"mine is not a finished run: it has no {file}"):
            Run.open(folder)


def test_a_run_that_does_not_say_its_protocol_has_none(folder):
    with pytest.raises(InputError, match="it holds no protocol of this version"):
        _ = Run(folder).protocol


def test_nested_settings_are_one_value_a_key():
    content = {"a": {"b": [1, 2], "c": {}}, "d": [{"e": None}], "f": []}
    assert dict(flat(content)) == {"a.b": "1, 2", "a.c": "none", "d.0.e": None, "f": "none"}
