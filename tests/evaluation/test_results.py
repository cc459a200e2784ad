"""The numbers of an evaluation: what is said twice is the same."""

import numpy as np
import pandas as pd
import pytest

from gaitlib.evaluation.embedding import Embeddings
from gaitlib.evaluation.results import evaluate


@pytest.fixture(scope="module")
def evaluation():
    rows = [(f"{p:03d}", v, r) for p in range(8) for v in ("000", "090", "180") for r in range(4)]
    index = pd.DataFrame(rows, columns=["subject", "view", "run"])
    index["sequence"] = [f"{p}-{r}-{v}" for p, v, r in rows]
    rng = np.random.default_rng(0)
    person = pd.factorize(index["subject"])[0]
    values = (rng.normal(size=(8, 5))[person] + 0.8 * rng.normal(size=(len(index), 5))).astype(np.float32)
    noise = rng.normal(size=values.shape).astype(np.float32)
    gallery = (index["run"] < 2).to_numpy()
    return evaluate(
        Embeddings(values, index), Embeddings(noise, index), gallery, {"A_1": ~gallery & (index["run"] == 2).to_numpy(),
        "B": (index["run"] == 3).to_numpy()}, repeats=100,
    )  # fmt: skip


def test_what_is_said_twice_is_the_same(evaluation):
    m = evaluation.metrics
    assert m["rank1"]["mean"] == pytest.approx((m["rank1"]["A_1"] + m["rank1"]["B"]) / 2)
    for name in ("A_1", "B"):
        value, low, high = m["ranking"]["single view"][name]["rank1"]
        assert (value, [low, high]) == (m["rank1"][name], m["ci95"][name])
        assert m["over_baseline"][name][0] == pytest.approx(value - m["baseline"]["rank1"][name])
    assert m["over_baseline"]["mean"][1] > 0  # noise is beaten
    subjects = pd.DataFrame(m["subjects"]).T
    assert subjects["A_1"].mean() == pytest.approx(m["rank1"]["A_1"])  # all have as many probes
    assert subjects["mean"].is_monotonic_increasing
