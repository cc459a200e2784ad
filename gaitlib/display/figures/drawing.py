"""What all figures share: the style, titles and text alternatives, parts that many of them have, and how they are shown.

Text from outside, such as names of people, views and runs, is drawn as it is: mathematical text is off (see workbook.mplstyle),
and legends are given their handles, because matplotlib leaves out names that begin with "_" when it looks for them itself.
"""

import base64
import functools
import html
import io
import mimetypes
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import IPython.display
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gaitlib.data.views import degrees
from gaitlib.rounding import UNIT

STYLE = Path(__file__).with_name("workbook.mplstyle")
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
INK, MUTED, FAINT, PALE = "#1d2329", "#59636f", "#e6e9ed", "#aab2bb"
#: The ground of a figure, and lines in its color between cells.
PAPER = "#fefefe"
#: Colors on a dark page by those on a light one, also those of workbook.mplstyle. Others stay: cells keep their colors, and the
#: numbers in them stay black or white.
DARK = {
    PAPER: "#14171b", INK: "#e4e8ec", MUTED: "#a5aeb8", FAINT: "#2a3037", PALE: "#6b7580", "#3c454f": "#c3cad1",
    BLUE: "#56b4e9", ORANGE: "#ff8f4d", GREEN: "#3ccf9f", PURPLE: "#dba1c2", "#000000": "#e4e8ec",
    "#a84a00": "#ff9a57", "#cfe4f3": "#1c3b52", "#f6dccb": "#50301c", "#eef0f3": "#2a3037",
}  # fmt: skip
#: Good is dark in every map.
DARK_IS_GOOD = mpl.colors.LinearSegmentedColormap.from_list("dark is good", ["#f3f8fc", "#86bfe0", "#1b78b3", "#06324f"])
DARK_IS_LOW = DARK_IS_GOOD.reversed()
#: Style of all text of a figure on a page.
_FONT = "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif!important}"
#: Curves differ in these, not in color alone.
DASHES, MARKERS = ("-", "--", ":", "-."), "osD^"
#: Fonts with the letters that DejaVu Sans lacks, Chinese, Japanese and Korean ones; those that are installed are used.
OTHER_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "PingFang SC",
    "Hiragino Sans", "Malgun Gothic", "Apple SD Gothic Neo", "Arial Unicode MS",
)  # fmt: skip


@functools.cache
def style() -> list:
    """What `matplotlib.style.context` takes: the look, and the fonts in which a letter is looked for."""
    own = mpl.rc_params_from_file(STYLE, use_default_template=False)["font.family"]
    installed = set(font_manager.get_font_names())
    return [STYLE, {"font.family": [*own, *(font for font in OTHER_FONTS if font in installed)]}]


def styled(function: Callable) -> Callable:
    """Let a function draw in the workbook's style whatever style its caller uses."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with mpl.style.context(style()):
            return function(*args, **kwargs)

    return wrapper


def stated(where: Axes | Figure, statement: str, details: str, width: int = 74, pad: float | None = None) -> Figure:
    """Put a statement above axes, or above all panels of a figure, and give the figure, which is returned, its `fig.alt`.

    details: what this text alternative says beside the statement. width: letters of a line. pad: points between title and axes.
    """
    fig, text = where.figure, textwrap.fill(statement.replace(" %", UNIT), width)
    if where is fig:
        fig.suptitle(text, x=0.01, ha="left", weight="bold", fontsize=12)
    else:
        where.set_title(text, pad=pad)
    fig.alt = f"{statement}. {details}"
    return fig


def subtitle(ax: Axes, text: str, pad: float = 6) -> None:
    """Put a smaller line above one panel, `pad` points from it."""
    ax.set_title(text, fontsize=10.5, weight="normal", pad=pad)


def spoken(joint: str) -> str:
    """A joint, or a part of the loss, as one says it: "left wrist"."""
    return joint.replace("_", " ")


def unit_of(views: Iterable[str]) -> str:
    """The unit of an axis of views: degrees where all are numbers, none for names."""
    return "" if None in map(degrees, views) else " (degrees)"


def bare(ax: Axes) -> None:
    """Take the frame and the marks of the ticks away from axes that are filled by cells."""
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def color_bar(artist, axes, label: str, **options) -> None:
    """Add a color bar without a frame for an image or dots, beside one or several axes."""
    bar = np.ravel(axes)[0].figure.colorbar(artist, ax=axes, label=label, **{"pad": 0.02, **options})
    bar.outline.set_visible(False)


def cells(
    ax: Axes, table: pd.DataFrame, texts: pd.DataFrame, colors: mpl.colors.Colormap, ends: Sequence[float], size: float = 9
) -> mpl.cm.ScalarMappable:
    """Fill axes with colored cells and their texts; returns what a color bar is made of.

    table: float, NaN = an empty cell. ends: the numbers of the first and the last color. size: of the texts, points.
    """
    image = ax.pcolormesh(np.ma.masked_invalid(table), cmap=colors, vmin=ends[0], vmax=ends[1], ec=PAPER, lw=1.5)
    ax.set(xlim=(0, table.shape[1]), ylim=(table.shape[0], 0))
    ax.set_xticks(np.arange(table.shape[1]) + 0.5, table.columns)
    ax.set_yticks(np.arange(table.shape[0]) + 0.5, table.index)
    for (y, x), value in np.ndenumerate(table.to_numpy()):
        if np.isfinite(value):
            ax.text(x + 0.5, y + 0.5, texts.iat[y, x], ha="center", va="center", size=size, color=readable(image.to_rgba(value)))
    bare(ax)
    return image


def readable(color: tuple) -> str:
    """Black or white, whichever stands out more from a color: the better contrast by WCAG 2.2, relative luminance."""
    parts = np.array(mpl.colors.to_rgb(color))
    luminance = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    return "#111111" if luminance > 0.18 else "#ffffff"


def whiskers(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The lengths of whiskers as `errorbar` takes them: float [N] each -> float [2, N]."""
    return np.vstack([value - low, high - value]).clip(0)


@styled
def show(fig: Figure | str, folder: str | Path | None = None, name: str = "figure") -> None:
    """Display a figure as `embedded`, or the sentence that takes its place.

    folder: where NAME.png and NAME.svg, named as a file can be, are saved as well.
    """
    if isinstance(fig, str):
        IPython.display.display(IPython.display.HTML(f"<p>{html.escape(fig)}</p>"))
        return
    if folder is not None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.+-]+", "-", name)  # a probe set may be called A/B
        for kind in ("png", "svg"):
            (folder / f"{name}.{kind}").write_bytes(_bytes(fig, kind))
    IPython.display.display(IPython.display.HTML(embedded(fig)))


@styled
def embedded(fig: Figure) -> str:
    """A figure as an <img> with its text alternative: an SVG that is dark where the reader prefers dark pages."""
    width = round(fig.get_size_inches()[0] * 100)
    look = f"width:{width}px;max-width:100%;height:auto;border-radius:8px"
    return _image("image/svg+xml", _themed(_bytes(fig, "svg").decode()).encode(), fig.alt, look)


def _themed(svg: str) -> str:
    """A figure as matplotlib writes it, with the colors of DARK where the reader prefers dark pages, in the reader's own font."""
    light, dark = (
        ";".join(f"--{key[1:]}:{color}" for key, color in colors.items()) for colors in ({key: key for key in DARK}, DARK)
    )
    style = f"<style>:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}{_FONT}</style>"
    svg = re.sub("|".join(DARK), lambda color: f"var(--{color[0][1:]})", svg)
    return re.sub(r"(<svg[^>]*>)", lambda start: start[1] + style, svg, count=1)


def show_picture(path: str | Path, text: str) -> None:
    """Display a file, an SVG such as `animation` writes or a JPEG, with its text alternative; it is embedded."""
    kind, _ = mimetypes.guess_type(path)
    picture = _image(kind, Path(path).read_bytes(), text, "max-width:100%;height:auto")
    IPython.display.display(IPython.display.HTML(picture))


def _image(kind: str, data: bytes, text: str, look: str) -> str:
    source = base64.b64encode(data).decode("ascii")
    return f'<img alt="{html.escape(text, quote=True)}" style="{look}" src="data:{kind};base64,{source}">'


def _bytes(fig: Figure, kind: str) -> bytes:
    """The file, without dates and versions, so that the same data give the same bytes."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format=kind, dpi=200, metadata={"Software": None} if kind == "png" else {"Date": None})
    return buffer.getvalue()
