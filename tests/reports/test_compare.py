"""The pages of several runs and of a grid: their numbers against those of the parts, and what is refused."""

import json
import math
import re
from itertools import product
from types import SimpleNamespace

import numpy as np
import openpyxl
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from gaitlib import InputError
from gaitlib.cli import main
from gaitlib.config import load_config
from gaitlib.data.protocol import Protocol
from gaitlib.evaluation.bootstrap import mean_interval, paired_differences
from gaitlib.evaluation.embedding import Embeddings
from gaitlib.reports.compare import (
    Setting,
    ablations_table,
    best_setting,
    compare,
    differences,
    exchange_table,
    read_settings,
    write_report,
)
from gaitlib.rounding import with_interval

PROTOCOL = vars(Protocol.load("configs/protocols/walkers.yaml"))


@pytest.fixture
def make_run(tmp_path):
    def make_run(name, noise, seed=0, people=range(41, 53), data="x", protocol=PROTOCOL, **settings):
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
        facts = {"commit": name, "data_fingerprint": data, "protocol": protocol}
        (folder / "provenance.json").write_text(json.dumps(facts))
        return folder

    return make_run


def text_of(path):
    return re.sub(r"(<[^>]+>|\s)+", " ", path.read_text())


def test_the_differences_are_those_of_the_bootstrap(make_run, tmp_path):
    a, b = make_run("worse", 1.5), make_run("better", 0.7, learning_rate=0.5)
    page = compare([str(a), str(b)], tmp_path / "out")
    wanted = paired_differences(Setting.open(str(b)).matrices, Setting.open(str(a)).matrices, repeats=200)
    text = text_of(page)
    for values in wanted.values():
        assert with_interval(*values, sign="+").replace("\u00a0", " ") in text
    assert f"<strong>{with_interval(*wanted['mean'], sign='+')}</strong>" in page.read_text()
    assert "better beats worse" in text
    assert re.search(r"training\.learning_rate 0\.002 0\.5", text)
    assert "commit" in text
    assert "data_fingerprint" not in text  # the same in both
    assert page.read_text().count("<img alt=") == 2
    assert 'src="http' not in page.read_text()


def test_seeds_with_commas_count_as_one(make_run, tmp_path):
    a, b = make_run("a", 1.0, seed=1), make_run("b", 1.0, seed=2)
    both = Setting.open(f"{a},{b}")
    one, two = (Setting.open(str(x)).matrices["NM"].mean() for x in (a, b))
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
    elsewhere = make_run("elsewhere", 1.0, seed=1, data="y")  # people of the same names
    fewer = make_run("fewer", 1.0, seed=1, protocol=PROTOCOL | {"gallery": {"condition": "nm", "run": 1}, "name": "other"})
    faster = make_run("faster", 1.0, seed=1, learning_rate=0.5)
    again = make_run("again", 1.0)
    monkeypatch.chdir(tmp_path)
    for runs, said in (
        ([a, elsewhere], "different data sets"),
        ([f"{a},{elsewhere}", other], "different data sets"),
        ([a], "two runs or more"),
        ([a, a], "different names"),
        ([a, tmp_path / "nothing"], "There is no run folder"),
        ([a, other], "different people in the two runs"),
        ([a, fewer], "a and fewer were made by different protocols (gallery.run: 1-4 and 1)"),
        ([f"{a},{fewer}", again], "a and fewer were made by different protocols"),
        ([again, f"{a},{faster}"], "differ in more than the seed (training.learning_rate: 0.002 and 0.5)"),
        ([faster, f"{a},{again}"], "a and again have the same seed"),
    ):
        result = CliRunner().invoke(main, ["compare", *map(str, runs)])
        assert result.exit_code == 2
        assert said in result.output
        assert result.output.count("\n") == 1
        assert not (tmp_path / "reports").exists()


def test_a_protocol_whose_words_alone_were_changed_is_the_same(make_run, tmp_path):
    a, b = make_run("a", 1.0), make_run("b", 1.0, protocol=PROTOCOL | {"summary": "other words", "name": "renamed"})
    assert compare([str(a), str(b)], tmp_path / "out").is_file()


# ------------------------------------------------------------------------------------------------------------- of a grid


@pytest.fixture
def grid(tmp_path):
    """A grid folder of two settings and three seeds, the last point failed: (folder, where its points stand)."""
    folder, points, found = tmp_path / "reports" / "g", {}, []
    folder.mkdir(parents=True)
    rank1 = iter([0.80, 0.82, 0.84, 0.90, 0.91, None])
    for weight, seed in product(("0.0", "1.0"), ("0", "1", "2")):
        name, share = f"contrastive-{weight}_seed-{seed}", next(rank1)
        points[name] = {"labels": {"losses.contrastive": weight, "seed": seed}}
        if share is None:
            found.append(SimpleNamespace(name=name, state="failed", validation=None, error="cell 4: <b>no</b> more memory"))
            continue
        found.append(SimpleNamespace(name=name, state="done", validation=1 - share, error=""))
        run = folder / name
        run.mkdir()
        config = load_config("configs/quick.yaml", [f"seed={seed}", f"losses.contrastive={weight}"])
        (run / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
        (run / "metrics.json").write_text(json.dumps({"rank1": {"NM": share, "mean": share}}))
        known = {"data_fingerprint": "d", "commit": "c", "stage_seconds": {"02_training": 3600.0}, "hardware": {"threads": 2}}
        (run / "provenance.json").write_text(json.dumps(known | {"protocol": PROTOCOL}))
        (run / "index.html").touch()
    axes = {"losses.contrastive": ["0.0", "1.0"], "seed": ["0", "1", "2"]}
    content = {"axes": axes, "baseline": {"losses.contrastive": "0.0"}, "points": points}
    (folder / "grid.json").write_text(json.dumps(content))
    return folder, found


def settings_of(folder, found):
    return read_settings(folder, json.loads((folder / "grid.json").read_text()), found)


def numbers_of(folder, row):
    """A row of the sheet Settings; the ends of an interval are counted on: "95 % low", "95 % low.1", ..."""
    return pd.read_excel(folder / "grid.xlsx", "Settings", header=3).iloc[row]


def test_means_differences_and_the_best(grid):
    (first, second), baseline = settings_of(*grid)
    assert baseline is first
    half = 4.302653 * 0.02 / 3**0.5  # Student's t for two degrees of freedom, from a printed table
    assert first.mean() == pytest.approx([0.82, 0.82 - half, 0.82 + half], abs=1e-6)
    (value, _, high), _ = differences(second, first)  # seeds 0 and 1: +0.10 and +0.09
    assert value == pytest.approx(0.095)
    assert high - value == pytest.approx(12.7062 * 0.005, rel=1e-4)
    assert math.isnan(second.of_seeds([1]).mean()[1])  # one seed has no interval
    assert best_setting([first, second]) is first  # by the validation people, who disagree with the test people
    assert first.core_hours == 6
    (second.runs[0].folder / "metrics.json").write_text('{"rank1": {"mean": 0.99}}')
    assert settings_of(*grid)[0][1].mean()[2] == 1  # no share is beyond


def test_the_report_of_a_grid(grid):
    folder, found = grid
    write_report(folder, found)
    page = (folder / "index.html").read_text()
    text = text_of(folder / "index.html")
    assert "5 of 6 runs are done. Chosen on validation people, the best is contrastive 0.0: rank-1 82.0 %" in text
    assert "+9.5 [+3.1, +15.9]" in text
    assert "cell 4: &lt;b&gt;no&lt;/b&gt; more memory" in page
    assert "<b>no" not in page
    for href in re.findall(r'href="([^"#]+)"', page):
        assert href == "data:," or (folder / href).is_file(), href
    assert not re.search(r"(src|href)=\"https?:", page)
    first, second = numbers_of(folder, 0), numbers_of(folder, 1)
    assert [first["contrastive"], first["role"]] == [0, "baseline, best"]
    assert (second["seeds"], second["difference over seeds"]) == ("2 of 3", pytest.approx(9.5))
    assert openpyxl.load_workbook(folder / "grid.xlsx")["Runs"]["A4"].hyperlink.target == "contrastive-0.0_seed-0/index.html"


def test_what_settings_cost_and_where_one_is_ahead(grid):
    """The second setting recognizes better, except in its own view; it has a network of another size and no codes."""
    folder, found = grid
    settings, _ = settings_of(folder, found)
    for k, setting in enumerate(settings):
        for run in setting.runs:
            ablations = [{"name": "nothing changed", "rank1": {"mean": 0.8}}, {"name": "body only", "rank1": {"mean": 0.4}}]
            metrics = run.metrics | {
                "parameters": 1000 * (1 + k),
                "rank1_same_view": {"mean": 0.9 - 0.1 * k},
                "eer": {"mean": 0.2 - 0.1 * k},
            }
            metrics |= {"ablations": ablations[: 2 - k], "exchange": {"exchange": [4.0], "mean_walk": [5.0]} if not k else {}}
            (run.folder / "metrics.json").write_text(json.dumps(metrics))
            cost = {"training_minutes": 12.0, "milliseconds_per_walk": 3.0 + k}
            (run.folder / "cost.json").write_text(json.dumps(cost))
    write_report(folder, found)
    text = text_of(folder / "index.html")
    assert "Ahead of contrastive 0.0: contrastive 1.0 in NM rank-1 90.5 against 82.0 %, mean rank-1 90.5" in text
    assert "same-view rank-1 80.0 against" not in text
    assert "EER 10.0 against 20.0 %" in text
    page = (folder / "index.html").read_text()
    assert "contrastive 1.0 90.5 %, 2,000 parameters, 12.0 training minutes, 4.0 ms a walk" in page
    row = numbers_of(folder, 1)
    assert (row["parameters"], row["training minutes"], row["ms a walk"]) == (2000, 12, 4)
    (studied, exchanged) = [table(settings_of(folder, found)[0]).frame for table in (ablations_table, exchange_table)]
    assert studied.iloc[:, 0].tolist() == ["nothing changed", "body only"]
    assert studied.iloc[1, 1:].isna().tolist() == [False, True]
    assert exchanged.to_numpy().tolist() == [["contrastive 0.0", 4.0, 5.0]]


def test_a_run_of_a_grid_that_was_damaged_is_said_and_does_not_count(grid):
    folder, found = grid
    (folder / found[0].name / "metrics.json").write_text('{"rank1": 7}')
    write_report(folder, found)
    assert "4 of 6 runs are done." in text_of(folder / "index.html")
    assert "unreadable" in text_of(folder / "index.html")


def test_a_difference_has_an_interval_over_the_people_of_the_seeds_in_common(grid):
    """One person of four is recognized by the second setting only: the interval is that of these four differences."""
    folder, found = grid
    (first, second), _ = settings_of(folder, found)
    assert math.isnan(differences(second, first)[1][0])  # without embeddings.npz
    walks = product(range(41, 45), [("nm", 1), ("nm", 5), ("bg", 1), ("cl", 1)], ["000", "090"])
    index = pd.DataFrame([(f"{p:03}", condition, run, view) for p, (condition, run), view in walks])
    index.columns = ["subject", "condition", "run", "view"]
    probes = (index["condition"] != "nm") | (index["run"] == 5)
    for setting, missed in ((first, [0, 1]), (second, [1])):
        for run in setting.runs:
            values = np.eye(4, dtype=np.float32)[index["subject"].astype(int) - 41]
            for person in missed:  # whose probes look like somebody else's
                values[probes & (index["subject"] == f"{41 + person:03}")] = np.eye(4)[3]
            Embeddings(values, index.assign(sequence=np.arange(len(index)))).save(run.folder / "embeddings.npz")
    (first, second), _ = settings_of(folder, found)
    mean = differences(second, first)[1]
    assert mean[0] == pytest.approx(0.25)  # one of four
    assert mean[1:] == pytest.approx(mean_interval(np.array([1.0, 0, 0, 0]), seed=0), abs=0.02)
    write_report(folder, found)
    row = numbers_of(folder, 1)
    assert row["difference over people"] == 100 * mean[0]
    assert [row["95 % low.2"], row["95 % high.2"]] == [100 * end for end in mean[1:]]
    assert math.isnan(numbers_of(folder, 0)["difference over people"])
    known = second.runs[0].folder / "provenance.json"
    before = known.read_text()
    for changed in (
        '"data_fingerprint": "e"',
        '"data_fingerprint": "d", "protocol": ' + json.dumps(PROTOCOL | {"test": "41-43"}),
    ):
        known.write_text(re.sub(r', "protocol": .*', "}", before).replace('"data_fingerprint": "d"', changed))
        (first, second), _ = settings_of(folder, found)
        assert all(math.isnan(value) for found in differences(second, first) for value in found), changed


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"training.people": ["2", "4", "16"]}, "2: 20.0 %; 4: 30.0 %; 16: 40.0 %."),
        ({"a<b>": ["x", "y"], "b": ["1", "2"]}, "b 1: 20.0 %; a&lt;b&gt; x, b 2: 30.0 %; a&lt;b&gt; y, b 1: 40.0 %"),
        ({"arm": ["x", "y", "z"]}, ""),
    ],
)
def test_axes_are_drawn(grid, axes, said):
    """As lines over one axis of numbers, as a heat map over two; three names are bars alone."""
    folder, found = grid
    points = {
        status.name: {"labels": dict(zip(axes, values, strict=True))}
        for status, values in zip(found, product(*axes.values()), strict=False)
    }
    for share, name in zip((0.2, 0.3, 0.4), points, strict=False):
        (folder / name / "metrics.json").write_text(json.dumps({"rank1": {"NM": share, "mean": share}}))
    if len(points) > 3:
        found[3].state = "failed"
    (folder / "grid.json").write_text(json.dumps({"axes": axes, "baseline": {}, "points": points}))
    write_report(folder, found)
    page = (folder / "index.html").read_text()
    assert said in page
    assert page.count("<img alt=") == bool(said)
    assert "<b>" not in page
