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


def test_the_hardest_probe_comes_first(who):
    first = who.nearest.iloc[0]
    assert first[["probe", "wrong", "right"]].tolist() == [11, 0, 5]
    assert first["wrong_distance"] == pytest.approx(0.6)
    assert first["margin"] == pytest.approx(0.6 - np.hypot(0.4, 1))
    assert who.failures == 1
    others = who.nearest[1:]
    assert set(others["margin"].round(6)) == {round(np.hypot(0.5, 1) - 0.5, 6)}
    assert (others["right"] == others["probe"] - 6).all()


def test_a_failure_is_laid_over_who_was_found_and_the_right_person(who):
    probe = who.gallery["probes"][0]
    assert probe["label"] == "Person 5, normal walk 1, camera at 90°: taken for person 000"
    assert [(p["title"], p.get("mark"), p.get("over", False)) for p in probe["panels"]] == [
        ("Probe", None, False), ("Nearest, distance 0.600", "wrong", True),
        ("Probe", None, False), ("Right person, distance 1.077", "right", True),
    ]  # fmt: skip
    recognized = who.gallery["probes"][1]
    assert recognized["label"].endswith(": recognized, but only just")
    assert [p.get("mark") for p in recognized["panels"]] == [None, "right", None, "wrong"]


def test_distances_of_codes_say_why(who):
    near, far = who.code_distances(7, 1), who.code_distances(7, 5)
    assert near == pytest.approx({"view": 0, "body": 0, "motion": 0}, abs=1e-5)  # the same walk
    assert far["view"] > 0.5
    assert far["body"] == pytest.approx(2, rel=1e-3)  # three of the six have its body, three another: the median lies between


def test_the_same_view_is_no_gallery(autoencoder, people):
    windows, table = people
    gallery = np.arange(6) % 3 != 1
    who = WhoIsIt(autoencoder, windows, table, np.eye(6), gallery, ~gallery)
    assert set(table["view"].to_numpy()[who.nearest[["right", "wrong"]]].ravel()) <= {"000", "090"}
    with pytest.raises(InputError, match="nobody can be found"):
        WhoIsIt(autoencoder, windows, table.assign(view="000"), np.eye(6), gallery, ~gallery)
    with pytest.raises(InputError, match="nobody can be found"):
        WhoIsIt(autoencoder, windows, table, np.eye(6), gallery, np.zeros(6, bool))


def test_the_page_has_each_walk_once(who, unpacked):
    page = json.loads(re.search(r'<script type="application/json">(.*?)</script>', who.to_html(), re.DOTALL)[1])["gallery"]
    used = {p["pose"] for probe in page["probes"] for p in probe["panels"]}
    assert used == set(range(len(unpacked(page["poses"])) // (64 * 30)))
    assert len(page["probes"]) == 6


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
