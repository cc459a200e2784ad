"""The four notebooks, executed: what a run folder holds, and that each notebook runs alone."""

import json
import math
import os
import re
import shlex
import shutil
from itertools import chain
from pathlib import Path

import nbformat
import numpy as np
import openpyxl
import pandas as pd
import papermill
import pytest
import yaml
from click.testing import CliRunner

from gaitlib import InputError, Interrupted, notebooks
from gaitlib.cli import main
from gaitlib.config import load_config, resolve
from gaitlib.data.dataset import write_dataset
from gaitlib.data.walkers import make_walkers
from gaitlib.experiment import Experiment
from gaitlib.notebooks import CHAPTERS, run_experiment, run_notebooks
from gaitlib.rounding import with_interval
from gaitlib.stages import StageFailed
from tests.notebooks.short import EVALUATE, OPEN, TRAIN, shorten

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PROBE_SETS = {"NM", "BG", "CL"}


def cells(path, kind="code"):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def outputs(path):
    return [(number, output) for number, cell in enumerate(cells(path), 1) for output in cell.outputs]


def errors(path):
    return [(number, output.evalue) for number, output in outputs(path) if output.output_type == "error"]


def html(path, without=""):
    """All HTML that a notebook shows, as one text; without: a tag of cells that do not count."""
    shown = [cell for cell in cells(path) if without not in cell.metadata.get("tags", [])]
    return "\n".join(o.data.get("text/html", "") for cell in shown for o in cell.outputs if "data" in o)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ------------------------------------------------------------------------------------------------------- the run folder


def test_the_run_folder_holds_what_is_documented_and_nothing_else(small_run):
    files = {f"{chapter}.{kind}" for chapter in CHAPTERS for kind in ("html", "ipynb")}
    files |= {"index.html", "results.xlsx", "metrics.json", "cost.json", "config.yaml", "provenance.json", "embeddings.npz"}
    folders = {"checkpoint", "logs", "figures"}
    assert {p.name for p in small_run.iterdir() if p.is_file()} == files
    assert {p.name for p in small_run.iterdir() if p.is_dir()} == folders
    assert {p.name for p in (small_run / "checkpoint").iterdir()} == {
        "model.safetensors", "state.pt", "history.csv", "seconds.json",
    }  # fmt: skip
    assert [p.name.split(".")[:2] for p in (small_run / "logs").iterdir()] == [["events", "out"]]
    figures = {p.suffix for p in (small_run / "figures").iterdir()}
    assert figures == {".png", ".svg"}
    assert all(content for content in contents(small_run).values())
    cache = small_run.parents[1] / "cache"
    assert sorted(p.name.partition("-")[0] for p in cache.glob("*-*")) == [
        "ablations", "embeddings", "normalized", "normalized", "scorecard", "training", "truth", "walkers",
    ]  # fmt: skip


def test_the_metrics_are_plain_shares(small_run):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    metrics = json.loads((small_run / "metrics.json").read_text(), parse_constant=refuse)
    assert set(metrics) == {
        *("rank1", "rank1_same_view", "rank1_everyone", "ci95", "map", "eer", "counts", "iterations", "parameters", "baseline"),
        *("over_baseline", "ranking", "cmc", "verification", "ablations", "scorecard", "exchange", "subjects"),
    }
    assert set(metrics["baseline"]) == {"rank1", "rank1_same_view", "ci95"}
    measured = [metrics[name] for name in ("rank1", "rank1_same_view", "rank1_everyone", "map", "eer")]
    for shares in (*measured, metrics["baseline"]["rank1"], metrics["baseline"]["rank1_same_view"]):
        assert set(shares) == {*PROBE_SETS, "mean"}
        assert all(0 <= share <= 1 for share in shares.values())
        assert shares["mean"] == pytest.approx(sum(shares[name] for name in PROBE_SETS) / len(PROBE_SETS))
    for arm in (metrics, metrics["baseline"]):
        assert set(arm["ci95"]) == {*PROBE_SETS, "mean"}
        assert all(0 <= low <= arm["rank1"][name] <= high <= 1 for name, (low, high) in arm["ci95"].items())
    # 16 walkers: 12 to train, of whom 4 are held out; the gallery has 4 of 10 walks in 11 views, each probe set 2
    assert metrics["counts"] == {
        "people": 4, "training_people": 8, "validation_people": 4, "gallery": 4 * 4 * 11,
        "probes": dict.fromkeys(("NM", "BG", "CL"), 4 * 2 * 11),
    }  # fmt: skip
    assert metrics["iterations"] == 4
    single = metrics["ranking"]["single view"]
    for name in PROBE_SETS:  # what is said twice is the same
        assert single[name]["rank1"] == [metrics["rank1"][name], *metrics["ci95"][name]]
        assert metrics["verification"][name]["eer"][0] == metrics["eer"][name]
        assert [metrics["cmc"][name][k] for k in (0, 4, 9)] == pytest.approx(
            [single[name][m][0] for m in ("rank1", "rank5", "rank10")]
        )
    assert metrics["ablations"][0]["rank1"] == metrics["rank1"]
    assert len(metrics["subjects"]) == 4


def test_pandas_reads_every_table_of_the_excel_file_as_the_metrics_have_it(small_run):
    metrics = json.loads((small_run / "metrics.json").read_text())

    def table(name):
        frame = pd.read_excel(small_run / "results.xlsx", name, header=3)
        empty = frame.iloc[:, 0].isna().to_numpy()
        return frame[: empty.argmax() if empty.any() else None]

    def numbers(name, first):
        return table(name).iloc[:, first:].astype(float).to_numpy().tolist()

    galleries = metrics["ranking"].values()
    assert numbers("Ranking", 2) == [list(chain(*found.values())) for sets in galleries for found in sets.values()]
    assert numbers("Verification", 1) == [list(chain(*found.values())) for found in metrics["verification"].values()]
    assert [row[:3] for row in numbers("CMC", 1)] == [list(row) for row in zip(*metrics["cmc"].values(), strict=True)]
    assert table("Ablations")["Ablation"].tolist() == [row["name"] for row in metrics["ablations"]]
    assert numbers("Ablations", 2) == [
        [row["rank1"]["mean"], *row["ci95"], *(100 * share for share in row["difference"]),
         *(row["rank1"][n] for n in ("NM", "BG", "CL")), row["rank1_same_view"]["mean"]]
        for row in metrics["ablations"]
    ]  # fmt: skip
    assert numbers("Scorecard", 3) == [[m[k] for k in ("value", "low", "high", "chance")] for m in metrics["scorecard"]]
    assert numbers("Subjects", 1) == [list(found.values()) for found in metrics["subjects"].values()]


def test_the_excel_file_has_the_numbers_of_the_metrics(small_run):
    metrics = json.loads((small_run / "metrics.json").read_text())
    book = openpyxl.load_workbook(small_run / "results.xlsx")
    assert book.sheetnames == [
        *("Summary", "NM", "BG", "CL", "Ranking", "CMC", "Verification", "Ablations", "Scorecard", "Subjects"),
        *("Exchange", "Split", "Missing joints", "Losses", "Training", "Left-out walks", "Config", "Provenance"),
        "Error bars",
    ]
    rows = list(book["Summary"].iter_rows(values_only=True))
    header = next(i for i, row in enumerate(rows) if row[0] == "Probe set")
    table = {row[0]: row[1:] for row in rows[header + 1 : header + 5]}
    base = metrics["baseline"]
    for name in (*PROBE_SETS, "mean"):
        expected = (metrics["rank1"][name], *metrics["ci95"][name], metrics["rank1_same_view"][name])
        expected += (metrics["map"][name], metrics["eer"][name], base["rank1"][name], base["rank1_same_view"][name])
        assert table[name] == (*expected, metrics["counts"]["probes"].get(name))
    below = {row[0]: row[1] for row in rows[header + 5 :] if row[0]}
    assert (below["People"], below["Gallery"], below["Iterations"]) == (4, 176, 4)
    for name in PROBE_SETS:  # the mean over probe views of the mean over the other gallery views is the headline
        rows = list(book[name].iter_rows(values_only=True))
        start = next(i for i, row in enumerate(rows) if row[0] == "probe view ↓") + 1
        matrix = [row[1:12] for row in rows[start : start + 11]]
        means = [sum(v for c, v in enumerate(row) if c != r) / 10 for r, row in enumerate(matrix)]
        assert sum(means) / 11 == pytest.approx(metrics["rank1"][name])


def test_the_page_shows_the_intervals_of_the_metrics(small_run):
    """The small run draws people another number of times than by default."""
    metrics, page = json.loads((small_run / "metrics.json").read_text()), (small_run / "03_evaluation.html").read_text()
    shown = [
        *metrics["verification"]["NM"].values(),
        *([share / 100 for share in values] for values in metrics["exchange"].values()),
        *([row["value"], row["low"], row["high"]] for row in metrics["scorecard"]),
    ]
    assert len(shown) > 10
    for values in shown:
        assert with_interval(*values).replace("\u00a0", " ") in page.replace("\u00a0", " ").replace("&nbsp;", " "), values


def test_the_report_says_who_was_recognized(small_run):
    """Nobody takes the walkers' numbers for those of real people."""
    page = (small_run / "index.html").read_text()
    assert (
        page.index("<h1>") < page.index("simulated walkers") < page.index('id="explorer"') < page.index("Synthetic walkers laid")
    )
    sheet = openpyxl.load_workbook(small_run / "results.xlsx")["Summary"]
    assert "Synthetic walkers laid out as CASIA-B" in sheet["A2"].value


def test_the_configuration_is_complete_and_the_same(small_run, small_settings):
    asked = load_config("configs/quick.yaml", small_settings)
    written = yaml.safe_load((small_run / "config.yaml").read_text())
    assert resolve(written, "config.yaml") == asked
    assert load_config(small_run / "config.yaml") == asked


def test_the_provenance_says_what_ran(small_run):
    found = json.loads((small_run / "provenance.json").read_text())
    facts = {
        "commit",
        "dirty",
        "config_fingerprint",
        "data_fingerprint",
        "data",
        "protocol",
        "seed",
        "start",
        "stage_seconds",
        "versions",
        "hardware",
    }
    assert set(found) == facts
    assert found["data"] == {"name": "walkers", "synthetic": True, "citation": ""}
    assert list(found["stage_seconds"]) == list(CHAPTERS)
    assert all(seconds > 0 for seconds in found["stage_seconds"].values())
    assert {"python", "gaitlib", "torch", "numpy"} <= set(found["versions"])


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_notebook_ran_to_its_end(small_run, chapter):
    path = small_run / f"{chapter}.ipynb"
    assert errors(path) == []
    counts = [cell.execution_count for cell in cells(path)]
    assert counts == list(range(1, len(counts) + 1))
    spoken = [o.text for _, o in outputs(path) if o.output_type == "stream" and o.name == "stderr"]
    assert spoken == []
    assert "<Figure" not in html(path)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_picture_has_a_text_alternative(small_run, chapter):
    path = small_run / f"{chapter}.ipynb"
    for text in (html(path), path.with_suffix(".html").read_text()):
        images = re.findall(r"<img\b[^>]*>", text)
        assert images
        for image in images:
            alt = re.search(r'\balt="([^"]*)"', image)
            assert alt, image[:80]
            assert len(alt[1].strip()) > 20, image[:80]
    assert not [o for _, o in outputs(path) if "image/png" in o.get("data", {})]  # pictures come through figures.show


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_pictures_reach_the_pages_unchanged(small_run, chapter):
    for name, without in ((chapter, ""), ("index", "notebook-only")):
        pictures = re.findall(r"data:image/[a-z+]+;base64,([^\"']+)", html(small_run / f"{chapter}.ipynb", without))
        assert pictures
        page = (small_run / f"{name}.html").read_text()
        assert [picture[:20] for picture in pictures if picture not in page] == []


def test_a_probe_ranked_by_hand_has_the_rank_that_gaitlib_gives(small_run):
    texts = [o.data.get("text/markdown", "") for _, o in outputs(small_run / "03_evaluation.ipynb") if "data" in o]
    (ranks,) = re.findall(r"(\d+) by hand, (beyond )?(\d+) by gaitlib", "\n".join(texts))
    by_hand, beyond, by_gaitlib = int(ranks[0]), ranks[1], int(ranks[2])
    assert by_hand > by_gaitlib if beyond else by_hand == by_gaitlib


def test_the_maps_of_the_codes_show_walks_from_many_views(small_run):
    """A regular sample of a table whose rows alternate between views can hold a single one."""
    alt = next(alt for alt in re.findall(r'alt="([^"]*)"', html(small_run / "04_visualization.ipynb")) if "t-SNE" in alt)
    chances = [int(chance) for chance in re.findall(r"by view \d+ % \(chance (\d+) %\)", alt)]
    assert len(chances) == 3
    assert max(chances) < 20  # 11 views


# --------------------------------------------------------------------------------------------- running again, and failing


def test_resume_uses_the_finished_training_and_finds_the_same(workbook, small_run, small_settings):
    """By shortened notebooks; that the whole ones find and draw the same is tested where each runs alone."""
    shorten(workbook / "notebooks" / "01_data_preparation.ipynb")
    shorten(workbook / "notebooks" / "02_training.ipynb", OPEN.format(more=""), TRAIN)
    shorten(workbook / "notebooks" / "03_evaluation.ipynb", OPEN.format(more="checkpoint=checkpoint"), EVALUATE)
    shorten(workbook / "notebooks" / "04_visualization.ipynb", "assert checkpoint")
    run = workbook / "reports" / "small"
    shutil.copytree(small_run, run)
    stages = {p.name: p.stat().st_mtime_ns for p in (workbook / "cache").iterdir()}
    with pytest.raises(InputError, match="--resume"):
        run_experiment(load_config("configs/quick.yaml", small_settings), "small")
    before = contents(run)
    assert before == contents(small_run)

    assert run_experiment(load_config("configs/quick.yaml", small_settings), "small", resume=True).resolve() == run
    after = contents(run)
    assert set(after) == {name for name in before if not name.startswith("figures/")}
    same = ["metrics.json", "config.yaml", *(name for name in before if name.startswith(("checkpoint/", "logs/")))]
    assert [name for name in same if after[name] != before[name]] == []
    assert {p.name: p.stat().st_mtime_ns for p in (workbook / "cache").iterdir()} == stages


def test_the_notebooks_are_told_where_the_run_will_lie(workbook, small_run):
    """It is made in a hidden folder, of which nobody is told."""
    shorten(workbook / "notebooks" / "04_visualization.ipynb", "print(run, config)")
    run = workbook / "reports" / "places"
    run_notebooks(Experiment.open(str(small_run / "config.yaml"), run="reports/places"), ["04_visualization"])
    said = [o.text for _, o in outputs(run / "04_visualization.ipynb") if o.output_type == "stream"]
    assert said == ["reports/places reports/places/config.yaml\n"]
    assert "places.new" not in (run / "index.html").read_text()
    assert {p.name for p in run.parent.iterdir()} == {"places", ".locks"}


def test_kernels_get_settings_that_do_not_stay_behind(workbook, small_run, monkeypatch):
    """A JupyterLab that is started from the same process later would show no panel while it trains."""
    monkeypatch.delenv("GAITLIB_HEADLESS", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "77")
    before = dict(os.environ)
    code = "import os\nprint(os.environ['GAITLIB_HEADLESS'], os.environ['GOMP_SPINCOUNT'])"
    shorten(workbook / "notebooks" / "04_visualization.ipynb", code)
    run = workbook / "reports" / "settings"
    run_notebooks(Experiment.open(str(small_run / "config.yaml"), run="reports/settings"), ["04_visualization"])
    assert [o.text for _, o in outputs(run / "04_visualization.ipynb") if o.output_type == "stream"] == ["1 77\n"]
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError('the disk is full')", r"cell 4: RuntimeError: the disk is full .*02_training\.ipynb"),
        ("import os; os._exit(1)", r"Kernel died .*02_training\.ipynb.*memory"),
    ],
)
def test_a_notebook_that_fails_is_named_and_what_finished_is_kept(workbook, code, said):
    first, second = (workbook / "notebooks" / f"{chapter}.ipynb" for chapter in CHAPTERS[:2])
    shorten(first, "1 + 1")
    shorten(second, code)
    run = workbook / "reports" / "broken"
    with pytest.raises(StageFailed, match=f"^Notebook 02_training.*{said}") as failure:
        run_notebooks(Experiment.open("configs/quick.yaml", run="reports/broken"), CHAPTERS[:3])
    assert not failure.value.bad_input
    assert {p.name for p in run.iterdir()} == {"config.yaml", first.name, second.name}
    assert errors(run / first.name) == []
    assert len(outputs(run / first.name)) == 2
    # papermill adds a cell with the parameters that were given: the number is the one in the executed notebook
    if "disk" in code:
        (failed,) = [cell for cell in cells(run / second.name) if any(o.output_type == "error" for o in cell.outputs)]
        assert failed.execution_count == 4


def test_bad_input_of_an_evaluation_is_said_before_anything_is_written(workbook, small_run):
    protocols = workbook / "configs" / "protocols"
    known = yaml.safe_load((protocols / "small.yaml").read_text())
    for name, change in (
        ("trained", {"train": "5-16", "test": "1-4"}), ("side", {"gallery": {"run": "1-4", "view": "090"}}),
        ("many", {"test": "13-99"}),
    ):  # fmt: skip
        changed = known | change | {"name": name}
        if name == "side":
            changed["gallery"]["condition"] = "nm"
            changed["probes"] = {key: {**wanted, "view": "090"} for key, wanted in known["probes"].items()}
        (protocols / f"{name}.yaml").write_text(yaml.safe_dump(changed))
    for protocol, said in (
        ("elsewhere", r"There is no protocol .*elsewhere.*walkers"),
        ("trained", r"tests 4 people on whom this checkpoint was trained or chosen, such as 001, 002, 003"),
        ("side", r"are all seen from view 090; recognition is measured across views"),
        ("many", r"the data set's 16 people do not include 017"),
    ):
        given = ["evaluate", "--checkpoint", str(small_run), "--name", "bad", "--set", f"protocol={protocol}"]
        result = CliRunner().invoke(main, given)
        assert result.exit_code == 2
        assert re.search(f"^gaitlib: [^\n]*{said}", result.output), result.output
        assert "Traceback" not in result.output
        assert not (workbook / "reports").exists()


def test_an_evaluation_that_was_stopped_can_be_given_again(workbook, small_run, monkeypatch):
    def stopped(experiment, chapters, again):
        (experiment.run / "figures").mkdir(parents=True)
        (experiment.run / f"{chapters[0]}.ipynb").write_text("half")
        raise Interrupted(f"Stopped; the same command {again}.")

    monkeypatch.setattr(notebooks, "run_notebooks", stopped)
    result = CliRunner().invoke(main, ["evaluate", "--checkpoint", str(small_run), "--name", "half"])
    assert result.exit_code == 130
    assert "the same command starts again" in result.output
    assert list((workbook / "reports").iterdir()) == []


def test_the_model_of_the_package_is_asked_of_people_nobody_trains_on(workbook):
    """The walkers of another seed, written to a folder, as anybody's data."""
    (workbook / "cache").unlink()  # that of other tests
    write_dataset(workbook / "data", make_walkers(6, 99, views=[0, 54, 90]), name="few")
    given = ["--checkpoint", "pretrained", "--data", "data", "--name", "asked"]
    result = CliRunner().invoke(main, ["evaluate", *given, "--set", "protocol=asked", "--set", "evaluation.bootstrap=50"])
    assert result.exit_code == 0, result.output
    metrics = json.loads((workbook / "reports" / "asked" / "metrics.json").read_text())
    assert metrics["counts"]["people"] == 6
    assert metrics["ablations"] == metrics["scorecard"] == []
    assert metrics["rank1"]["LATER"] > 0.5
    assert 0 <= metrics["baseline"]["rank1"]["LATER"] <= 1
    assert metrics["exchange"]["exchange"][0] < metrics["exchange"]["copy"][0]
    result = CliRunner().invoke(main, ["embed", "pretrained", "data", "--out", "walks.npz"])
    assert result.exit_code == 0, result.output
    with np.load("walks.npz") as found:
        assert len(found["values"]) == 6 * 10 * 3
    result = CliRunner().invoke(main, ["run", "configs/quick.yaml", "--data", "data", "--set", "protocol=asked"])
    assert result.exit_code == 2
    assert "nobody to train on" in result.output
    assert "Traceback" not in result.output


# ------------------------------------------------------------------------------------------------------- notebooks alone


def drawn_by(chapter, run):
    """The figures in a run folder that this notebook says it puts there."""
    source = "\n".join(cell.source for cell in cells(NOTEBOOKS / f"{chapter}.ipynb"))
    files = [path.name for path in (run / "figures").iterdir()]
    spelled = {file: re.sub("_(NM|BG|CL)$", "_{name}", Path(file).stem) for file in files}
    return {
        f"figures/{file}" for file, name in spelled.items() if re.search(rf'figures_folder(, f?| / )"{name}(\.svg)?"', source)
    }


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_notebook_runs_alone(workbook, small_run, small_settings, chapter):
    """And finds and draws what it did in the small run."""
    alone = workbook / "alone"
    alone.mkdir()
    out = alone / "out.ipynb"
    given = {"config": "configs/quick.yaml", "overrides": shlex.join(small_settings), "run": str(alone / "run"), "cache": "cache"}
    papermill.execute_notebook(workbook / "notebooks" / f"{chapter}.ipynb", out, given, progress_bar=False, log_output=False)
    assert errors(out) == []
    made = {p.name for p in (alone / "run").iterdir()}
    wanted = {
        "02_training": {"checkpoint", "logs"},
        "03_evaluation": {"metrics.json", "cost.json", "results.xlsx", "embeddings.npz", "config.yaml"},
    }
    assert made == {"figures"} | wanted.get(chapter, set())
    found, known = contents(alone / "run"), contents(small_run)
    assert {name for name in found if name.startswith("figures/")} == drawn_by(chapter, small_run)
    same = [name for name in found if name.startswith(("figures/", "checkpoint/", "logs/")) or name == "metrics.json"]
    assert [name for name in same if found[name] != known[name]] == []


@pytest.mark.parametrize(("command", "chapter"), [("evaluate", "03_evaluation"), ("visualize", "04_visualization")])
def test_a_notebook_on_a_given_checkpoint(workbook, small_run, command, chapter):
    """With a checkpoint and an empty config, as the commands do it; the data are the walkers it was trained with.

    By shortened notebooks; in JupyterLab the whole ones run so (tests/browser/test_lab.py).
    """
    does = EVALUATE if command == "evaluate" else "experiment.embeddings()"
    shorten(workbook / "notebooks" / f"{chapter}.ipynb", OPEN.format(more="checkpoint=checkpoint"), "assert checkpoint", does)
    result = CliRunner().invoke(main, [command, "--checkpoint", str(small_run), "--name", command])
    assert result.exit_code == 0, result.output
    run = workbook / "reports" / command
    assert errors(run / f"{chapter}.ipynb") == []
    made = {p.name for p in run.iterdir()}
    assert {"index.html", f"{chapter}.html", f"{chapter}.ipynb", "provenance.json"} <= made
    assert not {"checkpoint", "logs"} & made
    if command == "evaluate":
        assert (run / "metrics.json").read_text() == (small_run / "metrics.json").read_text()
    stages = sorted(p.name.partition("-")[0] for p in (workbook / "cache").glob("*-*"))
    assert stages == [
        "ablations", "embeddings", "normalized", "normalized", "scorecard", "training", "truth", "walkers",
    ]  # fmt: skip
    again = CliRunner().invoke(main, [command, "--checkpoint", str(small_run), "--name", command])
    assert again.exit_code == 2
    assert "another --name" in again.output


# ------------------------------------------------------------------------------------------------ how notebooks are written


@pytest.mark.parametrize("chapter", [*CHAPTERS, "05_your_own_walk"])
def test_how_a_notebook_is_written(chapter):
    path = NOTEBOOKS / f"{chapter}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# \S", first.source)
    assert "**In:**" in first.source
    assert "**Out:**" in first.source
    headings = [line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert len([line for line in headings if re.match(r"# \S", line)]) == 1
    numbers = [int(found[1]) for line in headings if (found := re.match(r"## (\d+)\. \S", line))]
    assert numbers == list(range(1, len(numbers) + 1))
    *_, summary, _, exercises = notebook.cells
    assert summary.source == "## Summary"
    assert re.fullmatch(r"## Exercises\n\n1\. [^\n]+\n2\. [^\n]+", exercises.source)
    assert any(cell.source.startswith("**Try this.** ") for cell in notebook.cells)

    (parameters,) = [cell for cell in cells(path) if "parameters" in cell.metadata.get("tags", [])]
    for line in parameters.source.splitlines():
        assert re.fullmatch(r'[a-z_]+: (str|int|float|bool) = ("[^"]*"|[\w.+-]+)  # \S.*', line), line
    assert all(parameter["help"] for parameter in papermill.inspect_notebook(path).values())
    for cell in cells(path):
        assert len(cell.source.splitlines()) <= 16, cell.source[:60]
        assert cell.outputs == []
        assert cell.execution_count is None
    assert notebook.metadata.kernelspec.name == "python3"


def test_metrics_without_nan_are_finite_numbers(small_run):
    def numbers(value):
        if isinstance(value, dict):
            return [n for v in value.values() for n in numbers(v)]
        if isinstance(value, list):
            return [n for v in value for n in numbers(v)]
        return [] if isinstance(value, str) else [value]

    assert all(math.isfinite(n) for n in numbers(json.loads((small_run / "metrics.json").read_text())))


def test_a_training_made_alone_is_used_by_the_run(workbook, small_run, small_settings, capsys):
    changes = [word for change in small_settings for word in ("--set", change)]
    with pytest.raises(SystemExit) as stop:
        main(["train", "configs/quick.yaml", *changes])
    assert stop.value.code == 0
    (trained,) = (small_run.parents[1] / "cache").glob("training-*")
    assert capsys.readouterr().out.strip().endswith(f"The training is in {Path('cache') / trained.name}")
