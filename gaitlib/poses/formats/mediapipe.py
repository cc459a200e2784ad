"""The 33 landmarks of MediaPipe Pose, as arrays or JSON; MediaPipe itself writes no files.

V. Bazarevsky et al., "BlazePose: On-device real-time body pose tracking", 2020.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from gaitlib.files import read_array
from gaitlib.poses.formats.files import LARGEST_WALK, detections, each_file, first_contents, read_json, usable
from gaitlib.poses.sequences import Detections, Format, Sequence, Unusable

_LANDMARKS = 33
#: The shape of most videos; with a different one the person is distorted, so this is a last resort.
_ASPECT = 16 / 9
#: Shares of an image are hardly above 1; pixels are far above.
_LARGEST_SHARE = 4.0
_ASSUMED = "the image size is not given; 16:9 was assumed, so give width and height, or pixels, if that is wrong"

#: The size of the image in pixels, if given.
_Size = tuple[float, float] | None


def _recognize(source: Path) -> str:
    for name, content in first_contents(source):
        try:
            people = next(filter(None, map(_people, _frames(content)[0])), None)
        except Unusable:
            continue
        if people and len(people[0]) == _LANDMARKS:
            return f"{name} holds {_LANDMARKS} landmarks a frame"
    path, file = next(each_file(source, ".npy"), ("", source))
    try:
        shape = usable(read_array, file, memory_map=True, most=LARGEST_WALK).shape
    except Unusable:
        return ""
    return f"{path}.npy is an array {list(shape)}" if len(shape) == 3 and shape[1] == _LANDMARKS else ""


def _find(source: Path) -> Iterator[Sequence]:
    """No file is read."""
    for suffix in (".json", ".npy") if source.is_dir() else ("",):
        for path, file in each_file(source, suffix):
            yield Sequence(path, (file,))


def _load(sequence: Sequence) -> Detections:
    """In pixels, or in image heights if the size of the image is unknown."""
    file = Path(sequence.files[0])
    frame, landmarks, size = _from_npy(file) if file.suffix.lower() == ".npy" else _from_json(file)
    points, remarks = np.where(np.isfinite(landmarks[..., :2]), landmarks[..., :2], np.nan), ()
    if np.isfinite(points).any() and np.nanmedian(np.abs(points)) <= _LARGEST_SHARE:
        remarks = () if size else (_ASSUMED,)
        points = np.clip(points, -1e9, 1e9) * (size or (_ASPECT, 1.0))  # still too large, but no overflow
    score = landmarks[..., 2:4][..., -1:]  # none, z or the visibility, visibility
    if landmarks.shape[-1] == 3 and not (np.nanmin(score, initial=1) >= 0 and np.nanmax(score, initial=0) <= 1 and score.any()):
        score = score[..., :0]
    return detections(frame, np.concatenate([points, score], axis=-1), remarks=remarks)


def _from_npy(file: Path) -> tuple[np.ndarray, np.ndarray, _Size]:
    landmarks = usable(read_array, file, most=LARGEST_WALK)
    if landmarks.dtype.kind not in "fiu":
        raise Unusable(f"is an array of {str(landmarks.dtype)[:20]}, not of numbers")
    if landmarks.ndim != 3 or landmarks.shape[1] != _LANDMARKS or not 2 <= landmarks.shape[2] <= 5 or not len(landmarks):
        raise Unusable(f"is an array {list(landmarks.shape)}, not [T, {_LANDMARKS}, 2 to 5]")
    with np.errstate(invalid="ignore"):  # some values may not be valid numbers
        return np.arange(len(landmarks)), landmarks.astype(np.float64), None


def _from_json(file: Path) -> tuple[np.ndarray, np.ndarray, _Size]:
    frames, size = _frames(read_json(file))
    found = [(t, person) for t, content in enumerate(frames) for person in _people(content)]
    if not found:
        raise Unusable("nobody was found in any frame")
    for _, person in found:
        if len(person) != _LANDMARKS:
            raise Unusable(f"a person has {len(person)} landmarks, not {_LANDMARKS}")
    points = list(chain.from_iterable(person for _, person in found))
    try:
        if isinstance(points[0], dict):
            points = [(p["x"], p["y"], 0.0, p.get("visibility", 1.0)) for p in points]
        landmarks = np.array(points, dtype=np.float64)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        landmarks = np.empty(0)
    if landmarks.ndim != 2 or not 2 <= landmarks.shape[1] <= 5:
        raise Unusable("a landmark is not {x, y, visibility} or [x, y, z, visibility] of numbers")
    return np.array([t for t, _ in found]), landmarks.reshape(len(found), _LANDMARKS, -1), size


def _frames(content: Any) -> tuple[list, _Size]:
    """The frames in the content of a file, and the width and height of the image if given."""
    size = None
    if isinstance(content, dict):
        size = tuple(content.get(key, content.get(f"image_{key}")) for key in ("width", "height"))
        if size == (None, None):
            size = None
        elif not all(isinstance(s, int | float) and 0 < s < 1e6 for s in size):
            raise Unusable(f"its width and height are {size[0]!r:.20} and {size[1]!r:.20}, which is not the size of an image")
        content = next((content[key] for key in ("frames", "pose_landmarks", "landmarks") if key in content), None)
    if not isinstance(content, list):
        raise Unusable("is not a list of frames with landmarks")
    return content, size


def _people(content: Any) -> list[list]:
    """The people in one frame, each a list of landmarks."""
    if isinstance(content, dict):
        content = next((content[key] for key in ("pose_landmarks", "landmarks") if key in content), None)
    if not content:
        return []
    first = content[0] if isinstance(content, list) else None
    people = content if isinstance(first, list) and first and isinstance(first[0], list | dict) else [content]
    if not all(isinstance(person, list) for person in people):
        raise Unusable("a frame does not hold a list of landmarks")
    return people


MEDIAPIPE = Format(
    name="mediapipe",
    summary="MediaPipe Pose, 33 landmarks, one .npy or JSON file per walk",
    files="""\
SOURCE/.../WALK.npy    a float array [T, 33, 2 to 5]: x, y, then z, visibility, presence; a third and last column with values
                       between 0 and 1 is the visibility; NaN or 0, 0 if there is nobody
SOURCE/.../WALK.json   a list of frames, or {"width", "height", "frames": [...]}; a frame is a list of 33 landmarks
                       {"x", "y", "z", "visibility"} or [x, y, z, visibility], or several such lists, one per person,
                       or {"landmarks"} or {"pose_landmarks"} with these; null or [] if there is nobody
                       x and y are shares of the width and height of the image, or pixels; if width and height are not
                       given, shares are assumed to be of a 16:9 image, and a remark says so""",
    recognize=_recognize,
    find=_find,
    load=_load,
)
