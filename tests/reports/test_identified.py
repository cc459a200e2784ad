"""What is said of an answer: each limit where it holds, and nowhere else."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from gaitlib.reports.identified import limits

MANY = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("person", "view", "frames", "said"),
    [
        (MANY, "090", 128, []),
        (MANY[:-2], "090", 128, ["Fewer than 5 people"]),
        (MANY[:-1], "090", 128, ["1 of the 5 people are enrolled with one walk"]),
        (MANY, "054", 128, ["Nobody is enrolled from view 054"]),
        (MANY, "090", 127, ["The walk has 127 frames, and the network looks at 64 at a time"]),
        ([0], "000", 30, ["Fewer than 5", "1 of the 1 people", "view 000", "30 frames"]),
    ],
)
def test_what_would_make_an_answer_more_certain(person, view, frames, said):
    identifier = SimpleNamespace(person=np.array(person), views=pd.DataFrame(index=["090", "180"]))
    walks = SimpleNamespace(index=pd.DataFrame({"view": ["090", view]}), length=np.array([999, frames]))
    found = limits(SimpleNamespace(identifier=identifier), walks, 1, 64)
    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))
