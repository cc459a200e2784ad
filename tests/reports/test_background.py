"""People, missing joints, losses and training as tables: against the data set, counted another way."""

import numpy as np
import pandas as pd
import pytest

from gaitlib.data.dataset import write_dataset
from gaitlib.data.protocol import Protocol
from gaitlib.data.walkers import make_walkers
from gaitlib.poses.inspect import inspect
from gaitlib.reports import background


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "d", make_walkers(6, seed=5, views=[0, 90]), name="six")


def test_everybody_has_one_part_and_test_people_their_roles(dataset):
    probes = {"NM": {"condition": "nm", "run": "5-6"}, "CL": {"condition": "cl"}}
    protocol = Protocol("p", "1-4", "5-", 2, {"condition": "nm", "run": "1-4"}, probes)
    table = background.split(protocol.split(dataset))
    assert list(table.frame) == ["Subject", "Part", "Walks", "Gallery", "Probes NM", "Probes CL"]
    rows = {row[0]: row[1:] for row in table.frame.fillna(0).itertuples(index=False, name=None)}
    train = {name for name, row in rows.items() if row == ("train", 20, 0, 0, 0)}
    held = {name for name, row in rows.items() if row == ("validation", 16, 0, 0, 0)}  # of 20 walks: no bag is asked for
    assert len(train) == len(held) == 2
    assert train | held == {"001", "002", "003", "004"}
    assert rows["005"] == rows["006"] == ("test", 16, 8, 4, 4)
    assert table.kinds == ["text", "text", "count", "count", "count", "count"]


def test_nobody_needs_to_train(dataset):
    """As where a checkpoint from elsewhere is asked; a probe set may have any name."""
    protocol = Protocol("p", "", "all", 0, {"run": "1"}, {"Walks": {"run": 2, "condition": "nm"}})
    frame = background.split(protocol.split(dataset)).frame
    assert frame["Part"].tolist() == ["test"] * 6
    assert frame[["Walks", "Gallery", "Probes Walks"]].to_numpy().tolist() == [[8, 6, 2]] * 6


def test_missing_joints_are_those_that_the_inspection_counts(dataset):
    table = background.missing_joints(dataset)
    frame = table.frame.set_index("Joint")
    found = inspect(dataset)
    np.testing.assert_allclose(frame[["000", "090"]].to_numpy(), found.missing.T.to_numpy())
    assert 0 < frame["All views"].mean() == pytest.approx(float(np.isnan(dataset.poses[..., 0]).mean()))
    assert frame.index[0] == "head"
    assert table.kinds == ["text", "lost", "lost", "lost"]


def test_only_terms_with_a_weight_are_listed():
    frame = background.losses({"view_exchange": 2.0, "cycle": 0}).frame
    assert frame.to_numpy().tolist() == [["view exchange", 2.0]]


def test_the_history_keeps_its_numbers():
    history = pd.DataFrame(
        {"iteration": [4, 8], "learning_rate": [1e-3, 1e-9], "loss": [2.5, 0.1], "validation_rank1": [0.5, 0.7]}
    )
    table = background.training(history)
    assert list(table.frame) == ["Iteration", "Learning rate", "Loss", "Validation rank-1"]
    assert table.frame.to_numpy().tolist() == history.to_numpy().tolist()
    assert table.kinds == ["count", "number", "number", "share"]


def test_exchanged_views_are_shaded_from_the_least_error_to_the_mean_walk():
    errors = pd.DataFrame([[np.nan, 4.0], [6.0, np.nan]], pd.Index(["000", "090"], name="source"), ["000", "090"])
    table = background.exchange_by_view(errors, 9.5)
    assert table.frame.iloc[:, 0].tolist() == ["000", "090"]
    np.testing.assert_array_equal(table.frame.iloc[:, 1:].to_numpy(), errors.to_numpy())
    assert table.shaded == {"000": (4.0, 9.5), "090": (4.0, 9.5)}
    assert background.exchange_by_view(errors, np.nan).shaded["000"] == (4.0, 6.0)
