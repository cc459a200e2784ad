"""results.xlsx holds the numbers of metrics.json to the last bit, and nothing in it runs."""

import json
import os
from dataclasses import dataclass

import numpy as np
import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitlib.reports import excel


@dataclass
class Matrix:
    """What the report needs of a RankMatrix."""

    probe_set: str
    probe_views: list
    gallery_views: list
    values: np.ndarray
    counts: np.ndarray

    def cells(self):
        return self.values

    def _mean(self, same, axis=None):
        alike = np.array(self.probe_views)[:, None] == np.array(self.gallery_views)
        return np.nanmean(np.where(alike == same, self.values, np.nan), axis=axis)

    def mean(self):
        return float(self._mean(False))

    def same_view_mean(self):
        return float(self._mean(True))

    def probe_margin(self):
        return self._mean(False, axis=1)

    def gallery_margin(self):
        return self._mean(False, axis=0)


VIEWS = ["000", "018", "036", "054"]
METRICS = {
    "rank1": {"NM": 0.1 + 0.2, "CL": 1 / 3, "mean": 2 / 3},
    "rank1_same_view": {"NM": 0.99, "CL": 0.97, "mean": 0.98},
    "ci95": {"NM": [0.123456789012345678, 0.4], "CL": [0.2, 0.5], "mean": [0.6, 0.7]},
    "map": {"NM": 0.55, "CL": float("nan"), "mean": None},
    "eer": {"NM": 0.07, "CL": 0.2, "mean": 0.1},
    "counts": {"probes": {"NM": 12, "CL": 11}, "people": 4},
    "iterations": 300,
    "baseline": {
        "rank1": {"NM": 0.2, "CL": 0.1, "mean": 0.15},
        "rank1_same_view": {"NM": 0.9, "CL": 0.8, "mean": 0.85},
    },
}


def matrix(name, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.uniform(size=(4, 4))
    values[1, 2] = np.nan
    return Matrix(name, VIEWS, VIEWS, values, rng.integers(1, 9, (4, 4)))


@pytest.fixture
def write(tmp_path):
    def write(**changes):
        given = {
            "metrics": METRICS,
            "matrices": {"NM": matrix("NM"), "CL": matrix("CL", 1)},
            "baseline_matrices": {"NM": matrix("NM", 2)},
            "config": {"seed": 1, "training": {"lr": 1e-3, "views": ["000", "090"]}},
            "provenance": {"commit": "abc", "versions": {"torch": "2.13.0"}},
            "left_out": [{"source": "a.txt", "reason": "only 9 frames"}],
        }
        excel.write_results(tmp_path / "results.xlsx", **(given | changes))
        return openpyxl.load_workbook(tmp_path / "results.xlsx")

    return write


def column(sheet, header, title):
    """Row label -> value of one column of the table whose header stands in row `header`."""
    c = next(cell.column for cell in sheet[header] if cell.value == title)
    return {sheet.cell(r, 1).value: sheet.cell(r, c).value for r in range(header + 1, header + 4)}


def test_the_summary_equals_metrics_json_exactly(write):
    sheet = write()["Summary"]
    metrics = json.loads(json.dumps(METRICS))
    assert column(sheet, 4, "Cross-view rank-1") == metrics["rank1"]
    assert column(sheet, 4, "95 % low") == {name: ends[0] for name, ends in metrics["ci95"].items()}
    assert column(sheet, 4, "95 % high") == {name: ends[1] for name, ends in metrics["ci95"].items()}
    assert column(sheet, 4, "Same-view rank-1") == metrics["rank1_same_view"]
    assert column(sheet, 4, "EER") == metrics["eer"]
    assert column(sheet, 4, "Baseline cross-view") == metrics["baseline"]["rank1"]
    assert column(sheet, 4, "Baseline same view") == metrics["baseline"]["rank1_same_view"]
    assert column(sheet, 4, "Probes") == {"NM": 12, "CL": 11, "mean": None}
    assert len(sheet._charts) == 1


def test_what_was_not_measured_is_blank_and_says_so(write):
    sheet = write()["Summary"]
    assert column(sheet, 4, "mAP") == {"NM": 0.55, "CL": None, "mean": None}
    notes = [cell.comment.text for row in sheet["A5:K7"] for cell in row if cell.comment]
    assert notes == ["Not measured."] * 2


def test_a_matrix_keeps_every_cell_and_both_margins(write):
    sheet, expected = write()["CL"], matrix("CL", 1)
    assert [cell.value for cell in sheet[6]][1:5] == VIEWS
    for i in range(4):
        for j in range(4):
            value = sheet.cell(7 + i, 2 + j).value
            assert value == expected.values[i, j] or (i, j, value) == (1, 2, None)
    assert [sheet.cell(7 + i, 6).value for i in range(4)] == expected.probe_margin().tolist()
    assert [sheet.cell(11, 2 + j).value for j in range(4)] == expected.gallery_margin().tolist()
    assert sheet.cell(11, 6).value == expected.mean()
    assert sheet.cell(8, 4).comment.text == "Nobody to compare."


def test_the_color_scale_leaves_the_gray_diagonal_out_and_is_the_same_everywhere(write):
    book = write()
    for name in ("NM", "CL"):
        sheet = book[name]
        assert {sheet.cell(7 + i, 2 + i).fill.fgColor.rgb for i in range(4)} == {"00D0D4D9"}
        for shaded in sheet.conditional_formatting:
            (rule,) = shaded.rules
            assert [(p.type, p.val) for p in rule.colorScale.cfvo] == [("num", 0), ("num", 1)]
            for area in shaded.cells.ranges:
                for row, c in area.cells:
                    assert sheet.cell(row, 1).value != sheet.cell(6, c).value, "the diagonal is in the color scale"
        first = next(iter(sheet.conditional_formatting))
        assert sum(area.size["rows"] * area.size["columns"] for area in first.cells.ranges) == 12


@pytest.mark.parametrize("hostile", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =cmd|' /C calc'!A0"])
def test_text_is_never_a_formula(write, hostile):
    book = write(
        left_out=[{"source": hostile, "reason": hostile}],
        config={hostile: hostile},
        provenance={"note": [hostile]},
        metrics=METRICS | {"rank1": {hostile: 0.5}},
        matrices={hostile: matrix(hostile)},
    )
    for cell in (cell for sheet in book for row in sheet.iter_rows() for cell in row):
        assert cell.data_type != "f"
        assert not str(cell.value if cell.data_type == "s" else "").lstrip().startswith(("=", "+", "-", "@"))


SHEET = openpyxl.Workbook().active


@given(st.text())
def test_any_text_can_be_stored(text):
    safe, sheet = excel.safe_text(text), SHEET
    sheet["A1"] = safe
    assert sheet["A1"].data_type != "f"
    assert "\x00" not in safe
    assert len(safe) <= 32_767


def test_characters_that_excel_cannot_store_are_removed():
    assert excel.safe_text("a\x00b\x1fc\udcffd\ufffee") == "abcde"


def test_any_probe_set_names_make_different_sheets(write):
    names = ["Summary", "a/b", "a:b", "config", "x" * 40, "x" * 300, "'", "\x01", "history", "y" * 30 + "' z", "CMC"]
    sheets = write(matrices={name: matrix(name) for name in names}, metrics=METRICS).sheetnames
    assert len({name.lower() for name in sheets}) == len(names) + 4
    assert all(0 < len(name) <= 31 and name.strip("' ") == name for name in sheets)


def test_curves_have_a_chart_and_exchanged_views_stand_below_the_scorecard(write):
    measure = {"code": "view", "name": "probe", "wanted": "high", "value": 0.5, "low": 0.4, "high": 0.6, "chance": None}
    more = {"cmc": {"NM": [0.5, 0.75]}, "scorecard": [measure] * 3, "exchange": {"copy": [27.25, 26.5, 28.0]}}
    book = write(metrics=METRICS | more)
    assert [len(sheet._charts) for sheet in book if sheet.title in ("Summary", "CMC")] == [1, 1]
    rows = [[cell.value for cell in row] for row in book["Scorecard"].iter_rows(min_row=8, max_row=12)]
    assert rows[0] == [None] * 7  # where pandas stops reading the table above
    assert rows[-1] == [None, "unchanged walk", 27.25, 26.5, 28.0, None, None]
    assert book["Scorecard"]["C12"].number_format == "0.00"


def test_the_sheet_of_left_out_walks_says_none(write):
    assert write(left_out=[])["Left-out walks"]["A2"].value.startswith("None")


def test_every_sheet_prints_on_one_landscape_page_and_keeps_its_header(write):
    for sheet in write():
        assert sheet.page_setup.orientation == "landscape"
        assert sheet.sheet_properties.pageSetUpPr.fitToPage
        assert (sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight) == (1, 1)
        assert sheet.freeze_panes


def test_configuration_is_one_row_a_value(write):
    rows = {row[0].value: row[1].value for row in write()["Config"].iter_rows(min_row=4)}
    assert rows == {"seed": 1, "training.lr": 0.001, "training.views": "000, 090"}


def test_a_failure_leaves_the_old_file(write, tmp_path, monkeypatch):
    write()
    before = (tmp_path / "results.xlsx").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write()
    assert (tmp_path / "results.xlsx").read_bytes() == before
    assert os.listdir(tmp_path) == ["results.xlsx"]
