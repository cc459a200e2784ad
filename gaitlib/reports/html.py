"""Pages that stand alone: executed notebooks as HTML with nothing fetched from anywhere, and the page of a whole run.

What a notebook shows is trusted, it is our own: scripts inside its HTML outputs stay and run. What comes from outside
(names of runs, probe sets and files, settings, reasons) is escaped. Formulas are drawn by matplotlib, figures embedded.
"""

import base64
import math
import mimetypes
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape, unescape
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import nbformat
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from nbconvert.filters import Highlight2HTML, ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from gaitlib import InputError
from gaitlib.files import replacing
from gaitlib.reports.headline import headline, people, totals
from gaitlib.reports.run import flat
from gaitlib.rounding import percent

_THIN = "\u202f"  # narrow no-break space, between a number and %
_SVG_TYPE, _WIDGET = "image/svg+xml", "application/vnd.jupyter.widget-view+json"
#: A line that a progress bar left behind: "40%|####   | 2/5 [00:01<00:02, 1.9it/s]".
_PROGRESS = re.compile(r"\d+%\s*\||\d+(it|s/it|\w*it/s)?\s*\[\d+:\d+(<|,)|it/s\]?|s/it\]?")
#: What cells print when their last line returns an object nobody wants to read.
_REPR = re.compile(r"\s*(<[\w.]+[^>]*(object at|Figure|Axes|size)[^>]*>|\[?<matplotlib.*|None)\s*", re.DOTALL)
#: Files of a run that its page links, and what they hold.
FILES = {
    "results.xlsx": "every table of this page, a sheet each, and every matrix of probe view against gallery view",
    "metrics.json": "every number of chapter 03, for programs",
    "embeddings.npz": "the vector of each test walk",
    "config.yaml": "what was asked for",
    "provenance.json": "what ran",
}

#: What moves at the top of the page of a run.
MOVING = "figures/exchange.svg"


def notebook_html(notebook_path: str | Path, out_path: str | Path, title: str) -> None:
    """Write one executed notebook as a page that needs no other file and no network.

    The page's only H1 is `title`; the notebook's own first H1 gives way to it. The file appears whole or the old
    one stays. Raises InputError where the notebook cannot be read.
    """
    notebook_path, out_path = Path(notebook_path), Path(out_path)
    links = {path.stem: f"{quote(path.stem)}.html" for path in sorted(notebook_path.parent.glob("*.ipynb"))}
    chapter = _Page({"content", "contents"}).chapter(notebook_path, shift=0, links=links)
    home = "index.html" if (out_path.parent / "index.html").exists() and out_path.name != "index.html" else None
    write_page(out_path, template("notebook.html.j2").render(title=title, chapter=chapter, home=home))


def write_index(
    run_folder: str | Path,
    *,
    name: str,
    metrics: dict,
    config: dict,
    provenance: dict,
    left_out: list[dict],
    chapters: Iterable[str | Path],
) -> None:
    """Write index.html, the page of a run: who was recognized how well, then the chapters with all their figures.

    name: of the run. Files beside the page are linked relatively where they are, nothing is fetched.
    metrics, provenance: the content of metrics.json and provenance.json. config: the fully resolved configuration.
    left_out: a list of {"source", "reason"}, walks that were not used.
    chapters: the executed notebooks, in order.
    The file appears whole or the old one stays. Raises InputError where a notebook cannot be read.
    """
    folder = Path(run_folder)
    notebooks = [Path(path) for path in chapters]
    page = _Page({"content", "contents", "results", "chapters", "left-out", "files", "provenance", "config"})
    names = {path.stem: f"chapter-{i}" for i, path in enumerate(notebooks, 1)}
    page.taken.update(names.values())
    links = {stem: f"#{anchor}" for stem, anchor in names.items()}
    read = [page.chapter(path, shift=1, links=links, anchor=names[path.stem]) for path in notebooks]
    players = [(c, anchor) for c in read for anchor in c.players]
    exchange = [anchor for chapter, anchor in players if chapter.players[anchor]]
    text = template("index.html.j2").render(
        name=name,
        sentence=_sentence(metrics),
        people=str((provenance.get("protocol") or {}).get("summary", "")),
        rows=headline(metrics),
        counted=list(dict.fromkeys(key for row in headline(metrics) for key in row.counts)),
        totals={**totals(metrics), **({"iterations": metrics["iterations"]} if metrics.get("iterations") else {})},
        files={name: text for name, text in FILES.items() if (folder / name).is_file()},
        chapters=read,
        player=(exchange or [anchor for _, anchor in players] or [None])[0],
        is_exchange=bool(exchange),
        moving=_moving_picture(folder),
        left_out=left_out,
        reasons=Counter(str(entry.get("reason", "")) for entry in left_out).most_common(),
        notebooks=[
            {"title": c.title, "href": _relative(path, folder), "page": _relative(path.with_suffix(".html"), folder)}
            for c, path in zip(read, notebooks, strict=True)
        ],
        config=list(flat(config)),
        provenance=provenance,
    )
    write_page(folder / "index.html", text)


def write_overview(path: str | Path, runs: Iterable[tuple], grids: Iterable[str]) -> None:
    """Write the page over all runs of a folder.

    runs: pairs of a `gaitlib.runs.Run` and its size as text. grids: names of the folders that hold the report of a grid.
    """
    path = Path(path)
    kinds: dict[str, list] = {}
    for run, size in runs:
        kinds.setdefault(str(run.config.get("protocol", "")), []).append((run, size))
    for listed in kinds.values():
        listed.sort(key=lambda pair: -(pair[0].rank1 if pair[0].rank1 is not None else -1))
    write_page(path, template("runs.html.j2").render(kinds=kinds, grids=[(name, quote(name)) for name in grids], quote=quote))


# --------------------------------------------------------------------------------------------------------- the headline


def _sentence(metrics: Mapping) -> str:
    """Who was recognized how well, in one sentence."""
    rows = [row for row in headline(metrics) if row.rank1 is not None]
    if not rows:
        return "Nobody was recognized in this run: it measured no rank-1."
    count = people(metrics)
    shown = [row for row in rows if row.name != "mean"] or rows
    found = ", ".join(_percent(row.rank1, row.name) + _interval(row, 0) for row in shown)
    sentence = f"Cross-view rank-1{f' of {count} unseen people' if count else ''}: {found}"
    baselines = [row.baseline for row in shown if row.baseline is not None]
    if baselines:
        low, high = min(baselines), max(baselines)
        spread = _percent(low) if percent(low) == percent(high) else f"{percent(low)} to {_percent(high)}"
        sentence += f"; the hand-made baseline reaches {spread}"
    return f"{sentence}."


def _moving_picture(folder: Path) -> tuple[str, str] | None:
    """The walk with its view exchanged that notebook 04 leaves in the folder: address with all of it, text alternative."""
    address = _embedded(MOVING, folder)
    if not address:
        return None
    title = re.search(r"<title>(.*?)</title>", (folder / MOVING).read_text("utf-8", "replace"), re.DOTALL)
    return address, unescape(title[1]) if title else "Walking skeletons"


def _percent(share: float | None, name: str = "") -> str:
    return "–" if share is None else f"{name}\u00a0{percent(share)}{_THIN}%".strip()


def _interval(row, digits: int = 1) -> str:
    if row.low is None or row.high is None:
        return ""
    return f"\u00a0[{percent(row.low, digits)},\u00a0{percent(row.high, digits)}]"


# ------------------------------------------------------------------------------------------------------------- chapters


@dataclass
class Chapter:
    """One notebook as HTML, to be placed under a heading of its title.

    sections: (anchor, text) of its second-level headings. players: anchor of each output with a script module ->
    whether it exchanges codes.
    """

    title: str
    anchor: str
    html: str = ""
    sections: list[tuple[str, str]] = field(default_factory=list)
    players: dict[str, bool] = field(default_factory=dict)


class _Page:
    """Turns notebooks into chapters of one page and keeps all anchors on it different."""

    def __init__(self, taken: set[str]):
        self.taken = set(taken)

    def unique(self, wanted: str) -> str:
        candidate, n = wanted, 1
        while candidate in self.taken:
            n += 1
            candidate = f"{wanted}-{n}"
        self.taken.add(candidate)
        return candidate

    def chapter(self, path: Path, shift: int, links: Mapping[str, str], anchor: str = "") -> Chapter:
        """A notebook whose first H1 becomes the title and whose other headings move down by `shift`, to H2 at least."""
        try:
            notebook = nbformat.read(path, as_version=4)
        except (OSError, ValueError, KeyError, AttributeError, nbformat.ValidationError) as error:
            raise InputError(f"{path} cannot be read as a notebook ({type(error).__name__}); run it again.") from None
        chapter = Chapter(title="", anchor=anchor)
        writer = _NotebookWriter(self, chapter, path.parent, shift, links)
        parts = [writer.cell(cell) for cell in notebook.cells]
        chapter.title = chapter.title or re.sub(r"^\d+[_-]", "", path.stem).replace("_", " ").capitalize()
        chapter.html = Markup(writer.resolve("\n".join(part for part in parts if part)))
        return chapter


class _NotebookWriter:
    """One notebook's cells as HTML."""

    def __init__(self, page: _Page, chapter: Chapter, folder: Path, shift: int, links: Mapping[str, str]):
        self.page, self.chapter, self.folder, self.shift, self.links = page, chapter, folder, shift, links
        self.anchors: dict[str, str] = {}  # anchor as Jupyter makes it -> ours
        self.section = ""
        self.highlight = Highlight2HTML()

    def cell(self, cell) -> str:
        tags = set(cell.metadata.get("tags", []))
        if "remove-cell" in tags:
            return ""
        if cell.cell_type == "markdown":
            return f'<div class="prose">{self.markdown(cell.source, cell.get("attachments", {}))}</div>'
        if cell.cell_type == "raw":
            return ""
        shown = [] if "remove-output" in tags else [self.output(o, cell) for o in _merged(cell.outputs)]
        code = ""
        if cell.source.strip() and "remove-input" not in tags:
            label = "Show parameters" if tags & {"parameters", "injected-parameters"} else "Show code"
            code = self.highlight(cell.source).replace("<pre>", '<pre tabindex="0">', 1)  # long lines scroll, by keys too
            code = f'<details class="code"><summary>{label}</summary>{code}</details>'
        return f'<div class="cell">{code}{"".join(shown)}</div>' if code or any(shown) else ""

    # -- prose

    def markdown(self, source: str, attachments: Mapping | None = None) -> str:
        renderer = _Renderer(self, dict(attachments or {}))
        html = MarkdownWithMath(renderer=renderer).render(source).replace("<pre>", '<pre tabindex="0">')  # long lines scroll
        return _standalone(html, self.folder)

    def heading(self, text: str, level: int) -> str:
        """A heading with an anchor of its own; the first H1 becomes the chapter's title instead."""
        plain = unescape(re.sub(r"<[^>]*>", "", text)).strip()
        jupyter = plain.replace(" ", "-")
        if level == 1 and not self.chapter.title:
            self.chapter.title = plain
            self.anchors.setdefault(jupyter, self.chapter.anchor or "content")
            return ""
        prefix = f"{self.chapter.anchor}-" if self.chapter.anchor else ""
        slug = re.sub(r"[^\w]+", "-", plain.lower()).strip("-_") or "section"
        anchor = self.page.unique(prefix + slug)
        self.anchors.setdefault(jupyter, anchor)
        if level <= 2:
            self.chapter.sections.append((anchor, plain))
        self.section = plain
        level = self.level(level)
        link = f'<a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a>'
        return f'<h{level} id="{anchor}">{text} {link}</h{level}>\n'

    def level(self, level: int) -> int:
        return min(max(level, 2) + self.shift, 6)

    def link(self, url: str) -> str | None:
        """Where a link of the notebook leads on this page, or None where it would lead nowhere."""
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "mailto") or (not parts.scheme and not parts.netloc and not parts.path):
            return url
        if parts.scheme or parts.netloc:
            return None
        path = Path(unquote(parts.path))
        if path.suffix == ".ipynb" and path.stem in self.links:
            return self.links[path.stem]
        inside = not path.is_absolute() and ".." not in path.parts
        return url if inside and (self.folder / path).exists() else None

    def resolve(self, html: str) -> str:
        """Let links inside the notebook (#Some-heading) lead to the anchors they have on this page."""

        def ours(match: re.Match) -> str:
            wanted = unquote(unescape(match[2]))
            return f'{match[1]}"#{self.anchors[wanted]}"' if wanted in self.anchors else match[0]

        return _outside_scripts(html, lambda part: re.sub(r'(<a\b[^>]*?\bhref=)"#([^"]+)"', ours, part))

    # -- outputs

    def output(self, output, cell) -> str:
        if output.output_type == "stream":
            return self.stream(output.name, output.text)
        if output.output_type == "error":
            trace = ansi2html("\n".join(output.get("traceback", [])))
            what = escape(f"{output.get('ename', 'Error')}: {output.get('evalue', '')}")
            return (
                f'<div class="output error" role="note"><p>{what}</p>'
                f"<details><summary>Show traceback</summary><pre>{trace}</pre></details></div>"
            )
        data = output.get("data", {})
        if "text/html" in data:
            return self.html(_text(data["text/html"]))
        for kind in (_SVG_TYPE, "image/png", "image/jpeg", "image/gif"):
            if kind in data:
                return self.image(kind, _text(data[kind]), output, cell)
        if "text/markdown" in data:
            return f'<div class="output prose">{self.markdown(_text(data["text/markdown"]))}</div>'
        if "text/latex" in data:
            return f'<div class="output">{_formula(_text(data["text/latex"]).strip().strip("$"), display=True)}</div>'
        text = _text(data.get("text/plain", ""))
        if _WIDGET in data:
            if "Progress" in text or _PROGRESS.search(text):
                return ""
            return '<p class="output note">An interactive control: it works in JupyterLab, from the notebook.</p>'
        return "" if not text.strip() or _REPR.fullmatch(text) else self.stream("stdout", text)

    def stream(self, name: str, text: str) -> str:
        lines = [line.rsplit("\r", 1)[-1] for line in text.rstrip("\r\n").replace("\r\n", "\n").split("\n")]
        if name == "stderr" or "\r" in text:
            lines = [line for line in lines if not _PROGRESS.search(line)]
        text = "\n".join(lines).strip("\n")
        if not text.strip():
            return ""
        pre = f'<pre tabindex="0">{ansi2html(text)}</pre>'
        if name == "stderr":
            return f'<details class="output messages"><summary>Show messages</summary>{pre}</details>'
        return f'<div class="output text">{pre}</div>'

    def html(self, html: str) -> str:
        html = _standalone(html, self.folder)
        html = _outside_scripts(html, lambda part: re.sub(r"(</?h)([1-6])(?=[\s>])", self.shifted, part))
        html = self.own_ids(html)
        if not re.search(r"<script\b[^>]*type=[\"']?module", html):
            return f'<div class="output html" tabindex="0">{html}</div>'
        anchor = self.page.unique(f"{self.chapter.anchor}-player" if self.chapter.anchor else "player")
        seen = []
        _outside_scripts(html, lambda part: seen.append(part) or part)
        given = re.search(r"\"exchange\":\s*[{\[]", html)  # in the data of the player
        self.chapter.players[anchor] = bool(given) or "exchange" in "".join(seen).lower()
        return f'<div class="output html player" id="{anchor}">{html}</div>'

    def shifted(self, level: re.Match) -> str:
        return f"{level[1]}{self.level(int(level[2]))}"

    def own_ids(self, html: str) -> str:
        """Give ids that are taken on the page another name, in the markup and wherever it is quoted in scripts."""
        found: list[str] = []
        _outside_scripts(html, lambda part: found.extend(re.findall(r"<[^>]*?\sid=[\"']([^\"']+)[\"']", part)) or part)
        for old in dict.fromkeys(found):
            new = self.page.unique(old)
            if new != old:
                html = re.sub(rf"(?<=[\"'#]){re.escape(old)}(?=[\"'\s.{{,)])", new.replace("\\", "\\\\"), html)
        return html

    def image(self, kind: str, content: str, output, cell) -> str:
        metadata = output.get("metadata", {})
        own = metadata.get(kind, {}) if isinstance(metadata.get(kind), Mapping) else {}
        text = _text(output.get("data", {}).get("text/plain", "")).strip()
        alt = own.get("alt") or metadata.get("alt") or cell.metadata.get("alt")
        alt = alt or (text if text and not _REPR.fullmatch(text) else f"Figure: {self.section or self.chapter.title}")
        encoded = base64.b64encode(content.encode()).decode() if kind == _SVG_TYPE else "".join(content.split())
        width = f' width="{int(own["width"])}"' if str(own.get("width", "")).isdigit() else ""
        image = f'<img src="data:{kind};base64,{encoded}" alt="{escape(str(alt))}"{width}>'
        return f'<figure class="output figure">{image}</figure>'


class _Renderer(IPythonRenderer):
    """Markdown as HTML: headings, links, images and formulas our way."""

    def __init__(self, writer: _NotebookWriter, attachments: dict):
        super().__init__(escape=False, allow_harmful_protocols=False, attachments=attachments)
        self.writer = writer

    def heading(self, text: str, level: int, **_) -> str:
        return self.writer.heading(text, level)

    def link(self, text: str, url: str, title: str | None = None) -> str:
        target = self.writer.link(url)
        return text if target is None else super().link(text, target, title)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        prefix, _, name = url.partition(":")
        if prefix == "attachment":
            content = self.attachments.get(unquote(name), {})
            kind = next(iter(content), "")
            url = f"data:{kind};base64,{content[kind]}" if kind else ""
        caption = f' title="{escape(title)}"' if title else ""
        alt = unescape(re.sub(r"<[^>]*>", "", text))
        return f'<img src="{escape(url)}" alt="{escape(alt)}"{caption}>'

    def table(self, text: str) -> str:
        return f'<div class="scroll" tabindex="0"><table>{text}</table></div>'

    def inline_math(self, body: str) -> str:
        return _formula(body, display=False)

    def block_math(self, body: str) -> str:
        return _formula(body, display=True)

    def latex_environment(self, name: str, body: str) -> str:
        lines = body.replace("&", "").split(r"\\") if name.rstrip("*") in ("align", "aligned", "equation") else [body]
        return "".join(_formula(line, display=True) for line in lines if line.strip())


@lru_cache(maxsize=512)
def _formula(tex: str, display: bool) -> str:
    """A formula as inline SVG in the color of the text; as code where it is beyond matplotlib's mathtext."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser
    from matplotlib.path import Path as Outline
    from matplotlib.textpath import TextPath

    tex = " ".join(tex.split())
    font, em = FontProperties(math_fontfamily="stix"), 100
    unit = em / 1.12  # the letters of this font look small beside those of the text
    try:
        width, height, depth, *_ = MathTextParser("path").parse(f"${tex}$", dpi=72, prop=font)
        width, height, depth = (float(v) * em / font.get_size_in_points() for v in (width, height, depth))
        outline = TextPath((0, 0), f"${tex}$", size=em, prop=font)
    except (ValueError, RuntimeError):
        shown = f'<code class="math">{escape(tex)}</code>'
        return f'<div class="math display">{shown}</div>' if display else shown
    letters = {
        Outline.MOVETO: "M",
        Outline.LINETO: "L",
        Outline.CURVE3: "Q",
        Outline.CURVE4: "C",
        Outline.CLOSEPOLY: "Z",
    }
    steps = []
    for points, code in outline.iter_segments():
        numbers = "" if code == Outline.CLOSEPOLY else " ".join(f"{x:.1f} {-y:.1f}" for x, y in points.reshape(-1, 2))
        steps.append(letters[code] + numbers)
    top = height - depth
    svg = (
        f'<svg class="math" role="img" aria-label="{escape(tex)}" viewBox="0 {-top:.1f} {width:.1f} {height:.1f}" '
        f'style="width:{width / unit:.3f}em;height:{height / unit:.3f}em;vertical-align:{-depth / unit:.3f}em">'
        f'<path fill="currentColor" d="{"".join(steps)}"/></svg>'
    )
    return f'<div class="math display" tabindex="0">{svg}</div>' if display else svg


# ------------------------------------------------------------------------------------------- nothing from anywhere else


def _standalone(html: str, folder: Path) -> str:
    """HTML without anything that a browser would fetch: images of the folder are embedded, all else is taken out."""
    html = re.sub(r"<script\b[^>]*\bsrc\s*=[^>]*>.*?</script\s*>", "", html, flags=re.DOTALL | re.IGNORECASE)

    def clean(part: str) -> str:
        part = re.sub(r"<(link|base|meta)\b[^>]*>", "", part, flags=re.IGNORECASE)
        part = re.sub(r"@import\b[^;]*;", "", part, flags=re.IGNORECASE)
        part = re.sub(r"url\(\s*[\"']?(?!data:|#)[^)]*\)", "none", part, flags=re.IGNORECASE)
        part = re.sub(r"\s(srcset|poster)\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s>]+)", "", part, flags=re.IGNORECASE)
        tags = r"<(img|iframe|embed|object|video|audio|source|track|input|image|use)\b[^>]*>"
        return re.sub(tags, lambda tag: _local(tag[0], tag[1].lower(), folder), part, flags=re.IGNORECASE)

    return _outside_scripts(html, clean)


def _local(tag: str, kind: str, folder: Path) -> str:
    """A tag with what it shows embedded, or, where that is not in the folder, without it."""
    source = re.search(r"\s(src|data|href|xlink:href)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]+))", tag, re.IGNORECASE)
    if not source:
        return tag
    url = unescape(next(value for value in (*source.groups()[1:], "") if value is not None))
    if url.startswith(("data:", "#", "blob:")):
        return tag
    embedded = _embedded(url, folder)
    if embedded:
        return tag.replace(source[0], f' {source[1]}="{embedded}"')
    if kind != "img":
        return tag.replace(source[0], "")
    alt = re.search(r"\salt\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", tag, re.IGNORECASE)
    words = next((group for group in alt.groups() if group), "") if alt else ""
    return f'<span class="note">[image not included{f": {words}" if words else ""}]</span>'


def _embedded(url: str, folder: Path) -> str | None:
    """A file inside the folder as a data: address."""
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.scheme or parts.netloc or path.is_absolute() or ".." in path.parts or not (folder / path).is_file():
        return None
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode((folder / path).read_bytes()).decode()}"


def _outside_scripts(html: str, change) -> str:
    """Apply `change` to all of the HTML but whole script elements."""
    parts = re.split(r"(<script\b.*?</script\s*>)", html, flags=re.DOTALL | re.IGNORECASE)
    return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))


# ---------------------------------------------------------------------------------------------------------------- files


def _merged(outputs: Iterable) -> list:
    """Outputs with neighboring pieces of the same stream joined, as they were printed."""
    merged: list = []
    for output in outputs:
        last = merged[-1] if merged else None
        if output.output_type == "stream" and last and last.output_type == "stream" and last.name == output.name:
            last.text = _text(last.text) + _text(output.text)
        else:
            merged.append(output)
    return merged


def _text(value) -> str:
    return "".join(value) if isinstance(value, list) else str(value)


def _relative(path: Path, folder: Path) -> str | None:
    """The address of an existing file as seen from the page, or None."""
    if not path.exists():
        return None
    return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gaitlib", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "interval": lambda row: _interval(row).strip() or "–", "plain": _plain}
    environment.globals["css"] = Markup((Path(__file__).parent / "page.css").read_text("utf-8"))
    return environment


def template(name: str):
    return _environment().get_template(name)


def _plain(value) -> str:
    """A value of the configuration or provenance as a reader wants it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:,.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(v) for v in value) or "none"
    return str(value)


def write_page(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part, part.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.write(text)
