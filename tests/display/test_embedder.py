"""What a page needs to embed a walk is small, plain, and refused for networks that embedder.js does not know."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from gaitlib import InputError
from gaitlib.display.embedder import embedder_weights, enrolled_people, layouts
from gaitlib.evaluation.identification import STRIDE, Descriptions, Identifier, Strangers
from gaitlib.model.checkpoint import load_model
from gaitlib.model.discriminants import Discriminants
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import LAYOUTS


@pytest.fixture(scope="module")
def drawn():
    """Descriptions of four people, as of a network with so many statistics."""

    def drawn(statistics: int) -> Descriptions:
        values = torch.from_numpy(np.random.default_rng(0).normal(size=(16, statistics))).half()
        index = pd.DataFrame({"subject": np.repeat(list("abcd"), 4), "view": ["090", "270"] * 8})
        return Descriptions(values, np.arange(16), index)

    return drawn


def test_the_weights_of_the_model_that_comes_along_are_small_and_leave_it_as_it_is(drawn):
    model, _ = load_model("pretrained")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = embedder_weights(model, Identifier(model.discriminants, drawn(len(model.discriminants.center))))
    assert len(json.dumps(weights, allow_nan=False)) < 4.5e6
    assert (weights["window"], weights["stride"]) == (64, STRIDE)
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_what_strangers_reach_is_in_the_page_where_it_is_known(drawn):
    discriminants = Discriminants(6, 3)
    discriminants.fit(torch.randn(40, 6), np.repeat(np.arange(8), 5))
    identifier = Identifier(discriminants, drawn(6))
    few, known = (enrolled_people(identifier, Strangers(10.0, 5.0, people), 0.01) for people in (4, 25))
    assert few["strangers"] == []
    scores, one_in = np.transpose(known["strangers"])
    assert (np.diff(scores) > 0).all()
    assert scores[one_in == 100] == pytest.approx(known["threshold"])
    assert known["names"] == list("abcd")


@pytest.mark.parametrize(
    "settings", [{"autoencoder": "paper", "discriminants": 1.0}, {"discriminants": 1.0}, {"body_discriminants": 2}]
)
def test_other_networks_are_refused(settings, drawn):
    model = GaitModel(people=5, window=16, encoder_width=4, recognizer_width=4, embedding=4, **settings)
    with pytest.raises(InputError, match=r"Pages describe walks by .*; choose .*\.$"):
        embedder_weights(model, None)


def test_every_layout_is_known_by_its_number_of_keypoints():
    known = json.loads(json.dumps(layouts()))["keypoints"]
    assert set(known) == {str(layout.size) for layout in LAYOUTS.values()}
    assert known["25"] == [list(sources) for sources in LAYOUTS["BODY_25"].sources]
