"""Grids: what is refused, what is shared, and that killing anything changes no result."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
import yaml

from gaitlib import InputError
from gaitlib.data.dataset import GaitDataset, write_dataset
from gaitlib.data.protocol import Protocol
from gaitlib.data.walkers import make_walkers
from gaitlib.grid import Grid, Status, environment, is_done, run_grid, seconds_left, status, summary, table
from gaitlib.reports.provenance import fingerprint

ROOT = Path(__file__).parents[1]
TINY = {
    "protocol": "tiny", "walkers.subjects": 6, "model.encoder_width": 12, "model.recognizer_width": 8, "model.embedding": 16,
    "training.iterations": 12, "training.validate_every": 1, "training.people": 3, "training.walks_per_person": 2,
    "evaluation.bootstrap": 20, "evaluation.mirrored": False, "evaluation.studies": False,
}  # fmt: skip
#: Two evaluations of one training, and another training.
GRID = {
    "base": "configs/quick.yaml", "set": TINY, "axes": {"seed": [0, 1], "evaluation.stride": [32, 64]},
    "leave_out": [{"seed": 1, "evaluation.stride": 64}], "notebooks": ["02_training"],
}  # fmt: skip
#: What goes wrong once each, where the file `trouble` is: the disk is full, the point's process is killed.
NOTEBOOK = """
import errno, os, signal, time
from pathlib import Path
from gaitlib.training import Watch
trouble = Path("trouble")
experiment = Experiment.open(config, overrides, data=data, run=run, cache=cache)
if trouble.is_dir():
    stride = experiment.config.evaluation.stride
    name = f"{experiment.config.seed}-{stride}"
    replace = os.replace
    def full(source, target):
        if "embeddings" in str(target) and name == "0-64":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace(source, target)
    os.replace = full
    if name == "1-32" and not (trouble / name).exists():
        (trouble / name).touch()
        os.kill(os.getppid(), signal.SIGKILL)
class Slow(Watch):
    def look(self, history, model):
        time.sleep(0.3 if Path("slow").exists() else 0)
experiment.trained(Slow())
experiment.keep_training()
experiment.keep_results(experiment.evaluate(), experiment.ablations(), experiment.scorecard(), None)
"""


def write_grid(path, content):
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """The working folder, laid out as a clone whose notebook 02 is one cell."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    protocol = {
        "name": "tiny", "summary": "Two people are unseen.", "train": "1-4", "test": "5-", "validation": 2,
        "gallery": {"condition": "nm", "run": "1-4"}, "probes": {"NM": {"condition": "nm", "run": "5-6"}},
    }  # fmt: skip
    write_grid(tmp_path / "configs" / "protocols" / "tiny.yaml", protocol)
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.read(ROOT / "notebooks" / "02_training.ipynb", as_version=4)
    parameters = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    code = "from gaitlib.experiment import Experiment\n" + NOTEBOOK
    notebook.cells = [notebook.cells[0], *parameters, nbformat.v4.new_code_cell(code)]
    nbformat.write(notebook, tmp_path / "notebooks" / "02_training.ipynb")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gaitlib(*arguments):
    return [sys.executable, "-m", "gaitlib.cli", *map(str, arguments)]


def made(cache):
    """stage -> how often it was computed."""
    return Counter(line.split()[2] for line in (cache / "made.log").read_text().splitlines())


def results(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/metrics.json")}


def wait_for(logs, text):
    """Until one of them says it."""
    for _ in range(3600):
        if any(text in path.read_text() for path in logs.glob("*.log")):
            return
        time.sleep(0.05)
    raise AssertionError(f"{text!r} was never said; {[path.read_text()[-500:] for path in logs.glob('*.log')]}")


def test_killed_workers_parents_and_a_full_disk_change_nothing(clone):
    write_grid(clone / "g.yaml", GRID)
    command = gaitlib("grid", "g.yaml", "--workers", 2)

    (clone / "trouble").mkdir()
    (clone / "slow").touch()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as parent:  # killed in the middle of training
        wait_for(clone / "reports/g/logs", "iteration 2/12")
        parent.kill()
    troubled = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert troubled.returncode == 1, troubled.stdout + troubled.stderr
    assert re.fullmatch(r"gaitlib: 2 of 3 points are not done; the first, seed-0_stride-64: .*No space left.*\n", troubled.stderr)
    assert "seed-1_stride-32 failed: killed by signal 9" in troubled.stdout
    assert "seed-0_stride-32 done" in troubled.stdout
    page = (clone / "reports/g/index.html").read_text()
    assert "killed by signal 9" in page
    assert "No space left" in page
    shutil.rmtree(clone / "trouble")
    (clone / "slow").unlink()
    _, points = run_grid("g.yaml", workers=2, resume=True)
    assert [p.state for p in points] == ["done"] * 3, points

    (clone / "cache").rename(clone / "troubled")
    _, points = run_grid("g.yaml", workers=2, name="calm")
    assert [p.state for p in points] == ["done"] * 3, points
    assert results(clone / "reports/g") == results(clone / "reports/calm")
    assert len(results(clone / "reports/calm")) == 3
    for cache in ("cache", "troubled"):
        counts = made(clone / cache)
        assert Counter(name.partition("-")[0] for name in counts) == {"walkers": 1, "training": 2, "embeddings": 3}
        assert set(counts.values()) == {1}  # although two points need a training at once
    counts = made(clone / "cache")
    log = (clone / "reports/calm/logs/seed-0_stride-32.log").read_text()
    log += (clone / "reports/calm/logs/seed-0_stride-64.log").read_text()
    assert "waiting: another run makes training-" in log or "waiting: another run makes walkers-" in log

    again = subprocess.run(gaitlib("rerun", "reports/calm/seed-0_stride-64"), capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (0, ""), again.stdout + again.stderr
    assert again.stdout.endswith("All numbers are the same.\n")
    assert "not the same around it" not in again.stdout
    assert made(clone / "cache") == counts  # nothing was taken from there, nothing left there
    repeated = clone / "reports" / "seed-0_stride-64-again" / "metrics.json"
    assert repeated.read_bytes() == (clone / "reports/calm/seed-0_stride-64/metrics.json").read_bytes()


# ----------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"axes": {"sed": [0, 1]}}, "there is no key 'sed' in the configuration; the nearest is 'seed'"),
        ({"axes": {"seed": ["few"]}}, "seed = 'few'"),
        ({"axes": {"seed": [0, 0]}}, "two points are called seed-0"),
        ({"axes": {"what": {"a": {"seed": 1}, "b": {"seed": 1}}}}, "points what-a and what-b are the same configuration"),
        ({"axes": {"arm": ["beyond", "besides"]}}, "besides.yaml cannot be read"),
        ({"axes": {}}, "axes"),
        ({"axis": {"seed": [0]}}, "has no 'axis'; the nearest is 'axes'"),
        ({"set": {"training.iteration": 3}}, "the nearest is 'training.iterations'"),
        ({"leave_out": [{"sed": 0}]}, "there is no axis 'sed'"),
        ({"leave_out": [{"seed": 7}]}, "seed has no value '7'"),
        ({"leave_out": [{"seed": [0, 1]}]}, "leaves no point"),
        ({"axes": {"seed": []}}, "axis seed has no value"),
        ({"baseline": {"seed": 0}}, "baseline: there is no axis 'seed'"),
        ({"notebooks": ["05_more"]}, "notebooks"),
        ({"base": "none.yaml"}, "none.yaml cannot be read"),
        ({"data": "nowhere"}, "nowhere is not a data set folder"),
        ({"set": {"protocol": "casia"}}, "casia.yaml"),
    ],
)
def test_bad_grids_are_one_sentence_and_nothing_starts(clone, capsys, changes, words):
    from gaitlib.cli import main

    write_grid(clone / "g.yaml", {"base": "configs/quick.yaml", "axes": {"seed": [0, 1]}} | changes)
    before = sorted(clone.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        main(["grid", "g.yaml"])
    said = capsys.readouterr()
    assert stop.value.code == 2
    assert re.fullmatch(r"gaitlib: [^\n]+\n", said.err), said.err
    assert words in said.err
    assert sorted(clone.rglob("*")) == before


def test_folders_that_cannot_be_and_schedulers_that_are_not_there(clone):
    write_grid(clone / "g.yaml", GRID)
    (clone / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        run_grid("g.yaml", reports="file")
    with pytest.raises(InputError, match=r"There is no grid none.yaml; configs/grids/ has some"):
        run_grid("none.yaml")
    with pytest.raises(InputError, match=r"No dask scheduler answers at tcp://127.0.0.1:9|needs dask"):
        run_grid("g.yaml", scheduler="tcp://127.0.0.1:9")
    assert not (clone / "reports").exists()
    (clone / "reports/g").mkdir(parents=True)
    (clone / "reports/g/thesis.tex").touch()
    with pytest.raises(InputError, match="--resume"):
        run_grid("g.yaml")
    with pytest.raises(InputError, match="is no grid's folder"):
        run_grid("g.yaml", resume=True)
    assert [p.name for p in (clone / "reports").rglob("*")] == ["g", "thesis.tex"]


def test_points_of_other_data_or_by_another_protocol_do_not_count_as_done(clone):
    for name in ("one", "two"):
        write_dataset(clone / "data" / name, make_walkers(6, seed=ord(name[0]), views=[0, 90]), name=name)
        write_grid(clone / f"{name}.yaml", {**GRID, "data": f"data/{name}"})
    write_grid(clone / "none.yaml", GRID)
    (clone / "reports/g/logs").mkdir(parents=True)
    known = GaitDataset.open(clone / "data" / "one").fingerprint
    protocol = clone / "configs/protocols/tiny.yaml"
    before = {"made_of": {"data": known, "protocols": {"gone": "f", "tiny": fingerprint(Protocol.load(protocol).content)}}}
    (clone / "reports/g/grid.json").write_text(json.dumps(before))
    for name in ("two", "none"):
        with pytest.raises(InputError, match=f"The points in reports/g were made of other data than {name}.yaml means now"):
            run_grid(f"{name}.yaml", name="g", resume=True)
    content = yaml.safe_load(protocol.read_text())
    write_grid(protocol, content | {"gallery": content["gallery"] | {"run": "1-3"}, "summary": "words"})
    with pytest.raises(InputError, match=r"were made of other contents of the protocol tiny than one\.yaml means now"):
        run_grid("one.yaml", name="g", resume=True)
    assert json.loads((clone / "reports/g/grid.json").read_text()) == before


def test_the_grids_that_come_with_it_can_be_read():
    points = {path.stem: Grid.load(path).points for path in (ROOT / "configs" / "grids").glob("*.yaml")}
    assert {name: len(found) for name, found in points.items()} == {"arms": 9, "feature_types": 18, "smoke": 2}
    arms = {point.labels["arm"]: point.config for point in points["arms"]}
    assert arms["as_released"].model.layout == "scrambled"
    assert arms["beyond"].model.discriminants == 2
    assert {config.training.iterations for config in arms.values()} == {1200}


def test_later_layers_win(tmp_path):
    variants = {"slow": {"training": {"iterations": 9}}, "fast": {"training.iterations": 2, "model.discriminants": 0}}
    content = {"base": "configs/quick.yaml", "set": {"training.iterations": 5}, "axes": {"pace": variants, "seed": [3]}}
    grid = Grid.load(write_grid(tmp_path / "g.yaml", content))
    assert [point.name for point in grid.points] == ["pace-slow_seed-3", "pace-fast_seed-3"]
    assert [point.config.training.iterations for point in grid.points] == [9, 2]
    assert [point.config.model.discriminants for point in grid.points] == [2, 0]
    assert grid.baseline == {"pace": "slow"}


def test_threads_and_gpus_are_divided(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    found = [environment(slot, 3) for slot in range(3)]
    assert [e["OMP_NUM_THREADS"] for e in found] == ["2", "2", "2"]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in found] == ["2", "5", "2"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert environment(0, 2)["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("code", "said"),
    [("raise SystemExit(3)", "ended with exit code 3"), ("import os; os.kill(os.getpid(), 9)", "killed by signal 9")],
)
def test_a_process_that_ends_without_a_word_failed(tmp_path, code, said):
    from gaitlib.grid import _ended

    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "p.log").write_text("[1/4] 01_data_preparation\n")
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    process.wait()
    assert _ended(str(tmp_path), "p", process)
    found = status(tmp_path, "p", "")
    assert (found.state, found.notebook) == ("failed", "1/4 data preparation")
    assert said in found.error


# ---------------------------------------------------------------------------------------------------------- the report


@pytest.fixture
def fabricated(tmp_path):
    """A grid folder of two settings and three seeds, the last point failed: (folder, statuses)."""
    from gaitlib.grid import _record

    content = {"base": "configs/quick.yaml", "axes": {"losses.contrastive": [0.0, 1.0], "seed": [0, 1, 2]}}
    grid, folder = Grid.load(write_grid(tmp_path / "g.yaml", content)), tmp_path / "reports" / "g"
    (folder / "logs").mkdir(parents=True)
    (folder / "grid.json").write_text(json.dumps(_record(grid, {}, tmp_path / "cache")))
    for i, point in enumerate(grid.points[:-1]):
        run = folder / point.name
        (run / "checkpoint").mkdir(parents=True)
        rank1 = [0.80, 0.82, 0.84, 0.90, 0.91][i]
        known = {"config_fingerprint": point.fingerprint, "data_fingerprint": "d", "commit": "c", "start": "2026-01-01T00:00:00"}
        known |= {"stage_seconds": {"02_training": 3600.0}, "hardware": {"threads": 2}}
        (run / "provenance.json").write_text(json.dumps(known))
        (run / "metrics.json").write_text(json.dumps({"rank1": {"NM": rank1, "mean": rank1}}))
        (run / "config.yaml").write_text(yaml.safe_dump(point.config.model_dump(mode="json")))
        (run / "checkpoint" / "history.csv").write_text(f"iteration,validation_rank1\n1,0.1\n2,{1 - rank1}\n3,0.05\n")
        for name in ("index.html", "checkpoint/model.safetensors", "checkpoint/state.pt"):
            (run / name).write_text("x" * 1000)
    log = "[1/4] 01_data_preparation\n[2/4] 02_training\ngaitlib: Notebook 02_training, cell 4: <b>no</b> more memory\n"
    (folder / "logs" / f"{grid.points[-1].name}.log").write_text(log)
    return folder, [status(folder, point.name, point.fingerprint) for point in grid.points]


def test_the_table_says_where_points_stand(fabricated):
    folder, found = fabricated
    shown = table(found)
    assert shown["rank-1"].tolist()[:2] == ["80.0%", "82.0%"]
    assert shown["error"].tolist()[-1] == "Notebook 02_training, cell 4: <b>no</b> more memory"
    log = folder / "logs" / "now.log"
    look = "iteration {}/60  loss 5.7  validation rank-1 {}%  about 0.5 min left\n"
    log.write_text("[2/4] 02_training\n" + look.format(20, "12.5") + look.format(40, "25.0"))
    now = status(folder, "now", "", running=True)
    assert (now.notebook, now.iteration, now.validation, now.left) == ("2/4 training", "40/60", 0.25, 30)
    assert summary([*found, now], 90.0) == "5 done, 1 running, 1 failed of 7; about 1:30 left"
    done, waiting = Status("a", "done", seconds=60.0), Status("b")
    assert seconds_left([waiting], 2) is None
    assert seconds_left([done, waiting, waiting], 2) == 60
    assert seconds_left([done, waiting, waiting], 1) == 120
    running = [Status(name, "running", seconds=30.0) for name in "cde"]  # on a cluster, which is one worker here
    assert seconds_left([done, *running, waiting, waiting, waiting], 1) == (3 * 30 + 3 * 60) / 3


# -------------------------------------------------------------------------------------------------------- housekeeping


def test_runs_are_listed_and_cleaned(fabricated, monkeypatch, capsys):
    from filelock import FileLock

    from gaitlib.cli import main
    from gaitlib.runs import find_runs

    folder, _ = fabricated
    base = folder.parents[1]
    monkeypatch.chdir(base)
    assert [run.name for run in find_runs() if run.matches(["seed=1"])] == [
        "g/contrastive-0.0_seed-1",
        "g/contrastive-1.0_seed-1",
    ]
    assert len([run for run in find_runs() if run.matches(["contrastive-0*", "protocol=walkers"])]) == 3
    main(["runs", "seed=0"], standalone_mode=False)
    out = capsys.readouterr().out
    assert "g/contrastive-0.0_seed-0  2026-01-01 00:00  walkers        0       20.0%   80.0%" in out
    assert 'href="g/contrastive-0.0_seed-0/index.html"' in (base / "reports" / "index.html").read_text()

    for name, text in (("torn", "a: ["), ("list", "- a"), ("odd", "seed: 1")):
        (base / "reports" / name).mkdir()
        (base / "reports" / name / "config.yaml").write_text(text)
        (base / "reports" / name / "metrics.json").write_text("[1]")
    main(["runs"], standalone_mode=False)
    out = capsys.readouterr().out
    page = (base / "reports" / "index.html").read_text()
    for name in ("torn", "list", "odd"):
        assert re.search(rf"{name} +reports/{name}/\S+ (cannot be read|is not valid YAML|must hold)", out), out
        assert re.search(rf"{name}</th>\s*<td class=\"words( long)?\">reports/{name}/", page)

    for name in ("training-0123456789abcdef", "training-0123456789abcdee.partial", "ablations-0123456789abcdef", "mine"):
        (base / "cache" / name).mkdir(parents=True)
    (base / "cache" / "locks").mkdir()
    with FileLock(base / "cache" / "locks" / "training-0123456789abcdee.lock"):  # somebody makes it
        main(["clean", "--keep-best", "--yes"], standalone_mode=False)
    assert sorted(p.name for p in (base / "cache").iterdir()) == ["locks", "mine", "training-0123456789abcdee.partial"]
    weights = {p.parents[1].name for p in folder.glob("*/checkpoint/model.safetensors")}
    assert weights == {"contrastive-0.0_seed-0"} == {p.parents[1].name for p in folder.glob("*/checkpoint/state.pt")}
    assert len(list(folder.glob("*/checkpoint/history.csv"))) == len(list(folder.glob("*/index.html"))) == 5
    points = json.loads((folder / "grid.json").read_text())["points"]
    assert all(is_done(folder / name, points[name]["fingerprint"]) for name in list(points)[:5])


def test_numbers_that_differ_are_told():
    from gaitlib.runs import differences

    before = {"rank1": {"NM": 0.91, "mean": 0.9}, "ci95": {"NM": [0.8, 0.95]}, "iterations": 4}
    after = {"rank1": {"NM": 0.92, "mean": 0.9}, "ci95": {"NM": [0.8, 0.96]}, "iterations": 4}
    assert differences(before, before) == []
    assert differences(before, after) == ["rank1.NM: 0.91 -> 0.92", "ci95.NM: 0.8, 0.95 -> 0.8, 0.96"]


def test_what_cannot_be_repeated_is_refused(clone):
    from gaitlib.runs import rerun

    with pytest.raises(InputError, match="holds no finished run"):
        rerun("reports/none")
    run = clone / "reports" / "old"
    run.mkdir(parents=True)
    (run / "metrics.json").write_text('{"rank1": {}}')
    (run / "config.yaml").write_text(yaml.safe_dump(TINY | {"walkers.subjects": 4}))
    facts = {"stage_seconds": {"02_training": 1.0}, "data_fingerprint": "f" * 64, "hardware": {}}
    (run / "provenance.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match="was made of data ffffffffffff, and the embedded walkers of this version are"):
        rerun(run)
    known = vars(Protocol.load(clone / "configs/protocols/tiny.yaml")) | {"summary": "other words", "gallery": {"run": 9}}
    (run / "provenance.json").write_text(json.dumps(facts | {"protocol": known}))
    with pytest.raises(InputError, match=r"The protocol tiny has changed since \S+old was made \(.*gallery.run: 9 -> "):
        rerun(run)
    assert not (clone / "reports" / "old-again").exists()
    assert list((clone / "cache").iterdir()) == []


def test_a_run_that_is_moved_or_zipped_still_works(small_run, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "run"), "zip", small_run)
    moved = tmp_path / "elsewhere" / "renamed"
    with zipfile.ZipFile(archive) as file:
        file.extractall(moved)
    pages = list(moved.glob("*.html"))
    assert len(pages) == 5
    for page in pages:
        text = page.read_text("utf-8")
        for link in re.findall(r'<(?:a|img|link|script)\b[^>]*?\s(?:href|src)="([^"#]+)"', text):
            if not link.startswith(("data:", "http", "mailto:")):
                assert (moved / unquote(link)).exists(), f"{page.name}: {link}"


# ------------------------------------------------------------------------------------------------------------- a cluster


def test_a_killed_worker_of_a_cluster_is_replaced_and_nothing_is_done_twice(clone):
    distributed = pytest.importorskip("dask.distributed", reason='dask is not installed: pip install -e ".[cluster]"')
    write_grid(clone / "g.yaml", GRID)
    (clone / "slow").touch()
    killed = []

    def show(points, left):  # the first worker whose point trains
        if not killed and any(point.iteration and point.state == "running" for point in points):
            pids = client.run(os.getpid)
            busy = client.processing()
            address = next(a for a, tasks in busy.items() if any(p.name in str(tasks) for p in points if p.iteration))
            killed.append(pids[address])
            os.kill(pids[address], signal.SIGKILL)

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        _, points = run_grid("g.yaml", scheduler=cluster.scheduler_address, show=show)
    assert killed
    assert [p.state for p in points] == ["done"] * 3, points
    assert len(results(clone / "reports/g")) == 3
    counts = made(clone / "cache")
    assert Counter(name.partition("-")[0] for name in counts) == {"walkers": 1, "training": 2, "embeddings": 3}
    assert set(counts.values()) == {1}
