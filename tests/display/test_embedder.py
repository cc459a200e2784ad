"""What a page needs to embed a walk is small, plain, and refused for networks that embedder.js does not know."""

import json

import pytest

from gaitlib import InputError
from gaitlib.display.embedder import embedder_weights, layouts
from gaitlib.model.checkpoint import load_model
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import LAYOUTS


def test_the_weights_of_the_model_that_comes_along_are_small_and_leave_it_as_it_is():
    model, _ = load_model("pretrained")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = embedder_weights(model, stride=16, mirrored=False)
    assert len(json.dumps(weights, allow_nan=False)) < 4.5e6
    assert (weights["window"], weights["stride"], weights["mirrored"], weights["size"]) == (64, 16, False, 320)
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "settings",
    [
        {"autoencoder": "paper", "discriminants": 1.0},
        {"recognizer": "paper", "discriminants": 1.0, "body_discriminants": 2},
        {"recognizer": "none", "discriminants": 1.0, "body_discriminants": 2},
        {"features": ["body"], "discriminants": 1.0, "body_discriminants": 2},
        {"discriminants": 1.0},
        {"body_discriminants": 2},
    ],
)
def test_other_networks_are_refused(settings):
    with pytest.raises(InputError, match=r"Pages embed walks by .*; choose .*\.$"):
        embedder_weights(GaitModel(people=5, window=16, encoder_width=4, recognizer_width=4, embedding=4, **settings))


def test_every_layout_is_known_by_its_number_of_keypoints():
    known = json.loads(json.dumps(layouts()))["keypoints"]
    assert set(known) == {str(layout.size) for layout in LAYOUTS.values()}
    assert known["25"] == [list(sources) for sources in LAYOUTS["BODY_25"].sources]
