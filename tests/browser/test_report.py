"""The pages of a run in a real browser, from file:// and with nothing else to fetch."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from gaitlib.notebooks import CHAPTERS
from gaitlib.reports.html import write_index

PAGES = ("index", *CHAPTERS)
IMAGES = "() => [...document.images].map(i => ({alt: i.alt, width: i.naturalWidth, done: i.complete}))"
DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
# what sticks out to the right of the window and does not lie in something that scrolls by itself
OVERFLOW = """() => {
  const scrolls = (e) => e && (/auto|scroll|hidden/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const outside = (e) => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e);
  return [...document.body.querySelectorAll("*")].filter(outside).slice(0, 3).map((e) => e.outerHTML.slice(0, 120));
}"""


@pytest.fixture
def visit(browser):
    """visit(path, **context options) opens a page of a run; a request beside the page or a console message fails the test."""
    opened, trouble = [], []

    def open_page(path, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options})
        opened.append(context)
        page = context.new_page()
        address = path.as_uri()

        def route(route):
            if route.request.url.partition("#")[0] == address:
                return route.continue_()
            trouble.append(f"request to {route.request.url[:200]}")
            return route.abort()

        page.route("**/*", route)
        page.on("console", lambda m: m.type in ("error", "warning") and trouble.append(m.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert trouble == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_stands_alone(visit, small_run, name, width):
    page = visit(small_run / f"{name}.html", viewport={"width": width, "height": 900})
    assert page.locator("h1").count() == 1
    assert page.title()
    page.wait_for_function("[...document.images].every(i => i.complete)")
    images = page.evaluate(IMAGES)
    assert len(images) >= (10 if name == "index" else 1)
    assert [image for image in images if not (image["width"] and len(image["alt"].strip()) > 20)] == []
    players = page.locator(".gait-player").all()
    panels = [player.locator(".panels canvas").count() for player in players]
    assert panels == ([2, 2] if name in ("index", "04_visualization") else [])
    assert page.evaluate(OVERFLOW) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_hostile_and_long_names_do_not_break_a_page(visit, tmp_path):
    """Names of 300 letters, of a digit, of markup; nothing is run, and nothing sticks out of a narrow window."""
    names = ["n" * 300, "1", "<script>document.title = 'broken'</script>", "</style><img src=x onerror=alert(1)>"]
    shares = dict.fromkeys([*names, "mean"], 0.5)
    metrics = {"rank1": shares, "ci95": {key: [0.4, 0.6] for key in shares}, "counts": {"probes": dict.fromkeys(names, 7)}}
    facts = {name: name for name in names}
    known = {"provenance": {"protocol": {"summary": " ".join(names)}, **facts}, "content": facts}
    run = SimpleNamespace(folder=tmp_path, name="names", metrics=metrics, **known)
    write_index(run, [{"source": name, "reason": name} for name in names], [])
    page = visit(tmp_path / "index.html", viewport={"width": 400, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    assert "broken" not in page.title()
    assert page.locator("img").count() == 0
    assert page.evaluate(OVERFLOW) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    table = page.locator("table.headline")
    assert table.locator("tbody th").all_text_contents() == [*names, "mean"]
    assert max(table.evaluate("t => [...t.querySelectorAll('tbody th')].map(h => h.offsetWidth)")) < 350


def test_the_index_says_what_it_is_shows_the_explorer_and_its_links_lead_somewhere(visit, small_run):
    page = visit(small_run / "index.html")
    assert page.title() == "Recognizing people by how they walk: small"
    first = page.locator("header.hero")
    assert "simulated walkers" in first.locator(".lead").inner_text()
    assert first.locator(".tiles .name").all_text_contents() == ["Normal walking", "Carrying a bag", "Wearing a coat"]
    assert first.locator("img").bounding_box()["y"] < page.locator("#explorer").bounding_box()["y"] < 1200
    assert page.locator("article.chapter h2").all_text_contents() == [
        "Evaluation", "Visualization", "Data preparation", "Training",
    ]  # fmt: skip
    links = page.evaluate("[...document.links].map(a => a.getAttribute('href'))")
    assert [link for link in links if "://" in link] == []
    inside = [link[1:] for link in links if link.startswith("#")]
    assert [name for name in inside if page.locator(f"[id='{name}']").count() != 1] == []
    files = {link for link in links if not link.startswith("#")}
    assert {"results.xlsx", "metrics.json", "config.yaml", "provenance.json"} <= files
    assert [name for name in files if not (small_run / name).is_file()] == []


def test_the_contents_follow_the_reader_and_open_what_is_folded(visit, small_run):
    page = visit(small_run / "index.html")
    current = page.locator("#contents a[aria-current]")
    page.locator("#results").evaluate("h => h.scrollIntoView()")
    page.wait_for_function("document.querySelector('#contents a[aria-current]')?.hash === '#results'")
    heading = page.locator("#chapter-2-4-curves")
    assert not heading.is_visible()
    page.locator("#contents a", has_text="4. Curves").click()
    heading.wait_for()
    page.wait_for_function("document.querySelector('#contents a[aria-current]')?.hash === '#chapter-2-4-curves'")
    assert current.count() == 1


def test_figures_are_dark_on_dark_pages_and_large_on_a_phone(visit, small_run):
    page = visit(small_run / "index.html", viewport={"width": 400, "height": 800})
    picture = page.locator("#chapter-3 ~ .cells .picture img").first

    def brightness():
        page.evaluate(DRAWN)
        return np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("L")).mean()

    light = brightness()
    page.emulate_media(color_scheme="dark")
    assert brightness() < 90 < 200 < light
    picture.click()
    large = page.locator("#enlarged img")
    assert large.bounding_box()["width"] > 700 > picture.bounding_box()["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.keyboard.press("Escape")
    assert not large.is_visible()


@pytest.mark.parametrize("name", ["index", "04_visualization"])
def test_the_explorer_of_the_page_answers(visit, small_run, name):
    page = visit(small_run / f"{name}.html")
    explorer = page.locator(".gait-explorer")
    explorer.scroll_into_view_if_needed()

    def images():
        page.evaluate(DRAWN)
        return [canvas.evaluate("c => c.toDataURL()") for canvas in explorer.locator(".panels canvas").all()]

    before = images()
    dial = explorer.get_by_role("slider", name="Camera", exact=True)
    assert "off the recording" in explorer.locator(".result .answer").text_content()
    dial.press("PageUp")
    assert [image != was for image, was in zip(images(), before, strict=True)] == [False, True]
    assert "off the recording" in explorer.locator(".result .answer").text_content()  # 18 degrees on, another camera stood
    explorer.get_by_role("button", name="Exchange", exact=True).click()
    before = images()
    explorer.get_by_role("slider", name="Share of the body code from B").fill("0.4")
    assert [image != was for image, was in zip(images(), before, strict=True)] == [False, False, True]
    walk_a = explorer.get_by_role("combobox", name="Walk A")
    walk_a.click()
    walks = explorer.get_by_role("listbox", name="Walk A").get_by_role("option").all_text_contents()
    assert len(walks) >= 60  # two people or three, in 11 views and three conditions
    assert len(set(walks)) == len(walks)


def test_axe_finds_no_serious_accessibility_violation(visit, small_run):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = visit(small_run / "index.html")
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    colors = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
    for scheme, rules in (("light", {}), ("dark", colors)):  # the colors are all that differs
        page.emulate_media(color_scheme=scheme)
        page.evaluate(DRAWN)
        found = axe.run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert [(scheme, v["id"], [node["target"] for node in v["nodes"]]) for v in serious] == []


def test_who_is_it_shows_failures(visit, small_run):
    page = visit(small_run / "04_visualization.html")
    who = page.locator(".gait-who")
    assert re.search(r": taken for person \d+$", who.get_by_role("combobox", name="Walk").input_value())
    assert who.locator(".mark").all_text_contents() == ["✗ another person", "✓ right person"]
