"""Grids: what is refused, what is shared, and that killing anything changes no result."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
import yaml
from click.testing import CliRunner
from filelock import FileLock

from gaitlib import InputError, Interrupted, progress
from gaitlib.cli import main
from gaitlib.config import load_config
from gaitlib.data.dataset import GaitDataset, write_dataset
from gaitlib.data.protocol import Protocol
from gaitlib.data.walkers import make_walkers
from gaitlib.fingerprints import fingerprint
from gaitlib.grid import Grid, Status, environment, is_done, run_grid, seconds_left, status, summary, table
from gaitlib.model.recognizer import GaitModel
from gaitlib.stages import StageFailed

ROOT = Path(__file__).parents[1]
TINY = {
    "protocol": "tiny", "walkers.subjects": 6, "walkers.more": 0, "model.encoder_width": 12, "model.recognizer_width": 8,
    "model.embedding": 16, "training.iterations": 12, "training.validate_every": 2, "training.people": 3,
    "training.walks_per_person": 2,
    "evaluation.bootstrap": 20, "evaluation.mirrored": False, "evaluation.studies": False, "model.discriminants": 0,
    "losses.target": "seen",
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
from gaitlib.progress import Report, point
trouble = Path("trouble")
experiment = Experiment.open(config, overrides, data=data, run=run, cache=cache)
Experiment._pictures = lambda self, model: {}  # slow to draw, and nobody looks at them
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
class Slow(Report):
    def look(self, history, model):
        super().look(history, model)
        time.sleep(0.3)
experiment.trained(Slow(point()) if Path("slow").exists() else None)
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
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def made(cache):
    """stage -> how often it was computed."""
    return Counter(line.split()[2] for line in (cache / "made.log").read_text().splitlines())


def results(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/metrics.json")}


def wait_for_training(folder):
    """Until a point of the grid in `folder` has looked at its validation people twice."""
    for _ in range(3600):
        names = [path.name.removesuffix(".progress.json") for path in folder.glob("logs/*.progress.json")]
        found = [progress.read(folder / name) for name in names]
        if any(stands and stands.validation is not None and stands.iteration >= 2 for stands in found):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing ever trained; {[path.read_text()[-500:] for path in folder.glob('logs/*.log')]}")


def test_killed_workers_parents_and_a_full_disk_change_nothing(clone, monkeypatch):
    """Two of three points are compared with those of a calm grid; the third, whose process was killed, is repeated."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # and again behind the repetition, which sets it
    write_grid(clone / "g.yaml", GRID)

    (clone / "trouble").mkdir()
    (clone / "slow").touch()
    command = [sys.executable, "-m", "gaitlib.cli", "grid", "g.yaml", "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as parent:  # killed in the middle of training
        wait_for_training(clone / "reports/g")
        parent.kill()
    troubled = gaitlib("grid", "g.yaml", "--workers", 3, "--resume")
    assert troubled.exit_code == 1, troubled.output
    said = r"gaitlib: 2 of 3 points did not finish; the first, seed-0_stride-64: .*No space left.*\n"
    assert re.fullmatch(said, troubled.stderr)
    assert "seed-1_stride-32 failed: killed by signal 9" in troubled.stdout
    assert "seed-0_stride-32 done" in troubled.stdout
    page = (clone / "reports/g/index.html").read_text()
    assert "killed by signal 9" in page
    assert "No space left" in page
    shutil.rmtree(clone / "trouble")
    (clone / "slow").unlink()
    _, points = run_grid("g.yaml", workers=3, resume=True)
    assert [p.state for p in points] == ["done"] * 3, points

    (clone / "cache").rename(clone / "troubled")
    write_grid(clone / "calm.yaml", GRID | {"leave_out": [{"seed": 1}]})
    seen = set()

    def show(points, left):
        seen.update((point.state, point.notebook, point.iteration) for point in points)

    _, points = run_grid("calm.yaml", workers=2, show=show)
    assert [p.state for p in points] == ["done"] * 2, points
    assert ("running", "1/1 training", "12/12") in seen  # what training told, which nobody had to ask for
    assert not list((clone / "reports/calm").glob("logs/*.progress.json"))
    calm, found = results(clone / "reports/calm"), results(clone / "reports/g")
    assert (len(calm), len(found)) == (2, 3)
    assert calm == {name: found[name] for name in calm}
    for cache, trainings in (("cache", 1), ("troubled", 2)):
        counts = made(clone / cache)
        stages = Counter(name.partition("-")[0] for name in counts)
        assert stages == {"walkers": 1, "normalized": 1, "training": trainings, "embeddings": trainings + 1}
        assert set(counts.values()) == {1}  # although two points need a training at once
    counts = made(clone / "cache")
    log = (clone / "reports/calm/logs/seed-0_stride-32.log").read_text()
    log += (clone / "reports/calm/logs/seed-0_stride-64.log").read_text()
    assert "waiting: another run makes training-" in log or "waiting: another run makes walkers-" in log

    again = gaitlib("rerun", "reports/g/seed-1_stride-32")
    assert (again.exit_code, again.stderr) == (0, ""), again.output
    assert again.stdout.endswith("All numbers are the same.\n")
    assert "changed since" not in again.stdout
    assert made(clone / "cache") == counts  # nothing was taken from there, nothing left there
    repeated = clone / "reports" / "seed-1_stride-32-again" / "metrics.json"
    assert repeated.read_bytes() == (clone / "reports/g/seed-1_stride-32/metrics.json").read_bytes()


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
        ({"axes": {"x./some/where/else": {"a": {"seed": 1}}}}, "axes: 'x./some/where/else' cannot be the name of a folder"),
        ({"axes": {"x./": {"a": {"seed": 1}}}}, "axes: 'x./' cannot be the name of a folder"),
        ({"axes": {"noise": {"../a": {"seed": 1}}}}, "axis noise: '../a' cannot be the name of a folder"),
        ({"axes": {"arm": ["../../beyond"]}}, "axis arm: '..' cannot be the name of a folder"),
        ({"axes": {"seed": [0], "protocol": ["w" * 120]}}, "a point: 'seed-0_protocol-www"),
        ({"axes": {f"a{i}": {f"v{j}": {} for j in range(10)} for i in range(5)}}, "has 100,000 points, but at most 10,000"),
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
    with pytest.raises(InputError, match="is not the folder of a grid"):
        run_grid("g.yaml", resume=True)
    assert [p.name for p in (clone / "reports").rglob("*")] == ["g", "thesis.tex"]
    for known in ("[1]", '{"made_of": 3}', '{"made_of": {"data": "", "protocols": ["tiny"]}}', "[" * 9999):
        (clone / "reports/g/grid.json").write_text(known)
        with pytest.raises(InputError, match="is not the folder of a grid"):
            run_grid("g.yaml", resume=True)
    for name in ("../g", " ", "a\nb", "-rf"):
        with pytest.raises(InputError, match="cannot be the name of a folder"):
            run_grid("g.yaml", name=name)


def test_a_grid_that_another_process_runs_is_left_alone(clone):
    write_grid(clone / "g.yaml", GRID)
    (clone / "reports/g/logs").mkdir(parents=True)
    (clone / "reports/g/grid.json").write_text('{"made_of": {"data": "", "protocols": {}}}')
    with (
        FileLock(clone / "reports/g/logs/grid.lock"),
        pytest.raises(InputError, match="Another process is running the grid in reports/g;"),
    ):
        run_grid("g.yaml", resume=True)
    assert not list((clone / "reports/g").glob("logs/*.progress.json"))


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
        with pytest.raises(InputError, match=f"The points in reports/g were made from other data than {name}.yaml names now"):
            run_grid(f"{name}.yaml", name="g", resume=True)
    content = yaml.safe_load(protocol.read_text())
    write_grid(protocol, content | {"gallery": content["gallery"] | {"run": "1-3"}, "summary": "words"})
    with pytest.raises(InputError, match=r"were made from other contents of the protocol tiny than one\.yaml names now"):
        run_grid("one.yaml", name="g", resume=True)
    assert json.loads((clone / "reports/g/grid.json").read_text()) == before


def test_the_grids_that_come_with_it_can_be_read():
    points = {path.stem: Grid.load(path).points for path in (ROOT / "configs" / "grids").glob("*.yaml")}
    assert {name: len(found) for name, found in points.items()} == {"arms": 9, "feature_types": 18, "peers": 18, "smoke": 2}
    arms = {point.labels["arm"]: point.config for point in points["arms"]}
    assert arms["as_released"].model.layout == "scrambled"
    assert arms["beyond"].model.discriminants == 2
    assert {config.training.iterations for config in arms.values()} == {1200}
    ours = points["peers"][0].config.training
    for point in points["peers"]:  # only the network differs, its learning rate, and that only ours is averaged
        own = {} if point.labels["network"] == "beyond" else {"learning_rate": point.config.training.learning_rate, "average": 0}
        assert point.config.training == ours.model_copy(update=own)
        assert (point.config.training.minutes, point.config.protocol) == (12, "casia-b-lt")
        if point.labels["network"] != "beyond":
            model = point.config.model
            GaitModel(people=4, **model.model_dump())
            recipe = load_config(ROOT / "configs" / "peers" / f"{point.labels['network']}.yaml")
            assert recipe.training.average == 0
            published = recipe.model
            assert (model.network, model.autoencoder) == (published.network, published.autoencoder)
            assert published.network_arguments == {}


def test_later_layers_win(tmp_path):
    variants = {"slow": {"training": {"iterations": 9}}, "fast": {"training.iterations": 2, "model.discriminants": 0}}
    content = {"base": "configs/quick.yaml", "set": {"training.iterations": 5}, "axes": {"pace": variants, "seed": [3]}}
    grid = Grid.load(write_grid(tmp_path / "g.yaml", content))
    assert [point.name for point in grid.points] == ["pace-slow_seed-3", "pace-fast_seed-3"]
    assert [point.config.training.iterations for point in grid.points] == [9, 2]
    assert [point.config.model.discriminants for point in grid.points] == [2, 0]
    assert grid.baseline == {"pace": "slow"}
    changed = Grid.load(tmp_path / "g.yaml", base="configs/kgbd.yaml", data=str(tmp_path), overrides=["training.iterations=4"])
    assert {point.config.protocol for point in changed.points} == {"kgbd-2v"}
    assert {point.config.training.iterations for point in changed.points} == {4}
    assert changed.data == str(tmp_path)


def test_threads_and_gpus_are_divided(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    found = [environment(slot, 3) for slot in range(3)]
    assert [e["OMP_NUM_THREADS"] for e in found] == ["2", "2", "2"]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in found] == ["2", "5", "2"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert environment(0, 2)["OMP_NUM_THREADS"] == "1"


# --------------------------------------------------------------------------------------------------- processes and Ctrl-C


@pytest.fixture
def instead(tmp_path, monkeypatch):
    """instead(code): the processes of points run this Python, in which `run` is the folder of the point, and no notebooks."""

    def use(code):
        program, python = tmp_path / "program.py", tmp_path / "python"
        given = "import os, signal, sys, time\nfrom pathlib import Path\nrun = Path(sys.argv[-2], sys.argv[-1])\n"
        given += "progress = run.parent / 'logs' / f'{run.name}.progress.json'\nrun.mkdir(exist_ok=True)\n"
        program.write_text(given + code)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))

    return use


@pytest.mark.parametrize(
    ("code", "said"), [("sys.exit(3)", "ended with exit code 3"), ("os.kill(os.getpid(), 9)", "killed by signal 9")]
)
def test_a_process_that_ends_without_a_word_failed(clone, instead, code, said):
    write_grid(clone / "g.yaml", GRID)
    instead(code)
    _, points = run_grid("g.yaml", workers=2)
    assert [point.state for point in points] == ["failed"] * 3
    assert all(said in point.error for point in points)
    assert said in (clone / "reports/g/index.html").read_text()


def test_a_process_that_fails_after_all_is_written_is_done(clone, instead):
    write_grid(clone / "g.yaml", GRID)
    instead("""
import json
point = json.loads((run.parent / "grid.json").read_text())["points"][run.name]
(run / "config.yaml").write_text("{}")
facts = {"config_fingerprint": point["fingerprint"], "stage_seconds": {"02": 3.0}, "commit": None, "hardware": {"threads": 1}}
(run / "provenance.json").write_text(json.dumps(facts))
(run / "metrics.json").write_text("{}")
(run / "index.html").touch()
progress.unlink()
os.kill(os.getpid(), 11)
""")
    _, points = run_grid("g.yaml", workers=2)
    assert [(point.state, point.seconds) for point in points] == [("done", 3.0)] * 3


#: A point that hears when its parent stops or dies, and says so.
GOOD = """
while os.read(0, 1):
    pass
(run / "saved").touch()
progress.write_text('{"began": 1, "error": "Stopped here.", "stopped": true}')
sys.exit(130)
"""
DEAF = "time.sleep(600)"


@pytest.mark.parametrize(("code", "times", "error"), [(GOOD, 1, "Stopped here."), (DEAF, 2, "Stopped at once.")])
def test_ctrl_c_lets_the_points_save_and_a_second_one_ends_them_at_once(clone, instead, code, times, error):
    write_grid(clone / "g.yaml", GRID)
    instead(code)
    pressed = []

    def show(points, left):
        if not pressed and sum(point.state == "running" for point in points) == 2:
            pressed.extend(threading.Timer(i, os.kill, (os.getpid(), signal.SIGINT)) for i in reversed(range(times)))
            for press in pressed:
                press.start()

    with pytest.raises(Interrupted, match="with --resume completes the grid"):
        run_grid("g.yaml", workers=2, show=show)
    found = [status(clone / "reports/g", point.name, point.fingerprint) for point in Grid.load("g.yaml").points]
    assert [(point.state, point.error) for point in found] == [("stopped", error)] * 2 + [("waiting", "")]
    assert len(list((clone / "reports/g").glob("*/saved"))) == (2 if code is GOOD else 0)
    assert error in (clone / "reports/g/index.html").read_text()


def test_reports_lie_in_the_root_wherever_a_grid_is_started(clone, instead, monkeypatch):
    """And what a grid file names is looked for where one is and then there."""
    write_grid(clone / "g.yaml", GRID)
    (clone / "docs").mkdir()
    monkeypatch.chdir(clone / "docs")
    write_grid(clone / "docs" / "near.yaml", GRID)
    instead("print(Path.cwd())\nsys.exit(3)")
    for path, name in (("g.yaml", "g"), ("near.yaml", "near"), (clone / "g.yaml", "third")):
        folder, _ = run_grid(path, name=name)
        assert folder == clone / "reports" / name
        assert {log.read_text() for log in folder.glob("logs/*.log")} == {f"{clone}\n"}
    assert Path.cwd() == clone / "docs"
    assert sorted(path.name for path in (clone / "docs").iterdir()) == ["near.yaml"]


# ---------------------------------------------------------------------------------------------------------- the report


@pytest.fixture
def fabricated(tmp_path):
    """A grid folder of two settings and three seeds, the last point failed: (folder, statuses)."""
    from gaitlib.grid import _MadeOf, _record

    content = {"base": "configs/quick.yaml", "axes": {"losses.contrastive": [0.0, 1.0], "seed": [0, 1, 2]}}
    grid, folder = Grid.load(write_grid(tmp_path / "g.yaml", content)), tmp_path / "reports" / "g"
    (folder / "logs").mkdir(parents=True)
    (folder / "grid.json").write_text(json.dumps(_record(grid, _MadeOf(data="", protocols={}), tmp_path / "cache")))
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
    last = folder / grid.points[-1].name
    progress.begin(last)
    progress.report(last, chapter="2/4 training")
    progress.fail(last, StageFailed("Notebook 02_training, cell 4: <b>no</b> more memory", bad_input=False))
    return folder, [status(folder, point.name, point.fingerprint) for point in grid.points]


def test_the_table_says_where_points_stand(fabricated):
    folder, found = fabricated
    shown = table(found)
    assert shown["rank-1"].tolist()[:2] == ["80.0%", "82.0%"]
    assert shown["error"].tolist()[-1] == "Notebook 02_training, cell 4: <b>no</b> more memory"
    assert shown["notebook"].tolist()[-1] == "2/4 training"
    run = folder / "now"
    progress.queue(run)
    assert status(folder, "now", "", running=True) == Status("now", "waiting")
    progress.begin(run)
    assert status(folder, "now", "", running=True).state == "running"
    progress.report(run, chapter="2/4 training", iteration=40, iterations=60, validation=0.25, seconds_left=30.0)
    now = status(folder, "now", "", running=True)
    assert (now.notebook, now.iteration, now.validation, now.left) == ("2/4 training", "40/60", 0.25, 30)
    assert 0 <= now.seconds < 60
    stopped = status(folder, "now", "")  # nobody sees to it any more
    assert (stopped.state, stopped.iteration, stopped.error) == ("stopped", "40/60", "It was killed.")
    progress.fail(run, Interrupted("Stopped here."))
    assert (status(folder, "now", "").state, status(folder, "now", "").error) == ("stopped", "Stopped here.")
    assert status(folder, "now", "", running=True).state == "running"  # again, by another process
    assert summary([*found, now], 90.0) == "5 done, 1 running, 1 failed of 7; about 01:30 left"
    done, waiting = Status("a", "done", seconds=60.0), Status("b")
    assert seconds_left([waiting], 2) is None
    assert seconds_left([done, waiting, waiting], 2) == 60
    assert seconds_left([done, waiting, waiting], 1) == 120
    running = [Status(name, "running", seconds=30.0) for name in "cde"]  # on a cluster, which is one worker here
    assert seconds_left([done, *running, waiting, waiting, waiting], 1) == (3 * 30 + 3 * 60) / 3


def test_a_run_that_is_made_again_is_not_done_meanwhile(fabricated):
    """Its old page and its old numbers lie there until the new ones do."""
    folder, _ = fabricated
    point = Grid.load(folder.parents[1] / "g.yaml").points[0]
    assert is_done(folder / point.name, point.fingerprint)
    progress.queue(folder / point.name)
    assert not is_done(folder / point.name, point.fingerprint)
    progress.finish(folder / point.name)
    assert is_done(folder / point.name, point.fingerprint)
    assert not is_done(folder / point.name, "of another configuration")
    (folder / point.name / "provenance.json").write_text("[" * 9999)
    assert not is_done(folder / point.name, point.fingerprint)


# -------------------------------------------------------------------------------------------------------- housekeeping


def test_points_are_listed_and_cleaned_as_other_runs(fabricated, monkeypatch, capsys):
    from gaitlib.runs import find_runs

    folder, _ = fabricated
    base = folder.parents[1]
    monkeypatch.chdir(base)
    found = find_runs(base / "reports")
    assert [run.name for run in found if run.matches(["seed=1"])] == ["g/contrastive-0.0_seed-1", "g/contrastive-1.0_seed-1"]
    assert len([run for run in found if run.matches(["contrastive-0*", "protocol=walkers"])]) == 3
    main(["runs", "seed=0"], standalone_mode=False)
    line = r"g/contrastive-0\.0_seed-0 +2026-01-01 00:00 +walkers +0 +20\.0\u202f% +80\.0\u202f% "
    assert re.search(line, capsys.readouterr().out)
    assert 'href="g/contrastive-0.0_seed-0/index.html"' in (base / "reports" / "index.html").read_text()
    main(["clean", "--keep-best", "--yes"], standalone_mode=False)
    weights = {p.parents[1].name for p in folder.glob("*/checkpoint/model.safetensors")}
    assert weights == {"contrastive-0.0_seed-0"} == {p.parents[1].name for p in folder.glob("*/checkpoint/state.pt")}
    assert len(list(folder.glob("*/checkpoint/history.csv"))) == len(list(folder.glob("*/index.html"))) == 5
    points = json.loads((folder / "grid.json").read_text())["points"]
    assert all(is_done(folder / name, points[name]["fingerprint"]) for name in list(points)[:5])


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


def test_the_points_of_a_machine_that_is_lost_are_done_by_another(clone):
    """Two workers as docs/machines.md starts them; all processes of the one that trains are killed at once."""
    pytest.importorskip("dask.distributed", reason='dask is not installed: pip install -e ".[cluster]"')
    psutil = pytest.importorskip("psutil")  # which dask brings

    write_grid(clone / "g.yaml", {**GRID, "leave_out": [{"evaluation.stride": 64}]})
    (clone / "slow").touch()
    lost, places = [], {"scheduler": clone / "scheduler.json"}

    def dask(*arguments):
        command = [sys.executable, "-m", "dask", *map(str, arguments), "--no-dashboard", "--scheduler-file", places["scheduler"]]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def show(points, left):
        training = {point.name for point in points if point.state == "running" and point.iteration}
        for machine in machines if training and not lost else []:
            processes = psutil.Process(machine.pid).children(recursive=True)
            points_here = [process.cmdline()[-1] for process in processes if "point" in process.cmdline()]
            if training & set(points_here):
                lost.extend(points_here)
                for process in [psutil.Process(machine.pid), *processes]:
                    process.kill()
                return

    with dask("scheduler", "--host", "127.0.0.1", "--port", 0) as scheduler:
        while not places["scheduler"].is_file():
            time.sleep(0.05)
        address = json.loads(places["scheduler"].read_text())["address"]
        machines = [dask("worker", "--nworkers", 1, "--nthreads", 1, "--host", "127.0.0.1") for _ in range(2)]
        try:
            _, points = run_grid("g.yaml", scheduler=address, show=show)
        finally:
            for process in (*machines, scheduler):
                process.terminate()
                process.wait()
    assert len(lost) == 1
    assert [p.state for p in points] == ["done"] * 2, points
    assert len(results(clone / "reports/g")) == 2
    counts = made(clone / "cache")
    assert Counter(name.partition("-")[0] for name in counts) == {"walkers": 1, "normalized": 1, "training": 2, "embeddings": 2}
    assert set(counts.values()) == {1}
