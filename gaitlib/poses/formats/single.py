"""Keypoints of sequences in which one person was followed already, checked and turned into Detections."""

import numpy as np

from gaitlib.poses.sequences import Detections, Unusable

#: Pixels; the largest sensors have 2 * 10**4 a row, so what lies beyond was not measured.
LARGEST_COORDINATE = 1e5
#: Frame numbers that leave more than nine in ten frames empty are no numbers of frames.
MOST_EMPTY = 10


def one_person(
    values: np.ndarray, numbers: np.ndarray | None = None, *, person: int = 0, zero_is_missing: bool = True
) -> Detections:
    """One detection a row.

    values: numbers [D, K, 2] or [D, K, 3], x, y and score; a keypoint is missing where x or y is NaN.
    numbers: int [D], the number of each row's frame, not decreasing; None counts them.
    person: of all detections, -1 where rows of one frame may be several people.
    zero_is_missing: a keypoint at (0, 0) is missing too, unless it has a score above 0.
    Raises Unusable for other shapes, no rows, no keypoint at all, infinite or impossible coordinates and scores.
    """
    if values.ndim != 3 or values.shape[2] not in (2, 3):
        raise Unusable(f"holds an array {list(values.shape)}, not [frames, keypoints, 2 or 3]")
    if not len(values):
        raise Unusable("holds no frame")
    if values.dtype.kind not in "biuf":
        raise Unusable(f"holds an array of type {str(values.dtype)[:20]}, not of numbers")
    with np.errstate(invalid="ignore"):  # numbers of another kind than were written may be none
        values = values.astype(np.float64)
    bad = (np.isinf(values) | (np.abs(values) > LARGEST_COORDINATE)).any(axis=(1, 2))
    if bad.any():
        row = int(np.argmax(bad))
        worst = values[row].reshape(-1)[np.nanargmax(np.abs(values[row]))]
        raise Unusable(f"frame {row if numbers is None else int(numbers[row])} holds {worst:g}, which is no position")
    position = values[..., :2]
    score = np.nan_to_num(values[..., 2]) if values.shape[2] == 3 else np.zeros(values.shape[:2])
    missing = np.isnan(position).any(-1)
    if zero_is_missing:
        missing |= (position == 0).all(-1) & (score <= 0)
    if missing.all():
        raise Unusable("no keypoint has a position in any frame")
    if values.shape[2] == 2:
        score = 1.0 - missing
    keypoints = np.where(missing[..., None], np.nan, position).astype(np.float32)
    frame, frames, remarks = count_frames(np.arange(len(values)) if numbers is None else numbers)
    return Detections(
        frame=frame,
        frames=frames,
        keypoints=keypoints,
        confidence=np.clip(score, 0, 1).astype(np.float32),
        person=np.full(len(values), person, dtype=np.int64),
        remarks=remarks,
    )


def count_frames(numbers: np.ndarray) -> tuple[np.ndarray, int, tuple[str, ...]]:
    """Frames counted from 0 by their numbers in names or tables, how many there are, and remarks.

    numbers: int [D], not decreasing, -1 where there is none; a number left out is an empty frame, unless every second (or
    third, ...) is. Numbers with large holes, such as times, say only the order.
    """
    numbers = np.asarray(numbers, dtype=np.int64)
    steps = np.diff(numbers)
    if (numbers < 0).any():
        return np.arange(len(numbers)), len(numbers), ()
    stride = int(np.gcd.reduce(steps)) or 1
    frame = (numbers - numbers[0]) // stride
    frames = int(frame[-1]) + 1
    remarks = (f"only every {stride}. frame is there; they were taken as consecutive",) if stride > 1 else ()
    if frames > MOST_EMPTY * len(numbers):
        order = np.concatenate([[0], np.cumsum(steps > 0)])
        return order, int(order[-1]) + 1, ("the numbers of the frames leave large holes and were taken for their order only",)
    return frame, frames, remarks
