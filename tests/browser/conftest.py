"""A real Chromium with every network request cut off."""

import importlib.util
import shutil
from pathlib import Path

import pytest

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--proxy-server=127.0.0.1:9",  # where nobody listens; this machine itself is asked directly
]  # fmt: skip


@pytest.fixture(scope="session")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (pip install playwright)")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not path:
        pytest.skip("no Chromium is installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def offline(browser, tmp_path):
    """offline(html, **context options) opens a file:// page; any request or console error fails the test.

    shows: what is waited for.
    """
    opened = []

    def open_page(text: str, shows: str = ".gait-player canvas", **options):
        file = tmp_path / f"page{len(opened)}.html"
        head = "<!doctype html><html lang=en><meta charset=utf-8><title>page</title>"
        file.write_text(f"{head}<body>{text}</body></html>")
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        page = context.new_page()
        trouble = []

        def route(route):
            if route.request.url.startswith("file://"):
                return route.continue_()
            trouble.append(f"request to {route.request.url}")
            return route.abort()

        page.route("**/*", route)
        page.on("console", lambda m: m.type in ("error", "warning") and trouble.append(m.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.goto(file.as_uri())
        page.wait_for_selector(shows)
        opened.append((context, trouble))
        return page

    yield open_page
    for context, trouble in opened:
        context.close()
        assert trouble == []


@pytest.fixture
def save_as(tmp_path):
    """save_as(page, item) chooses an item of the menu "Save" and returns the path of the file."""

    def save(page, item):
        page.locator(".menu summary").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=item).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    return save


@pytest.fixture(scope="session")
def shapes():
    """The walkers and the toy autoencoder of tests/display/conftest.py."""
    file = Path(__file__).parents[1] / "display" / "conftest.py"
    spec = importlib.util.spec_from_file_location("display_shapes", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
