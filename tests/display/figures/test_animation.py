import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from gaitlib import InputError
from gaitlib.display import figures


def test_the_animation_is_a_small_svg_of_its_own(tmp_path, walker):
    file = figures.exchange_animation(tmp_path / "a.svg", walker(54), walker(0), walker(0), 25.0, labels=("a", "b & <c>", "d"))
    text = file.read_text()
    root = ElementTree.fromstring(text)
    assert [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")] == ["a", "b & <c>", "d"]
    assert len(text) < 400_000
    assert not re.search(r"href|url\(|<script|@import", text)
    # it loops over one or two steps: the toy walks with a period of 26 frames
    assert 'dur="2.08s"' in text
    with pytest.raises(InputError, match="svg"):
        figures.exchange_animation(tmp_path / "a.gif", walker(), walker(), walker(), 25.0, "abc")
    with pytest.raises(InputError, match="without missing joints"):
        figures.exchange_animation(tmp_path / "b.svg", walker(), walker() * np.nan, walker(), 25.0, "abc")
