import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from gaitlib import InputError
from gaitlib.display import figures


def test_the_animation_is_a_small_svg_of_its_own(tmp_path, walker):
    file = figures.animation(tmp_path / "new" / "a.svg", {"a": walker(54), "b & <c>": walker(0), "d": walker(0)}, 25.0)
    text = file.read_text()
    root = ElementTree.fromstring(text)
    assert [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")] == ["a", "b & <c>", "d"]
    assert len(text) < 400_000
    assert not re.search(r"href|url\(|<script|@import", text)
    # it loops over one or two steps: the toy walks with a period of 26 frames
    assert 'dur="2.08s"' in text
    with pytest.raises(InputError, match="svg"):
        figures.animation(tmp_path / "a.gif", {"a": walker()}, 25.0)
    with pytest.raises(InputError, match="without missing joints"):
        figures.animation(tmp_path / "b.svg", {"a": walker(), "b": walker() * np.nan}, 25.0)
