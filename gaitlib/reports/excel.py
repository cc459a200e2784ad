"""Excel files: one sheet per table, with number formats; results.xlsx also has charts and a matrix for each probe set."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, count, cycle
from pathlib import Path

import numpy as np
import pandas as pd
from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, Cell
from openpyxl.chart import BarChart, LineChart, Reference
from openpyxl.chart.data_source import NumDataSource, NumRef
from openpyxl.chart.error_bar import ErrorBars
from openpyxl.chart.shapes import GraphicalProperties
from openpyxl.comments import Comment
from openpyxl.drawing.line import LineProperties
from openpyxl.formatting.rule import ColorScaleRule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter, quote_sheetname
from openpyxl.worksheet.hyperlink import Hyperlink
from openpyxl.worksheet.worksheet import Worksheet

from gaitlib.evaluation.ranking import RankMatrix
from gaitlib.files import replacing
from gaitlib.reports import tables
from gaitlib.reports.tables import BASELINE, RANK1, SAME_VIEW, Table

#: Kind of a column of a table -> number format.
_FORMATS = {
    "share": "0.0 %", "points": '+0.0" points";-0.0" points";0.0" points"', "percent": '0.0" %"', "count": "#,##0",
    "decimal": "0.00", "lost": "0.0 %", "number": "[<0.001]0.0E+00;[<10]0.0000;0.0", "weight": "General", "text": "General",
}  # fmt: skip
_WORSE = {"percent", "lost"}  # kinds of which more is worse
_LENGTHS = "Error bars"  # a sheet that charts need and nobody reads
_LINKS = 5  # in a column of the summary
_LONGEST_TEXT = 32_767  # Excel's limit for a cell
_BLUE, _ORANGE, _GREEN, _PURPLE = "0072B2", "D55E00", "009E73", "CC79A7"
_BLUE_SHADE, _ORANGE_SHADE = "5AA9DC", "E8A06E"
_DASHES = ("solid", "dash", "sysDot", "dashDot")

_TITLE = Font(name="Calibri", size=16, bold=True, color="1D2329")
_TEXT = Font(name="Calibri", size=11, color="1D2329")
_BOLD = Font(name="Calibri", size=11, bold=True, color="1D2329")
_NOTE = Font(name="Calibri", size=10, italic=True, color="59636F")
_LINK = Font(name="Calibri", size=10, underline="single", color="0072B2")
_HEAD_FILL = PatternFill("solid", fgColor="E9EDF1")
_DIAGONAL_FILL = PatternFill("solid", fgColor="D0D4D9")
_LINE = Side(style="thin", color="C3C9D0")
_STRONG = Side(style="medium", color="59636F")
_WRAPPED = Alignment(horizontal="left", vertical="top", wrap_text=True)


def write_results(
    path: Path, *, metrics: dict, matrices: dict, baseline_matrices: dict, config: dict, provenance: dict, left_out: list,
    background: Sequence[Table] = (),
) -> None:  # fmt: skip
    """Write results.xlsx; the file appears whole or the older one stays. All text passes `safe_text`.

    metrics: the content of metrics.json; its shares are written as numbers of full precision, shown as percent.
    matrices, baseline_matrices: probe set -> RankMatrix of the model and of the hand-made baseline.
    config, provenance: nested dicts, one row per value. left_out: a list of {"source", "reason"}, walks that were not used.
    background: more tables, as those of gaitlib.reports.background.
    """
    measured = [_wide(t, "Measure") if t.name in ("Ranking", "Verification") else t for t in tables.all_measured(metrics)]
    settings = [tables.key_values("Config", "Configuration", config), tables.key_values("Provenance", "Provenance", provenance)]
    others = [*measured, *background, tables.left_out(left_out), *settings]
    taken = {"summary", "history", _LENGTHS.lower(), *(table.name.lower() for table in others)}  # History is Excel's own
    with _written(path, "Gait recognition results") as book:
        book.create_sheet(_LENGTHS).sheet_state = "hidden"
        _summary(book, metrics, str((provenance.get("protocol") or {}).get("summary", "")))
        lowest = _lowest(matrices.values())
        for probe_set, matrix in matrices.items():
            sheet = book.create_sheet(_sheet_name(probe_set, taken))
            _matrix_sheet(sheet, probe_set, matrix, baseline_matrices.get(probe_set), lowest)
        for table in others:
            _add(book, table)
        for table in measured:
            if draw := {"CMC": _cmc_chart, "Ablations": _ablation_chart}.get(table.name):
                draw(book[table.name], table)
        book.move_sheet(_LENGTHS, len(book.sheetnames))
        book.active = 0
        _link_sheets(book["Summary"], book.sheetnames[1:-1], top=6 + len(metrics.get("rank1") or {}))


def write_tables(path: Path, title: str, written: Iterable[Table]) -> None:
    """Write an Excel file with one sheet per table; it appears whole or the older one stays."""
    with _written(path, title) as book:
        for table in written:
            _add(book, table)


@contextmanager
def _written(path: Path, title: str) -> Iterator[Workbook]:
    """An empty workbook, which is saved at the end; each sheet prints on one page."""
    book = Workbook()
    book.remove(book.active)
    book.properties.creator = book.properties.lastModifiedBy = "gaitlib"
    book.properties.title = title
    yield book
    for sheet in book:
        sheet.sheet_view.showGridLines = False
        sheet.page_setup.orientation, sheet.page_setup.paperSize = "landscape", sheet.PAPERSIZE_A4
        sheet.sheet_properties.pageSetUpPr.fitToPage = True
        sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 1
        sheet.print_options.horizontalCentered = True
        sheet.page_margins.left = sheet.page_margins.right = 0.4
        sheet.oddFooter.center.text = "&A"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        book.save(part)


def _add(book: Workbook, table: Table) -> Worksheet:
    """A table on a sheet of its own, or below another one with the same sheet name."""
    if table.name in book.sheetnames:
        sheet = book[table.name]
        _write_table(sheet, table, top=sheet.max_row + 3, left=2)
        return sheet
    sheet = book.create_sheet(table.name)
    texts = [kind == "text" for kind in table.kinds]
    for c, (is_text, (name, cells)) in enumerate(zip(texts, table.frame.items(), strict=True), 1):
        longest, word = max([len(name), *cells.map(str).map(len)]), max(map(len, name.split()), default=0)
        width = 3 + min(80, max(9, longest)) if is_text else max(12.5, 2 + len(name) / 2, 2 + 1.1 * word)
        sheet.column_dimensions[get_column_letter(c)].width = width
    header = _write_table(sheet, table)
    if len(table.frame):
        sheet.freeze_panes = sheet.cell(header + 1, 1 + next((c for c, is_text in enumerate(texts) if not is_text), 0))
    if len(table.frame):
        sheet.auto_filter.ref = f"A{header}:{get_column_letter(len(texts))}{header + len(table.frame)}"
    return sheet


def _write_table(sheet: Worksheet, table: Table, top: int = 1, left: int = 1) -> int:
    """Title, note, header and rows, starting at a cell; returns the row of the header."""
    _write(sheet.cell(top, left), table.title, _TITLE if top == 1 else _BOLD)
    if table.note:
        _write_note(sheet, top + 1, table.note)
    header = top + (3 if table.note else 2 if top == 1 else 1)
    if not len(table.frame):
        return header
    names = table.frame.iloc[:, 0].tolist()
    kinds = [table.kinds[span.start] for span in table.spans for _ in range(span.start, span.stop)]  # ENDS are as their value
    for c, (name, kind) in enumerate(zip(table.frame.columns, kinds, strict=True), left):
        _head_cell(sheet.cell(header, c), name, "left" if kind == "text" else "right", _STRONG)
        for r, value in enumerate(table.frame.iloc[:, c - left], header + 1):
            cell, is_mean = sheet.cell(r, c), names[r - header - 1] == "mean"
            missing = "" if kind == "count" else "Not measured."
            shown = 100 * value if kind == "points" else value
            _write(cell, shown, _BOLD if c == left or is_mean else _TEXT, _FORMATS[kind], missing)
            cell.border = Border(top=_STRONG if is_mean else None, bottom=_LINE)
            if kind == "text":
                cell.alignment = _WRAPPED
            if c == left and value in table.links:
                cell.hyperlink = table.links[value]
        if name in table.shaded:
            column = get_column_letter(c)
            where = f"{column}{header + 1}:{column}{header + len(table.frame)}"
            color = _ORANGE_SHADE if kind in _WORSE else _BLUE_SHADE
            sheet.conditional_formatting.add(where, _color_scale(*table.shaded[name], color))
    sheet.row_dimensions[header].height = 34  # for two lines
    return header


def _summary(book: Workbook, metrics: Mapping, about: str) -> None:
    table = tables.headline(metrics)
    sheet, counted = _add(book, replace(table, note=f"{table.note} {about}")), tables.totals(metrics)
    top = 6 + len(table.frame)
    for r, (name, number) in enumerate(counted.items(), top):
        _write(sheet.cell(r, 1), name)
        _write(sheet.cell(r, 2), number, number_format="#,##0")
    sheet.column_dimensions["A"].width = max(20, sheet.column_dimensions["A"].width)  # for the names of the counts
    if len(table.frame):
        sheet.add_chart(_bars(sheet, table), f"A{top + max(len(counted), _LINKS) + 2}")


def _link_sheets(sheet: Worksheet, names: Sequence[str], top: int) -> None:
    """Links to the other sheets, beside the counts."""
    _write(sheet.cell(top, 4), "Sheets of this file", _BOLD)
    for k, name in enumerate(names):
        cell = sheet.cell(top + 1 + k % _LINKS, 4 + 2 * (k // _LINKS))  # over two columns: names are longer than one is wide
        _write(cell, name, _LINK)
        cell.hyperlink = Hyperlink(ref=cell.coordinate, location=f"{quote_sheetname(name)}!A1")


def _bars(sheet: Worksheet, table: Table) -> BarChart:
    chart, last = BarChart(), 4 + len(table.frame)
    chart.type, chart.grouping, chart.gapWidth, chart.overlap = "col", "clustered", 70, -5
    for name, color in ((RANK1, _BLUE), (SAME_VIEW, "7FC4EA"), (BASELINE, _ORANGE)):
        column = 1 + list(table.frame).index(name)
        chart.add_data(Reference(sheet, min_col=column, min_row=4, max_row=last), titles_from_data=True)
        chart.series[-1].graphicalProperties = GraphicalProperties(solidFill=color)
    chart.set_categories(Reference(sheet, min_col=1, min_row=5, max_row=last))
    chart.series[0].errBars = _error_bars(chart, sheet.parent[_LENGTHS], table.frame, RANK1)
    width = 2.45 * min(12, len(table.frame.columns)) + 1.5  # that of the table
    _finish(chart, "Rank-1 by probe set, with 95 % intervals", 10, width, 11.5)
    return chart


def _ablation_chart(sheet: Worksheet, table: Table) -> None:
    chart, last = BarChart(), 4 + len(table.frame)
    chart.type, chart.gapWidth = "bar", 40
    chart.add_data(Reference(sheet, min_col=3, min_row=4, max_row=last), titles_from_data=True)
    chart.set_categories(Reference(sheet, min_col=2, min_row=5, max_row=last))
    chart.series[0].graphicalProperties = GraphicalProperties(solidFill=_BLUE)
    chart.series[0].errBars = _error_bars(chart, sheet.parent[_LENGTHS], table.frame, "Mean")
    _finish(chart, "Mean cross-view rank-1, with 95 % intervals", 10, 24, 3 + 0.6 * len(table.frame))
    chart.x_axis.scaling.orientation, chart.y_axis.crosses = "maxMin", "max"  # the first row on top, the shares below
    chart.legend = None
    sheet.add_chart(chart, f"A{last + 3}")


def _error_bars(chart: BarChart, hidden: Worksheet, frame: pd.DataFrame, name: str) -> ErrorBars:
    """Error bars of a column that is followed by its ENDS; their lengths stand in two columns of a hidden sheet.

    As constants within the chart, which the format allows too, LibreOffice does not draw them.
    """
    chart.visible_cells_only = False
    c, sources = list(frame).index(name), []
    for k in (1, 2):
        column = hidden.max_column + 1
        for r, length in enumerate((frame.iloc[:, c + k] - frame.iloc[:, c]).abs().fillna(0), 1):
            hidden.cell(r, column).value = length
        sources.append(NumDataSource(numRef=NumRef(f=Reference(hidden, column, 1, column, len(frame)))))
    line = GraphicalProperties(ln=LineProperties(solidFill="1D2329", w=12_700))
    return ErrorBars(errBarType="both", errValType="cust", minus=sources[0], plus=sources[1], spPr=line)


def _cmc_chart(sheet: Worksheet, table: Table) -> None:
    chart = LineChart()
    data = Reference(sheet, min_col=2, max_col=sheet.max_column, min_row=4, max_row=sheet.max_row)
    chart.add_data(data, titles_from_data=True)
    chart.set_categories(Reference(sheet, min_col=1, min_row=5, max_row=sheet.max_row))
    for series, color, dash in zip(chart.series, cycle((_BLUE, _ORANGE, _GREEN, _PURPLE)), cycle(_DASHES), strict=False):
        series.graphicalProperties = GraphicalProperties(ln=LineProperties(solidFill=color, w=25_400, prstDash=dash))
        series.smooth = False
    _finish(chart, "Cumulative match characteristic", 12, 20, 10)
    chart.y_axis.scaling.min = min(math.floor(10 * table.frame.iloc[0, 1:].min()) / 10, 0.9)
    chart.y_axis.majorUnit = None
    sheet.add_chart(chart, f"{get_column_letter(sheet.max_column + 2)}4")


def _finish(chart: BarChart | LineChart, title: str, style: int, width: float, height: float) -> None:
    """Shares from 0 to 100 %, the legend below; width and height in cm."""
    chart.title, chart.style, chart.width, chart.height = title, style, width, height
    chart.y_axis.scaling.min, chart.y_axis.scaling.max, chart.y_axis.majorUnit = 0, 1, 0.2
    chart.y_axis.number_format, chart.y_axis.numFmt.sourceLinked = "0 %", False
    chart.y_axis.majorGridlines.spPr = GraphicalProperties(ln=LineProperties(solidFill="E3E6EA"))
    chart.x_axis.delete = chart.y_axis.delete = False  # openpyxl hides both where this is not said
    chart.legend.position = "b"


def _lowest(matrices: Iterable[RankMatrix]) -> float:
    """Where the color scale of all matrices begins: the lowest rank-1 of two unlike views, rounded down to ten percent."""
    unlike = [m.cells()[np.array(m.probe_views)[:, None] != np.array(m.gallery_views)] for m in matrices]
    cells = np.concatenate([*unlike, [0.9]])
    return math.floor(10 * np.nanmin(cells) + 1e-9) / 10


def _matrix_sheet(sheet: Worksheet, probe_set: str, matrix: RankMatrix, baseline: RankMatrix | None, lowest: float) -> None:
    views = len(matrix.gallery_views)
    for c, width in enumerate([18] + [max(10, 60 / views)] * views + [16], 1):
        sheet.column_dimensions[get_column_letter(c)].width = width
    _write(sheet.cell(1, 1), f"Rank-1 of {probe_set}: probe view against gallery view", _TITLE)
    note = "Rows are probe views, columns are gallery views. Gray: the same view, left out of all means and of the color scale. "
    _write_note(sheet, 2, f"{note}Colors run from {100 * lowest:.0f} % (white) to 100 % (blue) on every sheet.")
    r = _matrix_block(sheet, 4, "Rank-1", matrix, lowest)
    if baseline:
        r = _matrix_block(sheet, r + 1, "Rank-1 of the hand-made baseline", baseline, lowest)
    if len(np.unique(matrix.counts)) == 1:
        r += 1
        _write(sheet.cell(r, 1), "Number of probes", _BOLD)
        _write(sheet.cell(r, 2), f"{matrix.counts.flat[0]:,} in every cell")
    else:
        r = _matrix_block(sheet, r + 1, "Number of probes", matrix, counts=True)
    if any(np.isnan(m.cells()).any() for m in (matrix, baseline) if m):
        _write_note(sheet, r + 1, "Blank: nobody has both a probe in that view and a gallery walk in the other.")
    sheet.freeze_panes = sheet.cell(7, 2)  # the header of the first block, whose columns all blocks share


def _matrix_block(sheet: Worksheet, top: int, title: str, matrix: RankMatrix, lowest: float = 0, counts: bool = False) -> int:
    """Rank-1 with its margins, or the counts without, the title in row `top`; returns the first free row below."""
    views, columns, rows = list(matrix.probe_views), list(matrix.gallery_views), matrix.counts.astype(float)
    if not counts:
        rows = np.vstack([np.c_[matrix.cells(), matrix.probe_margin()], [*matrix.gallery_margin(), matrix.mean()]])
    names = [["probe view ↓", *columns, "mean of others"], [*views, "mean of others"]]
    _write(sheet.cell(top, 1), title, _BOLD)
    _write(sheet.cell(top + 1, 2), "gallery view →", _NOTE)
    for c, name in enumerate(names[0][: rows.shape[1] + 1], 1):
        _head_cell(sheet.cell(top + 2, c), name, "right" if c > 1 else "left", _STRONG)
    others = []
    for i, row in enumerate(rows):
        _head_cell(sheet.cell(top + 3 + i, 1), names[1][i])
        for j, value in enumerate(row):
            cell, below, beside = sheet.cell(top + 3 + i, j + 2), i == len(views), j == len(columns)
            _write(cell, value, _BOLD if below or beside else _TEXT, "#,##0" if counts else "0.0 %", "Nobody to compare.")
            cell.border = Border(left=_STRONG if beside else _LINE, right=_LINE, top=_STRONG if below else _LINE, bottom=_LINE)
            if names[0][j + 1] == names[1][i]:
                cell.fill = _HEAD_FILL if below else _DIAGONAL_FILL
            elif not below and not beside:
                others.append(cell.coordinate)
    r = top + 4 + len(views)
    if counts:
        return r
    if others:
        sheet.conditional_formatting.add(" ".join(others), _color_scale(lowest, 1))
    _write(sheet.cell(r, 1), "same view", _NOTE)
    _write(sheet.cell(r, 2), matrix.same_view_mean(), _NOTE, "0.0 %", "No such pair.")
    return r + 2


def _write(cell: Cell, value: object, font: Font = _TEXT, number_format: str = "General", missing: str = "Not measured.") -> None:
    """A text, which becomes no formula, a truth value, or a number in full precision, where it is NaN a note that says why."""
    cell.font, cell.number_format = font, number_format
    if isinstance(value, str):
        cell.value, cell.data_type = safe_text(value), "s"
    elif isinstance(value, (bool, int)):
        cell.value = value
    elif math.isfinite(value):
        # openpyxl would write 16 digits and a float can need 17; a number's cell takes its text as it is
        cell.value = value
        cell._value = f"{value:.0f}" if number_format == "#,##0" else repr(float(value))
    elif missing:
        cell.comment = Comment(missing, "gaitlib", width=180, height=40)


def safe_text(text: str) -> str:
    """Text that any spreadsheet program takes as text: storable, not too long, and no formula.

    Characters that Excel files cannot hold are removed; a leading = + - @, tab or carriage return gets an apostrophe
    in front (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    text = ILLEGAL_CHARACTERS_RE.sub("", text).encode("utf-8", "ignore").decode()
    text = re.sub("[\ufffe\uffff]", "", text)
    is_formula = text.startswith(("\t", "\r")) or text.lstrip().startswith(("=", "+", "-", "@"))
    return ("'" * is_formula + text)[:_LONGEST_TEXT]


def _write_note(sheet: Worksheet, row: int, text: str) -> None:
    """A sentence over the width of the table; the columns have their widths already."""
    widths = [dimension.width for dimension in sheet.column_dimensions.values()]
    sheet.merge_cells(start_row=row, end_row=row, start_column=1, end_column=len(widths))
    _write(sheet.cell(row, 1), text, _NOTE)
    sheet.cell(row, 1).alignment = _WRAPPED
    sheet.row_dimensions[row].height = 14 * math.ceil(len(text) / sum(widths))


def _head_cell(cell: Cell, text: str, align: str = "left", bottom: Side = _LINE) -> None:
    _write(cell, str(text), _BOLD)
    cell.fill, cell.border = _HEAD_FILL, Border(bottom=bottom)
    cell.alignment = Alignment(horizontal=align, vertical="center", wrap_text=True)


def _wide(table: Table, across: str) -> Table:
    """A table of one value per row as one with a column for each text of `across`, its ENDS behind it."""
    texts = [name for name, kind in zip(table.frame, table.kinds, strict=True) if kind == "text" and name != across]
    parts = [
        part.set_index(texts).drop(columns=across).rename(columns={"Value": measure})
        for measure, part in table.frame.groupby(across, sort=False)
    ]
    return replace(table, frame=pd.concat(parts, axis=1).reset_index())


def _color_scale(low: float, high: float, color: str = _BLUE_SHADE) -> ColorScaleRule:
    return ColorScaleRule("num", low, "FFFFFF", "num", high, color)


def _sheet_name(name: str, taken: set[str]) -> str:
    """A name as Excel takes it: at most 31 characters, some not allowed, unlike all that are taken, whatever its case."""
    base = re.sub(r"[\[\]:*?/\\]", "-", ILLEGAL_CHARACTERS_RE.sub("", name)).strip("' ")[:31].rstrip("' ") or "probe set"
    candidates = chain([base], (f"{base[: 30 - len(str(n))]} {n}" for n in count(2)))
    found = next(candidate for candidate in candidates if candidate.lower() not in taken)
    taken.add(found.lower())
    return found
