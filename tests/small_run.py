"""One small run of all four notebooks, a few iterations on 16 walkers: a real report with its cache, which many tests look at.

python tests/small_run.py FOLDER makes it there; the tests look for it in the folder that the environment variable
GAITLIB_SMALL_RUN names.
"""

import os
import shutil
import sys
from pathlib import Path
from unittest import mock

import yaml
from filelock import FileLock

ROOT = Path(__file__).parents[1]
SMALL = [
    "protocol=small", "training.iterations=4", "training.validate_every=2", "walkers.subjects=16", "walkers.more=0",
    "training.people=4", "training.walks_per_person=2", "evaluation.bootstrap=100", "evaluation.stride=64",
    "evaluation.mirrored=false", "model.encoder_width=32", "model.recognizer_width=32", "model.embedding=64",
]  # fmt: skip
#: What the protocol of the small run says otherwise than configs/protocols/walkers.yaml.
PROTOCOL = {
    "name": "small", "summary": "Synthetic walkers laid out as CASIA-B; people 1-12 train, all others are unseen.",
    "train": "1-12", "test": "13-", "validation": 4,
}  # fmt: skip


def lay_out(folder: Path) -> None:
    """Make a folder as a clone is, of copies of configs/ and notebooks/, which also knows the protocol of the small run."""
    for name in ("configs", "notebooks"):
        shutil.copytree(ROOT / name, folder / name)
    protocols = folder / "configs" / "protocols"
    known = yaml.safe_load((protocols / "walkers.yaml").read_text())
    (protocols / "small.yaml").write_text(yaml.safe_dump(known | PROTOCOL, sort_keys=False))


def small_run(folder: Path) -> Path:
    """The run folder, folder/small/reports/small, made where it is not there; its cache is folder/small/cache."""
    from gaitlib.config import load_config
    from gaitlib.notebooks import run_experiment

    folder = folder / "small"
    made = folder / "reports" / "small"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "complete").exists():
            clone, before = folder / "clone", Path.cwd()
            shutil.rmtree(clone, ignore_errors=True)
            lay_out(clone)
            os.chdir(clone)
            try:
                with mock.patch.dict(os.environ, OMP_NUM_THREADS="1"):  # the last digits depend on how many there are
                    run_experiment(load_config("configs/quick.yaml", SMALL), "small", reports=made.parent, cache=folder / "cache")
            finally:
                os.chdir(before)
            (folder / "complete").touch()
    return made.resolve()


if __name__ == "__main__":
    print(small_run(Path(sys.argv[1]).resolve()))
