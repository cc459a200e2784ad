import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

from gaitlib import InputError
from gaitlib.display import ExchangeExplorer
from gaitlib.display.exchange import STATIC_WALKS, code_maps, first_people
from gaitlib.model.geometric import GeometricAutoencoder


@pytest.fixture
def explorer(autoencoder, people):
    windows, table = people
    return ExchangeExplorer(autoencoder, windows, table, truth="recording")


def static(explorer):
    text = re.search(r'<script type="application/json">(.*?)</script>', explorer.to_html(), re.DOTALL)[1]
    return json.loads(text)["exchange"]


def test_no_exchange_is_the_reconstruction_of_a(explorer, people):
    np.testing.assert_allclose(explorer.decode(0, 4, False, False, False), people[0][0], atol=1e-5)


def test_exchange_of_all_three_is_the_reconstruction_of_b(explorer, people):
    np.testing.assert_allclose(explorer.decode(0, 4, True, True, True), people[0][4], atol=1e-5)


def test_each_code_comes_from_the_walk_it_is_taken_from(explorer, people):
    a, b = people[0][1], people[0][5]
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    # the toy keeps the view in the mean x, the body in the mean y, the motion in the rest
    expected = a - mean_a + np.stack([mean_b[:, 0], mean_a[:, 1]], axis=-1)
    np.testing.assert_allclose(explorer.decode(1, 5, True, False, False), expected, atol=1e-5)
    expected = b - mean_b + np.stack([mean_a[:, 0], mean_b[:, 1]], axis=-1)
    np.testing.assert_allclose(explorer.decode(1, 5, False, True, True), expected, atol=1e-5)


def test_a_share_blends_the_codes(explorer, people):
    a, b = people[0][0], people[0][4]
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    expected = a - mean_a + np.stack([0.75 * mean_a[:, 0] + 0.25 * mean_b[:, 0], mean_a[:, 1]], axis=-1)
    np.testing.assert_allclose(explorer.decode(0, 4, view=0.25), expected, atol=1e-5)


def test_channels_come_with_their_spread(explorer, people):
    means = people[0].mean(axis=1)[..., 0]  # the toy keeps the mean x of joint j in view channel 2 j
    np.testing.assert_allclose(static(explorer)["spread"]["view"][4:30:2], means.std(axis=0)[2:], rtol=1e-3)
    assert min(map(min, static(explorer)["spread"].values())) > 0


def test_the_page_holds_walks_and_codes_and_the_decoder_in_little_room(explorer, people, unpacked):
    page = static(explorer)
    for k, row in enumerate(explorer._static):
        walk = page["walks"][str(k)]
        np.testing.assert_allclose(unpacked(walk["pose"]).reshape(64, 15, 2), people[0][row], atol=2e-4)
        np.testing.assert_allclose(unpacked(walk["view"]), explorer._codes(row)["view"], atol=2e-4)
    sizes = {name: sum(len(unpacked(row)) for row in layer["weight"]) for name, layer in page["decoder"]["layers"].items()}
    assert sizes == {"first": 256 * 128 * 7, "still": 256 * 256, "second": 128 * 256 * 7, "third": 30 * 128 * 7}
    one = len(json.dumps(page["walks"]["0"]))
    assert len(explorer.to_html()) + (STATIC_WALKS - 6) * one < 5_000_000


def test_synchronous_views_share_a_performance(autoencoder, explorer, people):
    page = static(explorer)
    assert page["performances"] == [0, 0, 0, 1, 1, 1]
    assert page["angles"] == [0, 54, 90, 0, 54, 90]
    windows, table = people
    table = table.assign(recording="nm-01")  # of other subjects it is another performance
    assert static(ExchangeExplorer(autoencoder, windows, table, truth="recording"))["performances"] == [0, 0, 0, 1, 1, 1]
    assert static(ExchangeExplorer(autoencoder, windows, table))["performances"] == list(range(6))
    with pytest.raises(InputError, match="no such column"):
        ExchangeExplorer(autoencoder, windows, table, truth="performance")


def test_a_state_is_shown_by_row_name_or_key(explorer):
    shown = {"mode": "exchange", "a": 1, "b": 5, "view": 0.25, "body": 0, "motion": 1, "turn": 0}
    explorer.show(1, "002-nm-01-090", view=0.25, motion=1)
    assert explorer.choice == shown
    explorer.show("Person 1, normal walk 1, camera at 54°", 5, view=0.25, motion=1)
    assert explorer.choice == shown


@pytest.mark.parametrize(
    ("walk", "share", "message"), [("3", 0, "no walk '3'"), (9, 0, "no walk 9"), (0, 1.5, "between 0 and 1")]
)
def test_a_state_that_cannot_be_shown_is_named(explorer, walk, share, message):
    with pytest.raises(InputError, match=message):
        explorer.show(walk, 1, view=share)
    with pytest.raises(InputError, match="turns by -180 to 180 degrees, not 200"):
        explorer.show(0, 4, turn=200)


def test_the_kernel_sends_walks_that_are_not_at_hand(autoencoder, people, monkeypatch, unpacked):
    explorer, sent = ExchangeExplorer(autoencoder, *people, static=[4, 1]), []
    monkeypatch.setattr(explorer, "send", sent.append)
    assert list(explorer.exchange["walks"]) == [4, 1]
    assert len(explorer.exchange["names"]) == 6
    for wanted in (2, 6, -1, "2", None):
        explorer._answer(explorer, {"want": wanted}, [])
    (walk,) = sent  # nothing is sent for what is not a walk
    assert walk["walk"] == 2
    np.testing.assert_allclose(unpacked(walk["codes"]["pose"]).reshape(64, 15, 2), people[0][2], atol=2e-4)


def test_the_bundle_has_the_live_widget_and_the_page(explorer):
    data, _ = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/html"] == explorer.to_html()
    assert explorer.get_state()["exchange"] == explorer.exchange  # a saved notebook shows it without a kernel


def test_a_missing_joint_is_named(autoencoder, people):
    windows = people[0].copy()
    windows[2, 7, 4] = np.nan
    with pytest.raises(InputError, match="Window 2 has no joint 4 in frame 7"):
        ExchangeExplorer(autoencoder, windows, people[1])


def test_sizes_must_fit(autoencoder, people):
    with pytest.raises(InputError, match="6 windows and the table has 2 rows"):
        ExchangeExplorer(autoencoder, people[0], people[1][:2])


def test_the_page_holds_the_walks_that_were_chosen(autoencoder, people):
    explorer = ExchangeExplorer(autoencoder, *people, static=[4, 1])
    assert static(explorer)["keys"] == ["002-nm-01-054", "001-nm-01-054"]
    explorer.show(1, 4, body=1)
    assert explorer.page()["choice"]["a"] == 1
    explorer.show(1, 2, body=1)  # the page does not have walk 2
    assert explorer.page()["choice"] is None
    with pytest.raises(InputError, match="1 to 99 walks, not 0"):
        ExchangeExplorer(autoencoder, *people, static=[])


def test_the_page_holds_whole_people_in_every_condition_and_view():
    views, takes = [f"{18 * k:03d}" for k in range(11)], [("bg", 1), ("cl", 1), ("nm", 1), ("nm", 2)]
    rows = [(person, *take, view) for person in "dcba" for take in takes for view in views]
    table = pd.DataFrame(rows, columns=["subject", "condition", "run", "view"])
    chosen = table.loc[first_people(table)]
    assert chosen.groupby("subject").size().to_dict() == dict.fromkeys("abc", 33)
    assert set(chosen["run"]) == {1}
    assert chosen["condition"].tolist()[:12] == ["nm"] * 11 + ["bg"]
    many = pd.DataFrame({"subject": "a", "condition": "nm", "run": 1, "view": [str(k) for k in range(150)]})
    assert len(first_people(many)) == 99  # of one person with more, some


def test_maps_show_what_codes_differ_in(autoencoder, people):
    maps = code_maps(autoencoder, people[0])
    view = np.array(maps["view"])
    assert view.shape == (6, 2)
    assert np.abs(view).max() == 1
    means = people[0].mean(axis=1)[..., 0]  # the toy's view code
    distances, shown = (np.linalg.norm(values[:, None] - values, axis=2) for values in (means - means.mean(0), view))
    assert np.corrcoef(distances.ravel(), shown.ravel())[0, 1] > 0.99


def test_the_camera_moves_around_the_walker(people, autoencoder):
    windows, table = people
    torch.manual_seed(0)
    explorer = ExchangeExplorer(GeometricAutoencoder(), windows, table, truth="recording")
    plain = explorer.decode(0, 4, 1)
    np.testing.assert_allclose(explorer.decode(0, 4, 1, turn=360), plain, atol=1e-4)
    assert np.abs(explorer.decode(0, 4, 1, turn=90) - plain).mean() > 0.01
    assert static(explorer)["start"] == {"mode": "camera", "a": 0, "b": 4, "turn": 54}
    flat = ExchangeExplorer(autoencoder, windows, table)  # its view code is no camera
    assert static(flat)["start"] == {"mode": "exchange", "a": 0, "b": 4, "view": 1}
