import base64
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from gaitlib.display import figures
from gaitlib.display.figures import drawing


def test_letters_are_looked_for_in_other_fonts_that_are_installed(monkeypatch, recwarn):
    """U+20DD is in STIXGeneral, which matplotlib brings, and not in DejaVu Sans."""

    def missing(*fonts):
        monkeypatch.setattr(drawing, "OTHER_FONTS", fonts)
        drawing.style.cache_clear()
        figures.embedded(figures.cmc({"a\u20dd": [1.0]}))
        return [w for w in (str(recwarn.pop().message) for _ in range(len(recwarn))) if "missing from" in w or "not found" in w]

    try:
        assert missing("No Such Font", "STIXGeneral") == []
        assert missing("No Such Font")
    finally:
        drawing.style.cache_clear()


def test_show_embeds_the_picture_with_its_text_and_saves_the_same_bytes_twice(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    for folder in ("one", "two"):
        fig = figures.walk_lengths(pd.Series([70, 80]), 64)
        fig.alt = 'a "quoted" <text>'
        figures.show(fig, tmp_path / folder, "lengths")
    assert 'alt="a &quot;quoted&quot; &lt;text&gt;"' in shown[0].data
    svg = base64.b64decode(re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', shown[0].data)[1]).decode()
    drawn = svg.partition("</style>")[2]
    assert not [color for color in drawing.DARK if color in drawn]  # all of them are dark on dark pages
    assert f"prefers-color-scheme:dark){{:root{{--fefefe:{drawing.DARK[drawing.PAPER]};" in svg
    ElementTree.fromstring(svg)
    figures.show("No walk is <missing>.", tmp_path / "three")
    assert shown[-1].data == "<p>No walk is &lt;missing&gt;.</p>"
    assert not (tmp_path / "three").exists()
    for kind in ("png", "svg"):
        one, two = ((tmp_path / f / f"lengths.{kind}").read_bytes() for f in ("one", "two"))
        assert one == two


@pytest.mark.parametrize("share", np.linspace(0, 1, 11))
def test_numbers_stand_out_from_their_cells(share):
    """WCAG 2.2 asks for a contrast of 4.5."""

    def luminance(color):
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    cell = drawing.DARK_IS_GOOD(share)
    dark, light = sorted((luminance(cell), luminance(drawing.readable(cell))))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_a_picture_file_is_embedded_as_what_it_is(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    for name, kind in (("sheet.jpg", "image/jpeg"), ("walk.svg", "image/svg+xml")):
        (tmp_path / name).write_bytes(b"picture")
        figures.show_picture(tmp_path / name, "<walk>")
        assert f'src="data:{kind};base64,cGljdHVyZQ=="' in shown[-1].data
        assert 'alt="&lt;walk&gt;"' in shown[-1].data


def test_text_from_outside_is_no_mathematics_and_is_in_the_legend():
    """Matplotlib reads $x$ as mathematics, and leaves labels that begin with _ out of a legend."""
    bars = pd.DataFrame([["$c_1$", "_$a$", 0.5, 0.4, 0.6]], columns=["condition", "arm", "rank1", "low", "high"])
    for fig, label in ((figures.cmc({"_$a$": [0.5]}), "_$a$, rank-1 50.0 %"), (figures.rank1_bars(bars), "_$a$")):
        assert [text.get_text() for text in fig.axes[0].get_legend().get_texts()] == [label]
        assert not any(text.get_parse_math() for text in fig.findobj(Text) if "$" in text.get_text())
    assert [label.get_text() for label in fig.axes[0].get_xticklabels()] == ["$c_1$"]


def test_only_numbers_have_degrees():
    assert drawing.unit_of(["000", "-18", "22.5"]) == " (degrees)"
    assert drawing.unit_of(["000", "nan"]) == drawing.unit_of(["000", "front"]) == ""
