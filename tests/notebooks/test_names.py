"""The four notebooks on data whose names are not as nice as CASIA-B's, by a protocol that asks for some views only."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import yaml

from gaitlib.config import load_config
from gaitlib.data.dataset import write_dataset
from gaitlib.data.walkers import make_walkers
from gaitlib.notebooks import CHAPTERS, run_experiment

MARK = "<svg onload=alert(1)>"
SETTINGS = [
    "protocol=mine", "model.window=24", "model.encoder_width=16", "model.recognizer_width=8", "model.embedding=16",
    "training.people=4", "training.walks_per_person=2", "training.iterations=40", "training.validate_every=2",
    "training.patience=1", "training.warmup=0", "training.learning_rate=0.0000001", "training.average=0",
    "evaluation.bootstrap=20", "evaluation.studies=false",
]  # fmt: skip
PROBES = {"LATE & SLOW $x_1$": {"run": 2}, "AGAIN 'onload=alert(1)": {"run": 3}}


@pytest.fixture
def run(workbook):
    walks = (
        replace(walk, subject=f"{walk.subject}{MARK}", condition=f"nm{MARK}")
        for walk in make_walkers(9, seed=3, views=[0, 54, 90, 180])
        if walk.condition == "nm" and walk.run <= 3
    )
    people = [f"{p:03d}{MARK}" for p in range(1, 10)]
    data = write_dataset(workbook / "data" / "strange", walks, name=f"strange {MARK}")
    assert data.views == ["000", "054", "090", "180"]
    some = {"view": ["054", "090"]}
    protocol = {
        "name": "mine", "train": people[:5], "test": people[5:8], "validation": 2, "gallery": {"run": 1, **some},
        "probes": {name: {**wanted, **some} for name, wanted in PROBES.items()},
    }  # fmt: skip
    (workbook / "configs" / "protocols" / "mine.yaml").write_text(yaml.safe_dump(protocol, sort_keys=False))
    return run_experiment(load_config("configs/quick.yaml", SETTINGS), "strange", data="data/strange", cache="cache-of-names")


def test_names_are_text_views_are_those_of_the_test_and_what_is_not_used_is_counted(run):
    pages = [run / "index.html", *(run / f"{chapter}.html" for chapter in CHAPTERS)]
    for page in pages:
        assert MARK not in page.read_text("utf-8"), page.name
    text = pages[1].read_text("utf-8")
    assert f"{108 - 3 * 12 - 2 * 6 - 3 * 6} walks are not used" in text  # all of 3 people train, 6 each of 5 others count
    assert {p.stem for p in (run / "figures").glob("rank1_*.png")} == {"rank1_LATE-SLOW-x_1-", "rank1_AGAIN-onload-alert-1-"}

    history = pd.read_csv(run / "checkpoint" / "history.csv")
    metrics = json.loads((run / "metrics.json").read_text())
    assert len(history) < 20  # it ended early
    assert metrics["iterations"] == history["iteration"].iloc[-1]
    assert list(metrics["rank1"]) == [*PROBES, "mean"]
