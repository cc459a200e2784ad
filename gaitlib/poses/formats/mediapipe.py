"""The 33 landmarks of MediaPipe Pose, as arrays or JSON; MediaPipe itself writes no files.

V. Bazarevsky et al., "BlazePose: On-device real-time body pose tracking", 2020.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from gaitlib.poses.formats.files import NUMPY_DAMAGE
from gaitlib.poses.formats.keypoint_files import detections, first_contents, read_json, single_files
from gaitlib.poses.sequences import Detections, Sequence, Unusable

LAYOUT = """\
SOURCE/.../WALK.npy    a float array [T, 33, 2 to 5]: x, y, then z, visibility, presence; a third and last column that lies
                       between 0 and 1 is the visibility; NaN or 0, 0 where nobody is
SOURCE/.../WALK.json   a list of frames, or {"width", "height", "frames": [...]}; a frame is a list of 33 landmarks
                       {"x", "y", "z", "visibility"} or [x, y, z, visibility], or several such lists, one a person,
                       or {"landmarks"} or {"pose_landmarks"} with these; null or [] where nobody is
                       x and y are shares of the width and height of the image, or pixels; where width and height are not
                       given, shares are taken to be of a 16:9 image, and it is said"""

LANDMARKS = 33
#: The shape of most videos; with another one the person is squeezed, so it is only a last resort.
ASPECT = 16 / 9
#: Shares of an image reach little beyond 1, pixels are far above.
LARGEST_SHARE = 4.0

_ASSUMED = "the size of the image is not given; 16:9 was assumed, so give width and height or pixels if it is another"


def recognize(source: Path) -> str:
    """Why `source` is this format, or an empty string."""
    for name, content in first_contents(source):
        try:
            people = next(filter(None, map(_people, _frames(content)[0])), None)
            if people and len(people[0]) == LANDMARKS:
                return f"{name} holds {LANDMARKS} landmarks a frame"
        except Unusable:
            continue
    for path, file in single_files(source, ".npy") if source.is_dir() or source.suffix == ".npy" else ():
        try:
            shape = np.load(file, mmap_mode="r", allow_pickle=False).shape
        except NUMPY_DAMAGE:
            return ""
        return f"{path}.npy is an array {list(shape)}" if len(shape) == 3 and shape[1] == LANDMARKS else ""
    return ""


def find(source: Path) -> Iterator[Sequence]:
    """The walks of a folder, or the one of a file, one a file; none is read."""
    for suffix in (".json", ".npy") if source.is_dir() else ("",):
        for path, file in single_files(source, suffix):
            yield Sequence(path, (file,))


def load(sequence: Sequence) -> Detections:
    """Everybody in one walk, in pixels or, where the size of the image is unknown, in its heights.

    Raises Unusable for damaged files, wrong types, and other numbers of landmarks.
    """
    file = sequence.files[0]
    frame, frames, landmarks, size = _from_npy(file) if file.suffix.lower() == ".npy" else _from_json(file)
    columns = landmarks.shape[-1]
    confidence = np.ones(landmarks.shape[:2])
    third = landmarks[..., 2] if columns == 3 else None
    if columns > 3:
        confidence = landmarks[..., 3]
    elif third is not None and np.nanmin(third, initial=1) >= 0 and np.nanmax(third, initial=0) <= 1 and third.any():
        confidence = third
    points = np.where(np.isfinite(landmarks[..., :2]), landmarks[..., :2], np.nan)
    remarks = ()
    shares = np.isfinite(points).any() and np.nanmedian(np.abs(points)) <= LARGEST_SHARE
    if shares:
        remarks = () if size else (_ASSUMED,)
        points = np.clip(points, -1e9, 1e9) * (size or (ASPECT, 1.0))  # still too large, but no overflow
    keypoints = np.concatenate([points, confidence[..., None]], axis=-1)
    return detections(frame, frames, keypoints, remarks=remarks)


def _from_npy(file: Path):
    try:
        with open(file, "rb") as opened:
            landmarks = np.lib.format.read_array(opened, allow_pickle=False)
    except NUMPY_DAMAGE as error:
        reason = f"cannot be read ({error.strerror})" if getattr(error, "strerror", None) else "is no .npy file of numbers"
        raise Unusable(reason) from None
    if landmarks.dtype.kind not in "fiu":
        raise Unusable("is no .npy file of numbers")
    if landmarks.ndim != 3 or landmarks.shape[1] != LANDMARKS or not 2 <= landmarks.shape[2] <= 5 or not len(landmarks):
        raise Unusable(f"is an array {list(landmarks.shape)}, not [T, {LANDMARKS}, 2 to 5]")
    with np.errstate(invalid="ignore"):  # a number of another kind than was written may be none
        return np.arange(len(landmarks)), len(landmarks), landmarks.astype(np.float64), None


def _from_json(file: Path):
    frames, size = _frames(read_json(file))
    people, frame = [], []
    for t, content in enumerate(frames):
        found = _people(content)
        people += found
        frame += [t] * len(found)
    if not people:
        raise Unusable("nobody was found in any frame")
    counts = set(map(len, people))
    if counts != {LANDMARKS}:
        raise Unusable(f"a person has {(counts - {LANDMARKS}).pop()} landmarks, not {LANDMARKS}")
    points = list(chain.from_iterable(people))
    try:
        if isinstance(points[0], dict):
            points = [(p["x"], p["y"], 0.0, p.get("visibility", 1.0)) for p in points]
        landmarks = np.array(points, dtype=np.float64)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        raise Unusable("a landmark is not {x, y, visibility} or [x, y, z, visibility] of numbers") from None
    if landmarks.ndim != 2 or not 2 <= landmarks.shape[1] <= 5:
        raise Unusable("a landmark is not {x, y, visibility} or [x, y, z, visibility] of numbers")
    return np.array(frame), len(frames), landmarks.reshape(len(people), LANDMARKS, -1), size


def _frames(content) -> tuple[list, tuple[float, float] | None]:
    """The frames in the content of a file, and the width and height of the image where they are given."""
    size = None
    if isinstance(content, dict):
        size = tuple(content.get(key, content.get(f"image_{key}")) for key in ("width", "height"))
        if size == (None, None):
            size = None
        elif not all(isinstance(s, int | float) and 0 < s < 1e6 for s in size):
            raise Unusable(f"its width and height are {size[0]!r:.20} and {size[1]!r:.20}, no sizes of an image")
        content = next((content[key] for key in ("frames", "pose_landmarks", "landmarks") if key in content), None)
    if not isinstance(content, list):
        raise Unusable("is no list of frames with landmarks")
    return content, size


def _people(content) -> list[list]:
    """The people in one frame, each a list of landmarks."""
    if isinstance(content, dict):
        content = next((content[key] for key in ("pose_landmarks", "landmarks") if key in content), None)
    if not content:
        return []
    if not isinstance(content, list):
        raise Unusable("a frame holds no list of landmarks")
    first = content[0]
    if isinstance(first, list) and first and isinstance(first[0], list | dict):
        if not all(isinstance(person, list) for person in content):
            raise Unusable("a frame holds no list of landmarks")
        return content
    return [content]
