from functools import partial
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from gaitlib.display import ExchangeExplorer, player
from gaitlib.display.player import panel, player_html
from gaitlib.model.autoencoder import PaperAutoencoder
from gaitlib.model.geometric import GeometricAutoencoder

INK = "(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v).length"


@pytest.fixture(scope="module")
def explorer_html(shapes):
    windows, table = shapes.people()
    return ExchangeExplorer(shapes.LinearAutoencoder(), windows, table, truth="recording").to_html()


def image(page, i):
    return page.locator("canvas").nth(i).evaluate("c => c.toDataURL()")


def frame(page):
    return int(page.get_by_role("slider", name="Frame").input_value())


def settled(page):
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def pause(page):
    page.get_by_role("button", name="Pause").click()


def test_the_static_explorer_draws_and_answers(offline, explorer_html):
    page = offline(explorer_html)
    assert page.locator(".panels canvas").count() == 4
    page.wait_for_function("document.querySelector('input.frame').value > 2")  # it plays by itself
    pause(page)
    for i in range(4):
        assert page.locator("canvas").nth(i).evaluate(INK) > 1000

    for name in ("body", "motion", "view"):
        before = image(page, 3)
        page.get_by_role("button", name=name, exact=True).click()
        settled(page)
        assert image(page, 3) != before, name
    assert page.locator(".chip.b").all_text_contents() == ["body B", "motion B"]

    before = [image(page, i) for i in range(4)]
    walk_a = page.get_by_role("combobox", name="Walk A")
    walk_a.fill("0° 002")
    assert page.get_by_role("listbox").get_by_role("option").all_text_contents() == ["002 · nm-01 · 0°", "002 · nm-01 · 90°"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    settled(page)
    after = [image(page, i) for i in range(4)]
    assert [a != b for a, b in zip(before, after, strict=True)] == [True, False, True, True]

    walk_a.fill("nobody")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert walk_a.input_value() == "002 · nm-01 · 0°"
    page.get_by_role("button", name="Swap A and B").click()
    assert page.get_by_role("combobox", name="Walk B").input_value() == "002 · nm-01 · 0°"
    page.get_by_role("button", name="Surprise me").click()
    assert page.locator(".chip").first.text_content() != ""


def test_shares_blend_and_the_state_is_copied_as_code(offline, explorer_html):
    page = offline(explorer_html)
    pause(page)
    slider, bars = page.get_by_role("slider", name="Share of the motion code from B"), "Channels that changed"
    before, drawn = image(page, 3), image(page, 4)
    slider.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    settled(page)
    assert image(page, 3) != before
    assert image(page, 4) != drawn
    assert page.locator(".chip").all_text_contents() == ["view B", "body A", "motion 99 % B"]
    assert frame(page) < 64  # the arrows moved the share, not the frame
    assert "body 0 of 128" in page.get_by_role("img", name=bars).get_attribute("aria-label")
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Copy the state as code").click()
    code = page.get_by_label("The state as code").input_value()
    assert code == 'explorer.show("001 · nm-01 · 0°", "001 · nm-01 · 54°", view=1, body=0, motion=0.99)'


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
READ = """async ([source, choices]) => {
  const state = JSON.parse(document.querySelector('script[type="application/json"]').textContent);
  const file = new Blob([source + "\\nexport { readExchange };"], { type: "text/javascript" });
  const { readExchange } = await import(URL.createObjectURL(file));
  const exchange = readExchange(state.exchange);
  return choices.map((choice) => {
    const start = performance.now(), found = exchange.panels(choice)[3];
    return { xy: [...found.main.xy], moved: Object.values(found.changes).map((c) => [...c]), time: performance.now() - start };
  });
}"""


@pytest.mark.parametrize("make", [PaperAutoencoder, partial(PaperAutoencoder, layout="scrambled"), GeometricAutoencoder])
def test_the_decoder_of_the_page_gives_what_torch_gives(offline, shapes, make):
    torch.manual_seed(0)
    windows, table = shapes.people()
    explorer = ExchangeExplorer(make(), windows, table)
    shares = [(0, 0, 0, 0), (1, 0, 0, 0), (0.3, 0.8, 0.5, 0), (1, 1, 1, 0)]
    if make is GeometricAutoencoder:
        shares += [(1, 0, 0, 40), (0.3, 0, 0, -170)]
    choices = [dict(zip(("a", "b", "view", "body", "motion", "turn"), (0, 4, *share), strict=True)) for share in shares]
    results = offline(explorer.to_html()).evaluate(READ, [player._MODULE, choices])
    times = ", ".join(str(round(result["time"])) for result in results)
    print(f"decoded in the page in {times} ms")
    for share, result in zip(shares, results, strict=True):
        expected = explorer.exchange(0, 4, *share)
        assert np.abs(np.array(result["xy"]).reshape(expected.shape) - expected).max() < 1e-3
        for moved, change in zip(result["moved"], explorer.changes(0, 4, *share[:3]).values(), strict=True):
            np.testing.assert_allclose(moved, change, atol=0.05)


def test_the_picture_and_the_walk_are_saved(offline, shapes, tmp_path):
    page = offline(player_html(panel("a", shapes.walker(frames=12)), panel("b", shapes.walker(54, frames=12)), playing=False))

    def saved(item):
        page.locator(".menu summary").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=item).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    with Image.open(saved("PNG")) as png:
        assert png.size == (1040, 660)
        before = png.convert("RGB").resize((520, 330))
    with Image.open(saved("GIF")) as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"], gif.info["loop"]) == (12, (520, 330), 40, 0)
        frames = [np.asarray(frame.convert("RGB"), float) for frame in ImageSequence.Iterator(gif)]
    assert np.abs(frames[0] - np.asarray(before)).mean() < 3
    assert all((a != b).any() for a, b in pairwise(frames))
    svg = ElementTree.parse(saved("SVG")).getroot()
    assert len(svg.findall(".//{*}path")) > 20
    assert [text.text for text in svg.findall(".//{*}text")] == ["a", None, "b", None]
    video = saved("video").read_bytes()
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


def test_ten_thousand_walks_open_and_filter_quickly(offline, explorer_html):
    page = offline(explorer_html)
    spent = page.evaluate(OPEN, player._MODULE)
    print(f"10,000 walks: open in {spent['open']:.0f} ms, filter in {spent['filter']:.0f} ms")
    assert spent["rows"] == 61  # those in sight, and how many more there are
    assert spent["first"] == "1212 · 36"


def test_truth_is_shown_between_synchronous_views(offline, explorer_html):
    page = offline(explorer_html)
    pause(page)
    assert "from the truth" in page.locator("figcaption").nth(3).text_content()
    assert "truth" in page.locator(".legend").text_content()
    assert "worst joint" in page.get_by_role("img", name="Distance from the truth").get_attribute("aria-label")
    page.get_by_role("button", name="body", exact=True).click()
    settled(page)
    assert page.get_by_role("img", name="Distance from the truth").count() == 0
    assert "from the truth" not in page.locator("figcaption").nth(3).text_content()


def test_the_keyboard_plays_and_steps(offline, explorer_html):
    page = offline(explorer_html)
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


def test_reduced_motion_does_not_start_by_itself(offline, explorer_html):
    page = offline(explorer_html, reduced_motion="reduce")
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


def test_it_is_sharp_and_fits_a_narrow_screen(offline, explorer_html):
    page = offline(explorer_html, viewport={"width": 400, "height": 900}, device_scale_factor=3)
    assert page.locator("canvas").nth(0).evaluate("c => c.width / c.clientWidth") == pytest.approx(3, rel=0.01)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("theme", ["true", "false"])
def test_it_follows_the_theme_of_jupyterlab(offline, explorer_html, theme):
    page = offline(explorer_html, color_scheme="dark" if theme == "true" else "light")
    page.evaluate("light => document.body.setAttribute('data-jp-theme-light', light)", theme)
    color = page.locator(".card").first.evaluate("c => getComputedStyle(c).backgroundColor")
    assert color == ("rgb(255, 255, 255)" if theme == "true" else "rgb(26, 30, 35)")
