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
import pytest

from tests.small_run import lay_out

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},  # cells that are out of sight stay in the page
}
PROMPTS = "[...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')].map(p => p.textContent.trim())"
ERRORS = "[...document.querySelectorAll('[data-mime-type=\"application/vnd.jupyter.error\"]')].map(e => e.textContent)"
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
        for folded in notebook.cells:
            folded.metadata.pop("jupyter", None)  # which would hide its prompt
        given = {"run": str(lab.folder / "run"), "cache": str(small_run.parents[1] / "cache"), **parameters}
        for name, value in given.items():
            cell.source, changed = re.subn(rf'^({name}: str =) "[^"]*"', rf'\1 "{value}"', cell.source, flags=re.MULTILINE)
            assert changed == 1, name
        (lab.folder / "work").mkdir(exist_ok=True)  # where `make lab` puts copies
        nbformat.write(notebook, lab.folder / "work" / f"{chapter}.ipynb")
        for session in lab.api("sessions"):
            lab.api(f"sessions/{session['id']}", "DELETE")
        page = context.new_page()

        def pause(seconds):  # time.sleep would hold up the requests, which pass through here
            page.wait_for_timeout(1000 * seconds)

        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", complain)
        page.on("request", lambda request: note(request.url))
        page.on("websocket", lambda socket: note(socket.url))
        page.goto(f"{lab.address}/lab/tree/work/{chapter}.ipynb?token={lab.token}&reset")
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
    assert images.count() >= 5
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


def test_the_explorer_answers_in_jupyterlab_and_outlives_the_kernel(opened, small_run):
    page = opened("04_visualization", config="", checkpoint=str(small_run))
    explorer = page.locator(".gait-explorer")
    canvases = explorer.locator(".panels canvas")
    canvases.nth(1).wait_for()
    explorer.scroll_into_view_if_needed()
    dial, frame = explorer.get_by_role("slider", name="Camera", exact=True), explorer.get_by_role("slider", name="Frame")

    def pause(seconds):
        page.wait_for_timeout(1000 * seconds)

    def images():
        return [canvas.evaluate("c => c.toDataURL()") for canvas in canvases.all()]

    def answers(act, which, what):
        """What is drawn changes, of the given cards alone."""
        before = images()
        act()
        until(lambda: images() != before, what, pause)
        assert [image != was for image, was in zip(images(), before, strict=True)] == which, what

    until(lambda: int(frame.input_value()) > 3, "the walk plays", pause)
    explorer.get_by_role("button", name="Pause").click()
    assert canvases.nth(1).evaluate(COLORED) > 100
    answers(lambda: dial.press("ArrowRight"), [False, True], "the camera moves")
    explorer.get_by_role("button", name="Exchange", exact=True).click()
    canvases.nth(2).wait_for()
    for code in ("view", "body", "motion"):
        answers(explorer.get_by_role("button", name=code, exact=True).click, [False, False, True], f"{code} is exchanged")

    walk_b, label = (
        explorer.get_by_role("combobox", name="Walk B"),
        "Person {}, normal walk 4, camera at 180°",
    )  # not among those at hand
    person = int(walk_b.input_value().split(",")[0].split()[1])
    walk_b.fill(f"{person} nm-04 180")
    answers(lambda: walk_b.press("Enter"), [False, True, True], "another walk comes from the kernel")
    assert walk_b.input_value() == label.format(person)

    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.locator('[data-command="kernelmenu:restart"]').click()
    page.locator(".jp-Dialog .jp-mod-accept").click()
    status = explorer.locator(".kernel")
    status.wait_for()
    assert "was restarted" in status.text_content()
    answers(lambda: dial.press("ArrowRight"), [False, False, True], "the decoder of the page goes on")
    walk_b.fill(f"{person} nm-02 180")
    walk_b.press("Enter")
    assert "not loaded" in status.text_content()
    assert walk_b.input_value() == label.format(person)  # nothing else is shown
    assert page.evaluate(ERRORS) == []
