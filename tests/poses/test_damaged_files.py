"""Files of every reader, damaged at random: each is read, or refused in one sentence, and soon; nothing is half-written."""

import json
import pickle
import re
import shutil
import time
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaitlib import InputError
from gaitlib.data.dataset import GaitDataset, write_dataset
from gaitlib.data.walkers import make_walkers
from gaitlib.poses.export import export
from gaitlib.poses.formats import FORMATS
from gaitlib.poses.prepare import prepare
from gaitlib.poses.sequences import Unusable
from gaitlib.skeleton import KINECT

#: Damaged files for each format that become a data set, and for each variant of its files where only the reader is asked.
EXAMPLES, VARIANT_EXAMPLES = 200, 200

#: What breaks readers: numbers that are none, brackets and breaks, bytes that are no text, opcodes of pickles.
TOKENS = [
    b"nan", b"inf", b"-1e9", b"1e999", b"9" * 400, b"", b" ", b",", b"\n", b"\r", b'"', b"'", b"[", b"]", b"{", b"}", b"null",
    b"\xff\xfe", b"\x00", b"\xe2\x80\xa8", b"/", b"..", b"cos\nsystem\n", b"R", b"b", b"(", b"t", b"0", b"\x8e", b"\x94",
    b"\xff\xff\xff\x7f", b"\xff" * 8, b"O8", b"image_name", b"frame",
]  # fmt: skip


many = settings(
    max_examples=EXAMPLES,
    deadline=timedelta(seconds=10),
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
some = settings(many, max_examples=VARIANT_EXAMPLES)


def changes():
    """A few places (as shares of the length), each with how many bytes go and what comes instead."""
    text = st.one_of(st.sampled_from(TOKENS), st.binary(max_size=6))
    change = st.tuples(st.floats(0, 1), st.sampled_from([0, 0, 1, 1, 2, 8, 100, 10**6]), text)
    return st.lists(change, min_size=1, max_size=4)


def damaged(content, changed):
    for share, gone, instead in changed:
        start = int(share * len(content))
        content = content[:start] + instead + content[start + gone :]
    return content


def check(reader, source):
    """Read all that there is; True where something was read."""
    start, found, said = time.process_time(), 0, []
    try:
        reader.recognize(source)
        for sequence in reader.find(source):
            try:
                if sequence.problem:
                    raise Unusable(sequence.problem)
                detections = reader.load(sequence)
            except Unusable as reason:
                said.append((r"[^\n]{3,400}", str(reason)))
                continue
            found += 1
            rows = len(detections.frame)
            assert detections.keypoints.shape[::2] == (rows, 2)
            assert detections.keypoints.dtype == detections.confidence.dtype == np.float32
            assert detections.confidence.shape == detections.keypoints.shape[:2]
            assert not np.isinf(detections.keypoints).any()
            assert ((detections.confidence >= 0) & (detections.confidence <= 1)).all()
            assert (np.diff(detections.frame) >= 0).all()
            assert 0 <= detections.frame.min() <= detections.frame.max() <= 50 * max(rows, 2)
    except InputError as error:
        said.append((rf"[^\n]*{re.escape(str(source))}[^\n]{{3,600}}[.]", str(error)))
    for pattern, text in said:
        assert re.fullmatch(pattern, text), text
    assert time.process_time() - start < 2
    return found


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """For each case: the reader, the source that it reads, and the file in it that gets damaged, with its content."""
    folder = tmp_path_factory.mktemp("sources")
    walks = list(make_walkers(1, 1, views=(90,)))[:2]
    data = write_dataset(folder / "set", walks, name="one walker")
    found = {}

    def add(name, reader, file, source=None):
        found[name] = reader, source or file, file, file.read_bytes()

    for format in ("gaitgraph", "csv"):
        export(data, format, folder / format)
    add("gaitgraph", FORMATS["gaitgraph"], folder / "gaitgraph" / "walks.csv")
    add("csv", FORMATS["csv"], folder / "csv" / "walks.csv")
    for protocol in range(6):
        file = folder / f"protocol{protocol}" / "001-nm-01-090.pkl"
        file.parent.mkdir()
        frames = [np.ones((17, 3)), np.ones((17, 3), np.float32) * 2]
        value = frames if protocol % 2 else np.arange(3 * 17 * 3.0).reshape(3, 17, 3)
        file.write_bytes(pickle.dumps(value, protocol=protocol))
        add(f"opengait{protocol}", FORMATS["opengait"], file)
    arrays = {"train": np.arange(2 * 3 * 15 * 2.0).reshape(2, 3, 15, 2), "train_label": [1, 2], "train_angle": [0, 90]}
    (folder / "paper").mkdir()
    for name, array in (arrays | {"train_situation": ["nm", "bg-01"]}).items():
        np.save(folder / "paper" / f"{name}.npy", np.array(array))
    for name in ("train", "train_label", "train_situation"):
        add(f"paper_{name}", FORMATS["paper"], folder / "paper" / f"{name}.npy", folder / "paper")
    people = {"people": [{"pose_keypoints_2d": [float(i) for i in range(54)]}]}
    frames = folder / "oumvlp" / "00001" / "000_00"
    frames.mkdir(parents=True)
    for i in range(2):
        (frames / f"{i:04d}_keypoints.json").write_text(json.dumps(people))
    add("oumvlp", FORMATS["oumvlp"], frames / "0000_keypoints.json", folder / "oumvlp")
    return found


CASES = [
    "gaitgraph",
    "csv",
    *(f"opengait{p}" for p in range(6)),
    "paper_train",
    "paper_train_label",
    "paper_train_situation",
    "oumvlp",
]


@pytest.mark.parametrize("case", CASES)
def test_damage_ends_in_one_sentence(sources, case):
    reader, source, file, content = sources[case]
    if len(content) > 20_000:  # the first rows say as much as all, and are read faster
        content = content[: content.rindex(b"\n", 0, 20_000) + 1]
    file.write_bytes(content)
    assert check(reader, source), "whole, it is read"

    @some
    @given(changes())
    def mutate(changed):
        file.write_bytes(damaged(content, changed))
        check(reader, source)

    try:
        mutate()
    finally:
        file.write_bytes(content)


# ------------------------------------------------------------------------------------ from files to a data set


def kinect_lines(frames):
    """A recording of somebody who swings the legs, 20 joints a frame, in meters."""
    rng = np.random.default_rng(0)
    body = rng.normal(0, 0.4, (frames, len(KINECT.names), 3)) + np.array([0, 0, 2.5])
    body[:, [16, 17], 0] = np.stack([np.sin(np.arange(frames) / 4), -np.sin(np.arange(frames) / 4)], 1)
    body[:, [2, 12], 2] -= 1  # the right side is nearer
    return [f"{name};{x:.2f};{y:.2f};{z:.2f}" for frame in body for name, (x, y, z) in zip(KINECT.names, frame, strict=True)]


def write_frames(folder, count, keypoints):
    folder.mkdir(parents=True)
    for t in range(count):
        people = [{"person_id": [-1], "pose_keypoints_2d": (keypoints[t].ravel() + t).round(1).tolist()}]
        (folder / f"{t:04d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": people}))
    return folder / "0003_keypoints.json"


@pytest.fixture(scope="module")
def whole_sources(tmp_path_factory):
    """For each format: a source that can be prepared, and the file in it that gets damaged, with its content."""
    folder = tmp_path_factory.mktemp("whole")
    walk = next(make_walkers(1, 1, views=(90,)))
    data = write_dataset(folder / "set", [walk], name="one walker")
    keypoints = np.random.default_rng(0).uniform(1, 200, (20, 33, 3)) * (1, 1, 0.004)
    entries = [{"image_id": f"{t}.jpg", "keypoints": keypoints[t, :17].round(1).ravel().tolist(), "score": 1} for t in range(20)]
    found = {}

    def add(format, source, file=None):
        found[format] = source, file or source, (file or source).read_bytes()

    for format in ("gaitgraph", "csv", "opengait"):
        export(data, format, folder / format)
        file = next(path for path in (folder / format).rglob("*") if path.is_file())
        if format != "opengait":
            file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:21]))
        add(format, folder / format, file)
    for format, more in (("alphapose", {"box": [1, 2, 3, 4], "idx": 1}), ("coco", {})):
        file = folder / format / "001-nm-01-090.json"
        file.parent.mkdir()
        file.write_text(json.dumps([entry | more for entry in entries]))
        add(format, file.parent, file)
    add("openpose", folder / "openpose", write_frames(folder / "openpose" / "001-nm-01-090", 18, keypoints[:, :18]))
    add("oumvlp", folder / "oumvlp", write_frames(folder / "oumvlp" / "00001" / "090_00", 18, keypoints[:, :18]))
    (folder / "mediapipe").mkdir()
    np.save(folder / "mediapipe" / "001-nm-01-090.npy", keypoints[..., [0, 1, 1, 2]].astype(np.float32) / 200)
    add("mediapipe", folder / "mediapipe", folder / "mediapipe" / "001-nm-01-090.npy")
    (folder / "paper").mkdir()
    arrays = {"train": keypoints[None, :, :15, :2], "train_label": [1], "train_angle": [90], "train_situation": ["nm"]}
    for name, array in arrays.items():
        np.save(folder / "paper" / f"{name}.npy", np.array(array))
    add("paper", folder / "paper", folder / "paper" / "train.npy")
    recording = folder / "kinect" / "Person001" / "1.txt"
    recording.parent.mkdir(parents=True)
    recording.write_text("\n".join(kinect_lines(90)))
    add("kinect", folder / "kinect", recording)
    passes = {"offsets": [0, 70], "subject": [1], "walk": [1], "start_frame": [0], "heading": [1]}
    joints = np.random.default_rng(0).integers(-500, 500, (70, 15, 3))
    np.savez(folder / "passes.npz", joints_mm=joints.astype(np.int16), fps=30, **{k: np.array(v) for k, v in passes.items()})
    add("kgbd", folder / "passes.npz")
    return found


def whole_or_none(source, format, out):
    """Prepare; True where a data set came out, which must be whole, False where the source was refused in one sentence."""
    began, refused = time.process_time(), ""
    try:
        prepare(source, out / "set", format=format, say=lambda text: None)
    except InputError as error:
        refused = str(error)
    assert time.process_time() - began < 2
    if refused:
        assert re.fullmatch(r"[^\n]{20,900}", refused), refused
        assert not any(out.iterdir()), "something is left of a data set that could not be written"
        return False
    assert [path.name for path in out.iterdir()] == ["set"]
    data = GaitDataset.open(out / "set")
    assert len(data) == data.info["walks"] > 0
    assert not np.isinf(data.poses).any()
    assert all(re.fullmatch(r"[^\n]{3,400}", entry["reason"]) for entry in data.info["left_out"])
    shutil.rmtree(out / "set")
    return True


@pytest.mark.parametrize("format", [name for name, known in FORMATS.items() if not known.has_images])  # those: test_video.py
def test_damage_leaves_a_whole_data_set_or_none(whole_sources, tmp_path, format):
    source, file, content = whole_sources[format]
    assert whole_or_none(source, format, tmp_path), "undamaged, it is prepared"
    results = set()

    @many
    @given(changes())
    def mutate(changed):
        file.write_bytes(damaged(content, changed))
        results.add(whole_or_none(source, format, tmp_path))

    try:
        mutate()
    finally:
        file.write_bytes(content)
    assert False in results or format in ("openpose", "oumvlp"), "damage is noticed"  # there one frame of many is damaged
