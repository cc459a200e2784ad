"""OpenPose's JSON: a file a frame, everybody in it.

Z. Cao et al., "OpenPose: Realtime multi-person 2D pose estimation using part affinity fields", TPAMI 2021.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gaitlib.poses.formats.files import folders_with
from gaitlib.poses.formats.keypoint_files import (
    detections,
    first_contents,
    number_frames,
    numbers_between,
    read_json,
    to_array,
)
from gaitlib.poses.sequences import Detections, Sequence, Unusable

LAYOUT = """\
SOURCE/.../WALK/*.json             one file a frame, ordered by the last number in its name: {"people": [{"person_id": [-1],
                                   "pose_keypoints_2d": [x, y, score, ...]}]}; 0, 0, 0 is a missing keypoint
SOURCE/.../WALK_*_keypoints.json   several walks in one folder, told apart by what stands before the number
                                   25 keypoints are BODY_25 or BODY_25B (the shape of the body tells), 18 are COCO18"""

_FRAME = re.compile(r"(?P<walk>.*?)(?P<number>\d+)(?:[._-]?(?:keypoints|pose)[^/]*)?\.json", re.IGNORECASE)


def recognize(source: Path) -> str:
    """Why `source` is this format, or an empty string."""
    for name, content in first_contents(source):
        if source.is_dir() and isinstance(content, dict) and isinstance(content.get("people"), list):
            return f"{name} holds the people of one frame"
    return ""


def find(source: Path) -> Iterator[Sequence]:
    """The walks below a folder; none of their files is read."""
    if not source.is_dir():
        yield Sequence(source.stem, (source,))
        return
    for folders, names in folders_with(source, (".json",)):
        below, folder = "/".join(folders), os.path.join(source, *folders, "")
        first, walks = _FRAME.fullmatch(names[0]), {}
        if first and numbers_between(names, first["walk"], names[0][first.end("number") :]):  # one walk: quicker
            walks[first["walk"].rstrip("._-")] = [folder + name for name in names]  # as text: quicker than Path
        else:
            for name in names:
                frame = _FRAME.fullmatch(name)
                walks.setdefault(frame["walk"].rstrip("._-") if frame else "", []).append(folder + name)
        for walk, files in walks.items():
            path = f"{below}/{walk}" if walk and (len(walks) > 1 or not below) else below
            yield Sequence(path.strip("/") or source.absolute().name, tuple(files))


def load(sequence: Sequence) -> Detections:
    """Everybody in one walk; frames whose file cannot be used count as empty and are told in the remarks.

    Raises Unusable where no file can be used, people differ in their number of keypoints, or nobody is there.
    """
    keypoints, numbers, owner, remarks, bad = [], [], [], [], []
    names = list(map(os.path.basename, sequence.files))
    for i, file in enumerate(sequence.files):
        try:
            for person in read_json(file)["people"]:
                points = person["pose_keypoints_2d"]
                if points:
                    keypoints.append(points)
                    numbers.append(person.get("person_id"))
                    owner.append(i)
        except Unusable as reason:
            bad.append(f"{names[i]} {reason}")
        except (TypeError, KeyError, AttributeError):
            bad.append(f"{names[i]} does not hold the people of a frame")
    if len(bad) == len(names):
        raise Unusable(f"none of its {len(names)} files can be used; the first: {bad[0]}")
    if bad:
        remarks.append(f"{len(bad)} of its {len(names)} files cannot be used and count as empty; the first: {bad[0]}")
    if not keypoints:
        raise Unusable("nobody was found in any frame")
    frame_of, jumps = number_frames(names)
    if len(frame_of) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise Unusable(f"{twice} is there twice")
    frame = np.array([frame_of[name] for name in names])[owner]
    numbers = [n[0] if isinstance(n, list) and len(n) == 1 else n for n in numbers]
    known = all(type(n) is int and 0 <= n < 2**53 for n in numbers)
    return detections(
        frame, max(frame_of.values()) + 1, to_array(keypoints), np.array(numbers) if known else None, (*remarks, *jumps)
    )
