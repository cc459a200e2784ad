"""The exchange explorer and "who is it?" of a page, against Python, and as people use them."""

import json
from functools import partial
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from gaitlib.display import ExchangeExplorer, WhoIsIt, player
from gaitlib.evaluation.gait import gait_parameters
from gaitlib.model.autoencoder import PaperAutoencoder
from gaitlib.model.geometric import GeometricAutoencoder

VIEWS = ("000", "036", "090", "180")
READ = """async ([source, states]) => {
  const content = JSON.parse(document.querySelector('script[type="application/json"]').textContent).exchange;
  const file = new Blob([source + "\\nexport { readExchange };"], { type: "text/javascript" });
  const { readExchange } = await import(URL.createObjectURL(file));
  const exchange = readExchange(content);
  return states.map((state) => {
    const { main, changes, gait, loop } = exchange.exchangePanel(state, "", "");
    const recorded = exchange.recorded(state) ?? null;
    return { xy: [...main.xy], moved: Object.values(changes).map((c) => [...c]), gait, loop, recorded };
  });
}"""
#: Keeps in window.spent how many milliseconds the page took to draw each picture.
WATCH_FRAMES = """() => {
  const ask = window.requestAnimationFrame.bind(window);
  window.spent = [];
  window.requestAnimationFrame = (draw) => ask((now) => {
    const start = performance.now();
    draw(now);
    window.spent.push(performance.now() - start);
  });
}"""


def walks(shapes):
    """Three people in four views and two conditions: windows [24, 64, 15, 2] and their table."""
    rows, windows = [], []
    people = {"041": {}, "042": {"stride": 0.32, "arms": 0.2, "width": 0.46, "phase": 1.1}, "043": {"stride": 0.42, "phase": 2.0}}
    for subject, shape in people.items():
        for condition in ("nm", "bg"):
            for view in VIEWS:
                windows.append(shapes.walker(float(view), **{**shape, **({"arms": 0.1} if condition == "bg" else {})}))
                rows.append([subject, condition, 1, view, f"{subject}-{condition}-01"])
    return np.stack(windows), pd.DataFrame(rows, columns=["subject", "condition", "run", "view", "recording"])


@pytest.fixture(scope="module")
def geometric():
    torch.manual_seed(0)
    return GeometricAutoencoder()


@pytest.fixture(scope="module")
def camera_html(shapes, geometric):
    return ExchangeExplorer(geometric, *walks(shapes), truth="recording").to_html()


@pytest.fixture(scope="module")
def exact_html(shapes):
    """With an autoencoder that gives every walk back as it is, and whose view code is no camera."""
    return ExchangeExplorer(shapes.LinearAutoencoder(), *walks(shapes), truth="recording").to_html()


def image(page, i):
    return page.locator(".panels canvas").nth(i).evaluate("c => c.toDataURL()")


def settled(page):
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done))))")


def opened(offline, html, **options):
    """A page whose walks stand still."""
    return offline(html, reduced_motion="reduce", **options)


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()
    settled(page)


def answer(page):
    return page.locator(".result .answer").text_content()


def test_the_camera_comes_first_and_moves_around_the_walker(offline, camera_html):
    page = opened(offline, camera_html)
    dial = page.get_by_role("slider", name="Camera", exact=True)
    assert dial.get_attribute("aria-valuenow") == "90"
    assert page.locator(".panels .title").all_text_contents() == ["Recorded", "Decoded"]
    assert "% off the recording" in answer(page)
    before = image(page, 1)
    dial.focus()
    page.keyboard.press("ArrowRight")
    settled(page)
    assert dial.get_attribute("aria-valuetext") == "camera at 91 degrees"
    assert answer(page) == "No recording of this"
    assert image(page, 1) != before
    box = dial.bounding_box()
    middle, radius = box["x"] + box["width"] / 2, box["height"] * 58 / 152
    page.mouse.click(middle + 2, box["y"] + box["height"] / 2 - radius)  # almost behind the walker: a camera stood there
    settled(page)
    assert dial.get_attribute("aria-valuenow") == "180"
    assert "% off the recording" in answer(page)
    press(page, "Reset")
    assert image(page, 1) == before


def test_an_exchange_takes_codes_of_the_other_walk(offline, exact_html):
    page = opened(offline, exact_html)
    assert page.get_by_role("button", name="Camera", exact=True).count() == 0  # its view code is no camera
    assert page.locator(".panels canvas").count() == 3
    for name in ("body", "motion", "view"):
        before = image(page, 2)
        press(page, name)
        assert image(page, 2) != before, name
    assert page.locator(".chip.b").all_text_contents() == ["body B", "motion B"]

    before = [image(page, i) for i in range(3)]
    walk_a = page.get_by_role("combobox", name="Walk A")
    walk_a.fill("042 bg 0")
    options = page.get_by_role("listbox").get_by_role("option").all_text_contents()
    assert options == [f"Person 42, walk with a bag 1, camera at {int(view)}°" for view in VIEWS]
    walk_a.fill("090 042 bg")
    page.keyboard.press("Enter")
    settled(page)
    assert walk_a.input_value() == "Person 42, walk with a bag 1, camera at 90°"
    assert [a != b for a, b in zip(before, [image(page, i) for i in range(3)], strict=True)] == [True, False, True]

    walk_a.fill("nobody")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert walk_a.input_value() == "Person 42, walk with a bag 1, camera at 90°"
    press(page, "Swap A and B")
    assert page.get_by_role("combobox", name="Walk B").input_value() == "Person 42, walk with a bag 1, camera at 90°"
    views = set()
    for _ in range(4):
        press(page, "Surprise me")
        names = [page.get_by_role("combobox", name=f"Walk {name}").input_value() for name in "AB"]
        views.add(names[0].split(", ")[2] == names[1].split(", ")[2])
    assert views == {False}  # two different views


def test_how_good_an_exchange_is_stands_with_it(offline, exact_html):
    """The toy gives walks back as they are, so what is taken whole from a walk is off by nothing."""
    page = opened(offline, exact_html)
    press(page, "view")
    assert answer(page) == "0.0 % off the recording"  # nothing from B: A itself
    press(page, "body")
    assert answer(page) == "No recording of this"  # the motion of one person on the body of another
    for name in ("motion", "view"):
        press(page, name)
    assert answer(page) == "0.0 % off the recording"  # all from B: B itself
    page.get_by_role("combobox", name="Walk B").fill("041 nm 180")
    page.keyboard.press("Enter")
    for name in ("body", "motion"):
        press(page, name)
    assert float(answer(page).split()[0]) > 1  # the same performance in the other view
    assert "worst joint" in page.get_by_role("img", name="Distance from the recording").get_attribute("aria-label")


def test_shares_blend_and_the_state_is_copied_as_code(offline, exact_html):
    page = opened(offline, exact_html)
    slider, bars = page.get_by_role("slider", name="Share of the motion code from B"), page.locator(".detail canvas").first
    before, drawn = image(page, 2), bars.evaluate("c => c.toDataURL()")
    slider.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    settled(page)
    assert image(page, 2) != before
    assert bars.evaluate("c => c.toDataURL()") != drawn
    assert page.locator(".chip").all_text_contents() == ["view B", "body A", "motion 99 % B"]
    assert page.get_by_role("slider", name="Frame").input_value() == "0"  # the arrows moved the share, not the frame
    assert "0 of 128 body channels" in page.get_by_role("img", name="Channels that changed").get_attribute("aria-label")
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Copy this as code").click()
    code = page.get_by_label("this as code for the notebook").input_value()
    assert code == 'explorer.show("041-nm-01-036", "042-nm-01-000", view=1, body=0, motion=0.99)'


def test_the_address_shows_the_same_to_others(offline, camera_html):
    page = opened(offline, camera_html)
    press(page, "Exchange")
    press(page, "body")
    page.get_by_role("combobox", name="Walk B").fill("043 bg 180")
    page.keyboard.press("Enter")
    page.get_by_role("slider", name="Frame").focus()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    page.locator(".menu summary").click()
    page.get_by_role("button", name="Copy a link").click()
    link = page.get_by_label("a link to this").input_value()
    page.wait_for_function("location.hash.includes('b=043-bg-01-180')")
    shown = [image(page, i) for i in range(3)]
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector(".panels canvas")
    settled(page)
    assert page.get_by_role("combobox", name="Walk B").input_value() == "Person 43, walk with a bag 1, camera at 180°"
    assert page.get_by_role("slider", name="Frame").input_value() == "7"
    assert [image(page, i) for i in range(3)] == shown
    # another link on the same page, with much that is not so
    page.evaluate("location.hash = '#explorer?mode=grid&a=nobody&b=041-nm-01-000&body=7&turn=x&columns=motion&made=up'")
    page.wait_for_function("document.querySelectorAll('.panels canvas').length === 9")
    assert page.get_by_role("combobox", name="Walk A").input_value() == "Person 41, normal walk 1, camera at 36°"
    assert page.get_by_role("combobox", name="Walk B").input_value() == "Person 41, normal walk 1, camera at 0°"
    assert page.get_by_role("button", name="motions").get_attribute("aria-pressed") == "true"


def test_a_grid_of_nine_walks_in_step(offline, camera_html):
    page = offline(camera_html)
    page.evaluate(WATCH_FRAMES)
    press(page, "Grid")
    canvases = page.locator(".panels canvas")
    canvases.nth(8).wait_for()
    assert page.locator(".panels .title").all_text_contents() == [f"Body of person {k}" for k in (41, 42, 43) for _ in range(3)]
    columns = page.locator(".panels .subtitle").all_text_contents()
    assert [text.split(":")[0] for text in columns] == ["camera at 0°", "camera at 90°", "camera at 180°"] * 3
    assert all(("off the recording" in text) == (k < 3) for k, text in enumerate(columns))
    page.evaluate("window.spent = []")
    page.wait_for_timeout(700)
    spent = page.evaluate("window.spent")
    print(f"a frame of the grid: median {np.median(spent):.1f} ms of {len(spent)}")
    assert np.median(spent) < 17
    press(page, "Pause")
    before = [image(page, i) for i in range(9)]
    assert len(set(before)) == 9
    page.keyboard.press("ArrowRight")
    assert all(image(page, i) != was for i, was in enumerate(before))
    press(page, "motions")
    assert page.locator(".panels .subtitle").nth(1).text_content() == "motion of person 42"
    canvases.nth(5).click()
    settled(page)
    assert canvases.count() == 1
    assert page.locator(".panels .title").text_content() == "Body of person 42"
    assert page.locator(".panels .subtitle").text_content() == "motion of person 43"
    page.locator(".panels .card").focus()
    page.keyboard.press("Enter")
    settled(page)
    assert canvases.count() == 9


def test_a_step_of_the_dial_is_quick(offline, camera_html):
    page = opened(offline, camera_html)
    spent = page.evaluate("""async () => {
      const dial = document.querySelector(".dial"), spent = [];
      for (let k = 0; k < 15; k++) {
        const start = performance.now();
        dial.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
        await new Promise((done) => requestAnimationFrame(done)); // asked for after the one that draws
        spent.push(performance.now() - start);
      }
      return spent;
    }""")
    print(f"a step of the dial: median {np.median(spent):.1f} ms")
    assert min(spent) < 50


def test_a_map_of_the_codes_plays_and_takes_walks(offline, camera_html):
    page = opened(offline, camera_html)
    press(page, "Code map")
    dots = page.locator(".map").nth(1).locator("circle")
    assert dots.count() == 24
    assert page.locator(".panels canvas").count() == 2
    dots.nth(13).dispatch_event("pointerenter")
    settled(page)
    assert page.locator(".panels .subtitle").nth(2).text_content() == "Person 42, walk with a bag 1, camera at 36°"
    for name, k in (("A", 13), ("B", 20)):
        page.get_by_role("button", name=name, exact=True).click()
        dots.nth(k).dispatch_event("click")
    settled(page)
    assert page.locator(".panels .subtitle").all_text_contents()[:2] == [
        "Person 42, walk with a bag 1, camera at 36°", "Person 43, walk with a bag 1, camera at 0°",
    ]  # fmt: skip
    before = dots.nth(0).evaluate("dot => getComputedStyle(dot).fill"), dots.nth(3).evaluate("dot => getComputedStyle(dot).fill")
    assert before[0] == before[1]  # one person
    press(page, "camera")
    assert dots.nth(0).evaluate("dot => getComputedStyle(dot).fill") != dots.nth(3).evaluate("dot => getComputedStyle(dot).fill")


def test_on_a_phone_the_result_stays_in_sight(offline, camera_html):
    page = opened(offline, camera_html, viewport={"width": 390, "height": 760}, device_scale_factor=2)
    press(page, "Exchange")
    slider = page.get_by_role("slider", name="Share of the motion code from B")
    slider.scroll_into_view_if_needed()
    page.mouse.wheel(0, 60)
    page.wait_for_timeout(100)
    result, thumb = page.locator(".result canvas").bounding_box(), slider.bounding_box()
    assert result["y"] >= 0
    assert result["y"] + result["height"] <= thumb["y"]
    assert thumb["y"] + thumb["height"] <= 760
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def ink(picture):
    """Where a walker is drawn on a card: bool [60, 30] of its bounding box."""
    pixels = np.asarray(picture.convert("RGB"), int)
    colored = np.abs(pixels[..., 1] - pixels[..., 0]) > 60
    rows, columns = np.flatnonzero(colored.any(1)), np.flatnonzero(colored.any(0))
    box = picture.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)).convert("RGB").resize((30, 60))
    small = np.asarray(box, int)
    return np.abs(small[..., 1] - small[..., 0]) > 60


def test_a_saved_picture_is_what_is_shown(offline, exact_html, save_as, tmp_path):
    page = opened(offline, exact_html)
    press(page, "body")

    path = save_as(page, "PNG")
    assert path.name == "exchange-041-nm-01-036-042-nm-01-000.png"
    with Image.open(path) as png:
        pixels = np.asarray(png.convert("L"), int)
        cards = [png.crop((k * 520, png.height - 600, (k + 1) * 520, png.height)).convert("RGB") for k in range(3)]
    assert pixels[:, -6:].min() > 250  # nothing is cut off at the right, nor between two cards
    assert pixels[:, 514:526].min() > 250
    for k, card in enumerate(cards):
        page.locator(".panels canvas").nth(k).screenshot(path=tmp_path / "shown.png")
        with Image.open(tmp_path / "shown.png") as shown:
            a, b = ink(shown), ink(card)
        assert (a & b).sum() / (a | b).sum() > 0.6
    words = " ".join(text.text for text in ElementTree.parse(save_as(page, "SVG")).getroot().findall(".//{*}text"))
    for text in (
        *page.locator(".panels .title").all_text_contents(),
        *page.locator(".panels .subtitle").all_text_contents(),
        answer(page),
    ):
        assert text in words
    assert "view B, body B, motion A" in words


def test_axe_finds_nothing_serious_in_any_mode(offline, camera_html):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = opened(offline, camera_html)
    rules = {"rules": {name: {"enabled": False} for name in ("region", "page-has-heading-one", "landmark-one-main")}}
    colors = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
    for scheme, asked in (("light", rules), ("dark", colors)):  # the colors are all that differs
        page.emulate_media(color_scheme=scheme)
        page.evaluate("scheme => (document.body.style.background = scheme === 'dark' ? '#14171b' : '#fff')", scheme)
        for mode in ("Camera", "Exchange", "Grid", "Code map"):
            press(page, mode)
            found = axe.run(page, options={"resultTypes": ["violations"], **asked}).response["violations"]
            serious = [
                (v["id"], [node["target"] for node in v["nodes"]]) for v in found if v["impact"] in ("serious", "critical")
            ]
            assert (scheme, mode, serious) == (scheme, mode, [])


def changes(explorer, a, b, shares):
    """How far each channel of view, body and motion moves, in standard deviations; of motion the mean over time."""
    for name, share in zip(("view", "body", "motion"), shares, strict=False):
        change = (explorer._codes(b)[name] - explorer._codes(a)[name]).numpy()
        yield share * (np.abs(change).mean(1) if name == "motion" else change) / explorer.exchange["spread"][name]


@pytest.mark.parametrize("make", [PaperAutoencoder, partial(PaperAutoencoder, layout="scrambled"), GeometricAutoencoder])
def test_the_page_decodes_as_torch_does(offline, shapes, make):
    torch.manual_seed(0)
    explorer = ExchangeExplorer(make(), *shapes.people(), truth="recording")
    shares = [(0, 0, 0, 0), (1, 0, 0, 0), (0.3, 0.8, 0.5, 0), (1, 1, 1, 0)]
    if make is GeometricAutoencoder:
        shares += [(1, 0, 0, 40), (0.3, 0, 0, -170)]
    states = [dict(zip(("a", "b", "view", "body", "motion", "turn"), (0, 4, *share), strict=True)) for share in shares]
    results = offline(explorer.to_html()).evaluate(READ, [player.MODULE, states])
    for share, result in zip(shares, results, strict=True):
        expected = explorer.decode(0, 4, *share)
        assert np.abs(np.array(result["xy"]).reshape(expected.shape) - expected).max() < 1e-3
        for moved, change in zip(result["moved"], changes(explorer, 0, 4, share), strict=True):
            np.testing.assert_allclose(moved, change, atol=0.05)


def test_the_page_knows_what_was_recorded(offline, shapes, geometric):
    windows, table = walks(shapes)
    page = offline(ExchangeExplorer(geometric, windows, table, truth="recording").to_html())
    cases = [  # walks 0 to 3: person 41, normal, at 0, 36, 90, 180 degrees; 4 to 7: with a bag; 8: person 42
        ({"a": 1}, 1), ({"a": 1, "b": 2, "view": 1}, 2), ({"a": 1, "b": 11, "view": 1}, 3),
        ({"a": 1, "b": 6, "body": 1, "motion": 1}, 5),
        ({"a": 1, "b": 9, "view": 1, "body": 1, "motion": 1}, 9), ({"a": 1, "turn": 54}, 2), ({"a": 0, "turn": -180}, 3),
        ({"a": 1, "turn": 53}, None), ({"a": 1, "b": 2, "view": 0.5}, None), ({"a": 1, "b": 2, "body": 1}, None),
    ]  # fmt: skip
    states = [{"b": 8, "view": 0, "body": 0, "motion": 0, "turn": 0, **state} for state, _ in cases]
    found = page.evaluate(READ, [player.MODULE, states])
    assert [result["recorded"] for result in found] == [expected for _, expected in cases]


def test_gait_parameters_of_the_page_are_those_of_python(offline, shapes):
    """Recorded walks of three people from the side and from the front, as an autoencoder that is exact decodes them."""
    windows, table = walks(shapes)
    page = offline(ExchangeExplorer(shapes.LinearAutoencoder(), windows, table, truth="recording").to_html())
    states = [{"a": k, "b": 0, "view": 0, "body": 0, "motion": 0} for k in range(1, 24, 3)]
    for state, result in zip(states, page.evaluate(READ, [player.MODULE, states]), strict=True):
        k = state["a"]
        expected, gait = gait_parameters(windows[k], 25), result["gait"]
        assert gait["cadence"] == pytest.approx(expected.cadence, rel=0.005)
        assert result["loop"] == pytest.approx(2 * gait["stride"])  # whole cycles of the 63 / 25 seconds
        assert gait["stride"] == pytest.approx(2 * expected.step_time, rel=0.005)
        for name, value in (("rightKnee", expected.right_knee_range), ("leftKnee", expected.left_knee_range)):
            assert (gait[name] if gait[name] is not None else np.nan) == pytest.approx(value, abs=2, nan_ok=True)
        if table["view"][k] == "090":
            assert gait["symmetry"] == pytest.approx(expected.step_time_symmetry, abs=3)


def test_who_is_it_lays_the_walks_over_each_other(offline, shapes):
    windows, table = walks(shapes)
    embeddings = np.eye(3)[pd.factorize(table["subject"])[0]] + 0.1 * (table["condition"] == "bg").to_numpy()[:, None]
    embeddings[4] = embeddings[8] + 0.05  # person 41 with a bag is taken for person 42
    gallery = (table["condition"] == "nm").to_numpy()
    who = WhoIsIt(shapes.LinearAutoencoder(), windows, table, embeddings, gallery, ~gallery)
    page = opened(offline, who.to_html())
    choice = page.get_by_role("combobox", name="Walk")
    assert choice.input_value() == "Person 41, walk with a bag 1, camera at 0°: taken for person 42"
    assert page.locator(".panels canvas").count() == 2
    assert page.locator(".mark").all_text_contents() == ["✗ another person", "✓ right person"]
    bars = page.locator(".distances i")
    assert bars.count() == 6
    assert min(bar.bounding_box()["width"] for bar in bars.all()) > 60  # wide enough to be compared
    state = json.loads(page.locator('script[type="application/json"]').text_content())
    assert len(state["gallery"]["probes"]) == 12
    before = image(page, 0)
    choice.click()
    page.get_by_role("option").nth(3).click()
    settled(page)
    assert image(page, 0) != before
    assert "recognized, but only just" in choice.input_value()


IN_STEP = """async ([source, poses]) => {
  const file = new Blob([source + "\\nexport { inStep, track, gaitOf };"], { type: "text/javascript" });
  const { inStep, track, gaitOf } = await import(URL.createObjectURL(file));
  const panels = poses.map((pose, k) => {
    const main = track(Float32Array.from(pose), 64, 25);
    return { main, over: k > 0, gait: gaitOf(main) };
  });
  return inStep(panels).map(({ loop, rate, offset }) => ({ loop, rate, offset }));
}"""


def test_walks_laid_over_each_other_are_in_step(offline, shapes):
    """Of walkers whose phases are known: at the same time both are at the same point of the gait cycle."""
    first, second = shapes.walker(90), shapes.walker(54, stride=0.4, phase=1.3)
    page = offline(player.player_html(player.panel("walk", first)))
    found = page.evaluate(IN_STEP, [player.MODULE, [walk.ravel().tolist() for walk in (first, second)]])
    assert found[0]["loop"] == pytest.approx(26 / 25, rel=0.01)
    assert found[1]["rate"] == pytest.approx(1, rel=0.01)
    assert found[1]["offset"] == pytest.approx((-1.3 / (2 * np.pi)) % 1 * 26 / 25, abs=0.03)
