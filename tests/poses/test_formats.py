"""Kinect recordings and cut passes: one walker in both files, damaged files, real people where they are at hand."""

import os
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from gaitlib import InputError
from gaitlib.data.dataset import write_dataset
from gaitlib.poses import formats, reading
from gaitlib.poses.formats import kinect
from gaitlib.poses.sequences import Format
from gaitlib.skeleton import KINECT

REAL = Path(os.environ.get("GAITLIB_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
real_people = pytest.mark.skipif(
    not (REAL / "kgbd_raw").is_dir() or not (REAL / "kgbd_passes_001_124.npz").is_file(),
    reason="no kgbd_raw and kgbd_passes_001_124.npz in the folder that GAITLIB_TEST_DATA names",
)

#: to the left, up, ahead of the mid-hip in meters, in the order of KINECT.names
BODY = np.array(
    [
        [0, 0.65, 0], [0, 0.5, 0], [-0.19, 0.48, 0], [0.19, 0.48, 0], [-0.22, 0.22, 0], [0.22, 0.22, 0],
        [-0.23, 0, 0], [0.23, 0, 0], [-0.23, -0.08, 0], [0.23, -0.08, 0], [0, 0.1, 0], [0, 0, 0],
        [-0.09, -0.04, 0], [0.09, -0.04, 0], [-0.1, -0.44, 0.03], [0.1, -0.44, 0.03],
        [-0.1, -0.84, 0], [0.1, -0.84, 0], [-0.1, -0.86, 0.15], [0.1, -0.86, 0.15],
    ]
)  # fmt: skip
#: frames of standing, turning, walking toward -x, turning, walking toward +x, standing
SCRIPT = (40, 10, 150, 14, 130, 40)
FIRST, SECOND = (50, 200), (214, 344)


def semicircle():
    """One recording, float [384, 20, 3] in meters: stand, walk to the left, turn, walk to the right, stand."""
    standing, left, right = 270.0, 180.0, 360.0
    ends = [(standing, standing), (standing, left), (left, left), (left, right), (right, right), (right, standing)]
    facing = np.concatenate([np.linspace(a, b, n) for (a, b), n in zip(ends, SCRIPT, strict=True)])
    stride = np.repeat([0, 0, 0.33, 0, 0.33, 0], SCRIPT)
    swing = stride * np.sin(2 * np.pi * np.arange(len(facing)) / 32)
    body = np.repeat(BODY[None], len(facing), axis=0)
    for side, joints in ((1, (14, 16, 18)), (-1, (15, 17, 19))):
        for joint, share in zip(joints, (0.5, 1, 1), strict=True):
            body[:, joint, 2] += side * share * swing
    angle = np.radians(facing)
    ahead = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=-1)
    axes = np.stack([np.cross([0, 1, 0], ahead), np.tile([0.0, 1, 0], (len(angle), 1)), ahead], axis=1)
    sway = np.random.default_rng(1).normal(0, 0.004, (len(angle), 20, 3))
    return np.round(body @ axes + sway + [0, 0, 2.5], 6)


def lines_of(meters):
    return [f"{name};{x:.7g};{y:.7g};{z:.7g}" for frame in meters for name, (x, y, z) in zip(KINECT.names, frame, strict=True)]


def write_recording(folder, meters, person=7, walk=3):
    path = folder / "Data" / f"Person{person:03d}" / f"{walk}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = meters if isinstance(meters, list) else lines_of(meters)
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    return path


def passes(**changes):
    """The arrays of a small kgbd file: two passes of 70 and 80 frames; None leaves one out."""
    joints = np.rint(KINECT.to_joints(semicircle()) * 1000).astype(np.int16)
    arrays = {
        "joints_mm": np.concatenate([joints[60:130], joints[220:300]]),
        "offsets": np.array([0, 70, 150]),
        "subject": np.array([7, 7], dtype=np.int32),
        "walk": np.array([3, 3], dtype=np.int32),
        "start_frame": np.array([60, 220], dtype=np.int32),
        "heading": np.array([1, -1], dtype=np.int32),
        "fps": np.float32(30),
    } | changes
    return {name: a for name, a in arrays.items() if a is not None}


def write_passes(folder, **changes):
    path = folder / "passes.npz"
    np.savez(path, **passes(**changes))
    return path


def read(source, format, cameras="sensor"):
    left_out = []
    return list(reading.read(source, format, cameras=cameras, left_out=left_out)), left_out


# ------------------------------------------------------------------------------------------------ the same from both


@pytest.mark.parametrize("cameras", ["sensor", "0:180:18"])
def test_text_and_npz_give_the_same_walks(tmp_path, cameras):
    write_recording(tmp_path, semicircle())
    from_text, left_out = read(tmp_path, "kinect", cameras)
    assert not left_out
    views = 1 if cameras == "sensor" else 11
    assert len(from_text) == 2 * views
    joints = np.rint(KINECT.to_joints(semicircle()) * 1000).astype(np.int16)
    cuts = [(int(w.recording[-4:]), len(w.pose)) for w in from_text[::views]]
    source = write_passes(
        tmp_path,
        joints_mm=np.concatenate([joints[start : start + length] for start, length in cuts]),
        offsets=np.cumsum([0, *(length for _, length in cuts)]),
        start_frame=np.array([start for start, _ in cuts]),
    )
    from_npz, _ = read(source, "kgbd", cameras)
    for a, b in zip(from_text, from_npz, strict=True):
        for name in {f.name for f in fields(a)} - {"source"}:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
        assert a.pose.dtype == b.pose.dtype == np.float32
    assert from_text[0].source.startswith("Person007/3.txt frames ")
    assert from_npz[-1].source == "passes.npz pass 1"


def test_the_passes_of_a_recording_are_cut_out():
    """An end is known to half the window in which strides are looked for."""
    found = kinect.cut(KINECT.to_joints(semicircle()) * 1000)
    assert [p.heading for p in found] == [1, -1]
    for p, (start, stop) in zip(found, (FIRST, SECOND), strict=True):
        assert abs(p.start - start) <= kinect.STRIDE_FRAMES // 2
        assert abs(p.stop - stop) <= kinect.STRIDE_FRAMES // 2


def test_standing_and_short_walks_are_no_passes():
    meters = semicircle()
    assert kinect.cut(KINECT.to_joints(meters[:40]) * 1000) == []
    assert kinect.cut(KINECT.to_joints(meters[60:123]) * 1000) == []
    assert len(kinect.cut(KINECT.to_joints(meters[60:124]) * 1000)) == 1
    assert kinect.cut(np.empty((0, 15, 3))) == []


def test_short_glitches_do_not_cut_a_pass_and_long_ones_do():
    joints = KINECT.to_joints(semicircle()) * 1000
    whole = kinect.cut(joints)
    mirrored = joints[:, [0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11]]
    glitch = joints.copy()
    glitch[110:118] = mirrored[110:118]
    assert kinect.cut(glitch) == whole
    glitch[110:150] = mirrored[110:150]
    cut = kinect.cut(glitch)
    assert cut[0] == kinect.Pass(whole[0].start, 110, 1)
    assert cut[1:] == whole[1:], "less than 64 frames are left behind the glitch, and it is shorter itself"
    gap = joints.copy()
    gap[120:126] = np.nan
    assert kinect.cut(gap) == whole


def test_every_folder_level_can_be_the_source(tmp_path):
    write_recording(tmp_path, semicircle())
    expected = [w.sequence for w in read(tmp_path, "kinect")[0]]
    for source in (tmp_path / "Data", tmp_path / "Data" / "Person007"):
        assert [w.sequence for w in read(source, "kinect")[0]] == expected
    assert expected[0].startswith("007-nm-03-f")


def test_recordings_come_by_number(tmp_path):
    meters = semicircle()[:1]
    for person, walk in ((10, 1), (2, 10), (2, 9)):
        write_recording(tmp_path, meters, person, walk)
    assert [(p, w) for p, w, _ in kinect.recordings(tmp_path)] == [(2, 9), (2, 10), (10, 1)]


def test_both_formats_become_data_sets(tmp_path):
    write_recording(tmp_path, semicircle())
    known = formats.FORMATS["kinect"]
    walks = reading.read(tmp_path, "kinect", cameras="0:90:45", left_out=[])
    data = write_dataset(tmp_path / "out", walks, name=known.dataset, license=known.license, citation=known.citation)
    assert data.views == ["000", "045", "090"]
    assert "AAAI 2015" in data.info["citation"]


# ------------------------------------------------------------------------------------------------ bad recordings


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda lines: [], "is empty"),
        (lambda lines: ["", "", ""], "is empty"),
        (lambda lines: lines[:12], "12 lines, less than one whole frame of 20"),
        (lambda lines: [*lines[:24], lines[24].replace(";", ";x", 1), *lines[25:]], "line 25: 'x"),
        (lambda lines: [*lines[:24], lines[24] + ";1", *lines[25:]], "line 25 is .*, not Name;x;y;z"),
        (lambda lines: [*lines[:24], lines[24].rsplit(";", 1)[0], *lines[25:]], "line 25 is .*, not Name;x;y;z"),
        (lambda lines: [f"{line.split(';')[0]};NaN;NaN;inf" for line in lines], "no joint has a position"),
        (lambda lines: lines[: 20 * 50], "no 64 frames of walking"),
    ],
)
def test_one_bad_file_is_left_out_and_the_rest_is_read(tmp_path, damage, reason):
    write_recording(tmp_path, semicircle(), walk=1)
    write_recording(tmp_path, damage(lines_of(semicircle())), walk=2)
    write_recording(tmp_path, semicircle(), walk=3)
    walks, left_out = read(tmp_path, "kinect")
    assert [w.run for w in walks] == [1, 1, 3, 3]
    assert [entry["source"] for entry in left_out] == ["Person007/2.txt"]
    assert re.search(reason, left_out[0]["reason"])


def test_bytes_that_are_no_text_and_unreadable_files_are_left_out(tmp_path):
    write_recording(tmp_path, semicircle(), walk=1)
    write_recording(tmp_path, semicircle(), walk=2).write_bytes(b"\xff\xfe\x00\x81" * 50)
    os.mkfifo(tmp_path / "Data" / "Person007" / "3.txt")
    (tmp_path / "Data" / "Person007" / f"{'4' * 40}.txt").write_text("Head;0;0;0")
    (tmp_path / "Data" / "Person007" / "5.txt").mkdir()
    walks, left_out = read(tmp_path, "kinect")
    assert len(walks) == 2
    assert [entry["reason"] for entry in left_out] == [
        "cannot be read: it is not UTF-8 text",
        "cannot be read: it is not a regular file",
        "has a number of more than six digits for its person or walk",
    ]


def test_files_and_folders_without_permission_are_said_to_be_that(tmp_path, monkeypatch):
    """Not "missing", "damaged" or "no Kinect recordings"."""
    recording = write_recording(tmp_path / "k", semicircle())
    passes = write_passes(tmp_path)
    real_open, real_scandir = os.open, os.scandir

    def forbidden(call):
        def refuse(path, *arguments, **options):
            if os.fspath(path) in (str(recording), str(passes), str(tmp_path / "locked")):
                raise PermissionError(13, "Permission denied", path)
            return call(path, *arguments, **options)

        return refuse

    monkeypatch.setattr(os, "open", forbidden(real_open))
    monkeypatch.setattr(os, "scandir", forbidden(real_scandir))
    assert read(tmp_path / "k", "kinect")[1][0]["reason"] == "cannot be read: you have no permission to read it"
    (tmp_path / "locked").mkdir()
    for call in (
        lambda: read(passes, "kgbd"),
        lambda: formats.guess(passes),
        lambda: formats.guess(tmp_path / "k"),
        lambda: formats.guess(tmp_path / "locked"),
        lambda: read(tmp_path / "locked", "kinect"),
    ):
        with pytest.raises(InputError, match="you have no permission to read it"):
            call()


@pytest.mark.parametrize("cut_off", [slice(0, -7), slice(0, -20 + 3)])
def test_a_cut_off_last_frame_is_dropped_and_told(tmp_path, cut_off):
    lines = lines_of(semicircle())
    write_recording(tmp_path, lines[cut_off])
    walks, left_out = read(tmp_path, "kinect")
    assert len(walks) == 2
    rest = len(lines[cut_off]) % 20
    assert left_out == [
        {"source": "Person007/3.txt", "reason": f"the file ends within a frame; the last {rest} lines were dropped"}
    ]
    joints, _ = kinect.read_recording(tmp_path / "Data" / "Person007" / "3.txt")
    assert len(joints) == len(semicircle()) - 1


def test_a_last_line_cut_off_drops_its_frame(tmp_path):
    lines = lines_of(semicircle())
    path = write_recording(tmp_path, [*lines[:-1], "Foot-Left;0.1"])
    joints, remark = kinect.read_recording(path)
    assert len(joints) == len(semicircle()) - 1
    assert "last 20 lines" in remark


def test_a_joint_out_of_order_is_an_error_with_file_and_line(tmp_path):
    lines = lines_of(semicircle())
    path = write_recording(tmp_path, lines[:47] + lines[48:])
    with pytest.raises(InputError, match=r"line 48: joint 'Hand-Right' instead of Wrist-Left") as error:
        read(tmp_path, "kinect")
    assert str(path) in str(error.value)


def test_a_folder_without_recordings_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"PersonNNN/K\.txt"):
        list(reading.read(tmp_path, "kinect", left_out=[]))


# ------------------------------------------------------------------------------------------------ bad passes


@pytest.mark.parametrize("name", ["joints_mm", "offsets", "subject", "walk", "start_frame", "heading", "fps"])
def test_a_missing_array_is_named(tmp_path, name):
    with pytest.raises(InputError, match=f"it has no array '{name}'; --format kgbd reads"):
        list(reading.read(write_passes(tmp_path, **{name: None}), "kgbd", left_out=[]))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("joints_mm", np.zeros((150, 17, 3), np.int16), r"joints_mm is \[150, 17, 3\], not \[frames, 15, 3\]"),
        ("joints_mm", np.zeros((150, 15, 3)), "joints_mm holds float64, not whole numbers"),
        ("offsets", np.array([0, 70, 149]), "offsets runs from 0 to 149, joints_mm from 0 to 150"),
        ("offsets", np.array([5, 70, 150]), "offsets runs from 5"),
        ("offsets", np.array([0, 160, 150]), "offsets does not grow after entry 1"),
        ("offsets", np.array([0]), r"offsets is \[1\]"),
        ("subject", np.array([1, 2, 3]), r"subject is \[3\], but offsets has 2 passes"),
        ("subject", np.array([1, -2]), "subject holds numbers below 0 or of more"),
        ("walk", np.array([1, 10**30 % 2**62]), "walk holds numbers below 0 or of more"),
        ("subject", np.array(["1", "2"]), "subject holds <U1"),
        ("heading", np.array([1, 0]), "heading of pass 1 is neither"),
        ("fps", np.float32(0), "fps is not a number from 1 to 1000"),
        ("fps", np.float32("nan"), "fps is not a number from 1 to 1000"),
        ("fps", np.float64(1e300), "fps is not a number from 1 to 1000"),
        ("fps", np.float64(1e9), "fps is not a number from 1 to 1000"),
        ("joint_names", np.array(["head"] * 15), "joint_names is not head, neck"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, name, value, message):
    with pytest.raises(InputError, match=message):
        list(reading.read(write_passes(tmp_path, **{name: value}), "kgbd", left_out=[]))


def test_files_that_are_no_npz(tmp_path):
    whole = write_passes(tmp_path).read_bytes()
    bad = tmp_path / "bad.npz"
    flipped = bytearray(whole)
    flipped[5000] ^= 255
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, **passes(subject=np.array([{}, {}], dtype=object)))
    encrypted = bytearray(whole)
    for place in (whole.index(b"PK\x03\x04") + 6, whole.index(b"PK\x01\x02") + 8):
        encrypted[place] |= 1
    for content in (whole[: len(whole) // 2], b"", b"Head;1;2;3", bytes(flipped), pickled.read_bytes(), bytes(encrypted)):
        bad.write_bytes(content)
        with pytest.raises(InputError, match=r"it is not a complete \.npz file"):
            list(reading.read(bad, "kgbd", left_out=[]))
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"not a complete \.npz file"):
        list(reading.read(tmp_path / "one.npy", "kgbd", left_out=[]))
    with pytest.raises(InputError, match="it is a folder"):
        list(reading.read(tmp_path, "kgbd", left_out=[]))


# ------------------------------------------------------------------------------------------------ the registry


def test_unknown_formats_and_cameras_are_refused_at_once(tmp_path):
    source = write_passes(tmp_path)
    with pytest.raises(InputError, match="did you mean kinect"):
        list(reading.read(source, "kinnect", left_out=[]))
    with pytest.raises(InputError, match="choose from kgbd, kinect"):
        list(reading.read(source, "zzz", left_out=[]))
    with pytest.raises(InputError, match="--cameras"):
        list(reading.read(source, "kgbd", cameras="round", left_out=[]))
    with pytest.raises(InputError, match="does not exist"):
        list(reading.read(tmp_path / "nothing", "kgbd", left_out=[]))


@pytest.mark.parametrize("format", ["", *formats.FORMATS])
def test_sources_that_are_no_files_are_refused_and_never_opened(tmp_path, format):
    """A pipe would wait for ever, /dev/zero never end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for source, message in (
        (tmp_path / "pipe", "neither a folder nor a file"),
        (Path("/dev/zero"), "neither a folder nor a file"),
        (tmp_path / "loop", "too many levels of symbolic links"),
        (Path("a\0b"), "null"),
        (Path("x" * 5000), "file name too long"),
    ):
        with pytest.raises(InputError, match=message) as error:
            list(reading.read(source, format, left_out=[]) if format else formats.guess(source))
        assert len(str(error.value)) < 400


@pytest.mark.parametrize("format", [name for name, known in formats.FORMATS.items() if name not in ("kgbd", "paper")])
def test_what_is_no_file_inside_a_source_is_left_out(tmp_path, format):
    """Pipes and endless links are listed with the reason, and neither opened nor guessed by."""
    folder = tmp_path / ("Person001" if format == "kinect" else "001-nm-01-090")
    folder.mkdir()
    suffix = {"kinect": "txt", "opengait": "pkl", "gaitgraph": "csv", "csv": "csv", "video": "mp4"}.get(format, "json")
    os.mkfifo(folder / f"1.{suffix}")
    (folder / f"2.{suffix}").symlink_to(f"2.{suffix}")
    (folder / f"3.{suffix}").symlink_to("/dev/zero")
    walks, left_out = read(tmp_path, format)
    assert not walks
    assert all("cannot be read: it is not a regular file" in entry["reason"] for entry in left_out if "2" not in entry["source"])
    assert len(left_out) == (1 if format in ("openpose", "oumvlp") else 3), "there the walk is one"
    with pytest.raises(InputError, match="it is not a regular file"):
        formats.guess(tmp_path)


def test_flat_formats_have_no_cameras(tmp_path, monkeypatch):
    flat = Format("flat", "", "", lambda source: "", lambda source: iter(()), lambda sequence: None)
    monkeypatch.setitem(formats.FORMATS, "flat", flat)
    with pytest.raises(InputError, match="needs walks in three dimensions"):
        list(reading.read(tmp_path, "flat", cameras="0:180:18", left_out=[]))


def test_every_format_describes_itself():
    for name, known in formats.FORMATS.items():
        assert known.name == name
        assert "\n" not in known.summary
        assert known.files
        assert bool(known.read) != bool(known.find and known.load)


def test_guess_goes_by_content(tmp_path):
    (tmp_path / "renamed").write_bytes(write_passes(tmp_path).read_bytes())
    assert formats.guess(tmp_path / "renamed") == ("kgbd", "it holds the arrays joints_mm and offsets")
    write_recording(tmp_path / "k", semicircle()[:1])
    for source in ("k", "k/Data", "k/Data/Person007"):
        name, why = formats.guess(tmp_path / source)
        assert name == "kinect"
        assert why.startswith("Person007/3.txt holds lines like Head;")
    other = tmp_path / "other" / "Person001"
    other.mkdir(parents=True)
    (other / "1.txt").write_text("frame 1\n")
    np.savez(tmp_path / "other.npz", poses=np.zeros(3))
    for source in ("other", "other.npz", "other/Person001/1.txt"):
        said = r"not in a known format.*; `gaitlib prepare --format` with one of these says what does not fit: kgbd, kinect, "
        with pytest.raises(InputError, match=said) as error:
            formats.guess(tmp_path / source)
        assert ("a file in it: Person001/1.txt" in str(error.value)) == (source == "other")
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    with pytest.raises(InputError, match="empty holds no files"):
        formats.guess(tmp_path / "empty")
    with pytest.raises(InputError, match="does not exist"):
        formats.guess(tmp_path / "nothing")


# ------------------------------------------------------------------------------------------------ real people


@real_people
def test_cuts_of_real_recordings_match_the_published_passes():
    """15 passes of 3 people: the same pieces, the same way, and both ends within half a second."""
    cut, _ = read(REAL / "kgbd_raw", "kinect")
    ours = [(w.subject, w.run, int(w.recording[-4:]), len(w.pose), w.view) for w in cut]
    known = {(subject, run) for subject, run, *_ in ours}
    assert len(known) == 6
    published, _ = read(REAL / "kgbd_passes_001_124.npz", "kgbd")
    theirs = [(w.subject, w.run, int(w.recording[-4:]), len(w.pose), w.view) for w in published]
    theirs = [t for t in theirs if t[:2] in known]
    assert [(s, r, view) for s, r, _, _, view in ours] == [(s, r, view) for s, r, _, _, view in theirs]
    for (*_, start, length, _), (*_, start2, length2, _) in zip(ours, theirs, strict=True):
        assert abs(start - start2) <= 15
        assert abs(start + length - start2 - length2) <= 15


@real_people
def test_cut_frames_of_real_recordings_are_the_published_ones():
    """The starts are indices into the recording, and both paths give the same pixels."""
    published = {w.sequence: w for w in read(REAL / "kgbd_passes_001_124.npz", "kgbd")[0]}
    same = [
        np.array_equal(w.pose[:64], published[w.sequence].pose[:64])
        for w in read(REAL / "kgbd_raw", "kinect")[0]
        if w.sequence in published
    ]
    assert len(same) >= 8
    assert all(same)


@real_people
def test_real_people_look_into_the_camera_at_view_0():
    """The right shoulder is on the left of the image, whichever way people walk."""
    walks = reading.read(REAL / "kgbd_passes_001_124.npz", "kgbd", cameras="0:0:1", left_out=[])
    across = [(w.pose[:, 5, 0] - w.pose[:, 2, 0]).mean() for w, _ in zip(walks, range(200), strict=False)]
    assert np.median(across) > 150
    assert np.mean(np.array(across) > 0) > 0.98
