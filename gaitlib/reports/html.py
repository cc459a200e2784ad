"""Pages that stand alone: executed notebooks as HTML with nothing fetched from anywhere, and the page of a whole run.

What a notebook shows is trusted, it is our own: scripts inside its HTML outputs stay and run. What comes from outside
(names of runs, probe sets and files, settings, reasons) is escaped by the templates.
"""

import base64
import math
import mimetypes
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from itertools import chain, count
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import nbformat
from bs4 import BeautifulSoup
from jinja2 import Environment, PackageLoader, StrictUndefined
from latex2mathml.converter import convert
from markupsafe import Markup
from nbconvert.filters import Highlight2HTML, ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from gaitlib import InputError
from gaitlib.files import Unreadable, read_bytes, read_text, write_text
from gaitlib.reports import findings, tables
from gaitlib.reports.run import Run, flat
from gaitlib.rounding import UNIT, with_interval

#: A line that a progress bar left behind: "40%|####   | 2/5 [00:01<00:02, 1.9it/s]", or with no end known "5it [00:01, 4.8it/s]".
_PROGRESS = re.compile(r"\d+%\|[\s\d#\u2588-\u258f]*\||\[\d+:\d\d(<[^\]]+)?, [^\]]+/[^\]]+\]")
#: What cells print when their last line returns an object nobody wants to read.
_REPR = re.compile(r"\s*(<[\w.]+[^>]*(object at|Figure|Axes|size)[^>]*>|\[?<matplotlib.*|None)\s*", re.DOTALL)
_HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
#: Attributes by which a tag fetches something, and what does so in a style sheet.
_FETCHING = ("src", "data", "href", "xlink:href", "srcset", "poster", "background")
_FETCHING_STYLE = re.compile(r"@import\b[^;]*;?|url\(\s*[\"']?(?!data:|#)[^)]*\)", re.IGNORECASE)
#: The walk with its view exchanged that notebook 04 leaves in the folder; it moves at the top of the page of a run.
_MOVING = "figures/exchange.svg"
#: Chapters that are folded on the page of a run, below what it found.
_PREPARING = ("01_data_preparation", "02_training")
#: Tags of cells that the page of a run leaves out, because it says the same in another place, or because only who runs the
#: notebook needs it; the page of the notebook shows them.
_REPEATED = {"parameters", "injected-parameters", "notebook-only"}


def notebook_html(notebook_path: Path, out_path: Path, title: str) -> None:
    """Write one executed notebook as a page that needs no other file and no network, beside the index.html of its run.

    The page's only H1 is `title`, in place of the notebook's own. Raises InputError where the notebook cannot be read.
    """
    links = {path.stem: f"{quote(path.stem)}.html" for path in sorted(notebook_path.parent.glob("*.ipynb"))}
    chapter = _Chapter(notebook_path, {"content", "contents"}, links)
    write_page(out_path, "notebook.html.j2", title=title, chapter=chapter)


def write_index(run: Run, left_out: list[dict], chapters: Iterable[Path]) -> None:
    """Write index.html, the page of a run: who was recognized how well, the explorer, what was found, then all chapters.

    left_out: a list of {"source", "reason"}. chapters: the executed notebooks, in order; InputError where one cannot be read.
    """
    anchors = {path: f"chapter-{i}" for i, path in enumerate(chapters, 1)}
    taken = {"content", "contents", "explorer", "findings", "results", "left-out", "files", "provenance", *anchors.values()}
    links = {path.stem: f"#{anchor}" for path, anchor in anchors.items()}
    chapters = [_Chapter(path, taken, links, anchor) for path, anchor in anchors.items()]
    explorer = next(filter(None, (chapter.take_explorer("explorer") for chapter in chapters)), None)
    reasons = Counter(str(entry.get("reason", "")) for entry in left_out).most_common()
    write_page(
        run.folder / "index.html", "index.html.j2", run=run, files={path.name for path in run.folder.iterdir()},
        chapters=sorted(chapters, key=lambda chapter: chapter.is_folded), explorer=explorer, moving=_moving_picture(run.folder),
        left_out=left_out, reasons=reasons,
    )  # fmt: skip


def write_overview(path: Path, runs: Iterable[tuple[Run, str]], grids: Iterable[str]) -> None:
    """Write the page over runs, each with its size as text, by protocol, the best first; grids: names of their folders."""
    write_page(path, "runs.html.j2", found=tables.overview(runs), grids=list(grids))


def write_page(path: Path, template: str, **values) -> None:
    """Write a page, all values escaped, whole or not at all; what is no Unicode becomes a question mark."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, _rendered(template, **values).encode("utf-8", "replace").decode("utf-8"))


@cache
def _environment() -> Environment:
    loader = PackageLoader("gaitlib", "reports")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"plain": _plain, "percent": lambda share: with_interval(share, unit=UNIT)}
    environment.filters |= {"prose": _prose, "whole": _whole, "address": _address, "without_progress": _without_progress}
    environment.filters |= {"code": lambda text: Markup(Highlight2HTML()(text)), "ansi": lambda text: Markup(ansi2html(text))}
    environment.tests |= {"a_repr": _REPR.fullmatch, "a_progress_bar": lambda t: "Progress" in t or _PROGRESS.search(t)}
    environment.globals |= {"tables": tables, "findings": findings, "flat": flat, "UNIT": UNIT}
    return environment


def _rendered(template: str, **values) -> str:
    return _environment().get_template(template).render(values)


def _moving_picture(folder: Path) -> tuple[str, str] | None:
    if not (address := _embedded(_MOVING, folder)):
        return None
    title = BeautifulSoup(read_bytes(folder / _MOVING), "html.parser").title
    return address, title.get_text() if title else "Walking skeletons"


def _plain(value) -> str:
    """A value of the configuration or provenance as a reader wants it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:,.6g}"
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value)) or None
    return "none" if value is None else str(value)


class _Chapter:
    """One executed notebook as HTML, to be placed under a heading of its title, which is its first H1.

    name: of its file. taken: the ids of the page; those of the chapter are added. links: name of a notebook -> where links to it
    lead. anchor: of the chapter's heading on the page of a run; "" where it is the whole page. sections: (anchor, text) of its
    headings of the first two levels. is_folded: whether the page of a run shows it on demand only.
    """

    def __init__(self, path: Path, taken: set[str], links: Mapping[str, str], anchor: str = ""):
        self.name, self.title, self.anchor, self.sections = path.stem, "", anchor, []
        self.is_folded = path.stem in _PREPARING
        self._taken, self._links, self._folder = taken, links, path.parent
        self._prefix = f"{anchor}-" if anchor else ""
        self._anchors: dict[str, str] = {}  # anchor as Jupyter makes it -> ours
        left_out = {"remove-cell", *(_REPEATED if anchor else ())}
        cells = [cell for cell in _read_notebook(path) if not left_out & set(cell.metadata.get("tags", []))]
        self._soup = BeautifulSoup(_rendered("cells.html.j2", cells=cells), "html.parser")
        _embed(self._soup, path.parent)
        self._make_ids_unique()
        self._fit_headings()
        self._frame_players()
        for output in self._soup.select(".cell > .output.html:has(> img)"):
            output["class"] = "output html picture"
            del output["tabindex"]  # it is a button
        self._fit_links()
        for tag in self._soup.find_all("pre"):
            tag["tabindex"] = "0"  # long lines scroll, by keys too
        for table in self._soup.select(".prose table"):
            table.wrap(self._soup.new_tag("div", attrs={"class": "scroll", "tabindex": "0"}))
        for cell in self._soup.select(".cell:empty"):
            cell.decompose()
        self.title = self.title or re.sub(r"^\d+[_-]", "", self.name).replace("_", " ").capitalize()

    @property
    def html(self) -> Markup:
        """Its cells."""
        return Markup(str(self._soup))

    def take_explorer(self, anchor: str) -> Markup | None:
        """Take the explorer that exchanges codes out of the chapter and leave a link to `anchor`; None where there is none."""
        for player in self._soup.select(".player"):
            if any(re.search(r'"exchange":\s*[{[]', script.string or "") for script in player("script")):
                link = self._soup.new_tag("a", attrs={"href": f"#{anchor}"}, string="The explorer is at the top of this page.")
                note = self._soup.new_tag("p", attrs={"class": "note"})
                note.append(link)
                return Markup(str(player.replace_with(note)))
        return None

    def _unique(self, wanted: str) -> str:
        found = next(name for name in chain([wanted], (f"{wanted}-{n}" for n in count(2))) if name not in self._taken)
        self._taken.add(found)
        return found

    def _make_ids_unique(self) -> None:
        """Give ids that are taken on the page another name, in the markup of an output and wherever its scripts quote it."""
        for output in self._soup.select(".prose, .cell > .output.html"):
            ids = {old: self._unique(old) for old in dict.fromkeys(tag["id"] for tag in output.find_all(id=True))}
            if changed := [re.escape(old) for old, new in ids.items() if old != new]:
                quoted = rf"(?<=[\"'#])({'|'.join(changed)})(?=[\"'\s.{{,)])"
                renamed = re.sub(quoted, lambda found, ids=ids: ids[found[1]], str(output))
                output.replace_with(BeautifulSoup(renamed, "html.parser"))

    def _fit_headings(self) -> None:
        """Headings get anchors and go below that of the chapter; the first H1 becomes its title. Figures are named after them."""
        above = ""
        for tag in self._soup.find_all(["img", *_HEADINGS]):
            if tag.name == "img":
                tag["alt"] = tag.get("alt") or f"Figure: {above or self.title}"
                continue
            level = int(tag.name[1])
            tag.name = f"h{min(max(level, 2) + bool(self.anchor), 6)}"
            if not tag.find_parent(class_="prose"):
                continue
            above = tag.get_text().strip()
            if is_title := level == 1 and not self.title:
                self.title, anchor = above, self.anchor or "content"
                tag.decompose()
            else:
                slug = re.sub(r"[^\w]+", "-", above.lower()).strip("-_") or "section"
                anchor = tag["id"] = tag.get("id") or self._unique(self._prefix + slug)
                link = {"class": "anchor", "href": f"#{anchor}", "aria-label": "Link to this section"}
                tag.extend([" ", self._soup.new_tag("a", attrs=link, string="#")])
            self._anchors.setdefault(above.replace(" ", "-"), anchor)
            if level <= 2 and not is_title:
                self.sections.append((anchor, above))

    def _frame_players(self) -> None:
        for output in self._soup.select(".cell > .output.html:has(script[type=module])"):
            output["id"] = self._unique(f"{self._prefix}player")
            output["class"] = "output html player"
            del output["tabindex"]

    def _fit_links(self) -> None:
        """Links lead to where things stand on this page; those that would lead nowhere are text."""
        for tag in self._soup.select("a[href]:not(.anchor), area[href]"):
            if target := self._target(tag["href"]):
                tag["href"] = target
            else:
                tag.unwrap()

    def _target(self, url: str) -> str:
        address, _, fragment = url.partition("#")
        if not address:
            anchor = self._anchors.get(unquote(fragment), unquote(fragment))
            return f"#{anchor}" if anchor in self._taken else ""
        path = Path(unquote(address))
        if path.suffix == ".ipynb" and path.stem in self._links:
            return self._links[path.stem]
        is_elsewhere = url.lower().startswith(("http://", "https://", "mailto:"))
        return url if is_elsewhere or _inside(url, self._folder) else ""


def _read_notebook(path: Path) -> list[nbformat.NotebookNode]:
    """The cells of a notebook, with neighboring pieces of the same stream joined, as they were printed."""
    try:
        notebook = nbformat.reads(read_text(path), as_version=4)
        nbformat.validate(notebook)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, nbformat.ValidationError) as error:
        raise InputError(f"{path} cannot be read as a notebook ({type(error).__name__}); run it again.") from None
    return CoalesceStreamsPreprocessor().preprocess(notebook, {})[0].cells


def _without_progress(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if not _PROGRESS.search(line)).strip("\r\n")


class _Renderer(IPythonRenderer):
    """Equations become MathML, which browsers draw without a script; what is not LaTeX stays text."""

    def inline_math(self, body: str) -> str:
        try:
            return convert(body)
        except Exception:  # its exceptions have no base class of their own
            return super().inline_math(body)

    def block_math(self, body: str) -> str:
        try:
            return convert(body, display="block")
        except Exception:
            return super().block_math(body)


def _prose(source: str, attachments: Mapping | None = None) -> Markup:
    """Markdown as HTML, with the pictures that were attached to the cell."""

    def attached(found: re.Match) -> str:
        content = (attachments or {}).get(unquote(found[1]), {})
        return next((_address(encoded, kind) for kind, encoded in content.items()), "")

    source = re.sub(r"(?<=\]\()attachment:([^)\s]+)", attached, source)
    renderer = _Renderer(escape=False, exclude_anchor_links=True)
    return _whole(MarkdownWithMath(renderer=renderer).render(source))


def _whole(html: str) -> Markup:
    """HTML in which no tag is left open, or closes what is around it."""
    return Markup(str(BeautifulSoup(html, "html.parser")))


def _embed(soup: BeautifulSoup, folder: Path) -> None:
    """Leave nothing that a browser would fetch: what lies in the folder is embedded, all else is taken out."""
    for tag in soup.select("link, base, meta, script[src]"):
        tag.decompose()
    for tag in soup.find_all(True):
        if tag.name == "style":
            tag.string = _FETCHING_STYLE.sub("", tag.string or "")
        if "style" in tag.attrs:
            tag["style"] = _FETCHING_STYLE.sub("", tag["style"])
        if tag.name in ("a", "area"):
            continue
        for name in tag.attrs.keys() & _FETCHING:
            tag[name] = tag[name] if tag[name].startswith(("data:", "#", "blob:")) else _embedded(tag[name], folder)
            if not tag[name]:
                del tag[name]
        if tag.name == "img" and "src" not in tag.attrs:
            words = f": {tag['alt']}" if tag.get("alt") else ""
            tag.replace_with(soup.new_tag("span", attrs={"class": "note"}, string=f"[image not included{words}]"))


def _embedded(url: str, folder: Path) -> str:
    """A file inside the folder as a data: address; "" where there is none."""
    with suppress(Unreadable):
        if path := _inside(url, folder):
            encoded = base64.b64encode(read_bytes(path)).decode()
            return _address(encoded, mimetypes.guess_type(path)[0] or "application/octet-stream")
    return ""


def _address(content: str, kind: str) -> str:
    """What a notebook or a file holds as a data: address: base64, or the text of an SVG."""
    is_text = content.lstrip().startswith("<")
    encoded = base64.b64encode(content.encode()).decode() if is_text else "".join(content.split())
    return f"data:{kind};base64,{encoded}"


def _inside(url: str, folder: Path) -> Path | None:
    """The file or folder inside `folder` that a relative address names."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    path = Path(unquote(parts.path))
    if parts.scheme or parts.netloc or not parts.path or path.is_absolute() or ".." in path.parts:
        return None
    return folder / path if os.path.exists(folder / path) else None  # Path.exists raises for names that are too long
