"""AlphaPose, OpenPose, COCO and MediaPipe: hand-written files, what is missing or damaged in them, and mutations of them."""

import json
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaitlib.poses.formats.coco import ALPHAPOSE, COCO
from gaitlib.poses.formats.files import number_frames
from gaitlib.poses.formats.mediapipe import MEDIAPIPE
from gaitlib.poses.formats.openpose import OPENPOSE
from gaitlib.poses.sequences import Detections, Sequence, Unusable

FRAMES = 4
POINTS = np.random.default_rng(0).uniform(10, 500, (FRAMES, 17, 3)).round(3)
POINTS[..., 2] = 0.75


def entry(t, points=POINTS, **more):
    return {"image_id": f"{t}.jpg", "category_id": 1, "keypoints": points[t].ravel().tolist(), "score": 2.0, **more}


def load(module, path, content):
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return module.load(Sequence("walk", (path,)))


def frame_file(folder, t, people, name="{:04d}_keypoints.json"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name.format(t)
    path.write_text(json.dumps({"version": 1.3, "people": [{"pose_keypoints_2d": np.ravel(p).tolist()} for p in people]}))
    return path


# ------------------------------------------------------------------------------------------------ lists of results


def test_entries_are_ordered_by_the_number_of_their_image(tmp_path):
    found = load(ALPHAPOSE, tmp_path / "w.json", [entry(t, idx=5) for t in (3, 1, 0, 1)][:3])
    assert found.frame.tolist() == [0, 1, 3]
    np.testing.assert_allclose(found.keypoints, POINTS[[0, 1, 3], :, :2], rtol=1e-6)
    np.testing.assert_allclose(found.confidence, 0.75)
    assert found.person.tolist() == [5, 5, 5]
    assert (found.keypoints.dtype, found.confidence.dtype, found.frame.dtype) == (np.float32, np.float32, np.int64)


def test_keypoints_may_be_nested_and_numbers_come_as_numbers_or_lists(tmp_path):
    content = [entry(t) | {"keypoints": POINTS[t].tolist(), "idx": [float(t)]} for t in range(3)]
    found = load(ALPHAPOSE, tmp_path / "w.json", content)
    np.testing.assert_allclose(found.keypoints, POINTS[:3, :, :2], rtol=1e-6)
    assert found.person.tolist() == [0, 1, 2]


def test_a_number_that_two_people_in_a_frame_share_is_no_number(tmp_path):
    found = load(ALPHAPOSE, tmp_path / "w.json", [entry(0, idx=0.0), entry(0, idx=0.0), entry(1, idx=0.0)])
    assert found.person.tolist() == [-1, -1, -1]
    assert found.frame.tolist() == [0, 0, 1]


def test_files_that_hold_nobody_do_not_hide_the_format(tmp_path):
    for name, content in (("1", "[]"), ("2", ""), ("3", "[{"), ("4", "{}"), ("5", json.dumps([entry(0, idx=1)]))):
        (tmp_path / f"{name}.json").write_text(content)
    assert ALPHAPOSE.recognize(tmp_path) == "5.json is a list with image_id, keypoints and idx"
    for name in range(6, 9):
        (tmp_path / f"{name}.json").write_text('{"settings": 1}')
    (tmp_path / "5.json").rename(tmp_path / "9.json")
    assert ALPHAPOSE.recognize(tmp_path) == "", "three that hold something else are enough"


@pytest.mark.parametrize("zero", [0, 0.0, [0.0]])
def test_everybody_has_the_number_0_where_nobody_was_tracked(tmp_path, zero):
    found = load(ALPHAPOSE, tmp_path / "w.json", [entry(t, idx=zero) for t in range(3)])
    assert found.person.tolist() == [-1, -1, -1]


def test_people_by_image_as_cmu_and_open_write_them(tmp_path):
    points = POINTS[:, [*range(17), 0]]
    cmu = {f"{t}.jpg": {"version": "AlphaPose v0.3", "bodies": [{"joints": points[t].ravel().tolist()}]} for t in (0, 2)}
    cmu["3.jpg"] = {"version": "AlphaPose v0.3", "bodies": []}
    opened = {f"{t}.jpg": {"people": [{"pose_keypoints_2d": points[t].ravel().tolist()}]} for t in (0, 2)}
    for content, gap in ((cmu, 2), (opened, 1)):
        found = load(ALPHAPOSE, tmp_path / f"{gap}.json", content)
        assert (found.keypoints.shape, found.frame.tolist()) == ((2, 18, 2), [0, gap])
    assert "lists people by image" in ALPHAPOSE.recognize(tmp_path / "2.json")


def test_missing_keypoints(tmp_path):
    points = POINTS.copy()
    points[0, 0] = 0
    points[0, 1, 2] = 0
    points[1, 2, 0] = 0
    text = json.dumps([entry(0, points), entry(1, points)])
    for value in ("NaN", "Infinity", "-Infinity", "null"):
        damaged = text.replace(str(points[1, 3, 0]), value)
        assert damaged != text
        found = load(COCO, tmp_path / f"{value}.json", damaged.encode())
        assert np.argwhere(np.isnan(found.keypoints[..., 0])).tolist() == [[0, 0], [0, 1], [1, 3]]
        assert np.argwhere(found.confidence == 0).tolist() == [[0, 0], [0, 1], [1, 3]]
        assert found.keypoints[1, 2, 0] == 0, "at the left edge of the image, not missing"


def test_a_table_of_images_may_hold_many_walks(tmp_path):
    names = ["001/nm-01/090/0001.jpg", "001/nm-01/090/0002.jpg", "002/nm-01/090/0001.jpg", "002/nm-01/090/0003.jpg"]
    images = [{"id": 10 + i, "file_name": name} for i, name in enumerate(names)]
    content = {"images": images, "annotations": [entry(t) | {"image_id": 10 + t} for t in (0, 1, 2)]}
    path = tmp_path / "all.json"
    path.write_text(json.dumps(content))
    walks = list(COCO.find(path))
    assert [w.path for w in walks] == ["001/nm-01/090", "002/nm-01/090"]
    first, second = map(COCO.load, walks)
    assert (first.frame.tolist(), second.frame.tolist()) == ([0, 1], [0])
    np.testing.assert_allclose(second.keypoints[0], POINTS[2, :, :2], rtol=1e-6)
    with pytest.raises(Unusable, match="images of 2 walks; give this file itself"):
        COCO.load(next(COCO.find(tmp_path)))
    dashed = [entry(t) | {"image_id": f"00{t}-nm-01-090_0001.jpg"} for t in range(2)]
    path.write_text(json.dumps(dashed))
    assert [w.path for w in COCO.find(path)] == ["000-nm-01-090", "001-nm-01-090"]


def inferred(t, people):
    """A frame of what MMPose's inferencer writes."""
    points = [POINTS[p] for p in people]
    return {"frame_id": t, "instances": [{"keypoints": p[:, :2].tolist(), "keypoint_scores": p[:, 2].tolist()} for p in points]}


def test_frames_of_the_inferencer(tmp_path):
    content = {"meta_info": {}, "instance_info": [inferred(1, [0]), inferred(2, []), inferred(3, [1, 2])]}
    found = load(COCO, tmp_path / "w.json", content)
    assert found.frame.tolist() == [0, 2, 2]
    np.testing.assert_allclose(found.keypoints, POINTS[:3, :, :2], rtol=1e-6)
    assert COCO.recognize(tmp_path) == "w.json holds instance_info"
    content["instance_info"][0]["instances"][0]["keypoint_scores"].pop()
    with pytest.raises(Unusable, match="not a list of frames with keypoints"):
        load(COCO, tmp_path / "w.json", content)


def test_where_walks_lie(tmp_path):
    for name in ("001/nm-01/090.json", "001/nm-01/000/alphapose-results.json", "10.json", "9.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[]")
    (tmp_path / "001" / "back").symlink_to(tmp_path)
    assert [w.path for w in ALPHAPOSE.find(tmp_path)] == ["9", "10", "001/nm-01/090", "001/nm-01/000"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe\x00", "is not JSON|is not UTF-8 text"),
        (b'["\xff"]', "is not UTF-8 text"),
        (b'[{"image_id": 1', "is not JSON, or is damaged, at line 1"),
        (b"[" * 100_000, "is not JSON"),
        (b"[" * 900 + b"]" * 900, "without image_id or keypoints"),
        ([], "nobody was found"),
        ({}, "not a list of keypoint results"),
        (3, "not a list of keypoint results"),
        ([3], "without image_id or keypoints"),
        ([{"image_id": [1], "keypoints": []}], "without image_id or keypoints"),
        ([{"image_id": 1}], "without image_id or keypoints"),
        ([{"image_id": 1, "keypoints": 7}], "not lists of numbers"),
        ([{"image_id": 1, "keypoints": "123"}], "not lists of numbers"),
        ([{"image_id": 1, "keypoints": []}], "has 0 values"),
        ([{"image_id": 1, "keypoints": [1.0] * 50}], "has 50 values"),
        ([{"image_id": 1, "keypoints": ["a"] * 51}], "not a number"),
        ([{"image_id": 1, "keypoints": [[1, 2]] * 17}], "does not have 3 numbers"),
        ([{"image_id": 1, "keypoints": [[1, 2, [3]]] * 17}], "not a number"),
        ([entry(0), {"image_id": 1, "keypoints": [1.0] * 54}], "51 and 54 values"),
        ([{"image_id": 1, "keypoints": [0.0] * 51}], "nobody was found"),
        ([{"image_id": 1, "keypoints": [None] * 51}], "nobody was found"),
        ([{"image_id": 1, "keypoints": [1e9, 1.0, 1.0] * 17}], r"frame 0 holds 1e\+09"),
        ({"annotations": [entry(0)], "images": [3]}, '"images" are not a list'),
        ({"1.jpg": {"people": 3}}, "people by image"),
    ],
)
def test_damaged_results_are_unusable_with_a_reason(tmp_path, content, reason):
    with pytest.raises(Unusable, match=reason):
        load(ALPHAPOSE, tmp_path / "w.json", content)


def test_unreadable_files_are_unusable(tmp_path):
    with pytest.raises(Unusable, match="cannot be read: there is no such file"):
        COCO.load(Sequence("w", (tmp_path / "gone.json",)))


# ------------------------------------------------------------------------------------------------ numbers of frames


@pytest.mark.parametrize(
    ("names", "frames"),
    [
        (["10.jpg", "9.jpg"], [1, 0]),
        (["a_0004_k2.json", "a_0002_k2.json", "a_0007_k2.json"], [2, 0, 5]),
        (["7"], [0]),
        (["frame"], [0]),
        (["5", "5", "6"], [0, 1]),
    ],
)
def test_frames_by_number(names, frames):
    frame_of, remarks = number_frames(names)
    assert [frame_of[n] for n in dict.fromkeys(names)] == frames
    assert not remarks


def test_every_second_image_is_a_frame_and_that_is_said():
    frame_of, remarks = number_frames(["a_0004_k2.json", "a_0002_k2.json", "a_0006_k2.json"])
    assert list(frame_of.values()) == [1, 0, 2]
    assert remarks == ("its frame numbers increase by 2; they were taken as consecutive",)


def test_wild_numbers_only_give_the_order():
    frame_of, remarks = number_frames(["1", "170000000", "3"])
    assert frame_of == {"1": 0, "170000000": 2, "3": 1}
    assert "jump" in remarks[0]
    assert number_frames(["9" * 5000, "1" * 5000])[0] == {"1" * 5000: 0, "9" * 5000: 1}
    frame_of, remarks = number_frames(["a", "c", "b"])
    assert frame_of == {"a": 0, "b": 1, "c": 2}
    assert "no frame numbers" in remarks[0]


# ------------------------------------------------------------------------------------------------ OpenPose


def test_a_folder_is_a_walk_and_an_empty_frame_stays(tmp_path):
    people = [[POINTS[0], POINTS[1]], [], [POINTS[2]]]
    for t, found in enumerate(people):
        frame_file(tmp_path / "001" / "nm-01" / "090", t + 5, found)
    (sequence,) = OPENPOSE.find(tmp_path)
    assert sequence.path == "001/nm-01/090"
    found = OPENPOSE.load(sequence)
    assert found.frame.tolist() == [0, 0, 2]
    np.testing.assert_allclose(found.keypoints, POINTS[:3, :, :2], rtol=1e-6)


def test_several_walks_in_one_folder(tmp_path):
    for prefix in ("001-nm-01-090", "001-nm-01-108"):
        for t in range(3):
            frame_file(tmp_path, t, [POINTS[t]], prefix + "_{:012d}_keypoints.json")
    walks = list(OPENPOSE.find(tmp_path))
    assert [(w.path, len(w.files)) for w in walks] == [("001-nm-01-090", 3), ("001-nm-01-108", 3)]


def test_a_damaged_frame_counts_as_empty_and_is_told(tmp_path):
    for t in range(4):
        frame_file(tmp_path, t, [POINTS[t]])
    (tmp_path / "0001_keypoints.json").write_bytes(b"")
    (tmp_path / "0002_keypoints.json").write_bytes(b"[3]")
    found = OPENPOSE.load(next(OPENPOSE.find(tmp_path)))
    assert found.frame.tolist() == [0, 3]
    assert found.remarks == ("2 of its 4 files cannot be used and count as empty, such as 0001_keypoints.json is empty",)
    for t in (0, 3):
        (tmp_path / f"000{t}_keypoints.json").write_bytes(b"{")
    with pytest.raises(Unusable, match=r"none of its 4 files can be used; the first: 0000_keypoints\.json is not JSON"):
        OPENPOSE.load(next(OPENPOSE.find(tmp_path)))


def test_duplicate_frames_mixed_models_and_nobody(tmp_path):
    files = (frame_file(tmp_path / "a", 1, [POINTS[0]]), frame_file(tmp_path / "b", 1, [POINTS[0]]))
    with pytest.raises(Unusable, match=r"0001_keypoints\.json exists twice"):
        OPENPOSE.load(Sequence("w", files))
    files = (frame_file(tmp_path, 1, [POINTS[0]]), frame_file(tmp_path, 2, [POINTS[0, :15]]))
    with pytest.raises(Unusable, match="45 and 51 values"):
        OPENPOSE.load(Sequence("w", files))
    with pytest.raises(Unusable, match="nobody"):
        OPENPOSE.load(Sequence("w", (frame_file(tmp_path, 3, []),)))


# ------------------------------------------------------------------------------------------------ MediaPipe

LANDMARKS = np.random.default_rng(1).uniform(0.1, 0.9, (5, 33, 4)).round(4)


def as_dicts(landmarks):
    return [dict(zip(("x", "y", "z", "visibility"), p, strict=True)) for p in landmarks.tolist()]


@pytest.mark.parametrize(
    "content",
    [
        [as_dicts(f) for f in LANDMARKS],
        LANDMARKS.tolist(),
        [[as_dicts(f)] for f in LANDMARKS],
        [{"pose_landmarks": as_dicts(f)} for f in LANDMARKS],
        {"frames": [{"landmarks": as_dicts(f)} for f in LANDMARKS]},
        {"landmarks": LANDMARKS.tolist(), "width": 1280, "height": 720},
    ],
)
def test_landmarks_in_json(tmp_path, content):
    found = load(MEDIAPIPE, tmp_path / "w.json", content)
    scale = (1280, 720) if isinstance(content, dict) and "width" in content else (16 / 9, 1)
    np.testing.assert_allclose(found.keypoints, LANDMARKS[..., :2] * scale, rtol=1e-6)
    np.testing.assert_allclose(found.confidence, LANDMARKS[..., 3], rtol=1e-6)
    assert (found.remarks != ()) == (scale[1] == 1)
    assert "16:9 was assumed" in (found.remarks or ("16:9 was assumed",))[0]
    assert "33 landmarks" in MEDIAPIPE.recognize(tmp_path / "w.json")


def test_frames_without_anybody_and_second_people(tmp_path):
    content = [None, [as_dicts(LANDMARKS[0]), as_dicts(LANDMARKS[1])], [], as_dicts(LANDMARKS[2])]
    found = load(MEDIAPIPE, tmp_path / "w.json", content)
    assert found.frame.tolist() == [1, 1, 3]


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_landmarks_in_npy(tmp_path, columns):
    landmarks = LANDMARKS[..., :columns].copy()
    landmarks[1] = np.nan
    landmarks[2, :, :2] *= 1000
    np.save(tmp_path / "w.npy", landmarks)
    found = MEDIAPIPE.load(next(MEDIAPIPE.find(tmp_path)))
    assert np.isnan(found.keypoints[1]).all()
    np.testing.assert_allclose(found.keypoints[0], LANDMARKS[0, :, :2] * (16 / 9, 1), rtol=1e-6)
    np.testing.assert_allclose(found.confidence[0], LANDMARKS[0, :, columns - 1] if columns > 2 else 1, rtol=1e-6)
    assert MEDIAPIPE.recognize(tmp_path) == f"w.npy is an array [5, 33, {columns}]"
    np.save(tmp_path / "w.npy", LANDMARKS[..., :2] * 1000)
    pixels = MEDIAPIPE.load(next(MEDIAPIPE.find(tmp_path)))
    np.testing.assert_allclose(pixels.keypoints, LANDMARKS[..., :2] * 1000, rtol=1e-6)
    assert not pixels.remarks


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "not a list of frames"),
        ([], "nobody"),
        ([3], "a frame does not hold a list"),
        ([[3]], "has 1 landmarks, not 33"),
        ([[{"x": 1}] * 33], "a landmark is not"),
        ([[[1, 2, 3, 4, 5, 6]] * 33], "a landmark is not"),
        ([[["a", "b"]] * 33], "a landmark is not"),
        ([as_dicts(LANDMARKS[0])[:32]], "has 32 landmarks"),
        ({"width": "wide", "height": 3, "frames": []}, "which is not the size of an image"),
        ([[[1e12, 1]] * 33], r"frame 0 holds 1e\+12"),
    ],
)
def test_damaged_landmarks(tmp_path, content, reason):
    with pytest.raises(Unusable, match=reason):
        load(MEDIAPIPE, tmp_path / "w.json", content)


def test_damaged_arrays(tmp_path):
    path = tmp_path / "w.npy"
    for array, reason in (
        (np.zeros((4, 17, 2)), r"\[4, 17, 2\], not"),
        (np.zeros((0, 33, 2)), r"\[0, 33, 2\], not"),
        (np.zeros((4, 33, 2), bool), r"not a complete \.npy array|not of numbers"),
        (np.array([{}] * 3, dtype=object), r"not a complete \.npy array|not of numbers"),
        (np.full((4, 33, 2), np.inf), "nobody"),
    ):
        np.save(path, array, allow_pickle=True)
        with pytest.raises(Unusable, match=reason):
            MEDIAPIPE.load(Sequence("w", (path,)))
    np.save(path, LANDMARKS)
    whole = path.read_bytes()
    with path.open("wb") as file:  # sparse: takes no room on the disk, and took 40 s and 5 GB
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (2**31 // 66 // 8, 33, 2)})
        file.truncate(file.tell() + 2**31 // 66 // 8 * 66 * 8)
    with pytest.raises(Unusable, match=r"it has 2,048 MB, and more than 128 are not read"):
        MEDIAPIPE.load(Sequence("w", (path,)))
    assert MEDIAPIPE.recognize(path) == ""
    for content in (b"", whole[:50], whole[:500], b"PK\x03\x04", whole.replace(b"(5, 33, 4)", b"(9**9,33,)")):
        path.write_bytes(content)
        with pytest.raises(Unusable, match=r"not a complete \.npy array|not of numbers"):
            MEDIAPIPE.load(Sequence("w", (path,)))


# ------------------------------------------------------------------------------------------------ mutations

WHOLE = {
    "alphapose": (ALPHAPOSE, [entry(t, idx=[1.0], box=[1, 2, 3, 4]) for t in range(FRAMES)]),
    "by image": (ALPHAPOSE, {f"{t}.jpg": {"bodies": [{"joints": POINTS[t].ravel().tolist()}]} for t in range(FRAMES)}),
    "coco": (COCO, {"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [entry(0) | {"image_id": 1}]}),
    "inferencer": (COCO, {"meta_info": {}, "instance_info": [inferred(0, [0]), inferred(1, [1, 2])]}),
    "openpose": (OPENPOSE, {"people": [{"person_id": [-1], "pose_keypoints_2d": POINTS[0].ravel().tolist()}]}),
    "mediapipe": (MEDIAPIPE, {"width": 64, "height": 48, "frames": [as_dicts(f) for f in LANDMARKS[:2]]}),
}
ODD = [
    None,
    True,
    -1,
    0,
    10**18,
    1e9,
    1e308,
    "",
    "x",
    "1",
    [],
    [[]],
    [[[1]]],
    {},
    {"x": 1},
    {"people": 1},
    [None] * 51,
    "\ud7ff" * 50,
]


def places(content, path=()):
    """The path of every value in a JSON content."""
    yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def replaced(content, path, value):
    if not path:
        return value
    copy = content.copy()
    copy[path[0]] = replaced(content[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize("kind", WHOLE)
@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_files_give_detections_or_a_reason(kind, data, tmp_path):
    module, content = WHOLE[kind]
    path = tmp_path / "0001.json"
    if data.draw(st.booleans()):
        for _ in range(data.draw(st.integers(1, 3))):
            where = data.draw(st.sampled_from(list(places(content))))
            content = replaced(content, where, data.draw(st.sampled_from(ODD)))
        raw = json.dumps(content).encode()
    else:
        raw = json.dumps(content).encode()
        start = data.draw(st.integers(0, len(raw)))
        raw = raw[:start] + data.draw(st.binary(max_size=8)) + raw[start + data.draw(st.integers(0, 200)) :]
    begin = time.perf_counter()
    path.write_bytes(raw)
    module.recognize(path)
    reasons = []
    for sequence in module.find(path):
        if sequence.problem:
            reasons.append(sequence.problem)
            continue
        try:
            found = module.load(sequence)
        except Unusable as error:
            reasons.append(str(error))
            continue
        sound(found)
    assert all(reason and "\n" not in reason for reason in reasons)
    assert time.perf_counter() - begin < 2


def sound(found: Detections):
    count = len(found.frame)
    assert found.keypoints.shape == (*found.confidence.shape, 2)
    assert len(found.keypoints) == len(found.person) == count > 0
    assert 0 <= found.frame.min() <= found.frame.max()
    assert (np.diff(found.frame) >= 0).all()
    assert (np.isnan(found.keypoints).any(-1) == (found.confidence == 0)).all()
    assert found.confidence.min() >= 0
    assert found.confidence.max() <= 1
    assert np.nanmax(np.abs(found.keypoints)) <= 1e6
