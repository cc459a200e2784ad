"""Pages stand alone: one H1, anchors of their own, nothing fetched, and text that stays text."""

import base64
import errno
import json
import os
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from gaitlib import InputError
from gaitlib.reports.html import notebook_html, write_index, write_overview
from gaitlib.reports.run import Run

PNG = base64.b64encode(b"\x89PNG not really").decode()
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "abc", "version_major": 2, "version_minor": 0}}
SCRIPT = 'const el = document.getElementById("walk"); el.innerHTML = "<h1>drawn</h1><img src=x>"; // "exchange":{}'
PLAYER = f'<div id="walk"></div><script type="module">{SCRIPT}</script>'
METRICS = {
    "rank1": {"NM": 0.841, "CL": 0.5, "mean": 0.6705},
    "rank1_same_view": {"NM": 0.99, "CL": 0.98, "mean": 0.985},
    "ci95": {"NM": [0.78, 0.902], "CL": [0.4, 0.6], "mean": [0.6, 0.7]},
    "map": {"NM": 0.7, "CL": 0.4, "mean": 0.55},
    "eer": {"NM": 0.1, "CL": float("nan"), "mean": None},
    "counts": {"probes": {"NM": 40, "CL": 41}, "people": 20},
    "iterations": 100,
    "baseline": {"rank1": {"NM": 0.25, "CL": 0.25, "mean": 0.25}, "rank1_same_view": {"NM": 0.5}},
}


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.inside = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_data(self, data):
        if not self.inside or self.inside[-1] not in ("script", "style"):
            self.words.append(data)

    def handle_endtag(self, tag):
        self.inside.append("")

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\u202f", " ").split())


def check_stands_alone(page):
    assert len(page.all("h1")) == 1
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert sorted(ids) == sorted(set(ids))
    for tag, attrs in page.tags:
        for name in ("src", "href", "data", "poster", "srcset", "xlink:href"):
            address = attrs.get(name) or ""
            if tag == "a" and address.startswith("https://"):
                continue
            assert address.startswith("data:") or not re.match(r"[a-z]+:|/", address), (tag, attrs)
            if address.startswith("#"):
                assert address[1:] in ids, f"{address} leads nowhere"
    for attrs in page.all("img"):
        assert attrs.get("alt")


@pytest.fixture
def write_notebook(tmp_path):
    def write(cells, name="01_data"):
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(new_notebook(cells=cells), path)
        return path

    return write


@pytest.fixture
def page_of(write_notebook, tmp_path):
    def page_of(*cells, title="A chapter"):
        notebook_html(write_notebook(list(cells)), tmp_path / "out.html", title)
        text = (tmp_path / "out.html").read_text("utf-8")
        page = Page(text)
        check_stands_alone(page)
        return text, page

    return page_of


def shown(data=None, **output):
    """A code cell with one output."""
    if "output_type" not in output:
        output |= {"output_type": "display_data", "data": data or {}}
    return new_code_cell("show()", outputs=[new_output(**output)])


CHAPTER = [
    new_markdown_cell(
        "# Preparing walks\n\nSee [the end](#Summary), [next](02_training.ipynb), [paper](https://arxiv.org/abs/1)."
    ),
    new_markdown_cell("## Summary\n\n$\\frac{a}{b}$ of it\n\n## Summary\n\n# Another title"),
    shown(WIDGET | {"text/html": PLAYER, "text/plain": "ExchangeExplorer()"}),
    shown(WIDGET | {"text/html": PLAYER, "text/plain": "ExchangeExplorer()"}),
    shown({"image/png": PNG, "text/plain": "<Figure size 1x1 with 1 Axes>"}, metadata={"image/png": {"alt": "A curve"}}),
]


@pytest.fixture
def index_of(write_notebook, tmp_path):
    def index_of(**changes):
        given = {
            "folder": tmp_path,
            "name": tmp_path.name,
            "metrics": METRICS,
            "content": {"seed": 1},
            "provenance": {"commit": "abc", "dirty": True, "versions": {"torch": "2.13.0"}},
            "left_out": [],
            "chapters": [write_notebook(CHAPTER), write_notebook(CHAPTER, "02_training")],
        }
        run = SimpleNamespace(**(given | changes))
        write_index(run, run.left_out, run.chapters)
        text = (tmp_path / "index.html").read_text("utf-8")
        page = Page(text)
        check_stands_alone(page)
        return text, page

    return index_of


def test_the_title_takes_the_place_of_the_first_heading(page_of):
    _, page = page_of(*CHAPTER, title="My <b>title</b>")
    assert "My <b>title</b>" in page.text
    assert "Preparing walks" not in page.text
    assert [attrs["id"] for attrs in page.all("h2")] == ["summary", "summary-2", "another-title"]
    assert "#summary" in [attrs["href"] for attrs in page.all("a")]


def test_a_widget_gives_way_to_its_html_and_the_script_is_untouched(page_of):
    text, page = page_of(CHAPTER[2])
    assert SCRIPT in text
    assert "widget-view" not in text
    assert "ExchangeExplorer()" not in page.text


def test_ids_of_a_second_player_are_renamed_in_its_script_too(page_of):
    text, _ = page_of(CHAPTER[2], CHAPTER[3])
    assert '<div id="walk-2">' in text
    assert 'getElementById("walk-2")' in text


def test_a_widget_without_html_is_a_note_and_a_progress_bar_is_nothing(page_of):
    _, page = page_of(shown(WIDGET | {"text/plain": "IntSlider(value=3)"}))
    assert "JupyterLab" in page.text
    assert "IntSlider" not in page.text
    _, page = page_of(shown(WIDGET | {"text/plain": "  0%|          | 0/10 [00:00<?, ?it/s]"}))
    assert "JupyterLab" not in page.text
    assert "0/10" not in page.text


def test_progress_bars_are_dropped_and_messages_folded(page_of):
    bar = "  0%|          | 0/10 [00:00<?, ?it/s]\r100%|#####| 10/10 [00:01<00:00, 9.9it/s]\n5walks [00:01, 4.8walks/s]\n"
    _, page = page_of(
        shown(output_type="stream", name="stderr", text=bar + "UserWarning: <odd>\n"),
        shown(output_type="stream", name="stdout", text=bar + "epoch 1\repoch 2\nrank-1 50% | 60%\n"),
    )
    assert "/s" not in page.text
    assert "epoch 1" not in page.text
    assert "UserWarning: <odd>" in page.text
    assert "epoch 2 rank-1 50% | 60%" in page.text
    assert "Show messages" in page.text


def test_an_error_is_shown_with_its_traceback_folded(page_of):
    _, page = page_of(shown(output_type="error", ename="ValueError", evalue="<b>no</b>", traceback=["\x1b[31mline 1\x1b[0m"]))
    assert "ValueError: <b>no</b>" in page.text
    assert "line 1" in page.text


@pytest.mark.parametrize("cells", [[], [new_code_cell("")], [new_markdown_cell("")], [shown({})]])
def test_empty_notebooks_and_outputs_make_a_page(page_of, cells):
    page_of(*cells)


def test_nothing_is_fetched(page_of):
    text, page = page_of(
        new_markdown_cell("![logo](https://example.org/a.png) <img src='http://x.org/b.png' alt='hm'> ![gone](gone.png)"),
        new_markdown_cell("[home](/etc/passwd) [up](../README.md) [x](javascript:alert(1)) <b>$x \\le y$</b>"),
        shown(
            {
                "text/html": '<link rel="stylesheet" href="https://cdn.org/a.css">'
                '<script src="//cdn.org/a.js"></script>'
                '<style>@import "https://x.org"; b {background: url(http://x.org/i.png)}</style>'
                '<iframe src="//y.org"></iframe>'
                '<h1 id="content">A heading</h1><img src="//z.org/i.png" alt="far">'
            }
        ),
    )
    assert not re.search(r"(https?:)?//\w+\.org", text)
    assert "far" in page.text
    assert [attrs["href"] for attrs in page.all("a") if "class" not in attrs] == ["index.html"]


def test_figures_have_the_alt_text_they_came_with_or_their_section(page_of):
    _, page = page_of(new_markdown_cell("## Loss"), CHAPTER[4], shown({"image/svg+xml": "<svg id='figure_1'/>"}))
    assert [attrs["alt"] for attrs in page.all("img")] == ["A curve", "Figure: Loss"]


def test_what_looks_like_a_heading_within_an_image_is_left_alone(page_of):
    source = "data:image/png;base64,AA/h1+KsOf/h2=="
    _, page = page_of(shown({"text/html": f'<h1>Curves</h1><img alt="a curve" src="{source}">'}))
    assert page.all("img")[0]["src"] == source
    assert page.all("h2") == [{}]


def test_an_image_of_the_folder_is_embedded(page_of, tmp_path):
    (tmp_path / "a b.png").write_bytes(b"png")
    _, page = page_of(new_markdown_cell("![walk](<a b.png>)"))
    assert page.all("img")[0]["src"] == "data:image/png;base64," + base64.b64encode(b"png").decode()


def test_a_formula_is_drawn_without_a_script_and_what_is_none_is_text(page_of):
    source = r"$\frac{a}{b}$ of it, $$\sqrt{c}$$, $\no{$"
    _, page = page_of(new_markdown_cell(source), shown({"text/latex": r"$x \le y$"}))
    assert [attrs["display"] for attrs in page.all("math")] == ["inline", "block"]
    assert len(page.all("mfrac")) == len(page.all("msqrt")) == 1
    for formula in (r"\no{", r"x \le y"):
        assert formula in page.text


def test_the_index_says_who_was_recognized_how_well(index_of):
    _, page = index_of()
    assert "Normal walking 84.1 % rank-1 [78.0, 90.2] baseline 25.0 % Wearing a coat 50.0 %" in page.text
    for shown in ("NM, CL : normal walking, wearing a coat.", "99.0 %", "70.0 %", "None: every walk", "abc, with uncommitted"):
        assert shown.replace(" :", "") in page.text or shown in page.text
    (summary,) = (attrs["content"] for attrs in page.all("meta") if attrs.get("name") == "description")
    assert "rank-1 of 20 unseen people: NM\u00a084.1\u202f%\u00a0[78,\u00a090], CL" in summary


def test_the_index_holds_all_chapters_and_leads_to_the_exchange_and_the_files(index_of, tmp_path):
    for name in ("results.xlsx", "metrics.json"):
        (tmp_path / name).touch()
    _, page = index_of()
    chapters = [attrs["id"] for attrs in page.all("h2")]
    assert chapters == ["explorer-title", "results", "chapter-1", "chapter-2", "left-out", "files", "provenance"]
    links = [attrs["href"] for attrs in page.all("a")]
    assert {"#explorer", "#chapter-2"} <= set(links)
    assert {"results.xlsx", "metrics.json", "01_data.ipynb", "02_training.ipynb"} <= set(links)
    assert len(page.all("script")) == 5  # two players a chapter, and the page's own
    assert {attrs["id"] for attrs in page.all("h3")} >= {"chapter-1-summary", "chapter-2-summary"}


def test_the_first_explorer_of_the_index_stands_above_the_chapters(index_of):
    text, _ = index_of()
    places = [
        text.index(part) for part in ("<h1>", 'id="explorer"', 'id="walk"', 'id="results"', 'id="chapter-1"', 'id="walk-2"')
    ]
    assert places == sorted(places)
    assert text.count("The explorer is at the top of this page.") == 1


def test_the_index_folds_how_the_data_were_prepared_and_the_network_trained(index_of):
    text, _ = index_of()
    assert '<summary><h2 id="chapter-2">Preparing walks</h2></summary>' in text
    assert '<h2 id="chapter-1">Preparing walks</h2>\n<div class="cells">' in text


def test_the_index_leaves_out_parameters_and_what_only_the_notebook_needs(index_of, page_of, write_notebook):
    tags = ("parameters", "injected-parameters", "notebook-only")
    cells = [new_code_cell("left_out", metadata={"tags": [tag]}) for tag in tags]
    text, _ = index_of(chapters=[write_notebook([*cells, new_code_cell("kept")], "03")])
    assert (text.count(">left_out<"), text.count(">kept<")) == (0, 1)
    assert page_of(*cells)[0].count(">left_out<") == 3


def test_the_index_opens_with_the_moving_picture_of_the_run(index_of, tmp_path):
    _, page = index_of()
    assert not any("svg" in attrs["src"] for attrs in page.all("img"))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "exchange.svg").write_text('<svg><title>"a" &amp; &lt;b> walk</title></svg>')
    _, page = index_of()
    first = page.all("img")[0]
    assert first["alt"] == '"a" & <b> walk'
    assert base64.b64decode(first["src"].removeprefix("data:image/svg+xml;base64,")).startswith(b"<svg>")


def test_no_link_leads_nowhere(index_of, tmp_path):
    (tmp_path / "provenance.json").touch()  # of a run that drew and measured nothing
    _, page = index_of(metrics={})
    files = {link for attrs in page.all("a") if not (link := attrs["href"]).startswith(("#", "https:"))}
    assert "provenance.json" in files
    assert {name for name in files if not (tmp_path / name).exists()} <= {"01_data.html", "02_training.html"}


HOSTILE = "</style></script><img src=x onerror=alert(1)>\"'&\udcff"


def test_hostile_names_stay_text(index_of):
    _, page = index_of(
        metrics=METRICS | {"rank1": {HOSTILE: 0.5, "mean": 0.5}, "counts": {HOSTILE: {HOSTILE: 3}}},
        content={HOSTILE: HOSTILE},
        provenance={HOSTILE: HOSTILE, "versions": {HOSTILE: HOSTILE}},
        left_out=[{"source": HOSTILE, "reason": HOSTILE}],
    )
    assert not any(attrs.get("onerror") for attrs in page.all("img"))
    assert page.text.count("<img src=x onerror=alert(1)>") >= 7


def test_many_left_out_walks_are_summed_up(index_of):
    _, page = index_of(left_out=[{"source": f"{i}.txt", "reason": "only 9 frames"} for i in range(1500)])
    assert "1,500 walks were not used." in page.text
    assert "A source is a path below the folder that was prepared" in page.text
    assert "1,500: only 9 frames" in page.text


def test_a_run_that_measured_nothing_still_has_a_page(index_of):
    _, page = index_of(metrics={}, provenance={}, content={}, chapters=[])
    assert "has not measured yet" in page.text


def test_a_failure_leaves_the_old_page(index_of, tmp_path, monkeypatch):
    before, _ = index_of()

    def fail(*_):
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        index_of(metrics={})
    assert (tmp_path / "index.html").read_text("utf-8") == before
    assert not list(tmp_path.glob(".*"))


def test_a_notebook_that_cannot_be_read_is_an_input_error(tmp_path):
    (tmp_path / "bad.ipynb").write_text("not json")
    (tmp_path / "half.ipynb").write_text('{"cells": [{"cell_type": "code"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    (tmp_path / "deep.ipynb").write_text('{"cells":' + "[" * 10**5)
    os.mkfifo(tmp_path / "pipe.ipynb")
    for path in ("bad", "none", "half", "deep", "pipe"):
        with pytest.raises(InputError, match=f"{path}.ipynb"):
            notebook_html(tmp_path / f"{path}.ipynb", tmp_path / "out.html", "x")


LONG = "n" * 300


def test_long_and_odd_names_do_not_break_a_page(page_of, index_of):
    """Addresses no system can look up, a picture that is no longer attached, tags that are left open."""
    _, page = page_of(
        new_markdown_cell(f"<a href='//[bad'>a</a> <img src='//[bad'> [b]({LONG}) [c](a%00b) [d](#nowhere)"),
        new_markdown_cell(f"![e](attachment:gone.png) ![f]({LONG}.png)"),
        shown({"text/html": "</div></main></div><p>after<b>bold"}),
        new_markdown_cell("## The end"),
    )
    assert page.text.count("image not included") == 3
    assert [attrs["href"] for attrs in page.all("a") if not attrs.get("class")] == ["index.html", "#the-end"]
    open_tags = []
    for tag in page.inside:
        if tag == "":
            open_tags.pop()
        elif tag not in ("meta", "link", "img"):
            open_tags.append(tag)
    assert open_tags == []
    _, page = index_of(metrics=METRICS | {"rank1": {LONG: 0.5, "1": 0.5, "mean": 0.5}})
    assert LONG in page.text


def test_pictures_that_were_attached_are_shown(page_of):
    picture = new_markdown_cell("![walk](attachment:a%20b.png)", attachments={"a b.png": {"image/png": PNG}})
    assert page_of(picture)[1].all("img") == [{"src": f"data:image/png;base64,{PNG}", "alt": "walk"}]


#: As a run writes it: what was not measured is null.
MEASURED = METRICS | {"eer": {}}


@pytest.fixture
def overview(tmp_path):
    """overview({name: {file: content}}, grids) is the page over these runs."""

    def overview(folders, grids=()):
        for name, files in folders.items():
            (tmp_path / name).mkdir(parents=True)
            for file, content in files.items():
                (tmp_path / name / file).write_text(content if isinstance(content, str) else json.dumps(content))
        write_overview(tmp_path / "index.html", [(Run(tmp_path / name, name), "1.0 MB") for name in folders], grids)
        page = Page((tmp_path / "index.html").read_text("utf-8"))
        check_stands_alone(page)
        return page

    return overview


def test_the_page_over_all_runs_lists_them_by_protocol_the_best_first(overview):
    facts = {"index.html": "", "provenance.json": {"start": "2026-01-02T03:04:05"}}
    config = {"protocol": "walkers", "seed": 7}
    page = overview(
        {
            "worse": facts | {"config.yaml": config, "metrics.json": {"rank1": {"mean": 0.5}}},
            "grid one/better": facts | {"config.yaml": config, "metrics.json": MEASURED},
            "unmeasured": {"config.yaml": config, "metrics.json": {"rank1": {"mean": None}}},
            "other": {"config.yaml": {"protocol": "casia-b"}},
        },
        ["grid one"],
    )
    assert [attrs["id"] for attrs in page.all("h2")] == ["protocol-1", "protocol-2", "grids"]
    links = [attrs["href"] for attrs in page.all("a") if not attrs["href"].startswith("#")]
    assert links == ["grid%20one/better/index.html", "worse/index.html", "grid%20one/index.html"]
    assert "grid one/better 67.1 % [60.0, 70.0] – 7 100 2026-01-02 03:04 1.0 MB worse 50.0 %" in page.text
    assert "unmeasured, not finished – –" in page.text


@pytest.mark.parametrize(
    "damage",
    [
        {"metrics.json": "[1]"}, {"metrics.json": {"rank1": 3}}, {"provenance.json": "{"}, {"config.yaml": "- 1"},
        {"metrics.json": '{"rank1":' * 9999},
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_read_is_listed_with_the_reason(overview, damage):
    whole = {"config.yaml": {"protocol": "walkers"}, "metrics.json": MEASURED, "index.html": ""}
    page = overview({"<b>damaged": whole | damage, "whole": whole})
    assert page.text.count("Unreadable") == 2
    assert f"<b>damaged/{next(iter(damage))} " in page.text
    assert "whole 67.1 %" in page.text


def test_there_is_a_page_without_runs(overview):
    assert "There are no runs yet." in overview({}).text
