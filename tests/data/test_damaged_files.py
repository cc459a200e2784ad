"""Files of every reader, damaged at random: each is read, or refused in one sentence, and soon."""

import json
import pickle
import re
import time
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaitlib import InputError
from gaitlib.data.dataset import write_dataset
from gaitlib.data.export import export
from gaitlib.data.formats import gaitgraph, opengait, oumvlp, paper, plain
from gaitlib.data.formats.sequences import Unusable
from gaitlib.data.walkers import make_walkers

EXAMPLES = 200

#: What breaks readers: numbers that are none, brackets and breaks, bytes that are no text, opcodes of pickles.
TOKENS = [
    b"nan", b"inf", b"-1e9", b"1e999", b"9" * 400, b"", b" ", b",", b"\n", b"\r", b'"', b"'", b"[", b"]", b"{", b"}", b"null",
    b"\xff\xfe", b"\x00", b"\xe2\x80\xa8", b"/", b"..", b"cos\nsystem\n", b"R", b"b", b"(", b"t", b"0", b"\x8e", b"\x94",
    b"\xff\xff\xff\x7f", b"\xff" * 8, b"O8", b"image_name", b"frame",
]  # fmt: skip


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
            assert 0 <= detections.frame.min() <= detections.frame.max() < detections.frames <= 10 * max(rows, 2)
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
    add("gaitgraph", gaitgraph, folder / "gaitgraph" / "walks.csv")
    add("csv", plain, folder / "csv" / "walks.csv")
    for protocol in range(6):
        file = folder / f"protocol{protocol}" / "001-nm-01-090.pkl"
        file.parent.mkdir()
        objects = np.empty(2, dtype=object)
        objects[:] = [np.ones((17, 3)), np.ones((17, 3), np.float32) * 2]
        value = objects if protocol % 2 else np.arange(3 * 17 * 3.0).reshape(3, 17, 3)
        file.write_bytes(pickle.dumps(value, protocol=protocol))
        add(f"opengait{protocol}", opengait, file)
    arrays = {"train": np.arange(2 * 3 * 15 * 2.0).reshape(2, 3, 15, 2), "train_label": [1, 2], "train_angle": [0, 90]}
    (folder / "paper").mkdir()
    for name, array in (arrays | {"train_situation": ["nm", "bg-01"]}).items():
        np.save(folder / "paper" / f"{name}.npy", np.array(array))
    for name in ("train", "train_label", "train_situation"):
        add(f"paper_{name}", paper, folder / "paper" / f"{name}.npy", folder / "paper")
    people = {"people": [{"pose_keypoints_2d": [float(i) for i in range(54)]}]}
    frames = folder / "oumvlp" / "00001" / "000_00"
    frames.mkdir(parents=True)
    for i in range(2):
        (frames / f"{i:04d}_keypoints.json").write_text(json.dumps(people))
    add("oumvlp", oumvlp, frames / "0000_keypoints.json", folder / "oumvlp")
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

    @settings(
        max_examples=EXAMPLES,
        deadline=timedelta(seconds=10),
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(changes())
    def mutate(changed):
        file.write_bytes(damaged(content, changed))
        check(reader, source)

    try:
        mutate()
    finally:
        file.write_bytes(content)
