import json
import re

import numpy as np
import pytest
import torch

from gaitlib import InputError
from gaitlib.display import ExchangeExplorer
from gaitlib.display.exchange import STATIC_WALKS
from gaitlib.model.geometric import GeometricAutoencoder


@pytest.fixture
def explorer(autoencoder, people):
    windows, table = people
    return ExchangeExplorer(autoencoder, windows, table, truth="recording")


def static(explorer):
    text = re.search(r'<script type="application/json">(.*?)</script>', explorer.to_html(), re.DOTALL)[1]
    return json.loads(text)["exchange"]


def test_no_exchange_is_the_reconstruction_of_a(explorer, people):
    np.testing.assert_allclose(explorer.exchange(0, 4, False, False, False), people[0][0], atol=1e-5)


def test_exchange_of_all_three_is_the_reconstruction_of_b(explorer, people):
    np.testing.assert_allclose(explorer.exchange(0, 4, True, True, True), people[0][4], atol=1e-5)


def test_each_code_comes_from_the_walk_it_is_taken_from(explorer, people):
    a, b = people[0][1], people[0][5]
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    # the toy keeps the view in the mean x, the body in the mean y, the motion in the rest
    expected = a - mean_a + np.stack([mean_b[:, 0], mean_a[:, 1]], axis=-1)
    np.testing.assert_allclose(explorer.exchange(1, 5, True, False, False), expected, atol=1e-5)
    expected = b - mean_b + np.stack([mean_a[:, 0], mean_b[:, 1]], axis=-1)
    np.testing.assert_allclose(explorer.exchange(1, 5, False, True, True), expected, atol=1e-5)


def test_a_share_blends_the_codes(explorer, people):
    a, b = people[0][0], people[0][4]
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    expected = a - mean_a + np.stack([0.75 * mean_a[:, 0] + 0.25 * mean_b[:, 0], mean_a[:, 1]], axis=-1)
    np.testing.assert_allclose(explorer.exchange(0, 4, view=0.25), expected, atol=1e-5)


def test_only_channels_of_what_is_taken_change(explorer, people):
    changes = explorer.changes(0, 4, view=1, motion=0.5)
    assert not changes["body"].any()
    means = people[0].mean(axis=1)[..., 0]  # the toy keeps the mean x of joint j in view channel 2 j
    spread = means.std(axis=0)
    np.testing.assert_allclose(changes["view"][4:30:2], (means[4] - means[0])[2:] / spread[2:], rtol=1e-3)
    np.testing.assert_allclose(2 * changes["motion"], explorer.changes(0, 4, motion=1)["motion"], rtol=1e-5)


def test_the_page_holds_walks_and_codes_and_the_decoder_in_little_room(explorer, people, unpacked):
    page = static(explorer)
    poses = unpacked(page["poses"]).reshape(-1, 64, 15, 2)
    np.testing.assert_allclose(poses, people[0], atol=2e-4)
    sizes = {name: sum(len(unpacked(row)) for row in layer["weight"]) for name, layer in page["decoder"]["layers"].items()}
    assert sizes == {"first": 256 * 128 * 7, "still": 256 * 256, "second": 128 * 256 * 7, "third": 30 * 128 * 7}
    largest = len(explorer.to_html()) + (STATIC_WALKS - 6) * 4 * (64 * 30 + 64 * 128 + 256) * 2 // 3
    assert largest < 4_000_000


def test_truth_is_known_between_synchronous_views_only(explorer, people):
    page = static(explorer)
    assert page["truth"]["0.2"] == 2
    assert "0.3" not in page["truth"]
    exchanged = explorer.panels(0, 2, True, False, False)[3]
    assert "truth" in exchanged
    assert "% of torso length from the truth" in exchanged["subtitle"]
    assert "truth" not in explorer.panels(0, 2, True, True, False)[3]


def test_a_recording_of_another_subject_is_no_truth(autoencoder, people):
    windows, table = people
    explorer = ExchangeExplorer(autoencoder, windows, table.assign(recording="nm-01"), truth="recording")
    assert explorer.truth(0, 2) is not None
    assert explorer.truth(0, 3) is None
    with pytest.raises(InputError, match="no such column"):
        ExchangeExplorer(autoencoder, windows, table, truth="performance")


def test_the_controls_drive_the_panels(explorer):
    titles = [p["title"] for p in explorer.player.panels]
    assert titles == ["A, original", "B, original", "A, reconstructed", "Exchange"]
    before = explorer.player.panels[3]["pose"]
    explorer.take["motion"].value = True
    explorer.walk_b.value = 4
    after = explorer.player.panels
    assert after[3]["pose"] != before
    assert after[3]["codes"] == {"view": 1, "body": 0, "motion": 1}
    assert after[1]["subtitle"] == "002 · nm-01 · 54°"


def test_swap_buttons_and_sliders_follow_each_other(explorer):
    explorer.share["view"].value = 0.6
    assert explorer.take["view"].value is False
    assert explorer.player.panels[3]["codes"] == {"view": 0.6, "body": 0, "motion": 0}
    explorer.take["view"].value = True
    assert explorer.share["view"].value == 1
    explorer.take["view"].value = False
    assert explorer.share["view"].value == 0


def test_the_state_comes_back_from_its_code(explorer):
    explorer.show(1, "002 · nm-01 · 90°", view=0.25, motion=1)
    before, code = explorer.player.panels, explorer.player.code
    assert code == "explorer.show('001 · nm-01 · 54°', '002 · nm-01 · 90°', view=0.25, body=0, motion=1)"
    explorer.surprise()
    assert max(explorer.player.panels[3]["codes"].values()) == 1
    eval(code)
    assert explorer.player.panels == before


@pytest.mark.parametrize(
    ("walk", "share", "message"), [("3", 0, "no walk '3'"), (9, 0, "no walk 9"), (0, 1.5, "between 0 and 1")]
)
def test_a_state_that_cannot_be_shown_is_named(explorer, walk, share, message):
    with pytest.raises(InputError, match=message):
        explorer.show(walk, 1, view=share)


def test_the_bundle_has_the_live_widget_and_the_page(explorer):
    data, _ = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/html"] == explorer.to_html()


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
    page = static(explorer)
    assert page["walks"] == ["002 · nm-01 · 54°", "001 · nm-01 · 54°"]
    assert page["truth"] == {"0.0": 0, "1.1": 1}
    assert explorer.player.panels[0]["subtitle"] == page["walks"][0]
    with pytest.raises(InputError, match="1 to 24 walks, not 0"):
        ExchangeExplorer(autoencoder, *people, static=[])


def test_the_camera_moves_around_the_walker(people, autoencoder):
    windows, table = people
    torch.manual_seed(0)
    explorer = ExchangeExplorer(GeometricAutoencoder(), windows, table, truth="recording")
    plain = explorer.exchange(0, 4, 1)
    np.testing.assert_allclose(explorer.exchange(0, 4, 1, turn=360), plain, atol=1e-4)
    assert np.abs(explorer.exchange(0, 4, 1, turn=90) - plain).mean() > 0.01
    explorer.show(0, 4, view=1, turn=90)
    assert explorer.player.panels[3]["subtitle"] == "camera turned by 90°"
    assert "truth" not in explorer.player.panels[3]
    assert explorer.player.code.endswith("view=1, body=0, motion=0, turn=90)")
    assert explorer.turn in explorer.children[1].children[-1].children
    with pytest.raises(InputError, match="turns by -180 to 180 degrees, not 200"):
        explorer.show(0, 4, turn=200)
    flat = ExchangeExplorer(autoencoder, windows, table)  # its view code is no camera
    assert flat.turn not in flat.children[1].children[-1].children
