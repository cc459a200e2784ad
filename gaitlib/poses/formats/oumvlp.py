"""The poses of OU-MVLP: 10,307 people, 14 views, two walks each; a JSON file a frame with 18 keypoints, as OpenPose writes it."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson

from gaitlib.poses.formats.files import folders_with, frame_number
from gaitlib.poses.formats.single import count_frames, one_person
from gaitlib.poses.sequences import Detections, Sequence, Unusable

LAYOUT = """\
SOURCE/SSSSS/VVV_RR/NNNN*.json   subject, view and walk (00001/090_01), or the folders the other way round; a file a
SOURCE/VVV_RR/SSSSS/NNNN*.json   frame, {"people": [{"pose_keypoints_2d": [18 x (x, y, score)]}]}, COCO with the neck"""

KEYPOINTS = 18
#: Bytes; a frame with 1,000 people takes less.
LARGEST_FRAME = 2**20

_VIEW_WALK, _SUBJECT = re.compile(r"(\d{3})_(\d{2})"), re.compile(r"\d{5}")


def recognize(source: Path) -> str:
    """Why `source` is this format, or an empty string."""
    if not source.is_dir():
        return ""
    sequence = next(find(source), None)
    if sequence is None or not re.search(r"(^|/)\d{5}/\d{2}/\d{3}$", sequence.path):
        return ""
    for file in sequence.files:
        try:
            people = _people(file)
        except Unusable:
            return ""
        if people:
            shown = "/".join(file.relative_to(source).parts[-3:])
            return f"{shown} holds {KEYPOINTS} keypoints" if len(people[0]) == 3 * KEYPOINTS else ""
    return ""


def find(source: Path) -> Iterator[Sequence]:
    """The walks in a folder, one after the other while it is searched; the files are not opened.

    The path of a walk is SSSSS/RR/VVV where its folders are named as in OU-MVLP, whichever comes first.
    """
    for folders, names in folders_with(source, (".json",)):
        folder = source.joinpath(*folders)
        yield Sequence(_walk_of(folders), tuple(folder / name for name in names))


def _walk_of(folders: tuple[str, ...]) -> str:
    for first, second in ((-2, -1), (-1, -2)):
        if len(folders) >= 2 and _SUBJECT.fullmatch(folders[first]) and (view := _VIEW_WALK.fullmatch(folders[second])):
            return "/".join((*folders[:-2], folders[first], view[2], view[1]))
    return "/".join(folders)


def load(sequence: Sequence) -> Detections:
    """Everybody in the frames of one walk: keypoints [D, 18, 2], numbered by no tracker.

    A frame whose file cannot be read is empty, with a remark. Raises Unusable where none can be, or nobody is in any frame.
    """
    values, of_file, failed = [], [], []
    for i, file in enumerate(sequence.files):
        try:
            people = _people(file)
        except Unusable as reason:
            failed.append(f"{file.name} {reason}")
            continue
        values += people
        of_file += [i] * len(people)
    if len(failed) == len(sequence.files):
        raise Unusable(failed[0] if failed else "holds no frame")
    if not values:
        raise Unusable("nobody is in any frame")
    if any(len(person) != 3 * KEYPOINTS for person in values):
        count = next(len(person) for person in values if len(person) != 3 * KEYPOINTS)
        raise Unusable(f"holds {count} numbers a person, not {KEYPOINTS} x (x, y, score)")
    try:
        array = np.array(values, dtype=np.float64)
    except (ValueError, TypeError):
        array = np.empty(0)
    if array.shape != (len(values), 3 * KEYPOINTS):
        raise Unusable("holds keypoints that are no numbers")
    frame, frames, remarks = count_frames(np.array([frame_number(file.name) for file in sequence.files]))
    alone = len(set(of_file)) == len(of_file)
    found = one_person(array.reshape(-1, KEYPOINTS, 3), person=0 if alone else -1)
    if failed:
        others = f" and so are {len(failed) - 1} other frames" if len(failed) > 1 else ""
        remarks += (f"{failed[0]}; it was taken as empty{others}",)
    return replace(found, frame=frame[of_file], frames=frames, remarks=remarks)


def _people(file: Path) -> list[list]:
    """The flat keypoints of everybody in a frame."""
    try:
        if os.stat(file).st_size > LARGEST_FRAME:
            raise Unusable(f"is larger than {LARGEST_FRAME >> 20} MiB, which no frame is")
        with open(file, "rb", buffering=0) as opened:
            content = opened.readall()
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror})") from None
    try:
        people = [person["pose_keypoints_2d"] for person in orjson.loads(content)["people"]]
    except (ValueError, KeyError, TypeError):
        raise Unusable("is empty" if not content else "is no JSON with people and their pose_keypoints_2d") from None
    if not all(isinstance(person, list) for person in people):
        raise Unusable("holds a person without a list of keypoints")
    return people
