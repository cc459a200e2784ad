"""Tables of many walks: GaitGraph's and our own; grouping, order, holes, and what is wrong with a table."""

import re
import tracemalloc

import numpy as np
import pytest

from gaitlib import InputError
from gaitlib.poses.formats import tables
from gaitlib.poses.formats.tables import CSV, GAITGRAPH, POSITIONS
from gaitlib.poses.sequences import Unusable
from gaitlib.skeleton import JOINTS

HEADER = ",".join(["image_name"] + [f"k{i}_{part}" for i in range(17) for part in ("x", "y", "conf")])
PLAIN = "subject,condition,run,view,frame," + ",".join(POSITIONS)


def image(name, x=100.0, score=0.9):
    return f"{name}," + ",".join(f"{x + i},{200 + i},{score}" for i in range(17))


def row(labels, frame, x=100.0):
    return f"{labels},{frame}," + ",".join(f"{x + i},{200 + i}" for i in range(15))


def write(folder, lines, name="walks.csv", end="\n"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(end.join([*lines, ""]).encode())
    return path


def read(format, source):
    return {s.path: format.load(s) for s in format.find(source)}


# ------------------------------------------------------------------------------------------------ gaitgraph


@pytest.mark.parametrize("header", [[HEADER], []])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_row_is_a_frame(tmp_path, header, end, mark):
    names = [f"{walk}/{i:06d}.jpg" for walk in ("001-nm-01-090", "001-nm-02-090") for i in range(1, 4)]
    lines = [*header, *(image(name, x=i) for i, name in enumerate(names))]
    path = write(tmp_path, [mark + lines[0], *lines[1:]], end=end)
    found = read(GAITGRAPH, path)
    assert list(found) == ["001-nm-01-090", "001-nm-02-090"]
    second = found["001-nm-02-090"]
    assert second.keypoints.shape == (3, 17, 2)
    np.testing.assert_array_equal(second.keypoints[:, 0, 0], [3, 4, 5])
    np.testing.assert_allclose(second.confidence, 0.9)
    assert second.frame.tolist() == [0, 1, 2]
    assert (second.person == 0).all()
    assert read(GAITGRAPH, tmp_path).keys() == found.keys()
    assert "52 columns" in GAITGRAPH.recognize(path)


@pytest.mark.parametrize(
    ("name", "walk"),
    [
        ("001-nm-01-090/000001.jpg", "001-nm-01-090"),
        ("./001-nm-01-090/000001.jpg", "001-nm-01-090"),
        ("/data/CASIA/001/nm-01/090/001-nm-01-090-001.png", "data/CASIA/001/nm-01/090"),
        ("..\\x\\001-nm-01-090\\1.jpg", "x/001-nm-01-090"),
        ('"001-nm-01-090/000001.jpg"', "001-nm-01-090"),
        ("001-nm-01-090-000001.jpg", "001-nm-01-090"),
        ("001-nm-01-090_12", "001-nm-01-090"),
    ],
)
def test_the_walk_is_the_folder_of_the_image(tmp_path, name, walk):
    assert list(read(GAITGRAPH, write(tmp_path, [image(name)]))) == [walk]


def test_rows_come_in_any_order(tmp_path):
    """Walks in turns and frames backwards; numbers of frames are compared as numbers."""
    lines = [image(f"{walk}/{i}.jpg", x=i) for i in (11, 10, 9) for walk in ("002-nm-01-000", "001-nm-01-000")]
    found = read(GAITGRAPH, write(tmp_path, lines))
    assert list(found) == ["002-nm-01-000", "001-nm-01-000"]
    for detections in found.values():
        np.testing.assert_array_equal(detections.keypoints[:, 0, 0], [9, 10, 11])


def test_frames_left_out_are_empty_and_two_people_in_one_have_no_number(tmp_path):
    found = read(GAITGRAPH, write(tmp_path, [image(f"001-nm-01-000/{i}.jpg") for i in (3, 4, 7, 7, 8)]))
    (detections,) = found.values()
    np.testing.assert_array_equal(detections.frame, [0, 1, 4, 4, 5])
    assert (detections.person == -1).all()


def test_numbers_that_are_no_frames_say_only_the_order(tmp_path):
    (times,) = read(GAITGRAPH, write(tmp_path, [image(f"a-b/{i}.jpg") for i in (1000, 1041, 500_000)])).values()
    assert times.frame.tolist() == [0, 1, 2]
    assert "jump" in times.remarks[0]
    (every,) = read(GAITGRAPH, write(tmp_path, [image(f"a-b/{i}.jpg") for i in range(0, 30, 3)])).values()
    assert every.frame.tolist() == list(range(10))
    assert "increase by 3" in every.remarks[0]
    (none,) = read(GAITGRAPH, write(tmp_path, [image(f"a-b/{i}.jpg") for i in "zyx"])).values()
    np.testing.assert_array_equal(none.frame, [0, 1, 2])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda line: line.replace("100.0", "1OO", 1), "'1OO' is not a number"),
        (lambda line: line.replace("100.0", "inf", 1), "frame 2 holds inf"),
        (lambda line: line.replace("100.0", "1e9", 1), r"frame 2 holds 1e\+09"),
        (lambda line: line + ",1", "a row has 53 fields, not 52"),
        (lambda line: line.rpartition(",")[0], "a row has 51 fields, not 52"),
        (lambda line: line[:30], "a row has"),
        (lambda line: line.replace("100.0", "\udcff", 1), "is not a number"),
    ],
)
def test_one_bad_walk_does_not_harm_the_others(tmp_path, change, reason):
    good = [image(f"001-nm-01-000/{i}.jpg") for i in range(4)]
    bad = [image(f"001-nm-02-000/{i}.jpg") for i in range(4)]
    path = tmp_path / "walks.csv"
    lines = [HEADER, *good, *bad[:2], change(bad[2]), bad[3], *(line.replace("nm-01", "nm-03") for line in good)]
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    reasons = {}
    for sequence in GAITGRAPH.find(path):
        try:
            assert len(GAITGRAPH.load(sequence).frame) == 4
        except Unusable as error:
            reasons[sequence.path] = str(error)
    assert list(reasons) == ["001-nm-02-000"]
    assert re.search(reason, reasons["001-nm-02-000"])


def test_empty_and_nan_cells_are_missing(tmp_path):
    lines = [image(f"001-nm-01-000/{i}.jpg") for i in range(3)]
    lines[0] = lines[0].replace("100.0", "", 1)
    lines[1] = lines[1].replace("100.0", " nan ", 1)
    lines[2] = lines[2].replace("100.0,200,0.9", "0,0,0", 1)
    (found,) = read(GAITGRAPH, write(tmp_path, lines)).values()
    assert np.isnan(found.keypoints[:, 0]).all()
    assert np.isfinite(found.keypoints[:, 1:]).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b,c\n", "has 3 columns, not 52"),
        (b"\xff\xfe" + b",1" * 51, "is not UTF-8 text"),
        (b"x" * 100_000, "holds a line of more than"),
        (("subject" + ",x" * 51).encode(), "has no column image_name, and 'x' is not a number"),
        (("7" + ",1" * 51).encode(), "'7', which is not the name of an image"),
    ],
)
def test_a_table_of_another_kind_is_an_error_alone_and_one_bad_file_among_others(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        list(GAITGRAPH.find(path))
    assert str(path) in str(error.value)
    assert GAITGRAPH.recognize(path) == ""
    write(tmp_path, [image("001-nm-01-000/1.jpg")], "good.csv")
    bad, good = GAITGRAPH.find(tmp_path)
    assert (bad.path, good.path) == ("bad", "001-nm-01-000")
    assert re.search(message, bad.problem)


def test_a_line_without_end_is_an_error(tmp_path):
    path = write(tmp_path, [HEADER, image("a-b/1.jpg"), "1" * 100_000])
    with pytest.raises(InputError, match="a line of more than"):
        list(GAITGRAPH.find(path))


def test_a_table_that_cannot_be_held_is_an_error(tmp_path, monkeypatch):
    """Sorted by frame all walks are held until the end; sorted by walk, one."""
    walks = [f"{i}-b" for i in range(20)]
    monkeypatch.setattr(tables, "LARGEST_WALK", 10_000)
    by_walk = write(tmp_path, [image(f"{walk}/{i}.jpg") for walk in walks for i in range(6)])
    assert len(list(GAITGRAPH.find(by_walk))) == 20
    by_frame = write(tmp_path, [image(f"{walk}/{i}.jpg") for i in range(6) for walk in walks])
    with pytest.raises(InputError, match="lie too far apart; sort the table by walk"):
        list(GAITGRAPH.find(by_frame))


def test_memory_does_not_grow_with_the_table(tmp_path):
    """100 walks of 2.6 MB in all: what is held at a time is one walk and where the others lie."""
    path = tmp_path / "walks.csv"
    with path.open("w") as file:
        for walk in range(100):
            for i in range(100):
                file.write(image(f"{walk:03d}-nm-01-090/{i:06d}.jpg") + "\n")
    assert path.stat().st_size > 2.6e6
    tracemalloc.start()
    walks = sum(len(GAITGRAPH.load(sequence).frame) == 100 for sequence in GAITGRAPH.find(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert walks == 100
    assert peak < 1.3e6


# ------------------------------------------------------------------------------------------------ our own


def test_columns_come_in_any_order_and_others_are_not_read(tmp_path):
    names = ["note", "view", *POSITIONS[::-1], "frame", "run", "condition", "subject"]
    values = {"note": "x", "view": "090", "run": "1", "condition": "nm", "subject": "001"}
    values |= {name: str(i) for i, name in enumerate(POSITIONS)}
    lines = [",".join(names)] + [",".join((values | {"frame": str(f)})[n] for n in names) for f in (12, 10, 11)]
    found = read(CSV, write(tmp_path, lines))
    assert list(found) == ["001/nm-01/090"]
    detections = found["001/nm-01/090"]
    np.testing.assert_array_equal(detections.keypoints[0].reshape(-1), np.arange(30))
    np.testing.assert_array_equal(detections.frame, [0, 1, 2])
    assert (detections.confidence == 1).all()
    assert "frame, head_x, head_y" in CSV.recognize(tmp_path)


def test_a_path_can_name_the_walk_and_many_files_be_the_source(tmp_path):
    header = PLAIN.replace("subject,condition,run,view", "path")
    write(tmp_path, [header, row("001/nm-01/090", 0), row("002/nm-01/090", 0)], "b/one.csv")
    write(tmp_path, [header, row("003/nm-01/090", 0)], "a/two.csv")
    write(tmp_path, ["a,b"], "c.csv")
    assert [s.path for s in CSV.find(tmp_path)] == ["c", "003/nm-01/090", "001/nm-01/090", "002/nm-01/090"]


def test_an_empty_cell_is_a_missing_joint_and_zero_is_a_position(tmp_path):
    first, second = row("001,nm,1,090", 0).split(","), row("001,nm,1,090", 1).split(",")
    first[5], second[5], second[6] = "", "0", "0"
    (found,) = read(CSV, write(tmp_path, [PLAIN, ",".join(first), ",".join(second)])).values()
    assert np.isnan(found.keypoints[0, 0]).all()
    assert found.confidence[0, 0] == 0
    np.testing.assert_array_equal(found.keypoints[1, 0], [0, 0])


def test_negative_positions_and_frames_left_out(tmp_path):
    lines = [PLAIN, *(row("001,nm,1,090", f, x=-50) for f in (-2, -1, 2))]
    (found,) = read(CSV, write(tmp_path, lines)).values()
    np.testing.assert_array_equal(found.frame, [0, 1, 4])
    assert found.keypoints.min() == -50


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([row("001,nm,1,090", 3), row("001,nm,1,090", 3)], "has frame 3 twice"),
        ([row("001,nm,1,090", "")], "'' is not a frame number"),
        ([row("001,nm,1,090", "1.5")], "'1.5' is not a frame number"),
        ([row("001,nm,1,090", "1e300")], "'1e300' is not a frame number"),
        ([row("001,nm,1,090", "one")], "'one' is not a number"),
        ([row("001,nm,1,090", 0).replace("101.0", "?", 1)], r"'\?' is not a number"),
        ([row("001,nm,1,090", 0).replace("101.0", "-inf", 1)], "frame 0 holds inf, which cannot be an image coordinate"),
        ([row("001,nm,1,090", 0) + ",,"], "a row has 37 fields, not 35"),
        (["001,nm,1,090,0" + "," * 30], "nobody was found in any frame"),
    ],
)
def test_bad_rows_are_said(tmp_path, lines, reason):
    (sequence,) = CSV.find(write(tmp_path, [PLAIN, *lines]))
    with pytest.raises(Unusable, match=reason):
        CSV.load(sequence)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "is empty|starts with an empty line"),
        (PLAIN.replace(",neck_y", ""), "lacks the column neck_y;"),
        (PLAIN.replace("subject", "person"), "lacks the column subject"),
        (PLAIN.replace("frame,", ""), "lacks the column frame"),
        (PLAIN + ",head_x", "has the column head_x twice"),
        (PLAIN + ",head_confidence", "lacks the column neck_confidence and 13 more columns"),
    ],
)
def test_a_table_without_our_columns_is_an_error(tmp_path, header, message):
    path = write(tmp_path, [header])
    with pytest.raises(InputError, match=message):
        list(CSV.find(path))
    assert CSV.recognize(path) == ""


def test_a_table_without_rows_has_no_walks(tmp_path):
    assert list(CSV.find(write(tmp_path, [PLAIN]))) == []
    assert list(GAITGRAPH.find(write(tmp_path, [HEADER]))) == []


def test_the_layout_names_every_joint():
    assert all(joint in CSV.files for joint in JOINTS)
