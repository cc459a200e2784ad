import json
import re

import numpy as np
import pytest
import torch

from gaitlib import InputError
from gaitlib.display import WhoIsIt
from gaitlib.display.identify import joint_saliency


@pytest.fixture
def who(autoencoder, people):
    """Six people of one gallery walk and one probe each; person 5's probe lies nearest to person 0."""
    windows, table = people
    windows = np.concatenate([windows, windows])
    subjects = [f"{i:03d}" for i in range(6)]
    table = table.iloc[[0] * 12].assign(subject=subjects * 2, view=["000"] * 6 + ["090"] * 6)
    embeddings = np.concatenate([np.eye(6), np.eye(6) * 0.5])
    embeddings[11] = 0.4 * np.eye(6)[0]
    gallery = np.arange(12) < 6
    return WhoIsIt(autoencoder, windows, table, embeddings, gallery, ~gallery)


def test_people_are_ranked_by_their_nearest_walk(who):
    ranked = who.ranked(7)
    assert ranked["subject"][0] == "001"
    assert ranked["distance"][0] == pytest.approx(0.5)
    assert ranked["right"].tolist() == [True] + 5 * [False]


def test_the_right_person_is_shown_even_where_it_is_not_found(who):
    panels = who.panels(11)
    assert [p.get("mark", "") for p in panels] == ["", *["wrong"] * 5, "right"]
    assert panels[1]["title"] == "1. 000"
    assert panels[6]["title"] == "6. 005"


def test_distances_of_codes_say_why(who):
    near, far = who.code_distances(7, 1), who.code_distances(7, 5)
    assert near == pytest.approx({"view": 0, "body": 0, "motion": 0}, abs=1e-5)  # the same walk
    assert far["view"] > 0.5
    assert far["body"] == pytest.approx(2, rel=1e-3)  # three of the six have its body, three another: the median lies between


def test_the_same_view_is_no_gallery(autoencoder, people):
    windows, table = people
    gallery = np.arange(6) < 3
    who = WhoIsIt(autoencoder, windows, table, np.eye(6), gallery, ~gallery)
    assert table["view"].to_numpy()[who.ranked(4)["walk"]].tolist() != ["054"]
    with pytest.raises(InputError, match="nobody to be found"):
        WhoIsIt(autoencoder, windows, table.assign(view="000"), np.eye(6), gallery, ~gallery)


def test_another_probe_is_shown(who):
    before = who.player.panels
    who.probe.value = (who.probe.value + 1) % 6
    assert who.player.panels != before


def test_the_page_shows_failures_too_and_each_walk_once(who):
    page = json.loads(re.search(r'<script type="application/json">(.*?)</script>', who.to_html(), re.DOTALL)[1])["gallery"]
    firsts = [probe["panels"][1]["mark"] for probe in page["probes"]]
    assert firsts.count("wrong") == 1
    assert len(firsts) == 6
    assert max(p["pose"] for probe in page["probes"] for p in probe["panels"]) == 11
    assert {p["pose"] for p in page["probes"][0]["panels"][1:]} <= set(range(12))


def test_sizes_must_fit(autoencoder, people):
    with pytest.raises(InputError, match="one length"):
        WhoIsIt(autoencoder, *people, np.eye(5), np.ones(6, bool), np.ones(6, bool))


def test_saliency_finds_the_joint_that_the_recognizer_looks_at():
    class LooksAtOneWrist(torch.nn.Module):
        """The embedding is the x of joint 4 at frame 9, beside a constant."""

        def forward(self, x):
            seen = x[:, 2 * 4, 9]
            return None, torch.stack([seen, torch.ones_like(seen)], 1), None

    x = torch.randn(20, 30, 16, generator=torch.Generator().manual_seed(0))
    shares = joint_saliency(LooksAtOneWrist(), x, np.arange(20) % 4)
    assert shares.shape == (16, 15)
    assert shares[9, 4] == pytest.approx(1)
