import numpy as np
import pytest

from gaitlib.display.exchange import ExchangeExplorer
from gaitlib.display.player import panel, player_html

INK = "(c) => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v).length"


@pytest.fixture(scope="module")
def explorer_html(shapes):
    windows, table = shapes.people()
    return ExchangeExplorer(shapes.LinearAutoencoder(), windows, table, truth="recording").to_html()


def image(page, i):
    return page.locator("canvas").nth(i).evaluate("c => c.toDataURL()")


def frame(page):
    return int(page.get_by_role("slider", name="Frame").input_value())


def pause(page):
    page.get_by_role("button", name="Pause").click()


def test_the_static_explorer_draws_and_answers(offline, explorer_html):
    page = offline(explorer_html)
    assert page.locator("canvas").count() == 4
    page.wait_for_function("document.querySelector('input[type=range]').value > 2")  # it plays by itself
    pause(page)
    for i in range(4):
        assert page.locator("canvas").nth(i).evaluate(INK) > 1000

    for name in ("body", "motion", "view"):
        before = image(page, 3)
        page.get_by_role("button", name=name, exact=True).click()
        assert image(page, 3) != before, name
    assert page.locator(".chip.b").all_text_contents() == ["body B", "motion B"]

    before = [image(page, i) for i in range(4)]
    page.get_by_label("Walk A").select_option(label="002 · nm-01 · 0°")
    after = [image(page, i) for i in range(4)]
    assert [a != b for a, b in zip(before, after, strict=True)] == [True, False, True, True]

    page.get_by_role("button", name="Swap A and B").click()
    assert page.get_by_label("Walk B").locator("option:checked").text_content() == "002 · nm-01 · 0°"


def test_truth_is_shown_between_synchronous_views(offline, explorer_html):
    page = offline(explorer_html)
    pause(page)
    assert "from the truth" in page.locator("figcaption").nth(3).text_content()
    assert "truth" in page.locator(".legend").text_content()
    page.get_by_role("button", name="body", exact=True).click()
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
    page.wait_for_function("document.querySelector('input[type=range]').value == 5")
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
    assert page.locator("canvas").count() == 3
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
