"""Frames a second of twelve walkers playing at once in Chromium without a GPU, as in a report.

python benchmarks/player.py

Takes fifteen seconds; needs Chromium and the packages of the tests.
"""

import shutil
import sys
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from gaitlib.data.walkers import make_walkers
from gaitlib.display.player import panel, player_html

WALKERS, FRAMES, MOST = 12, 600, 17.0
#: Milliseconds between frames, and how often the picture changed from the previous frame.
MEASURE = """(frames) => new Promise((done) => {
  const times = [], clock = document.querySelector(".gait-player input[type=range]");
  let moved = 0, before = clock.value;
  const look = (now) => {
    times.push(now);
    moved += clock.value !== before;
    before = clock.value;
    times.length > frames ? done({ times, moved }) : requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""


def main() -> int:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not chromium:
        print("Chromium is not installed; nothing was measured.")
        return 0
    walks = islice(make_walkers(2, 0), WALKERS)
    html = player_html(*(panel(f"{walk.subject} {walk.view}", walk.pose, walk.fps) for walk in walks))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "page.html"
        file.write_text(f"<!doctype html><meta charset=utf-8><body>{html}</body>")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(file.as_uri())
        page.wait_for_selector(".gait-player canvas")
        assert page.locator(".gait-player .panels canvas").count() == WALKERS
        found = page.evaluate(MEASURE, FRAMES)
        browser.close()
    times = np.diff(found["times"])
    late = (times > 1.5 * np.median(times)).mean()
    print(f"{WALKERS} walkers, {FRAMES} frames: median {np.median(times):.1f} ms, at most {MOST:.0f}; {late:.1%} late")
    print(f"the walks advanced {found['moved']} times")
    return 0 if np.median(times) < MOST and found["moved"] > FRAMES / 4 else 1


if __name__ == "__main__":
    sys.exit(main())
