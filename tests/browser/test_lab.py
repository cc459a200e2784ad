"""The notebooks in a real JupyterLab: run, exchange codes, step through the frames; nothing leaves the machine."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import numpy as np
import pytest

from tests.small_run import lay_out

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},  # cells that are out of sight stay in the page
}
PROMPTS = "[...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')].map(p => p.textContent.trim())"
ERRORS = "[...document.querySelectorAll('[data-mime-type=\"application/vnd.jupyter.error\"]')].map(e => e.textContent)"
# milliseconds from a key press to another picture on the last canvas
WATCH = """() => {
  const canvas = [...document.querySelectorAll(".gait-player .panels canvas")][3];
  window.waited = null;
  addEventListener("keydown", () => {
    const start = performance.now(), before = canvas.toDataURL();
    const look = () => canvas.toDataURL() !== before ? (window.waited = performance.now() - start) : requestAnimationFrame(look);
    requestAnimationFrame(look);
  }, { capture: true, once: true });
}"""
# how many pixels of a canvas are neither gray nor clear
COLORED = """(c) => {
  const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) count += data[i + 3] > 200 && Math.abs(data[i] - data[i + 1]) > 60;
  return count;
}"""


class Lab:
    """A running server and what the tests ask of it."""

    def __init__(self, port, token, folder):
        self.address, self.token, self.folder = f"http://127.0.0.1:{port}", token, folder

    def api(self, path, method="GET"):
        request = urllib.request.Request(f"{self.address}/api/{path}", method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or "null")


def until(ready, what, pause=time.sleep, seconds=180):
    """Wait for a thing; how long that takes says how busy the machine is, and no more."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ready():
            return found
        pause(0.1)
    raise AssertionError(f"{what}: not within {seconds} s")


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    """A JupyterLab of its own: settings, home and port."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("lab")
    lay_out(folder)
    for name, values in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY_"))}
    environment |= {
        "OMP_NUM_THREADS": "1",  # as in the small run, whose numbers are to be found again
        "HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "IPYTHONDIR": str(home / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }  # fmt: skip
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}", "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    log = home / "log"
    with log.open("w") as file:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file, start_new_session=True)
    found = Lab(port, token, folder)

    def answers():
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            return found.api("status")
        except OSError:
            return None

    try:
        until(answers, "JupyterLab answers")
        yield found
    finally:
        try:
            for kernel in found.api("kernels"):
                found.api(f"kernels/{kernel['id']}", "DELETE")
        except OSError:
            pass
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)


@pytest.fixture(scope="module")
def context(browser):
    """One for all notebooks: JupyterLab itself is loaded once."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    yield context
    context.close()


@pytest.fixture
def opened(lab, context, small_run):
    """opened(chapter, **parameters) runs all cells of a notebook and gives the page.

    wait: until all cells have run without an error, as they should; the parameters are those of the notebook.
    """
    outside, trouble = [], []

    def note(address):
        parts = urlsplit(address)
        if parts.scheme not in ("data", "blob", "about") and parts.hostname != "127.0.0.1":
            outside.append(address)

    def complain(message):
        if message.type == "error":
            trouble.append(f"{message.text} {message.location['url']}")

    def open_notebook(chapter, wait=True, **parameters):
        notebook = nbformat.read(NOTEBOOKS / f"{chapter}.ipynb", as_version=4)
        (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
        given = {"run": str(lab.folder / "run"), "cache": str(small_run.parents[1] / "cache"), **parameters}
        for name, value in given.items():
            cell.source, changed = re.subn(rf'^({name}: str =) "[^"]*"', rf'\1 "{value}"', cell.source, flags=re.MULTILINE)
            assert changed == 1, name
        nbformat.write(notebook, lab.folder / f"{chapter}.ipynb")
        for session in lab.api("sessions"):
            lab.api(f"sessions/{session['id']}", "DELETE")
        page = context.new_page()

        def pause(seconds):  # time.sleep would hold up the requests, which pass through here
            page.wait_for_timeout(1000 * seconds)

        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", complain)
        page.on("request", lambda request: note(request.url))
        page.on("websocket", lambda socket: note(socket.url))
        page.goto(f"{lab.address}/lab/tree/{chapter}.ipynb?token={lab.token}&reset")
        steady = []

        def idle():
            try:
                kernels = lab.api("kernels")
            except urllib.error.HTTPError:  # 500 where a kernel of before ends while it is listed
                kernels = []
            one = len(kernels) == 1 and kernels[0]["execution_state"] == "idle" and kernels[0]["connections"] > 0
            steady.append(kernels[0]["id"] if one else None)
            return len(steady) > 2 and steady[-1] and len(set(steady[-3:])) == 1

        until(idle, "one idle kernel", pause)
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator('[data-command="runmenu:run-all"]').click()
        if not wait:
            return page

        def finished():
            return page.evaluate(ERRORS) or all(re.search(r"\[\d+\]", prompt) for prompt in page.evaluate(PROMPTS))

        until(finished, "all cells have run", pause)
        assert page.evaluate(ERRORS) == []
        assert len(page.evaluate(PROMPTS)) == len([c for c in notebook.cells if c.cell_type == "code"])
        return page

    try:
        yield open_notebook
    finally:
        for page in context.pages:
            page.close()
    assert outside == []
    assert trouble == []


def test_the_data_are_shown_in_jupyterlab(opened, small_settings):
    page = opened("01_data_preparation", overrides=" ".join(small_settings))
    images = page.locator(".jp-OutputArea-output img")
    assert images.count() == 5
    assert images.evaluate_all("all => all.every(i => i.naturalWidth > 0 && i.alt.length > 20)")


def test_a_training_is_watched_and_stopped_and_goes_on_in_jupyterlab(opened, small_run, small_settings, tmp_path):
    settings = [s for s in small_settings if not s.startswith(("training.iterations", "training.validate"))]
    settings += ["training.iterations=40", "training.validate_every=4"]
    for stage in (small_run.parents[1] / "cache").glob("*-*"):  # the walkers, not the training
        if not stage.name.startswith("training"):
            (tmp_path / stage.name).symlink_to(stage, target_is_directory=True)
    page = opened("02_training", wait=False, overrides=" ".join(settings), cache=str(tmp_path))
    text = page.locator(".widget-label", has_text="iteration")
    curves, canvases = page.locator(".widget-html img"), page.locator(".gait-player .panels canvas")

    def pause(seconds):
        page.wait_for_timeout(1000 * seconds)

    until(lambda: curves.count() == 1, "curves are drawn", pause)
    assert re.fullmatch(r"iteration \d+ of 40, about \d\d:\d\d left.*", text.text_content())
    before = curves.get_attribute("src")
    until(lambda: curves.get_attribute("src") != before, "the curves grow", pause)
    assert canvases.count() == 4
    shown = canvases.nth(1).evaluate("c => c.toDataURL()")
    until(lambda: canvases.nth(1).evaluate("c => c.toDataURL()") != shown, "the reconstruction moves", pause)
    page.locator("button.widget-button", has_text="Stop").click()
    until(lambda: page.locator(".widget-label", has_text="Run the cell again").count(), "training stops", pause)
    stopped = int(re.search(r"after iteration (\d+) of 40", page.locator(".jp-Notebook").text_content())[1])
    assert 8 <= stopped < 40
    (folder,) = tmp_path.glob("training-*.partial")
    assert (folder / "state.pt").is_file()

    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator('[data-command="runmenu:run-all"]').click()
    until(lambda: page.locator(".widget-label", has_text="iteration 40 of 40, done").count(), "training is done", pause)
    left = [look for look in range(4, 41, 4) if look > stopped]  # those before are not made again
    lines = page.locator(".jp-OutputArea-output", has_text="iteration 40/40")
    until(lambda: [int(n) for n in re.findall(r"iteration (\d+)/40", lines.text_content())] == left, "training went on", pause)
    until(lambda: re.search(r"\[\d+\]", page.evaluate(PROMPTS)[-1]), "all cells have run", pause)
    assert page.evaluate(ERRORS) == []


def test_evaluation_runs_in_jupyterlab(opened, lab, small_run):
    page = opened("03_evaluation", config="", checkpoint=str(small_run))
    images = page.locator(".jp-OutputArea-output img")
    assert images.count() == 11
    assert images.evaluate_all("all => all.every(i => i.naturalWidth > 0 && i.alt.length > 20)")
    assert (lab.folder / "run" / "metrics.json").read_text() == (small_run / "metrics.json").read_text()


def test_the_explorer_answers_in_jupyterlab(opened, small_run):
    page = opened("04_visualization", config="", checkpoint=str(small_run))
    player = page.locator(".gait-player").first
    canvases = player.locator(".panels canvas")
    canvases.nth(3).wait_for()
    assert canvases.count() == 4
    player.scroll_into_view_if_needed()
    frame = player.get_by_role("slider", name="Frame")
    clock = page.locator(".widget-slider", has_text="Frame").locator(".widget-readout")

    def pause(seconds):
        page.wait_for_timeout(1000 * seconds)

    def images():
        return [canvases.nth(i).evaluate("c => c.toDataURL()") for i in range(4)]

    def changed(before):
        return [image != was for image, was in zip(images(), before, strict=True)]

    def key_to_picture(node, key):
        """Milliseconds from a key press on a node to another picture of the exchange."""
        page.evaluate(WATCH)
        node.focus()
        page.keyboard.press(key)
        page.wait_for_function("window.waited !== null")
        return page.evaluate("window.waited")

    assert player.get_by_role("button", name="Pause").count() == 1  # it plays by itself
    until(lambda: int(frame.input_value()) > 3, "the walk plays", pause)
    player.get_by_role("button", name="Pause").click()
    until(lambda: clock.text_content() == frame.input_value(), "the slider below follows", pause)

    assert canvases.nth(3).evaluate(COLORED) > 100
    for code in ("body", "motion", "view"):
        before = images()
        page.locator("button.widget-toggle-button", has_text=re.compile(f"^{code}$")).click()
        until(lambda before=before: any(changed(before)), f"{code} is exchanged", pause)
        assert changed(before) == [False, False, False, True]

    waited, chips = [], player.locator(".chip")
    for k, code in enumerate(("view", "body", "motion")):
        share = page.locator(".widget-slider", has_text=f"{code} share").locator(".noUi-handle")
        keys = ("End", "Home") if code == "view" else ("Home", "End")
        waited += [key_to_picture(share, key) for key in (*keys, *keys, keys[0])]
        share.press("PageUp" if code != "view" else "PageDown")
        until(lambda code=code, k=k: re.fullmatch(rf"{code} \d+ % B", chips.nth(k).text_content()), f"a share of {code}", pause)
    print(f"share slider to picture: {', '.join(f'{ms:.0f}' for ms in waited)} ms, median {np.median(waited):.0f}")
    assert min(waited) < 250

    before = images()
    walk_b = page.get_by_role("combobox", name="Walk B")
    walk_b.fill("cl-01 180")
    choice = page.get_by_role("listbox", name="Walk B").get_by_role("option").first
    assert re.search(r"cl-01 · 180°", label := choice.text_content())
    choice.click()
    until(lambda: any(changed(before)), "another walk B", pause)
    assert changed(before) == [False, True, False, True]
    assert walk_b.input_value() == label

    handle = page.locator(".widget-slider", has_text="Frame").locator(".noUi-handle")
    waited = []
    for _ in range(5):
        before, was = images(), int(frame.input_value())
        waited.append(key_to_picture(handle, "ArrowRight"))
        assert int(frame.input_value()) == (was + 1) % 64
        assert clock.text_content() == frame.input_value()
        assert changed(before)[3]
    print(f"frame slider to picture: {', '.join(f'{ms:.0f}' for ms in waited)} ms")
    assert min(waited) < 250
