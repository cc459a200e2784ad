"""README.md and docs/: numbers come from docs/numbers.json, the API page from the docstrings, and every link leads somewhere."""

import json
import re
import runpy
import urllib.parse
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "reports" / "README.md", ROOT / "gaitlib" / "pretrained" / "README.md",
         ROOT / "benchmarks" / "RESULTS.md", *sorted((ROOT / "docs").glob("*.md"))]  # fmt: skip
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def anchors(page):
    """The anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page):
    for link in _LINK.findall(_FENCE.sub("", page.read_text("utf-8"))):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = urllib.parse.unquote(link).partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_of_docs_is_named_in_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [page.name for page in PAGES if str(page.relative_to(ROOT)) not in readme and page.name != "README.md"] == []


def test_the_readme_states_the_numbers_of_docs_numbers_json():
    script = runpy.run_path(str(ROOT / "docs" / "readme_numbers.py"))
    readme = (ROOT / "README.md").read_text("utf-8")
    assert script["with_block"](readme, json.loads(script["NUMBERS"].read_text("utf-8"))) == readme, "run: make readme-numbers"


def test_a_number_that_changes_is_another_block():
    script = runpy.run_path(str(ROOT / "docs" / "readme_numbers.py"))
    numbers = json.loads(script["NUMBERS"].read_text("utf-8"))
    numbers["quick"]["rank1"]["BG"] = [12.3, 4.5, 67.8]
    assert "12.3\u00a0[4.5,\u00a067.8]" in script["block"](numbers)


def test_numbers_come_from_the_metrics_of_a_run(tmp_path):
    rank1 = {"rank1": {"NM": 0.98765, "mean": 0.9}, "ci95": {"NM": [0.95, 1], "mean": [0.8, 1]}}
    metrics = rank1 | {"baseline": rank1, "counts": {"people": 7}, "exchange": {"exchange": [4.25, 4.0, 4.5]}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics), "utf-8")
    provenance = {"commit": "0123456789", "hardware": {"cpu": "a processor", "threads": 2, "cores": 4}}
    (tmp_path / "provenance.json").write_text(json.dumps(provenance), "utf-8")
    found = runpy.run_path(str(ROOT / "docs" / "readme_numbers.py"))["numbers_of"](tmp_path)
    assert found == {
        "commit": "0123456", "cpu": "a processor", "threads": 2, "people": 7,
        "rank1": {"NM": [98.8, 95.0, 100.0]}, "baseline": {"NM": [98.8, 95.0, 100.0]},
        "errors": {"exchange": [4.3, 4.0, 4.5]},
    }  # fmt: skip


def test_the_numbers_that_no_command_makes_stand_in_their_sources():
    numbers = json.loads((ROOT / "docs" / "numbers.json").read_text("utf-8"))
    for name, quoted in (("kinect", ("across", "same")), ("gallery", ("correct", "strangers"))):
        source = (ROOT / numbers[name]["source"].partition("#")[0]).read_text("utf-8")
        for key in quoted:
            assert str(numbers[name][key]) in source, (name, key)


def test_the_api_page_is_that_of_the_docstrings():
    script = runpy.run_path(str(ROOT / "docs" / "api.py"))
    assert script["PAGE"].read_text("utf-8") == script["page"](), "run: make api"


def test_no_result_stands_under_casia_b_but_published_ones():
    rows = [line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if line.count("|") == 6]
    ours = next(row for row in rows if row.startswith("| **gaitlib**"))
    assert "not measured" in ours.split("|")[3]
    assert "CASIA-B" in rows[0].split("|")[3]
