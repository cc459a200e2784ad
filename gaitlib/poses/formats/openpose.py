"""OpenPose's JSON, one file per frame with everybody in it; the poses of OU-MVLP have the same form, in their own folder layout.

Z. Cao et al., "OpenPose: Realtime multi-person 2D pose estimation using part affinity fields", TPAMI 2021. OU-MVLP: 10,307
people, 14 views, two walks each.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from gaitlib.poses.formats.files import first_contents, folders_with, from_people, numbers_between, read_json
from gaitlib.poses.sequences import Detections, Format, Sequence, Unusable

#: Bytes; a frame with 1,000 people takes less.
_LARGEST_FRAME = 2**24
_FRAME = re.compile(r"(.*?)(\d+)(?:[._-]?(?:keypoints|pose)[^/]*)?\.json", re.IGNORECASE)
_OUMVLP = re.compile(r"(.*/)?(\d{5}/\d{3}_\d{2}|\d{3}_\d{2}/\d{5})")
_OUMVLP_KEYPOINTS = 18


def _recognize(source: Path) -> str:
    for name, content in first_contents(source) if source.is_dir() else ():
        match content:
            case {"people": list()}:
                return f"{name} holds the people of one frame"
    return ""


def _recognize_oumvlp(source: Path) -> str:
    walk = next(_find(source), None)
    for name, content in first_contents(source) if walk and _OUMVLP.fullmatch(walk.path) else ():
        match content:
            case {"people": [{"pose_keypoints_2d": [*points]}, *_]} if len(points) == 3 * _OUMVLP_KEYPOINTS:
                return f"{'/'.join(Path(name).parts[-3:])} holds {_OUMVLP_KEYPOINTS} keypoints"
    return ""


def _find(source: Path) -> Iterator[Sequence]:
    """The walks below a folder; no file is read."""
    if not source.is_dir():
        yield Sequence(source.stem, (source,))
        return
    for folders, names in folders_with(source, (".json",)):
        below, folder = "/".join(folders), os.path.join(source, *folders, "")
        first, walks = _FRAME.fullmatch(names[0]), {}
        if first and numbers_between(names, first[1], names[0][first.end(2) :]):  # one walk: faster
            walks[first[1].rstrip("._-")] = [folder + name for name in names]  # text is faster than Path
        else:
            for name in names:
                frame = _FRAME.fullmatch(name)
                walks.setdefault(frame[1].rstrip("._-") if frame else "", []).append(folder + name)
        for walk, files in walks.items():
            path = f"{below}/{walk}" if walk and (len(walks) > 1 or not below) else below
            yield Sequence(path.strip("/") or source.absolute().name, tuple(files))


def _load(sequence: Sequence) -> Detections:
    """Frames whose file cannot be used count as empty and are mentioned in the remarks."""
    people, bad = [], []
    names = list(map(os.path.basename, sequence.files))
    for name, file in zip(names, sequence.files, strict=True):
        try:
            for person in read_json(file, _LARGEST_FRAME)["people"]:
                points = person["pose_keypoints_2d"]
                if not isinstance(points, list):
                    raise TypeError
                if points:
                    people.append((name, points, person.get("person_id")))
        except Unusable as reason:
            bad.append(f"{name} {reason}")
        except (TypeError, KeyError, AttributeError):
            bad.append(f"{name} does not hold the people of a frame")
    if len(bad) == len(names):
        raise Unusable(f"none of its {len(names)} files can be used; the first: {bad[0]}")
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise Unusable(f"{name} exists twice")
    remarks = [f"{len(bad)} of its {len(names)} files cannot be used and count as empty, such as {name}" for name in bad[:1]]
    return from_people(people, names, tuple(remarks))


def _load_oumvlp(sequence: Sequence) -> Detections:
    """If no frame shows anybody else, all detections are one person, however far apart they are."""
    found = _load(sequence)
    alone = (found.frame[1:] != found.frame[:-1]).all()
    return replace(found, person=np.zeros_like(found.frame)) if alone else found


OPENPOSE = Format(
    name="openpose",
    summary="OpenPose output, one folder per walk with one JSON file per frame",
    files="""\
SOURCE/.../WALK/*.json             one file per frame, ordered by the last number in its name: {"people": [{"person_id": [-1],
                                   "pose_keypoints_2d": [x, y, score, ...]}]}; 0, 0, 0 is a missing keypoint
SOURCE/.../WALK_*_keypoints.json   several walks in one folder, distinguished by the text before the number
                                   25 keypoints are BODY_25 or BODY_25B (told apart by the shape of the body), 18 are COCO18""",
    recognize=_recognize,
    find=_find,
    load=_load,
)
OUMVLP = Format(
    name="oumvlp",
    summary="the poses of OU-MVLP, one folder per walk with one JSON file per frame",
    files="""\
SOURCE/SSSSS/VVV_RR/NNNN*.json   subject, view and walk (00001/090_01), or the folders the other way around; one file per
SOURCE/VVV_RR/SSSSS/NNNN*.json   frame, {"people": [{"pose_keypoints_2d": [18 x (x, y, score)]}]}, COCO with the neck""",
    recognize=_recognize_oumvlp,
    find=_find,
    load=_load_oumvlp,
    rather_than="openpose",
)
