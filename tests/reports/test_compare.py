"""The page of several runs: its numbers against those of the parts, and what it refuses."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from gaitlib import InputError
from gaitlib.cli import main
from gaitlib.config import load_config
from gaitlib.evaluation.bootstrap import paired_differences
from gaitlib.evaluation.embedding import Embeddings
from gaitlib.evaluation.results import with_interval
from gaitlib.reports.compare import Run, compare


@pytest.fixture
def make_run(tmp_path):
    def make_run(name, noise, seed=0, people=range(41, 53), data="x", **settings):
        """A finished run on invented embeddings; the more noise, the worse."""
        rows = [
            (f"{p:03d}", c, r, v)
            for p in people
            for c, runs in (("nm", 6), ("bg", 2), ("cl", 2))
            for r in range(1, runs + 1)
            for v in ("000", "090", "180")
        ]
        index = pd.DataFrame(rows, columns=["subject", "condition", "run", "view"])
        index["sequence"] = [f"{p}-{c}-{r:02d}-{v}" for p, c, r, v in rows]
        person = pd.factorize(index["subject"])[0]
        means = np.random.default_rng(9).normal(size=(len(set(person)), 6))
        values = means[person] + noise * np.random.default_rng(seed).normal(size=(len(index), 6))
        folder = tmp_path / name
        folder.mkdir()
        Embeddings(values.astype(np.float32), index).save(folder / "embeddings.npz")
        config = load_config("configs/quick.yaml", [f"seed={seed}", "evaluation.bootstrap=200"]).model_dump(mode="json")
        config["training"] |= settings
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        (folder / "metrics.json").write_text(json.dumps({k: {"mean": 0.5} for k in ("rank1_same_view", "map", "eer")}))
        (folder / "provenance.json").write_text(json.dumps({"commit": name, "data_fingerprint": data}))
        return folder

    return make_run


def text_of(path):
    return re.sub(r"<[^>]+>|\s+", " ", path.read_text())


def test_the_differences_are_those_of_the_bootstrap(make_run, tmp_path):
    a, b = make_run("worse", 1.5), make_run("better", 0.7, learning_rate=0.5)
    page = compare([str(a), str(b)], tmp_path / "out")
    wanted = paired_differences(Run.open(str(b)).matrices, Run.open(str(a)).matrices, repeats=200)
    text = text_of(page)
    for values in wanted.values():
        assert with_interval(*values).replace("\u00a0", " ") in text
    assert "better beats worse" in text
    assert re.search(r"training\.learning_rate\s+0\.002\s+0\.5", re.sub(r"\s+", " ", text))
    assert "commit" in text
    assert "data_fingerprint" not in text  # the same in both
    assert page.read_text().count("<img alt=") == 2
    assert 'src="http' not in page.read_text()


def test_seeds_with_commas_count_as_one(make_run, tmp_path):
    a, b = make_run("a", 1.0, seed=1), make_run("b", 1.0, seed=2)
    both = Run.open(f"{a},{b}")
    one, two = (Run.open(str(x)).matrices["NM"].mean() for x in (a, b))
    assert both.matrices["NM"].mean() == pytest.approx((one + two) / 2)
    page = compare([str(make_run("c", 1.0)), f"{a},{b}"], tmp_path / "out")
    assert "a, b cannot be told from c" in text_of(page)


@pytest.mark.parametrize("file", ["config.yaml", "grid.json"])
def test_the_page_of_a_run_or_a_grid_is_not_replaced(make_run, tmp_path, file):
    runs = [str(make_run(name, 1.0)) for name in ("a", "b")]
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / file).write_text("{}")
    (tmp_path / "kept" / "index.html").write_text("read me")
    with pytest.raises(InputError, match="kept is a run or a grid, whose page would be lost"):
        compare(runs, tmp_path / "kept")
    assert (tmp_path / "kept" / "index.html").read_text() == "read me"


def test_names_are_text(make_run, tmp_path):
    page = compare([str(make_run("a", 1.0)), str(make_run("<b>b", 1.0))], tmp_path / "out")
    assert "<b>" not in page.read_text()


def test_what_cannot_be_compared_is_said_in_a_sentence(make_run, tmp_path, monkeypatch):
    a, other = make_run("a", 1.0), make_run("other", 1.0, people=range(45, 57))
    elsewhere = make_run("elsewhere", 1.0, data="y")  # people of the same names
    monkeypatch.chdir(tmp_path)
    for runs, said in (
        ([a, elsewhere], "different data sets"),
        ([f"{a},{elsewhere}", other], "different data sets"),
        ([a], "two runs or more"),
        ([a, a], "different names"),
        ([a, tmp_path / "nothing"], "no finished run"),
        ([a, other], "other people in one of the runs"),
    ):
        result = CliRunner().invoke(main, ["compare", *map(str, runs)])
        assert result.exit_code == 2
        assert said in result.output
        assert not (tmp_path / "reports").exists()
