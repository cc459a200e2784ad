"""From files to walks: layouts by number and shape, one person among several, names, workers, what is left out."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gaitlib import InputError
from gaitlib.cli import main
from gaitlib.data.dataset import write_dataset
from gaitlib.data.walkers import make_walkers
from gaitlib.poses import formats, reading
from gaitlib.poses.reading import Tally, body_25_or_25b, tell_layout
from gaitlib.poses.sequences import Detections, Format, Sequence, Unusable
from gaitlib.skeleton import JOINTS, LAYOUTS
from tests.test_skeleton import NAMES

REAL = Path(os.environ.get("GAITLIB_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data") / "openpose_body25b"
real_files = pytest.mark.skipif(not REAL.is_dir(), reason="no openpose_body25b in the folder that GAITLIB_TEST_DATA names")


def walks(count=3):
    """The first walks of one synthetic person, in pixels."""
    return [w for _, w in zip(range(count), make_walkers(1, 0), strict=False)]


def keypoints_of(pose, layout):
    """Foreign keypoints [T, K, 3] that map to our joints; those without one of ours lie near the nose or an ankle."""
    keypoints = np.full((len(pose), LAYOUTS[layout].size, 3), 0.9)
    for k, name in enumerate(NAMES[layout]):
        low = any(part in name.lower() for part in ("toe", "heel", "foot"))
        keypoints[:, k, :2] = pose[:, JOINTS.index("right_ankle") if low else 0] + [3, 4 if low else -4]
    for joint, sources in enumerate(LAYOUTS[layout].sources):
        if len(sources) == 1:
            keypoints[:, sources[0], :2] = pose[:, joint]
    return keypoints


def expected(pose, layout):
    """The 15 joints that come back: midpoints where the layout has them."""
    return LAYOUTS[layout].to_joints(keypoints_of(pose, layout)[..., :2])


def write_openpose(folder, keypoints, prefix="", others=()):
    folder.mkdir(parents=True, exist_ok=True)
    for t, points in enumerate(keypoints):
        people = [{"person_id": [-1], "pose_keypoints_2d": p.ravel().tolist()} for p in [*(o[t] for o in others), points]]
        (folder / f"{prefix}{t:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": people}))


def entries(keypoints, others=(), first=0, box=True):
    more = {"box": [0.0, 0.0, 1.0, 1.0], "idx": [0.0]} if box else {}
    return [
        {"image_id": f"{first + t}.jpg", "category_id": 1, "keypoints": p.ravel().tolist(), "score": 2.5, **more}
        for t in range(len(keypoints))
        for p in [*(o[t] for o in others), keypoints[t]]
    ]


def write_entries(path, *arguments, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries(*arguments, **options)))
    return path


def read(source, format, **options):
    left_out, tally = [], Tally()
    return list(reading.read(source, format, left_out=left_out, tally=tally, **options)), left_out, tally


def bystander(frames, layout="COCO17"):
    """Somebody small who stands far away from everybody's path."""
    pose = walks(1)[0].pose[:1].repeat(frames, axis=0) * 0.5 + [600, 50]
    return keypoints_of(pose, layout)


# ------------------------------------------------------------------------------------------------ every layout


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "JOINTS15"])  # which comes as arrays and tables
def test_walkers_come_back_from_every_layout(tmp_path, layout):
    given = walks(2)
    for walk in given:
        keypoints, folder = keypoints_of(walk.pose, layout), tmp_path / "001" / "nm-01"
        if layout in ("COCO18", "BODY_25", "BODY_25B"):
            write_openpose(folder / walk.view, keypoints)
        elif layout == "MEDIAPIPE33":
            folder.mkdir(parents=True, exist_ok=True)
            content = {"width": 640, "height": 480, "frames": (keypoints / [640, 480, 1]).tolist()}
            (folder / f"{walk.view}.json").write_text(json.dumps(content))
        else:
            write_entries(folder / f"{walk.view}.json", keypoints, box=layout != "COCO133")
    name, _ = formats.guess(tmp_path)
    assert name == {"COCO133": "coco", "MEDIAPIPE33": "mediapipe"}.get(
        layout, "alphapose" if layout in ("COCO17", "HALPE26", "HALPE136") else "openpose"
    )
    found, left_out, tally = read(tmp_path, name)
    assert not left_out
    assert tally.layouts == {layout: 2}
    for walk, given_walk in zip(found, given, strict=True):
        np.testing.assert_allclose(walk.pose, expected(given_walk.pose, layout), atol=1e-3)
        assert (walk.sequence, walk.fps) == (given_walk.sequence, 25.0)
        assert ((walk.confidence > 0) == np.isfinite(walk.pose[..., 0])).all()
        assert (walk.pose.dtype, walk.confidence.dtype) == (np.float32, np.float32)
    for named in (layout, ""):
        assert len(read(tmp_path, name, layout=named)[0]) == 2
    other = "COCO17" if layout != "COCO17" else "HALPE26"
    assert f"but --layout {other} has" in read(tmp_path, name, layout=other)[1][0]["reason"]


@pytest.mark.parametrize("layout", ["BODY_25", "BODY_25B"])
def test_the_shape_of_the_body_tells_25_keypoints_apart_in_all_views(layout):
    for walk in walks(11):
        keypoints = keypoints_of(walk.pose, layout)[..., :2]
        keypoints += np.random.default_rng(0).normal(0, 1.0, keypoints.shape)
        assert body_25_or_25b(keypoints) == layout


def test_25_keypoints_that_cannot_be_told_apart_are_refused():
    keypoints = keypoints_of(walks(1)[0].pose, "BODY_25")[..., :2]
    for undecided in (keypoints[:2], keypoints[..., ::-1], np.zeros_like(keypoints), keypoints * np.nan):
        assert body_25_or_25b(undecided) == ""
        with pytest.raises(Unusable, match="give --layout"):
            tell_layout(undecided)
        assert tell_layout(undecided, "BODY_25B").name == "BODY_25B"
    with pytest.raises(InputError, match=r"--layout BODY_25B contradicts the shape of the body, which fits BODY_25;"):
        tell_layout(keypoints, "BODY_25B")
    with pytest.raises(Unusable, match="no known layout has 19 keypoints"):
        tell_layout(np.zeros((5, 19, 2)))


@real_files
def test_real_body_25b_is_noticed():
    found, left_out, tally = read(REAL, "openpose", pattern="{subject}")
    assert not left_out
    assert tally.layouts == {"BODY_25B": 1}
    assert (tally.walks_with_a_choice, tally.frames_with_a_choice) == (1, 30)
    (walk,) = found
    ankles, knees, hips = walk.pose[:, [11, 14], 1], walk.pose[:, [10, 13], 1], walk.pose[:, [9, 12], 1]
    assert (np.nanmean(ankles) > np.nanmean(knees)) & (np.nanmean(knees) > np.nanmean(hips))
    with pytest.raises(InputError, match=r"cam01\.0000\.json: --layout BODY_25 contradicts .* BODY_25B"):
        read(REAL, "openpose", pattern="{subject}", layout="BODY_25")


# ------------------------------------------------------------------------------------------------ one person, gaps


@pytest.mark.parametrize("first", [False, True])
def test_second_people_and_gaps(tmp_path, first):
    """The walker enters at frame 10, is lost for 5 frames, and leaves 4 before the end; somebody stands there all the time."""
    walk = walks(1)[0]
    keypoints, other = keypoints_of(walk.pose, "COCO17"), bystander(len(walk.pose))
    content = entries(keypoints)
    content = [e for t, e in enumerate(content) if t not in (*range(10), *range(30, 35), *range(80, 84))]
    content = [*entries(other), *content] if first else [*content, *entries(other)]
    path = tmp_path / "001-nm-01-000.json"
    path.write_text(json.dumps(content))
    (found,), left_out, tally = read(tmp_path, "alphapose")
    assert len(found.pose) == 70
    want = expected(walk.pose, "COCO17")[10:80]
    want[20:25] = np.nan
    np.testing.assert_allclose(found.pose, want, atol=1e-3)
    assert (found.confidence[20:25] == 0).all()
    assert (tally.walks_with_a_choice, tally.frames_with_a_choice) == (1, 65)
    assert not left_out


def test_a_missing_joint_is_nan_and_has_no_confidence(tmp_path):
    keypoints = keypoints_of(walks(1)[0].pose, "COCO17")
    keypoints[5, 5] = 0
    write_entries(tmp_path / "001-nm-01-000.json", keypoints)
    (walk,), *_ = read(tmp_path, "alphapose")
    missing = [JOINTS.index("neck"), JOINTS.index("left_shoulder")]
    assert np.argwhere(np.isnan(walk.pose[..., 0])).tolist() == [[5, j] for j in missing]
    assert np.argwhere(walk.confidence == 0).tolist() == [[5, j] for j in missing]


# ------------------------------------------------------------------------------------------------ what is left out


@pytest.fixture
def mixed(tmp_path):
    """Walks of two people, one of them damaged, one without a name."""
    keypoints = keypoints_of(walks(1)[0].pose[:20], "COCO17")
    for name in ("001/nm-01/000", "001/nm-01/018", "002/nm-01/000", "002/nm-02/000"):
        write_entries(tmp_path / f"{name}.json", keypoints)
    (tmp_path / "001" / "nm-01" / "018.json").write_bytes(b"")
    write_entries(tmp_path / "somebody.json", keypoints)
    return tmp_path


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_files_are_listed_and_the_rest_is_read_in_order(mixed, workers):
    found, left_out, _ = read(mixed, "alphapose", workers=workers, fps=30)
    assert [w.sequence for w in found] == ["001-nm-01-000", "002-nm-01-000", "002-nm-02-000"]
    assert {w.fps for w in found} == {30.0}
    assert [entry["source"] for entry in left_out] == ["somebody", "001/nm-01/018"]
    assert left_out[0]["reason"].startswith("its path does not name a subject in a known spelling")
    assert left_out[1]["reason"] == "is empty"


def test_strict_stops_at_the_first_bad_file(mixed):
    with pytest.raises(InputError, match="somebody: its path does not name a subject"):
        read(mixed, "alphapose", strict=True)
    (mixed / "somebody.json").unlink()
    for workers in (1, 2):
        with pytest.raises(InputError, match="001/nm-01/018: is empty; correct or remove it"):
            read(mixed, "alphapose", strict=True, workers=workers)


def test_names_by_pattern_and_table(mixed):
    found, left_out, _ = read(mixed, "alphapose", pattern="{subject}/{condition}-{run}/{view}")
    assert len(found) == 3
    assert "does not match --pattern" in left_out[0]["reason"]
    table = mixed / "names.csv"
    table.write_text("path,subject,view\nsomebody.json,anna,left\nnobody,berta,left\n")
    found, left_out, _ = read(mixed, "alphapose", names=table)
    assert [w.sequence for w in found] == ["anna-nm-01-left"]
    assert left_out[-1] == {"source": "nobody", "reason": "is listed in names.csv, but no such walk exists"}
    assert len(left_out) == 5


def test_folders_above_the_source_belong_to_the_spelling(mixed):
    for source in (mixed / "002", mixed / "002" / "nm-01", mixed / "002" / "nm-01" / "000.json"):
        assert read(source, "alphapose")[0][0].sequence == "002-nm-01-000"


def test_memory_does_not_grow_with_the_number_of_sequences(tmp_path, monkeypatch):
    """With 2 workers only a few batches are taken from the list before their walks are."""
    taken = 0

    def find(source):
        nonlocal taken
        for i in range(2000):
            taken += 1
            yield Sequence(f"{i:05d}-nm-01-000", (Path("x.json"),))

    monkeypatch.setitem(formats.FORMATS, "many", Format("many", "", "", str, find, standing))
    found = reading.read(tmp_path, "many", workers=2, left_out=[])
    assert next(found).subject == "00000"
    assert taken <= reading.BATCH * (2 * reading.WAITING + 2)
    assert [w.subject for w in found] == [f"{i:05d}" for i in range(1, 2000)]


def standing(sequence):
    """Detections of somebody who does not move, in place of a reader."""
    points = np.tile(np.arange(34, dtype=np.float32).reshape(1, 17, 2) + 1, (16, 1, 1))
    none = np.full(16, -1)
    return Detections(np.arange(16), points, np.ones((16, 17), np.float32), none)


def test_a_source_without_files_of_the_format(tmp_path):
    with pytest.raises(InputError, match="holds no files of this format"):
        read(tmp_path, "openpose")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "COCO"}, "--layout 'COCO' is unknown; choose from JOINTS15, COCO17"),
        ({"pattern": "{view}"}, "has no field for the subject"),
        ({"pattern": "{subject}", "names": "x.csv"}, "cannot be combined"),
        ({"names": "x.csv"}, "cannot be read"),
        ({"workers": 0}, "--workers 0"),
        ({"fps": 0}, "--fps 0"),
        ({"fps": float("nan")}, "--fps nan"),
    ],
)
def test_options_that_cannot_be_used(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, "coco", **options)


def test_options_of_flat_poses_are_refused_for_kinect(tmp_path):
    with pytest.raises(InputError, match="--pattern cannot be used with --format kinect"):
        read(tmp_path, "kinect", pattern="{subject}")


def test_arrays_and_tables_of_our_own_joints(tmp_path):
    (walk,) = walks(1)
    np.save(tmp_path / "train.npy", walk.pose[None])
    for part, value in (("label", 7), ("angle", 90), ("situation", "bg")):
        np.save(tmp_path / f"train_{part}.npy", np.array([value]))
    assert formats.guess(tmp_path)[0] == "paper"
    (found,), left_out, tally = read(tmp_path, "paper")
    assert (found.sequence, tally.layouts, left_out) == ("007-bg-01-090", {"JOINTS15": 1}, [])
    np.testing.assert_allclose(found.pose, walk.pose)
    our_table(tmp_path / "table.csv", walk.pose, [("anna_b", "thick-coat", "2", "left")])
    assert formats.guess(tmp_path / "table.csv")[0] == "csv"
    (found,), left_out, _ = read(tmp_path / "table.csv", "csv")
    assert (found.sequence, left_out) == ("anna_b-thick-coat-02-left", [])
    np.testing.assert_allclose(found.pose, walk.pose, rtol=1e-5)


def our_table(path, pose, labels):
    """A table in our own format of one pose for each of the labels (subject, condition, run, view)."""
    columns = ["subject", "condition", "run", "view", "frame", *(f"{j}_{axis}" for j in JOINTS for axis in "xy")]
    cells = [",".join("" if np.isnan(x) else str(x) for x in p.ravel()) for p in pose]
    rows = [f"{','.join(name)},{t},{row}" for name in labels for t, row in enumerate(cells)]
    path.write_text("\n".join([",".join(columns), *rows]))


def test_labels_in_a_table_count_as_they_stand(tmp_path):
    """Of hospitalA/01 and hospitalB/01 one person was made, and a subject spelled like a walk of CASIA-B became that walk."""
    our_table(
        tmp_path / "t.csv",
        walks(1)[0].pose,
        [("hospitalA/01", "nm", "1", "000"), ("hospitalB/01", "nm", "2", "000"), ("x-bg-02-036", "NM", "7", "left")],
    )
    (found,), left_out, _ = read(tmp_path / "t.csv", "csv")
    assert (found.subject, found.condition, found.run, found.view) == ("x-bg-02-036", "nm", 7, "left")
    assert [entry["source"] for entry in left_out] == ["hospitalA/01/nm-01/000", "hospitalB/01/nm-02/000"]
    assert left_out[0]["reason"].startswith("subject 'hospitalA/01' is not a plain name")
    found, left_out, _ = read(tmp_path / "t.csv", "csv", pattern="{any}/{subject}/{condition}-{run}/{view}")
    assert [w.sequence for w in found] == ["01-nm-01-000", "01-nm-02-000"], "by a pattern they can still be told"
    assert len(left_out) == 1


def test_people_of_one_name_in_several_folders_are_told(tmp_path):
    keypoints = keypoints_of(walks(1)[0].pose[:20], "COCO17")
    for name in ("siteA/001/nm-01/000", "siteB/001/nm-02/000", "siteB/001/nm-03/000", "siteB/002/nm-01/000"):
        write_entries(tmp_path / f"{name}.json", keypoints)
    found, left_out, tally = read(tmp_path, "alphapose")
    assert [w.sequence for w in found] == ["001-nm-01-000", "001-nm-02-000", "001-nm-03-000", "002-nm-01-000"]
    assert not left_out
    assert tally.notes()["remarks"] == [
        {
            "remark": "people of the same name in siteA and in siteB were treated as one person",
            "first": "siteB/001/nm-02/000",
            "walks": 2,
        }
    ]
    assert read(tmp_path / "siteB", "alphapose")[2].remarks == {}


@pytest.mark.parametrize("format", ["alphapose", "openpose", "csv"])
def test_workers_give_the_same_walks(tmp_path, format):
    given = walks(5)
    for walk in given:
        keypoints, other = keypoints_of(walk.pose, "COCO18"), bystander(len(walk.pose), "COCO18")
        if format == "alphapose":
            write_entries(tmp_path / f"{walk.sequence}.json", keypoints, (other,))
        elif format == "openpose":
            write_openpose(tmp_path / walk.sequence, keypoints, others=(other,))
    if format == "csv":
        our_table(tmp_path / "t.csv", given[0].pose, [(str(i), "nm", "1", "000") for i in range(40)])
    (one, _, first), (two, _, second) = (read(tmp_path, format, workers=n) for n in (1, 2))
    assert first == second
    assert len(one) == len(two) == (40 if format == "csv" else 5)
    for a, b in zip(one, two, strict=True):
        assert a.sequence == b.sequence
        np.testing.assert_array_equal(a.pose, b.pose)
        np.testing.assert_array_equal(a.confidence, b.confidence)


def test_pickles_and_tables_of_peers(tmp_path):
    (walk,) = walks(1)
    keypoints = np.nan_to_num(keypoints_of(walk.pose, "COCO17"))
    folder = tmp_path / "pickles" / "001" / "nm-01" / "000"
    folder.mkdir(parents=True)
    (folder / "000.pkl").write_bytes(pickle.dumps(keypoints))
    lines = [",".join([f"001-nm-01-000/{t:04d}.jpg", *map(str, p.ravel())]) for t, p in enumerate(keypoints)]
    (tmp_path / "casia.csv").write_text("\n".join(lines))
    for source, format in (("pickles", "opengait"), ("casia.csv", "gaitgraph")):
        assert formats.guess(tmp_path / source)[0] == format
        (found,), left_out, tally = read(tmp_path / source, format)
        assert (found.sequence, tally.layouts, left_out) == ("001-nm-01-000", {"COCO17": 1}, [])
        np.testing.assert_allclose(found.pose, expected(walk.pose, "COCO17"), rtol=1e-5)


# ------------------------------------------------------------------------------------------------ guessing


def test_ou_mvlp_is_guessed_and_openpose_gives_way(tmp_path):
    write_openpose(tmp_path / "00001" / "090_01", keypoints_of(walks(1)[0].pose[:20], "COCO18"))
    assert formats.guess(tmp_path)[0] == "oumvlp"
    for name in ("oumvlp", "openpose"):
        found, left_out, _ = read(tmp_path, name)
        assert [w.sequence for w in found] == ["00001-nm-01-090"], left_out


def test_a_source_of_two_formats_is_not_guessed(tmp_path):
    keypoints = keypoints_of(walks(1)[0].pose[:20], "COCO17")
    write_entries(tmp_path / "a.json", keypoints, box=False)
    write_entries(tmp_path / "b.json", keypoints)
    with pytest.raises(InputError, match=r"more than one format: alphapose \(b\.json .*\); coco \(a\.json .*name one"):
        formats.guess(tmp_path)


# ------------------------------------------------------------------------------------------------ the command


def test_prepare_says_what_was_decided(mixed):
    keypoints = keypoints_of(walks(1)[0].pose[:20], "COCO17")
    write_entries(mixed / "003" / "nm-01" / "000.json", keypoints, (bystander(20),))
    out = mixed.parent / "out"
    result = CliRunner().invoke(main, ["prepare", str(mixed), "--out", str(out), "--fps", "50"])
    assert result.exit_code == 0, result.output
    for line in (
        "Format alphapose: somebody.json is a list with image_id, keypoints and box",
        "4 walks of 3 people in 1 views, 80 frames",
        "layout COCO17: 4 walks",
        "one of several people had to be chosen in 20 frames of 1 walks",
        "left out: 001/nm-01/018: is empty",
    ):
        assert line in result.output
    info = json.loads((out / "dataset.json").read_text())
    assert info["choices"] == {"walks": 1, "frames": 20}
    assert info["layouts"] == {"COCO17": 4}
    assert len(info["left_out"]) == 2
    result = CliRunner().invoke(main, ["prepare", str(mixed), "--out", str(out), "--strict"])
    assert result.exit_code == 2
    assert "somebody: its path does not name a subject" in result.output


def test_an_assumption_is_told_once_for_all_walks(tmp_path):
    for walk in walks(3):
        np.save(tmp_path / f"{walk.sequence}.npy", keypoints_of(walk.pose, "MEDIAPIPE33")[..., :2] / [640, 480])
    found, left_out, tally = read(tmp_path, "mediapipe")
    assert not left_out
    (remark,) = tally.notes()["remarks"]
    assert remark["remark"].startswith("the image size is not given; 16:9 was assumed")
    assert (remark["first"], remark["walks"]) == ("001-nm-01-000", 3)
    assert len(write_dataset(tmp_path / "out", found, name="x")) == 3
