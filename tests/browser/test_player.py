from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageSequence

from gaitlib.display import player
from gaitlib.display.player import panel, player_html

INK = "(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v).length"


def image(page, i):
    return page.locator("canvas").nth(i).evaluate("c => c.toDataURL()")


def frame(page):
    return int(page.get_by_role("slider", name="Frame").input_value())


def settled(page):
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture(scope="module")
def walk_html(shapes):
    return player_html(panel("walk", shapes.walker()))


OPEN = """async (source) => {
  const file = new Blob([source + "\\nexport { makePicker };"], { type: "text/javascript" });
  const { makePicker } = await import(URL.createObjectURL(file));
  const options = Array.from({ length: 10000 }, (_, i) => `${i} · ${i % 11 * 18}`);
  const { node, input } = makePicker({ label: "Many", options, value: 5000, onPick() {} });
  document.body.prepend(node);
  const start = performance.now();
  input.focus();
  document.body.getBoundingClientRect();
  const rows = node.querySelectorAll("li").length, opened = performance.now();
  input.value = "1212 36";
  input.dispatchEvent(new Event("input"));
  document.body.getBoundingClientRect();
  return { rows, open: opened - start, filter: performance.now() - opened, first: node.querySelector("li").textContent };
}"""


def test_the_picture_and_the_walk_are_saved(offline, shapes, save_as):
    page = offline(player_html(panel("a", shapes.walker(frames=12)), panel("b", shapes.walker(54, frames=12)), playing=False))

    with Image.open(save_as(page, "PNG")) as png:
        assert png.size == (1040, 660)
        before = png.convert("RGB").resize((520, 330))
    with Image.open(save_as(page, "GIF")) as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"], gif.info["loop"]) == (12, (520, 330), 40, 0)
        frames = [np.asarray(frame.convert("RGB"), float) for frame in ImageSequence.Iterator(gif)]
    assert np.abs(frames[0] - np.asarray(before)).mean() < 3
    assert all((a != b).any() for a, b in pairwise(frames))
    svg = ElementTree.parse(save_as(page, "SVG")).getroot()
    assert len(svg.findall(".//{*}path")) > 20
    assert [text.text for text in svg.findall(".//{*}text")] == ["a", "b"]
    video = save_as(page, "video").read_bytes()
    assert video[4:8] == b"ftyp" or video[:4] == bytes.fromhex("1a45dfa3")  # MP4, or WebM


def test_onion_skin_and_trails_are_drawn(offline, shapes):
    page = offline(player_html(panel("a", shapes.walker()), playing=False, frame=30))
    drawn = [image(page, 0)]
    for name in ("Onion skin", "Trails", "Onion skin"):
        page.get_by_role("button", name=name).click()
        drawn.append(image(page, 0))
    assert len(set(drawn)) == 4
    page.get_by_role("button", name="Trails").click()
    assert image(page, 0) == drawn[0]


def test_ten_thousand_walks_open_and_filter_quickly(offline, walk_html):
    page = offline(walk_html)
    spent = page.evaluate(OPEN, player.MODULE)
    print(f"10,000 walks: open in {spent['open']:.0f} ms, filter in {spent['filter']:.0f} ms")
    assert spent["rows"] == 61  # those in sight, and how many more there are
    assert spent["first"] == "1212 · 36"


def test_the_keyboard_plays_and_steps(offline, walk_html):
    page = offline(walk_html)
    page.locator(".gait-player").focus()
    page.keyboard.press("Space")
    assert page.get_by_role("button", name="Play").count() == 1
    page.keyboard.press("Home")
    assert frame(page) == 0
    first = image(page, 0)
    page.keyboard.press("ArrowRight")
    assert frame(page) == 1
    assert image(page, 0) != first
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert frame(page) == 63  # the walk loops
    page.keyboard.press("End")
    assert frame(page) == 63
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('input.frame').value == 5")
    # on the button itself space toggles once, not twice
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Space")
    assert page.get_by_role("button", name="Play").count() == 1


def test_without_loop_it_stops_at_the_end(offline, shapes):
    page = offline(player_html(panel("walk", shapes.walker(frames=20), fps=100), loop=False))
    page.get_by_role("button", name="Play").wait_for()
    assert frame(page) == 19


def test_reduced_motion_does_not_start_by_itself(offline, walk_html):
    page = offline(walk_html, reduced_motion="reduce")
    page.wait_for_timeout(300)
    assert frame(page) == 0
    assert page.locator("canvas").nth(0).evaluate(INK) > 1000


def test_missing_joints_leave_a_gap_and_a_mark(offline, shapes):
    whole, holes = shapes.walker(), shapes.walker()
    holes[10:40, 4] = np.nan
    page = offline(player_html(panel("whole", whole), panel("holes", holes, color=0), playing=False, frame=20))
    assert "missing" in page.locator(".legend").text_content()
    assert image(page, 0) != image(page, 1)
    page.locator(".gait-player").focus()
    page.keyboard.press("Home")
    assert image(page, 0) == image(page, 1)


def test_several_players_and_hostile_titles_on_one_page(offline, shapes):
    title = "</script><script>document.title='broken'</script>"
    one = player_html(panel(title, shapes.walker()), playing=False)
    two = player_html(panel("two", shapes.walker(0)), panel("three", shapes.walker(54)), arrangement="overlay")
    page = offline(one + two + one)
    assert page.locator(".gait-player").count() == 3
    assert page.locator(".panels canvas").count() == 3
    assert page.title() == "page"
    assert page.locator(".title").first.text_content() == title


def test_it_is_sharp_and_fits_a_narrow_screen(offline, walk_html):
    page = offline(walk_html, viewport={"width": 400, "height": 900}, device_scale_factor=3)
    assert page.locator("canvas").nth(0).evaluate("c => c.width / c.clientWidth") == pytest.approx(3, rel=0.01)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("theme", ["true", "false"])
def test_it_follows_the_theme_of_jupyterlab(offline, walk_html, theme):
    page = offline(walk_html, color_scheme="dark" if theme == "true" else "light")
    page.evaluate("light => document.body.setAttribute('data-jp-theme-light', light)", theme)
    color = page.locator(".card").first.evaluate("c => getComputedStyle(c).backgroundColor")
    assert color == ("rgb(255, 255, 255)" if theme == "true" else "rgb(26, 30, 35)")
