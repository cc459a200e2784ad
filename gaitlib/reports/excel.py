"""results.xlsx: the headline table with a chart, a matrix a probe set, and a sheet for every other table of an evaluation."""

import math
import re
from collections.abc import Iterable, Mapping
from itertools import cycle, groupby
from pathlib import Path

import numpy as np
from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, Cell
from openpyxl.chart import BarChart, LineChart, Reference
from openpyxl.chart.data_source import NumData, NumDataSource, NumVal
from openpyxl.chart.error_bar import ErrorBars
from openpyxl.chart.shapes import GraphicalProperties
from openpyxl.comments import Comment
from openpyxl.drawing.line import LineProperties
from openpyxl.formatting.rule import ColorScaleRule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from gaitlib.evaluation.results import GUESSES, RANKING, VERIFICATION, measured_on
from gaitlib.files import replacing
from gaitlib.reports.headline import HeadlineRow, headline, totals
from gaitlib.reports.run import flat

PERCENT = "0.0%"
_LONGEST_TEXT = 32_767  # Excel's limit for a cell
_BLUE, _ORANGE, _GREEN, _PURPLE = "0072B2", "D55E00", "009E73", "CC79A7"
_ENDS = ["Value", "95 % low", "95 % high"]
_DASHES = ("solid", "dash", "sysDot", "dashDot")

TITLE = Font(name="Calibri", size=16, bold=True, color="1D2329")
TEXT = Font(name="Calibri", size=11, color="1D2329")
BOLD = Font(name="Calibri", size=11, bold=True, color="1D2329")
_NOTE = Font(name="Calibri", size=10, italic=True, color="59636F")
_HEAD_FILL = PatternFill("solid", fgColor="E9EDF1")
_DIAGONAL_FILL = PatternFill("solid", fgColor="D0D4D9")
LINE = Side(style="thin", color="C3C9D0")
_STRONG = Side(style="medium", color="59636F")


def write_results(
    path: str | Path,
    *,
    metrics: dict,
    matrices: Mapping,
    baseline_matrices: Mapping | None,
    config: dict,
    provenance: dict,
    left_out: list[dict],
) -> None:
    """Write results.xlsx; the file appears whole or the older one stays.

    metrics: the content of metrics.json; its shares are written as numbers of full precision, shown as percent.
    matrices, baseline_matrices: probe set -> RankMatrix of the model and of the hand-made baseline; rank-1 as float64
        [probe views, gallery views], shares 0..1, NaN = nobody to compare, which becomes a blank cell with a note.
    config, provenance: nested dicts, one row a value.
    left_out: a list of {"source", "reason"}, walks that were not used.
    All text passes `safe_text`. Raises OSError where the file cannot be written.
    """
    book = Workbook()
    book.properties.creator = book.properties.lastModifiedBy = "gaitlib"
    book.properties.title = "Gait recognition results"
    names = _SheetNames(reserved=["Summary", *_TABLES, "Left-out walks", "Config", "Provenance", "History"])
    _summary(book.active, metrics, str((provenance.get("protocol") or {}).get("summary", "")))
    for probe_set, matrix in matrices.items():
        sheet = book.create_sheet(names.unique(probe_set))
        _matrix_sheet(sheet, probe_set, matrix, (baseline_matrices or {}).get(probe_set))
    for name, (write, key) in _TABLES.items():
        if metrics.get(key):
            write(book.create_sheet(name), metrics)
    _left_out(book.create_sheet("Left-out walks"), left_out)
    _key_values(book.create_sheet("Config"), "Configuration", config)
    _key_values(book.create_sheet("Provenance"), "Provenance", provenance)
    save_book(book, Path(path))


# --------------------------------------------------------------------------------------------------------------- sheets


def _summary(sheet: Worksheet, metrics: Mapping, about: str) -> None:
    sheet.title = "Summary"
    rows = headline(metrics)
    counted = list(dict.fromkeys(key for row in rows for key in row.counts))
    columns = ["Probe set", "Cross-view rank-1", "95 % low", "95 % high", "Same-view rank-1", "mAP", "EER"]
    columns += ["Baseline cross-view", "Baseline same view", *(key.replace("_", " ").capitalize() for key in counted)]
    write_text(sheet.cell(1, 1), "Who was recognized, and how well", TITLE)
    set_widths(sheet, [24] + [12.5] * (len(columns) - 1))
    write_note(sheet, 2, "Cross-view: probe and gallery are never seen from the same view. Intervals are over people. " + about)
    first = 4
    write_header(sheet, first, columns, align="right")
    sheet.row_dimensions[first].height = 34  # for two lines
    sheet.freeze_panes = sheet.cell(first + 1, 2)
    for r, row in enumerate(rows, first + 1):
        is_mean = row.name == "mean"
        font = BOLD if is_mean else TEXT
        write_text(sheet.cell(r, 1), row.name, font)
        shares = [row.rank1, row.low, row.high, row.same_view, row.map, row.eer, row.baseline, row.baseline_same_view]
        for c, share in enumerate(shares, 2):
            write_number(sheet.cell(r, c), share, PERCENT, font)
        for c, key in enumerate(counted, 2 + len(shares)):
            if not is_mean:
                write_number(sheet.cell(r, c), row.counts.get(key), "#,##0", font)
        for c in range(1, len(columns) + 1):
            sheet.cell(r, c).border = Border(top=_STRONG if is_mean else None, bottom=LINE)
    r = first + len(rows) + 2
    for key, value in {**totals(metrics), "iterations": metrics.get("iterations")}.items():
        if value is not None:
            write_text(sheet.cell(r, 1), key.replace("_", " ").capitalize(), TEXT)
            write_number(sheet.cell(r, 2), value, "#,##0", TEXT)
            r += 1
    if rows:
        sheet.add_chart(_chart(sheet, rows, first), f"A{r + 1}")
    page_setup(sheet)


def _chart(sheet: Worksheet, rows: list[HeadlineRow], first: int) -> BarChart:
    """Bars a probe set: cross-view with its interval, same view, and the baseline."""
    chart = BarChart()
    chart.type, chart.grouping, chart.gapWidth, chart.overlap = "col", "clustered", 70, -5
    chart.title, chart.style = "Rank-1 by probe set", 10
    last = first + len(rows)
    colors = ((2, _BLUE), (5, "7FC4EA"), (8, _ORANGE))
    for column, color in colors:
        chart.add_data(Reference(sheet, min_col=column, min_row=first, max_row=last), titles_from_data=True)
        chart.series[-1].graphicalProperties = GraphicalProperties(solidFill=color)
    chart.set_categories(Reference(sheet, min_col=1, min_row=first + 1, max_row=last))
    chart.series[0].errBars = _interval_bars(rows)
    _axes(chart)
    chart.width, chart.height = 2.45 * min(12, sheet.max_column) + 1.5, 11.5  # cm, as wide as the table
    return chart


def _axes(chart: BarChart | LineChart) -> None:
    """Shares from 0 to 100 % upward, the legend below."""
    chart.y_axis.scaling.min, chart.y_axis.scaling.max, chart.y_axis.majorUnit = 0, 1, 0.2
    chart.y_axis.number_format, chart.y_axis.numFmt.sourceLinked = "0%", False
    chart.y_axis.majorGridlines.spPr = GraphicalProperties(ln=LineProperties(solidFill="E3E6EA"))
    chart.x_axis.delete = chart.y_axis.delete = False  # openpyxl hides both where this is not said
    chart.legend.position = "b"


def _interval_bars(rows: list[HeadlineRow]) -> ErrorBars:
    def beyond(ends: list) -> NumDataSource:
        points = [
            NumVal(idx=i, v=repr(abs(end - row.rank1)))
            for i, (row, end) in enumerate(zip(rows, ends, strict=True))
            if None not in (row.rank1, end)
        ]
        return NumDataSource(numLit=NumData(formatCode="General", ptCount=len(rows), pt=points))

    return ErrorBars(
        errBarType="both",
        errValType="cust",
        plus=beyond([row.high for row in rows]),
        minus=beyond([row.low for row in rows]),
        spPr=GraphicalProperties(ln=LineProperties(solidFill="1D2329", w=12_700)),
    )


def _matrix_sheet(sheet: Worksheet, probe_set: str, matrix, baseline) -> None:
    write_text(sheet.cell(1, 1), f"Rank-1 of {probe_set}: probe view against gallery view", TITLE)
    set_widths(sheet, [18] + [max(10, 60 / len(matrix.gallery_views))] * len(matrix.gallery_views) + [16])
    write_note(
        sheet,
        2,
        "Rows are probe views, columns are gallery views. Gray: the same view, left out of all means and of the color "
        "scale. Colors run from 0 % (white) to 100 % (blue) on every sheet.",
    )
    r = _matrix_block(sheet, 4, "Rank-1", matrix, PERCENT)
    if baseline is not None:
        r = _matrix_block(sheet, r + 1, "Rank-1 of the hand-made baseline", baseline, PERCENT)
    different = {n.item() for row in matrix.counts for n in row}
    if len(different) == 1:
        r += 1
        write_text(sheet.cell(r, 1), "Number of probes", BOLD)
        write_text(sheet.cell(r, 2), f"{different.pop():,} in every cell", TEXT)
    else:
        r = _matrix_block(sheet, r + 1, "Number of probes", matrix, "#,##0", counts=True)
    if any(np.isnan(m.cells()).any() for m in (matrix, baseline) if m is not None):
        write_note(sheet, r + 1, "Blank: nobody to compare, no probe of that view has its person in that gallery view.")
    sheet.freeze_panes = sheet.cell(7, 2)  # the header of the first block, whose columns all blocks share
    page_setup(sheet)


def _matrix_block(sheet: Worksheet, top: int, title: str, matrix, number_format: str, counts: bool = False) -> int:
    """One matrix with its margins, its title in row `top`; returns the first free row below."""
    views, columns = list(matrix.probe_views), list(matrix.gallery_views)
    write_text(sheet.cell(top, 1), title, BOLD)
    right, bottom = len(columns) + 2, top + 3 + len(views)
    write_text(sheet.cell(top + 1, 2), "gallery view →", _NOTE)
    write_header(sheet, top + 2, ["probe view ↓", *columns, *([] if counts else ["mean of others"])], align="right")
    shaded, cells = [], matrix.cells()  # ranges for the color scale
    for i, view in enumerate(views):
        r = top + 3 + i
        _head_cell(sheet.cell(r, 1), view)
        for j, gallery in enumerate(columns):
            cell = sheet.cell(r, j + 2)
            cell.border = Border(left=LINE, right=LINE, top=LINE, bottom=LINE)
            value = matrix.counts[i][j].item() if counts else float(cells[i][j])
            write_number(cell, value, number_format, TEXT, missing="Nobody to compare.")
            if gallery == view:
                cell.fill = _DIAGONAL_FILL
        others = [j + 2 for j, gallery in enumerate(columns) if gallery != view and not counts]
        for _, run in groupby(enumerate(others), key=lambda pair: pair[1] - pair[0]):  # neighboring columns
            run = [get_column_letter(c) for _, c in run]
            shaded.append(f"{run[0]}{r}:{run[-1]}{r}")
    if shaded:
        sheet.conditional_formatting.add(" ".join(shaded), _color_scale())
    if counts:
        return bottom + 1
    for i, value in enumerate(matrix.probe_margin()):
        _margin_cell(sheet.cell(top + 3 + i, right), value, number_format, Border(left=_STRONG, bottom=LINE))
    _head_cell(sheet.cell(bottom, 1), "mean of others")
    for j, value in enumerate(matrix.gallery_margin()):
        _margin_cell(sheet.cell(bottom, j + 2), value, number_format, Border(top=_STRONG, right=LINE))
    _margin_cell(sheet.cell(bottom, right), matrix.mean(), number_format, Border(left=_STRONG, top=_STRONG))
    sheet.cell(bottom, right).fill = _HEAD_FILL
    write_text(sheet.cell(bottom + 1, 1), "same view", _NOTE)
    write_number(sheet.cell(bottom + 1, 2), float(matrix.same_view_mean()), number_format, _NOTE, "No such pair.")
    return bottom + 3


def _ranking(sheet: Worksheet, metrics: Mapping) -> None:
    rows = [
        [gallery, name, RANKING[metric], *numbers]
        for gallery, sets in metrics["ranking"].items()
        for name, found in sets.items()
        for metric, numbers in found.items()
    ]
    note = (
        "Single view: one gallery view at a time, identical views left out of the mean. Other views: all gallery walks that were "
        "not seen from the probe's view. All views: all of them. Intervals are over people."
    )
    _table(sheet, "Ranking measures", note, ["Gallery", "Probe set", "Measure"], _ENDS, rows)


def _cmc(sheet: Worksheet, metrics: Mapping) -> None:
    curves = metrics["cmc"]
    rows = [[k, *shares] for k, shares in enumerate(zip(*curves.values(), strict=True), 1)]
    note = "Share of probes whose person is among the first k of the gallery; views as in the headline table."
    _table(sheet, "Cumulative match characteristic", note, ["Rank"], list(curves), rows)
    chart = LineChart()
    chart.title, chart.style = "Cumulative match characteristic", 12
    chart.add_data(Reference(sheet, min_col=2, max_col=1 + len(curves), min_row=4, max_row=4 + len(rows)), titles_from_data=True)
    chart.set_categories(Reference(sheet, min_col=1, min_row=5, max_row=4 + len(rows)))
    for series, color, dash in zip(chart.series, cycle((_BLUE, _ORANGE, _GREEN, _PURPLE)), cycle(_DASHES), strict=False):
        series.graphicalProperties = GraphicalProperties(ln=LineProperties(solidFill=color, w=25_400, prstDash=dash))
        series.smooth = False
    _axes(chart)
    chart.width, chart.height = 20, 10
    sheet.add_chart(chart, f"{get_column_letter(3 + len(curves))}4")


def _verification(sheet: Worksheet, metrics: Mapping) -> None:
    rows = [
        [name, VERIFICATION[metric], *numbers]
        for name, found in metrics["verification"].items()
        for metric, numbers in found.items()
    ]
    note = (
        "Pairs of walks from different views. TAR at FAR: share of pairs of one person that are accepted where that share of the "
        "other pairs is. DIR at FAR: half of the people are not enrolled; share of probes of the others that are found, where "
        "that share of the strangers' probes is let in. Intervals are over people. "
    ) + measured_on(metrics.get("counts") or {}, "verification_people")
    _table(sheet, "Verification and open set", note, ["Probe set", "Measure"], _ENDS, rows)


def _ablations(sheet: Worksheet, metrics: Mapping) -> None:
    table = metrics["ablations"]
    sets = [name for name in table[0]["rank1"] if name != "mean"]
    columns = ["Mean", *_ENDS[1:], "Difference", *_ENDS[1:], *sets, "Same view"]
    rows = [
        [
            *(row["kind"], row["name"], row["rank1"]["mean"], *row["ci95"], *row["difference"]),
            *(row["rank1"][name] for name in sets),
            row["rank1_same_view"]["mean"],
        ]
        for row in table
    ]
    note = (
        "Cross-view rank-1. Input: the trained model on walks that lack something. Halves: second halves of walks against first "
        "ones. Codes: linear discriminants of single codes. Difference: percentage points against the first row, for the "
        "same people. "
    ) + measured_on(metrics.get("counts") or {}, "study_people")
    _table(sheet, "What recognition rests on", note, ["Kind", "Ablation"], columns, rows)


def _scorecard(sheet: Worksheet, metrics: Mapping) -> None:
    rows = [[m["code"], m["name"], m["wanted"], m["value"], m["low"], m["high"], m["chance"]] for m in metrics["scorecard"]]
    note = (
        "Probes: accuracy of a simple classifier on the code. Within / between: distance of codes that should agree over that of "
        "codes that should not. Lost in a cycle: how far a code is from itself after decoding with the view code of another walk "
        "and encoding again, over the distance of two random walks. Chance: of knowing nothing. "
    ) + measured_on(metrics.get("counts") or {}, "study_people")
    _table(sheet, "Are the codes taken apart?", note, ["Code", "Measure", "Wanted"], [*_ENDS, "Chance"], rows)
    below = 7 + len(rows)
    if metrics.get("exchange"):
        write_text(sheet.cell(below, 1), "Exchanged views: error in % of the torso length", BOLD)
        for r, (guess, values) in enumerate(metrics["exchange"].items(), below + 1):
            write_text(sheet.cell(r, 2), GUESSES.get(guess, guess), TEXT)
            for c, value in enumerate(values, 4):
                write_number(sheet.cell(r, c), value, "0.00", TEXT)


def _subjects(sheet: Worksheet, metrics: Mapping) -> None:
    people = metrics["subjects"]
    columns = list(dict.fromkeys(name for found in people.values() for name in found))
    rows = [[person, *(found.get(name) for name in columns)] for person, found in people.items()]
    note = "Cross-view rank-1 of each person's probes, the hardest to recognize first."
    _table(sheet, "Who is hard to recognize", note, ["Subject"], [*columns[:-1], "Mean"], rows, shaded=True)


#: Sheet -> what writes it, and the key of metrics.json that it shows.
_TABLES = {
    "Ranking": (_ranking, "ranking"),
    "CMC": (_cmc, "cmc"),
    "Verification": (_verification, "verification"),
    "Ablations": (_ablations, "ablations"),
    "Scorecard": (_scorecard, "scorecard"),
    "Subjects": (_subjects, "subjects"),
}


def _table(
    sheet: Worksheet, title: str, note: str, texts: list[str], numbers: list[str], rows: list[list], shaded: bool = False
) -> None:
    """A table of shares; texts, numbers: the names of its columns. Shaded: with the color scale of the matrices."""
    write_text(sheet.cell(1, 1), title, TITLE)
    longest = [max([len(name), *(len(str(row[c])) for row in rows)]) for c, name in enumerate(texts)]
    set_widths(sheet, [*(min(60, 3 + n) for n in longest), *(max(10.5, 2 + len(name) / 2) for name in numbers)])
    write_note(sheet, 2, note)
    write_header(sheet, 4, [*texts, *numbers], align="right")
    for c in range(1, len(texts) + 1):
        sheet.cell(4, c).alignment = Alignment(horizontal="left", vertical="center")
    sheet.row_dimensions[4].height = 34
    for r, row in enumerate(rows, 5):
        for c, value in enumerate(row, 1):
            cell = sheet.cell(r, c)
            if c <= len(texts):
                write_text(cell, str(value), BOLD if c == len(texts) else TEXT)
            else:
                write_number(cell, value, PERCENT, TEXT)
            cell.border = Border(bottom=LINE)
    sheet.freeze_panes = sheet.cell(5, len(texts) + 1)
    if shaded and rows:
        where = f"{get_column_letter(len(texts) + 1)}5:{get_column_letter(len(texts) + len(numbers))}{4 + len(rows)}"
        sheet.conditional_formatting.add(where, _color_scale())
    page_setup(sheet)


def _left_out(sheet: Worksheet, left_out: list[dict]) -> None:
    write_text(sheet.cell(1, 1), "Left-out walks", TITLE)
    set_widths(sheet, [60, 80])
    if not left_out:
        write_note(sheet, 2, "None: every walk that was found was used.")
    else:
        write_note(sheet, 2, f"{len(left_out)} not used, and why.")
        write_header(sheet, 4, ["Source", "Reason"])
        for r, entry in enumerate(left_out, 5):
            for c, key in enumerate(("source", "reason"), 1):
                cell = write_text(sheet.cell(r, c), str(entry.get(key, "")), TEXT)
                cell.alignment = Alignment(wrap_text=True, vertical="top")
        sheet.auto_filter.ref = f"A4:B{4 + len(left_out)}"
        sheet.freeze_panes = "A5"
    page_setup(sheet)


def _key_values(sheet: Worksheet, title: str, content: Mapping) -> None:
    write_text(sheet.cell(1, 1), title, TITLE)
    write_header(sheet, 3, ["Key", "Value"])
    sheet.freeze_panes = "B4"
    for r, (key, value) in enumerate(flat(content), 4):
        write_text(sheet.cell(r, 1), key, TEXT).alignment = Alignment(vertical="top")
        cell = sheet.cell(r, 2)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            write_number(cell, value, "General", TEXT)
        else:
            write_text(cell, value if isinstance(value, bool) else "" if value is None else str(value), TEXT)
        cell.alignment = Alignment(horizontal="left", vertical="top", wrap_text=True)
        for c in (1, 2):
            sheet.cell(r, c).border = Border(bottom=LINE)
    set_widths(sheet, [44, 90])
    page_setup(sheet)


# ---------------------------------------------------------------------------------------------------------------- cells


def write_text(cell: Cell, value: str | bool, font: Font) -> Cell:
    cell.value = safe_text(value) if isinstance(value, str) else value
    if isinstance(value, str):
        cell.data_type = "s"
    cell.font = font
    return cell


def write_number(cell: Cell, value: float | None, number_format: str, font: Font, missing="Not measured.") -> None:
    cell.font, cell.number_format = font, number_format
    cell.alignment = Alignment(horizontal="right")
    if value is None or not math.isfinite(value):
        cell.comment = Comment(missing, "gaitlib", width=180, height=40)
        return
    cell.value = value
    if isinstance(value, float):
        # openpyxl would write 16 digits and a float can need 17; a number's cell takes its text as it is
        cell._value = repr(float(value))


def safe_text(text: str) -> str:
    """Text that any spreadsheet program takes as text: storable, not too long, and no formula.

    Characters that Excel files cannot hold are removed; a leading = + - @, tab or carriage return gets an apostrophe
    in front (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    text = ILLEGAL_CHARACTERS_RE.sub("", text).encode("utf-8", "ignore").decode()
    text = re.sub("[\ufffe\uffff]", "", text)
    if text.startswith(("\t", "\r")) or text.lstrip().startswith(("=", "+", "-", "@")):
        text = "'" + text
    return text[:_LONGEST_TEXT]


def write_note(sheet: Worksheet, row: int, text: str) -> None:
    """A sentence over the width of the table; the columns have their widths already."""
    widths = [dimension.width for dimension in sheet.column_dimensions.values()]
    sheet.merge_cells(start_row=row, end_row=row, start_column=1, end_column=len(widths))
    write_text(sheet.cell(row, 1), text, _NOTE).alignment = Alignment(wrap_text=True, vertical="top")
    sheet.row_dimensions[row].height = 14 * math.ceil(len(text) / sum(widths))


def _head_cell(cell: Cell, text: str, align: str = "left") -> None:
    write_text(cell, str(text), BOLD)
    cell.fill, cell.border = _HEAD_FILL, Border(bottom=LINE)
    cell.alignment = Alignment(horizontal=align, vertical="center", wrap_text=True)


def write_header(sheet: Worksheet, row: int, names: Iterable[str], align: str = "left") -> None:
    """Column names; `align` is for all but the first."""
    for c, name in enumerate(names, 1):
        _head_cell(sheet.cell(row, c), name, align if c > 1 else "left")
        sheet.cell(row, c).border = Border(bottom=_STRONG)


def _margin_cell(cell: Cell, value: float, number_format: str, border: Border) -> None:
    write_number(cell, float(value), number_format, BOLD, missing="Nobody to compare.")
    cell.border = border


# ---------------------------------------------------------------------------------------------------------------- pages


def _color_scale() -> ColorScaleRule:
    return ColorScaleRule("num", 0, "FFFFFF", "num", 1, "5AA9DC")


def set_widths(sheet: Worksheet, widths: Iterable[float]) -> None:
    for c, width in enumerate(widths, 1):
        sheet.column_dimensions[get_column_letter(c)].width = width


def page_setup(sheet: Worksheet) -> None:
    sheet.sheet_view.showGridLines = False
    sheet.page_setup.orientation, sheet.page_setup.paperSize = "landscape", sheet.PAPERSIZE_A4
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 1
    sheet.print_options.horizontalCentered = True
    sheet.page_margins.left = sheet.page_margins.right = 0.4
    sheet.oddFooter.center.text = "&A"


class _SheetNames:
    """Names as Excel takes them: at most 31 characters, some not allowed, all different whatever their case."""

    def __init__(self, reserved: Iterable[str]):
        self.taken = {name.lower() for name in reserved}

    def unique(self, name: str) -> str:
        base = re.sub(r"[\[\]:*?/\\]", "-", ILLEGAL_CHARACTERS_RE.sub("", str(name))).strip("' ") or "probe set"
        candidate, n = base[:31], 1
        while candidate.lower() in self.taken:
            n += 1
            candidate = f"{base[: 31 - len(str(n)) - 1]} {n}"
        self.taken.add(candidate.lower())
        return candidate


def save_book(book: Workbook, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        book.save(part)
