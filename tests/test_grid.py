"""Grids: what is refused, what is shared, and that killing anything changes no result."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[1]
TINY = {
    "protocol": "tiny", "walkers.subjects": 6, "model.encoder_width": 12, "model.recognizer_width": 8, "model.embedding": 16,
    "training.iterations": 12, "training.validate_every": 1, "training.people": 3, "training.walks_per_person": 2,
    "evaluation.bootstrap": 20, "evaluation.mirrored": False,
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
experiment.trained(lambda _: time.sleep(0.3) if Path("slow").exists() else None)
experiment.keep_training()
experiment.keep_results(experiment.evaluate())
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

    (clone / "slow").touch()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as parent:  # killed in the middle of training
        wait_for(clone / "reports/g/logs", "iteration 2/12")
        parent.kill()
    (clone / "slow").unlink()
    (clone / "trouble").mkdir()
    troubled = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert troubled.returncode == 1, troubled.stdout + troubled.stderr
    assert re.fullmatch(r"gaitlib: 2 of 3 points are not done; the first, seed-0_stride-64: .*No space left.*\n", troubled.stderr)
    assert "seed-1_stride-32 failed: killed by signal 9" in troubled.stdout
    assert "seed-0_stride-32 done" in troubled.stdout
    page = (clone / "reports/g/index.html").read_text()
    assert "killed by signal 9" in page
    assert "No space left" in page
    shutil.rmtree(clone / "trouble")
    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "seed-0_stride-32 done" in resumed.stdout

    (clone / "cache").rename(clone / "troubled")
    undisturbed = subprocess.run([*command, "--name", "calm"], capture_output=True, text=True, check=False)
    assert undisturbed.returncode == 0, undisturbed.stdout + undisturbed.stderr
    assert results(clone / "reports/g") == results(clone / "reports/calm")
    assert len(results(clone / "reports/calm")) == 3
    counts = made(clone / "cache")
    assert Counter(name.partition("-")[0] for name in counts) == {"walkers": 1, "training": 2, "embeddings": 3}
    assert set(counts.values()) == {1}  # although two points need a training at once
    assert made(clone / "troubled") == counts
    log = (clone / "reports/calm/logs/seed-0_stride-32.log").read_text()
    log += (clone / "reports/calm/logs/seed-0_stride-64.log").read_text()
    assert "waiting: another run makes training-" in log or "waiting: another run makes walkers-" in log
