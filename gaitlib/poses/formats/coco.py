"""Keypoint results in COCO's JSON: a list with an entry for each person in each image.

MMPose, ViTPose and Detectron2 write it when they test; AlphaPose writes it with more keys (see alphapose.py).
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from gaitlib.poses.formats.keypoint_files import detections, first_contents, number_frames, read_json, single_files, to_array
from gaitlib.poses.sequences import Detections, Sequence, Unusable

LAYOUT = """\
SOURCE/.../WALK.json   a list of {"image_id", "category_id", "keypoints": [x, y, score, ...], "score"}, one walk a file,
                       or {"images": [{"id", "file_name"}], "annotations": [as above]},
                       or, as MMPose's inferencer writes it,
                       {"instance_info": [{"frame_id", "instances": [{"keypoints", "keypoint_scores"}]}]}
SOURCE.json            the same; one file may also hold many walks, told apart by the folders of their images,
                       001/nm-01/090/0001.jpg, or by names that begin like 001-nm-01-090
                       images are ordered by their numbers; a number of a tracker is taken from "track_id" or "idx" """

#: Names that programs give to all their results; the folder says which walk it is.
RESULT_NAMES = ("alphapose-results", "results", "predictions", "keypoints", "result_keypoints")

_MAY_NAME_A_WALK = re.compile(r"[-/\\]")
_DASHED = re.compile(r"[A-Za-z0-9]+-[A-Za-z]+-\d{1,3}-\d{3}(?!\d)")


def recognize(source: Path) -> str:
    """Why `source` is this format, or an empty string."""
    for name, content in first_contents(source):
        if isinstance(content, dict) and isinstance(content.get("annotations"), list):
            return f"{name} holds annotations"
        if isinstance(content, dict) and isinstance(content.get("instance_info"), list):
            return f"{name} holds instance_info"
        if is_results(content) and not content[0].keys() & {"box", "idx"}:
            return f"{name} is a list with image_id and keypoints"
    return ""


def is_results(content) -> bool:
    """Whether the content of a file is a list of entries with image_id and keypoints."""
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and {"image_id", "keypoints"} <= first.keys()


def is_by_image(content) -> bool:
    """Whether the content of a file lists people by image, {"1.jpg": {"people": [...]}}, as AlphaPose can write it."""
    first = next(iter(content.values())) if isinstance(content, dict) and content else None
    return isinstance(first, dict) and bool(first.keys() & {"people", "bodies"})


def find(source: Path) -> Iterator[Sequence]:
    """The walks of a folder, one a file, or those in one file; only the latter is read for that."""
    for path, file in single_files(source, ".json"):
        folder, _, name = path.rpartition("/")
        if name in RESULT_NAMES:
            path = folder or file.absolute().parent.name
        keys = [""]
        if file == source:
            with suppress(Unusable):  # load() tells it
                keys = list(_walks_kept(file, _changed(file)))
        if len(keys) < 2:
            yield Sequence(path, (file,))
        else:
            yield from (Sequence(key or path, (file,), key) for key in keys)


def load(sequence: Sequence) -> Detections:
    """Everybody in one walk. Raises Unusable for a damaged file, wrong types, and several walks in a file of a folder."""
    file = sequence.files[0]
    walks = _walks_kept(file, _changed(file)) if sequence.key else walks_in(file)
    if not sequence.key and len(walks) > 1:
        raise Unusable(f"holds the images of {len(walks)} walks; give this file itself as SOURCE")
    return of_entries(*walks[sequence.key if len(walks) > 1 else next(iter(walks))])


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=1)
def _walks_kept(file: Path, changed: int) -> dict[str, tuple[list[dict], list[str], list[str]]]:
    """The walks in a file, which are asked for one after the other; changed: when the file was."""
    return walks_in(file)


def walks_in(file: Path) -> dict[str, tuple[list[dict], list[str], list[str]]]:
    """For each walk in a file: its entries, the image of each entry, and all its images."""
    content = read_json(file)
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        return _by_walk(content["annotations"], _image_names(content.get("images")))
    if isinstance(content, dict) and "instance_info" in content:
        entries, images = _instances(content["instance_info"])
        return _by_walk(entries, images)
    if is_by_image(content):
        return _by_walk(_entries_by_image(content), {image: image for image in content})
    return _by_walk(content, {})


def _entries_by_image(content: dict) -> list[dict]:
    try:
        return [
            {"image_id": image, "keypoints": body.get("pose_keypoints_2d", body.get("joints"))}
            for image, found in content.items()
            for body in found.get("people", found.get("bodies"))
        ]
    except (AttributeError, TypeError):
        raise Unusable("its people by image are no lists of keypoints") from None


def _instances(frames) -> tuple[list[dict], dict]:
    """The entries of what MMPose's inferencer writes, and the images by their number."""
    entries = []
    try:
        images = {frame["frame_id"]: str(frame["frame_id"]) for frame in frames}
        for frame in frames:
            for found in frame["instances"]:
                points = zip(found["keypoints"], found["keypoint_scores"], strict=True)
                scored = {"image_id": frame["frame_id"], "keypoints": [[*point, score] for point, score in points]}
                entries.append({key: found[key] for key in ("track_id",) if key in found} | scored)
    except (TypeError, KeyError, ValueError):
        raise Unusable('its "instance_info" is no list of frames with keypoints and keypoint_scores') from None
    return entries, images


def _image_names(images) -> dict:
    try:
        return {image["id"]: str(image["file_name"]) for image in images or ()}
    except (TypeError, KeyError):
        raise Unusable('its "images" are no list of {"id", "file_name"}') from None


def _by_walk(entries, image_names: dict) -> dict[str, tuple[list[dict], list[str], list[str]]]:
    if not isinstance(entries, list):
        raise Unusable("is no list of keypoint results")
    if not entries:
        raise Unusable("nobody was found in any frame")
    try:
        images = [entry["image_id"] for entry in entries]
        set(images)  # a list among them is no number or name
        names = list(map(str, map(image_names.get, images, images) if image_names else images))
    except (TypeError, KeyError):
        raise Unusable("has an entry without an image_id") from None
    all_images = list(dict.fromkeys([*image_names.values(), *names]))
    if not _MAY_NAME_A_WALK.search(" ".join(all_images)):
        return {"": (entries, names, all_images)}
    walk_of = {name: _walk_of(name) for name in all_images}
    walks = dict.fromkeys(walk_of.values())
    if len(walks) == 1:
        return {next(iter(walks)): (entries, names, all_images)}
    walks = {walk: ([], [], []) for walk in walks}
    for entry, name in zip(entries, names, strict=True):
        walks[walk_of[name]][0].append(entry)
        walks[walk_of[name]][1].append(name)
    for name in all_images:
        walks[walk_of[name]][2].append(name)
    return walks


def _walk_of(image: str) -> str:
    """The walk that an image belongs to by its name, "" where that says nothing."""
    folder, _, name = image.replace("\\", "/").rpartition("/")
    dashed = _DASHED.match(name)
    return folder or (dashed[0] if dashed else "")


def of_entries(entries: list[dict], names: list[str], all_images: list[str]) -> Detections:
    """Detections of entries. names: the image of each; all_images: also those in which nobody is."""
    if not entries:
        raise Unusable("nobody was found in any frame")
    frame_of, remarks = number_frames(all_images)
    try:
        keypoints = to_array([entry["keypoints"] for entry in entries])
    except (TypeError, KeyError):
        raise Unusable("has an entry without keypoints") from None
    frame = np.array([frame_of[name] for name in names])
    return detections(frame, max(frame_of.values()) + 1, keypoints, _numbers(entries), remarks)


def _numbers(entries: list[dict]) -> np.ndarray | None:
    """The number that a tracker gave to each entry, or None where not all have one; AlphaPose writes it as 3, 3.0 or [3.0].

    Where everybody is 0 nobody was tracked: AlphaPose without a tracker writes so.
    """
    key = next((key for key in ("track_id", "idx") if key in entries[0]), "")
    try:
        numbers = np.array([entry[key] for entry in entries], dtype=np.float64).reshape(-1) if key else np.array([np.nan])
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    usable = len(numbers) == len(entries) and (np.isfinite(numbers) & (numbers >= 0) & (numbers < 2**53)).all() and numbers.any()
    return numbers.astype(np.int64) if usable else None
