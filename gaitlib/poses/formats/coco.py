"""Keypoint results in COCO's JSON, a list with an entry for each person in each image, and AlphaPose's, with more keys.

MMPose, ViTPose and Detectron2 write COCO's when testing. H.-S. Fang et al., "AlphaPose: Whole-body regional multi-person pose
estimation and tracking in real-time", TPAMI 2022.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from gaitlib.files import MOST_TEXT
from gaitlib.poses.formats.files import each_file, first_contents, from_people, read_json
from gaitlib.poses.sequences import Detections, Format, Sequence, Unusable

#: Bytes of a file given as the source, which may hold the walks of a whole data set.
_LARGEST_SOURCE = 2**31
#: Names that programs give to all their results; then the folder names the walk.
_RESULT_NAMES = ("alphapose-results", "results", "predictions", "keypoints", "result_keypoints")
_MAY_NAME_A_WALK = re.compile(r"[-/\\]")
_DASHED = re.compile(r"[A-Za-z0-9]+-[A-Za-z]+-\d{1,3}-\d{3}(?!\d)")
#: Keys in which AlphaPose's entries differ.
_ALPHAPOSE_KEYS = ("box", "idx")

#: (image, keypoints, track number or None) of everybody in a walk, and all its images, including those without people.
_People = tuple[list[tuple[str, list, Any]], list[str]]


def _recognize(format: str, source: Path) -> str:
    kinds = ((name, *_kind(content)) for name, content in first_contents(source))
    return next((f"{name} {what}" for name, kind, what in kinds if kind == format), "")


def _kind(content: Any) -> tuple[str, str]:
    """Which of the two formats the content of a file is in, and the evidence for it."""
    for key in ("annotations", "instance_info"):
        if isinstance(content, dict) and isinstance(content.get(key), list):
            return "coco", f"holds {key}"
    if _is_by_image(content):
        return "alphapose", "lists people by image"
    first = content[0] if isinstance(content, list) else None
    if not isinstance(first, dict) or not {"image_id", "keypoints"} <= first.keys():
        return "", ""
    for key in _ALPHAPOSE_KEYS:
        if key in first:
            return "alphapose", f"is a list with image_id, keypoints and {key}"
    return "coco", "is a list with image_id and keypoints"


def _is_by_image(content: Any) -> bool:
    """Whether people are listed by image, {"1.jpg": {"people": [...]}}, as AlphaPose can write it."""
    first = next(iter(content.values())) if isinstance(content, dict) and content else None
    return isinstance(first, dict) and bool(first.keys() & {"people", "bodies"})


def _find(source: Path) -> Iterator[Sequence]:
    """The walks of a folder, one per file, or those in one file; only the latter is read for this, once."""
    for path, file in each_file(source, ".json"):
        folder, _, name = path.rpartition("/")
        if name in _RESULT_NAMES:
            path = folder or file.absolute().parent.name
        if file != source:
            yield Sequence(path, (file,))
            continue
        try:
            walks = _walks_in(file, _LARGEST_SOURCE)
        except Unusable as reason:
            yield Sequence(path, (file,), problem=str(reason))
            continue
        for walk, people in walks.items():
            yield Sequence(walk if walk and len(walks) > 1 else path, (file,), people)


def _load(sequence: Sequence) -> Detections:
    walks = [sequence.content] if sequence.content else list(_walks_in(sequence.files[0], MOST_TEXT).values())
    if len(walks) > 1:
        raise Unusable(f"holds the images of {len(walks)} walks; give this file itself as SOURCE")
    return from_people(*walks[0])


def _walks_in(file: Path, most: int) -> dict[str, _People]:
    """Everybody in a file by walk, distinguished by the folders of their images or by names that begin like 001-nm-01-090."""
    people, images = _people(read_json(file, most))
    if not people:
        raise Unusable("nobody was found in any frame")
    if not _MAY_NAME_A_WALK.search(" ".join(images)):
        return {"": (people, images)}
    walk_of = {}
    for image in images:
        folder, _, name = image.replace("\\", "/").rpartition("/")
        dashed = _DASHED.match(name)
        walk_of[image] = folder or (dashed[0] if dashed else "")
    walks: dict[str, _People] = {walk: ([], []) for walk in walk_of.values()}
    for image, walk in walk_of.items():
        walks[walk][1].append(image)
    for person in people:
        walks[walk_of[person[0]]][0].append(person)
    return walks


def _people(content: Any) -> _People:
    """Everybody in the content of a file, and all images."""
    wrong = "is not a list of keypoint results"
    try:
        if isinstance(content, dict) and "instance_info" in content:
            wrong = 'its "instance_info" is not a list of frames with keypoints and keypoint_scores'
            people, images = [], [str(frame["frame_id"]) for frame in content["instance_info"]]
            for image, frame in zip(images, content["instance_info"], strict=True):
                for person in frame["instances"]:
                    scored = [[*p, score] for p, score in zip(person["keypoints"], person["keypoint_scores"], strict=True)]
                    people.append((image, scored, person.get("track_id")))
            return people, images
        if _is_by_image(content):
            wrong = "its people by image are not lists of keypoints"
            bodies = [(image, body) for image, here in content.items() for body in here.get("people", here.get("bodies"))]
            return [(i, body.get("pose_keypoints_2d", body.get("joints")), None) for i, body in bodies], list(content)
        names = {}
        if isinstance(content, dict):
            entries, wrong = content["annotations"], 'its "images" are not a list of {"id", "file_name"}'
            names = {image["id"]: str(image["file_name"]) for image in content.get("images") or ()}
        else:
            entries = iter(content)
        wrong = "has an entry without image_id or keypoints"
        people = [
            (str(names.get(entry["image_id"], entry["image_id"])), entry["keypoints"], entry.get("track_id", entry.get("idx")))
            for entry in entries
        ]
    except (AttributeError, TypeError, KeyError, ValueError):
        raise Unusable(wrong) from None
    return people, list(dict.fromkeys([*names.values(), *(person[0] for person in people)]))


ALPHAPOSE = Format(
    name="alphapose",
    summary="AlphaPose results, one JSON file per walk",
    files="""\
SOURCE/.../WALK.json                     one walk per file: a list of {"image_id", "category_id", "keypoints", "score",
SOURCE/.../WALK/alphapose-results.json   "box", "idx"}, keypoints [x, y, score, ...] of 17 (COCO), 26 or 136 (Halpe);
SOURCE.json                              or people by image, as --format cmu and open write it (18 keypoints)
                                         images are ordered by their numbers; idx is used if people were tracked""",
    recognize=partial(_recognize, "alphapose"),
    find=_find,
    load=_load,
)
COCO = Format(
    name="coco",
    summary="keypoint results of MMPose, ViTPose and Detectron2, one JSON file per walk or for all walks",
    files="""\
SOURCE/.../WALK.json   a list of {"image_id", "category_id", "keypoints": [x, y, score, ...], "score"}, one walk per file,
                       or {"images": [{"id", "file_name"}], "annotations": [as above]},
                       or, as MMPose's inferencer writes it,
                       {"instance_info": [{"frame_id", "instances": [{"keypoints", "keypoint_scores"}]}]}
SOURCE.json            the same; one file may also hold many walks, distinguished by the folders of their images,
                       001/nm-01/090/0001.jpg, or by names that begin like 001-nm-01-090
                       images are ordered by their numbers; the track number is taken from "track_id" or "idx" """,
    recognize=partial(_recognize, "coco"),
    find=_find,
    load=_load,
)
