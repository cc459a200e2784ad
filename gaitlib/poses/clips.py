"""Read a clip from beginning to end, upright and evenly spaced in time: its frames, their times, and how many are needed.

OpenCV decodes clips with its FFmpeg; no other module of gaitlib depends on either.
"""

import math
import os
from collections.abc import Iterator, Set
from pathlib import Path
from types import ModuleType

import numpy as np

from gaitlib import InputError
from gaitlib.files import opened
from gaitlib.poses.sequences import Unusable

SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")
#: The containers by their magic bytes and offsets. FFmpeg would also open playlists that refer to other files.
_CONTAINERS = (
    ("MP4 or MOV", 4, (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
    ("AVI", 8, (b"AVI ",)),
    ("MKV or WebM", 0, (b"\x1a\x45\xdf\xa3",)),
)
_LARGEST_CLIP = 2**38
#: Pixels of a frame: eight times as many as 4K has.
_LARGEST_FRAME = 2**26
#: From this many frames a second on, only every n-th is read, so that at least FEWEST_FPS remain.
MANY_FPS, FEWEST_FPS = 49.0, 25.0
#: The number of frames whose times check the frame rate.
_FIRST = 50
#: If all intervals are within this share of the median, frames are evenly spaced; files round times to milliseconds.
_UNEVEN = 0.25
#: Seconds without a frame over which no pose is interpolated.
_LONGEST_PAUSE = 0.2


def container(file: Path) -> str:
    """The container of a clip by its first bytes, or "" if it is not a clip. Raises Unreadable if the file cannot be read."""
    with opened(file, _LARGEST_CLIP) as stream:
        first = stream.read(12)
    return next((name for name, start, marks in _CONTAINERS if first[start:].startswith(marks)), "")


def frame_rate(named: float, seconds: np.ndarray, given: float | None = None) -> tuple[float, bool]:
    """Frames a second of a clip, and whether its frames have times.

    named: the rate stated in the file, which may be 0 or that of its clock. seconds: float64 [T], of its first frames.
    given: by the user, which takes precedence; then the times, if they contradict the stated rate.
    Raises Unusable if none is known.
    """
    steps = np.diff(seconds)
    is_timed, is_named = bool(len(steps) and (steps > 0).all()), 1 <= named <= 1000
    if given or not (is_timed or is_named):
        if not given:
            raise Unusable("does not say its frame rate; give it with --fps")
        return given, is_timed
    by_time = 1 / float(np.median(steps)) if is_timed else named
    return (named if is_named and abs(named / by_time - 1) < _UNEVEN else by_time), is_timed


def frame_step(fps: float) -> int:
    """Every how many frames one is read: every frame below MANY_FPS, else such that 25 to 33 a second remain."""
    return 1 if fps < MANY_FPS else int((fps + 0.5) / FEWEST_FPS)


def are_even(seconds: np.ndarray) -> bool:
    """Whether frames taken at these seconds are evenly spaced."""
    steps = np.diff(seconds)
    return not len(steps) or bool((np.abs(steps / np.median(steps) - 1) < _UNEVEN).all())


def at_even_times(values: np.ndarray, seconds: np.ndarray, fps: float) -> np.ndarray:
    """Values of unevenly spaced frames, interpolated at even times.

    values: [T, ...], NaN if missing. seconds: float64 [T], increasing. fps: frames a second of the result.
    Returns [T', ...]; NaN next to a NaN, and within pauses longer than a fifth of a second.
    """
    times = np.arange(seconds[0], seconds[-1] + 1e-6, 1 / fps)
    before = np.clip(np.searchsorted(seconds, times, side="right") - 1, 0, max(len(seconds) - 2, 0))
    after = np.minimum(before + 1, len(seconds) - 1)
    pause = seconds[after] - seconds[before]
    share = (times - seconds[before]) / np.where(pause > 0, pause, 1)
    share = np.where(pause > _LONGEST_PAUSE, np.nan, share).reshape(-1, *[1] * (values.ndim - 1))
    return (values[before] * (1 - share) + values[after] * share).astype(values.dtype)


class Clip:
    """A clip, opened for reading from beginning to end; a context manager.

    fps: frames a second, as given or as stated in the file. step: only every step-th frame is read. named: the number of frames
    stated in the file, or 0. passed: frames passed so far. ended: whether all have passed.
    """

    def __init__(self, file: Path, fps: float | None = None):
        """Raises Unusable if the file is not a readable clip, or states no frame rate and none is given."""
        self._cv2, self._file, self._capture = opencv(), file, None
        self._open()
        size = [self._capture.get(side) for side in (self._cv2.CAP_PROP_FRAME_WIDTH, self._cv2.CAP_PROP_FRAME_HEIGHT)]
        if math.prod(size) > _LARGEST_FRAME:
            raise Unusable("has frames of {:.0f} x {:.0f} pixels, more than are read".format(*size))
        self.named = max(int(self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT)), 0)
        first = np.array([self._time() for _ in range(_FIRST) if self._capture.grab()])
        if not len(first):
            raise Unusable("holds no readable image: it is cut off, damaged, or has only sound")
        self._rate, self._is_timed = frame_rate(self._capture.get(self._cv2.CAP_PROP_FPS), first, fps)
        self.fps, self._began = fps or self._rate, first[0]
        self.step = frame_step(self.fps)
        self._open()
        self.passed, self.ended = 0, not self._capture.grab()

    def __enter__(self) -> "Clip":
        return self

    def __exit__(self, *_) -> None:
        self._capture.release()

    def frames(self, start: float, stop: float, wanted: Set[int] | None = None) -> Iterator[tuple[int, float, np.ndarray]]:
        """(number, seconds, image) of each step-th frame with start <= seconds < stop; another call continues from there.

        number: counts all frames of the file, from 0. seconds: since the first frame, as in a player.
        image: uint8 [H, W, 3] in RGB, upright even if the camera was not. wanted: if given, only frames with these numbers.
        """
        while not self.ended and (seconds := self._seconds()) < stop:
            if seconds >= start and self.passed % self.step == 0 and (wanted is None or self.passed in wanted):
                is_read, image = self._capture.retrieve()
                if is_read:
                    yield self.passed, seconds, self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB)
            self.passed += 1
            self.ended = not self._capture.grab()

    def _open(self) -> None:
        if self._capture:
            self._capture.release()
        # an absolute path cannot be mistaken for a URL
        self._capture = self._cv2.VideoCapture(str(self._file.absolute()), self._cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise Unusable("is not a readable clip: it is cut off, damaged, or has only sound")
        self._capture.set(self._cv2.CAP_PROP_ORIENTATION_AUTO, 1)

    def _time(self) -> float:
        return self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000

    def _seconds(self) -> float:
        return self._time() - self._began if self._is_timed else self.passed / self._rate


def opencv() -> ModuleType:
    """OpenCV, without its messages about damaged files. Raises InputError if it is not installed."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # both are read when OpenCV is loaded or opens its first file
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError:
        raise InputError("Clips need what `make video` installs (pip install 'gaitlib[video]').") from None
    return cv2
