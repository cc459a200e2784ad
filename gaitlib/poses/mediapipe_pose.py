"""Detect people in an image with MediaPipe's BlazePose on the CPU; no other module knows this estimator.

To use another one, write another such module: `estimator`, a context manager that yields a function of an image and its time.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from gaitlib import InputError
from gaitlib.poses.pose_model import MODEL
from gaitlib.skeleton import MEDIAPIPE33

#: image uint8 [H, W, 3] in RGB, milliseconds that increase from call to call
#: -> keypoints float32 [P, 33, 2] in pixels and confidence float32 [P, 33], 0..1, of P people
Estimate = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]

#: The number of people to look for: with one, the first person found is kept, and a walker who appears later is never found.
MOST_PEOPLE = 3
#: Longer sides are scaled down to this; anyone tall enough to be found is then still as large as the network's own input.
_LONGEST_SIDE = 1920
_HOW = "run `make video`, which installs MediaPipe and makes its model"


def find_model(named: str | Path = "") -> Path:
    """The model to use: the named file, or the one in the environment.

    Raises InputError if the model or MediaPipe is missing.
    """
    if not find_spec("mediapipe"):
        raise InputError(f"--format video needs MediaPipe, which is not installed; {_HOW}.")
    model = Path(named) if named else MODEL
    if not model.is_file():
        where = f"--model {named}" if named else str(MODEL)
        raise InputError(f"{where} does not exist; " + ("give a file pose.task." if named else f"{_HOW}."))
    return model


@contextmanager
def estimator(model: Path) -> Iterator[Estimate]:
    """A function that finds people in one image after another and follows them from each to the next.

    Raises InputError for a model that MediaPipe cannot use.
    """
    import cv2
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.PoseLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)),
        running_mode=vision.RunningMode.VIDEO,
        num_poses=MOST_PEOPLE,
    )

    somebody_was_found = False

    def estimate(image: np.ndarray, milliseconds: int) -> tuple[np.ndarray, np.ndarray]:
        nonlocal somebody_was_found
        scale = min(1.0, _LONGEST_SIDE / max(image.shape[:2]))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        # in an image that is not square, this release misplaces the keypoints of people who lean
        height, width = image.shape[:2]
        side = max(height, width)
        square = cv2.copyMakeBorder(image, 0, side - height, 0, side - width, cv2.BORDER_CONSTANT)
        with nullcontext() if somebody_was_found else _quiet():
            people = landmarker.detect_for_video(mp.Image(mp.ImageFormat.SRGB, square), milliseconds).pose_landmarks
        somebody_was_found |= bool(people)
        found = np.array([[(p.x, p.y, p.visibility) for p in person] for person in people], np.float32)
        found = found.reshape(len(people), MEDIAPIPE33.size, 3)
        return found[..., :2] * (side / scale), found[..., 2]

    try:
        with _quiet():
            landmarker = vision.PoseLandmarker.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{model} is not a model that MediaPipe can use: {str(error).splitlines()[0]}") from None
    with landmarker:
        yield estimate


@contextmanager
def _quiet() -> Iterator[None]:
    """Discard what native code writes to stderr within the block: each network reports its threads when it is first used."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
