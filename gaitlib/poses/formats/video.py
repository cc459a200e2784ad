"""Video clips: an estimator detects everybody in all frames.

Detections are kept in the workspace's cache/, one stage for each piece of a clip: an interrupted run continues where it was,
and asking for another person costs nothing.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gaitlib.config import workspace
from gaitlib.fingerprints import code_fingerprint, file_fingerprint
from gaitlib.poses import mediapipe_pose
from gaitlib.poses.clips import SUFFIXES, Clip, are_even, container, frame_rate
from gaitlib.poses.formats.files import detections, each_file, usable
from gaitlib.poses.sequences import Detections, Format, Sequence, Unusable
from gaitlib.skeleton import MEDIAPIPE33
from gaitlib.stages import Stages

#: Seconds of a clip that are estimated and kept together.
PIECE = 20.0
#: Seconds between two lines of progress if there is no terminal to draw a bar in.
SAY_EVERY = 30.0
#: A clip with less than this share of the frames its file states was cut off.
_CUT_OFF = 0.95


def pieces(start: float, stop: float) -> Iterator[tuple[float, float]]:
    """The interval from start to stop, in seconds, divided at the borders of the pieces of a clip; stop may be infinite."""
    for i in count(int(start / PIECE)):
        first, last = max(start, i * PIECE), min(stop, (i + 1) * PIECE)
        if first >= last:
            return
        yield first, last


def _recognize(source: Path) -> str:
    for name, file in each_file(source, *SUFFIXES):
        try:
            kind = usable(container, file)
        except Unusable:
            continue
        if kind:
            return f"{name} is a clip ({kind})"
    return f"{source.name} is named like a clip" if source.is_file() and source.suffix.lower() in SUFFIXES else ""


def _find(source: Path) -> Iterator[Sequence]:
    """No clip is opened."""
    for path, file in each_file(source, *SUFFIXES):
        yield Sequence(path, (file,))


def _load(sequence: Sequence, *, model: str | Path, start: float, stop: float, fps: float | None) -> Detections:
    """Everybody between two seconds of a clip; frame numbers count the frames read, from the beginning of the clip."""
    file = Path(sequence.files[0])
    if not usable(container, file):
        raise Unusable("does not start like an MP4, MOV, AVI, MKV or WebM clip" if file.stat().st_size else "is empty")
    model = mediapipe_pose.find_model(model)
    with Clip(file, fps) as clip:
        found = list(_in_pieces(clip, file, model, start, stop))
    number, seconds, frame, keypoints = (np.concatenate([piece[name] for piece in found]) for name in _ARRAYS)
    if not len(number):
        raise Unusable(f"has no frame at second {start:g} or later")
    if not len(frame):
        raise Unusable("nobody was found in any frame")
    rate, remarks = clip.fps / clip.step, []
    if clip.step > 1:
        remarks.append(f"one frame in {clip.step} was read, of {clip.fps:.4g} a second")
    if 0 <= found[-1]["of"] < _CUT_OFF * clip.named:
        remarks.append("is cut off or damaged: it has fewer frames than it states")
    everybody = detections(frame // clip.step, keypoints, zero_is_missing=False)
    if fps or are_even(seconds):
        return replace(everybody, fps=rate, remarks=tuple(remarks))
    rate, _ = frame_rate(rate, seconds)
    remarks.append(f"frames are uneven in time; poses were interpolated at {rate:.4g} a second")
    every = np.interp(np.arange(number[-1] // clip.step + 1), number // clip.step, seconds)
    return replace(everybody, fps=rate, remarks=tuple(remarks), seconds=every)


#: Kept for a piece: number [T] and seconds [T] of the frames that were read, frame [D] and keypoints [D, K, 3] of the people
#: detected in them; and `of`: the clip's number of frames if it ends in this piece, otherwise -1.
_ARRAYS = ("number", "seconds", "frame", "keypoints")


def _in_pieces(clip: Clip, file: Path, model: Path, start: float, stop: float) -> Iterator[dict[str, np.ndarray]]:
    """The detections of one piece of a clip after another, up to its end."""
    stages, estimating = Stages(workspace() / "cache"), ("gaitlib.poses.clips", mediapipe_pose.__name__)
    facts = [file_fingerprint(file), file_fingerprint(model), code_fingerprint(*estimating), clip.step]
    with _Progress(file.name, (min(clip.named / clip.fps, stop) - start) * clip.fps / clip.step) as progress:
        for first, last in pieces(start, stop):
            done, make = progress.done, partial(_estimate, clip, model, first, last, progress)
            with np.load(stages.made("poses", [*facts, first, last], make) / "people.npz") as kept:
                piece = dict(kept)
            progress.pass_over(done + len(piece["number"]) - progress.done)
            yield piece
            if piece["of"] >= 0:
                return


def _estimate(clip: Clip, model: Path, first: float, last: float, progress: "_Progress", folder: Path) -> None:
    """Write the detections between two seconds of a clip."""
    number, seconds, frame, keypoints, clock = [], [], [], [], -1
    with mediapipe_pose.estimator(model) as estimate:
        for n, second, image in clip.frames(first, last):
            clock = max(clock + 1, round(1000 * second))
            for points, confidence in zip(*estimate(image, clock), strict=True):
                frame.append(n)
                keypoints.append(np.column_stack([points, confidence]))
            number.append(n)
            seconds.append(second)
            progress.step()
    np.savez(
        folder / "people.npz",
        number=np.array(number, np.int64),
        seconds=np.array(seconds, np.float64),
        frame=np.array(frame, np.int64),
        keypoints=np.array(keypoints, np.float32).reshape(-1, MEDIAPIPE33.size, 3),
        of=clip.passed if clip.ended else -1,
    )


class _Progress:
    """Progress through a clip: a bar in a terminal, otherwise a line now and then. A context manager; done: frames so far."""

    def __init__(self, name: str, total: float):
        self.name, self.total, self.done, self.estimated = name, max(int(total), 1), 0, 0
        self.began = self.said = time.monotonic()

    def __enter__(self) -> "_Progress":
        self.bar = tqdm(total=self.total, desc=self.name, unit="frame", leave=False, disable=not sys.stderr.isatty())
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    def step(self) -> None:
        """Count a frame that was estimated."""
        self.estimated += 1
        self.pass_over(1)
        now = time.monotonic()
        if self.bar.disable and now - self.said > SAY_EVERY:
            left = (now - self.began) / self.estimated * (self.total - self.done)
            about = tqdm.format_interval(max(left, 0))
            print(f"    {self.name}: {self.done} of {self.total} frames, about {about} left", flush=True)
            self.said = now

    def pass_over(self, frames: int) -> None:
        """Count frames that are already known."""
        self.done += frames
        self.bar.update(frames)


VIDEO = Format(
    name="video",
    summary="video clips, one walk each; needs what `make video` installs",
    files="""\
SOURCE/.../WALK.mp4   or .mov, .m4v, .avi, .mkv, .webm: one person walking in front of a fixed camera for three seconds or
                      more; OUT/followed/WALK.jpg shows who was followed, see docs/video.md
                      if a clip's name is not in a known spelling, it is the name of the subject""",
    recognize=_recognize,
    find=_find,
    load=_load,
    pattern="{subject}",
    has_images=True,
)
