"""Clips of people who walk: an estimator finds everybody in all frames.

What was found is kept in the workspace's cache/, a stage for each piece of a clip: a run that was killed goes on where it was,
and to ask for another person costs nothing.
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
#: Seconds between two lines that say how far a clip is, where there is no terminal to draw a bar in.
SAY_EVERY = 30.0
#: A clip that ends this share before its end as the file names it was cut off.
_CUT_OFF = 0.95


def pieces(start: float, stop: float) -> Iterator[tuple[float, float]]:
    """The parts of the seconds from start to stop that lie in each piece of a clip; stop may be infinite."""
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
    return f"{source.name} is named as a clip" if source.is_file() and source.suffix.lower() in SUFFIXES else ""


def _find(source: Path) -> Iterator[Sequence]:
    """None of the clips is opened."""
    for path, file in each_file(source, *SUFFIXES):
        yield Sequence(path, (file,))


def _load(sequence: Sequence, *, model: str | Path, start: float, stop: float, fps: float | None) -> Detections:
    """Everybody between two seconds of a clip; frames are those that were read, counted from its beginning."""
    file = Path(sequence.files[0])
    if not usable(container, file):
        raise Unusable("does not begin as a clip in MP4, MOV, AVI, MKV or WebM does" if file.stat().st_size else "is empty")
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
        remarks.append(f"every {clip.step}. of {clip.fps:.4g} frames a second was read")
    if 0 <= found[-1]["of"] < _CUT_OFF * clip.named:
        remarks.append("is cut off or damaged: it holds fewer frames than it says")
    everybody = detections(frame // clip.step, keypoints, zero_is_missing=False)
    if fps or are_even(seconds):
        return replace(everybody, fps=rate, remarks=tuple(remarks))
    rate, _ = frame_rate(rate, seconds)
    remarks.append(f"frames are uneven in time: poses are interpolated at {rate:.4g} a second")
    every = np.interp(np.arange(number[-1] // clip.step + 1), number // clip.step, seconds)
    return replace(everybody, fps=rate, remarks=tuple(remarks), seconds=every)


#: What is kept of a piece: number [T] and seconds [T] of the frames that were read, frame [D] and keypoints [D, K, 3] of who was
#: found in them; and `of`: of how many frames the clip is, where it ends in this piece, otherwise -1.
_ARRAYS = ("number", "seconds", "frame", "keypoints")


def _in_pieces(clip: Clip, file: Path, model: Path, start: float, stop: float) -> Iterator[dict[str, np.ndarray]]:
    """What was found in one piece of a clip after the other, up to its end."""
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
    """Write what is found between two seconds of a clip."""
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
    """How far a clip is: a bar in a terminal, otherwise a line now and then. A context manager; done: frames so far."""

    def __init__(self, name: str, total: float):
        self.name, self.total, self.done, self.estimated = name, max(int(total), 1), 0, 0
        self.began = self.said = time.monotonic()

    def __enter__(self) -> "_Progress":
        self.bar = tqdm(total=self.total, desc=self.name, unit="frame", leave=False, disable=not sys.stderr.isatty())
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    def step(self) -> None:
        """A frame has been estimated."""
        self.estimated += 1
        self.pass_over(1)
        now = time.monotonic()
        if self.bar.disable and now - self.said > SAY_EVERY:
            left = (now - self.began) / self.estimated * (self.total - self.done)
            about = tqdm.format_interval(max(left, 0))
            print(f"    {self.name}: {self.done} of {self.total} frames, about {about} left", flush=True)
            self.said = now

    def pass_over(self, frames: int) -> None:
        """So many frames are known from before."""
        self.done += frames
        self.bar.update(frames)


VIDEO = Format(
    name="video",
    summary="clips of people who walk, one a walk; needs what `make video` installs",
    files="""\
SOURCE/.../WALK.mp4   or .mov, .m4v, .avi, .mkv, .webm: one person who walks in view of a camera that stands still, for three
                      seconds or more; who is followed is shown in OUT/followed/WALK.jpg, see docs/video.md
                      a clip whose name is in no known spelling is of a subject of that name""",
    recognize=_recognize,
    find=_find,
    load=_load,
    pattern="{subject}",
    has_images=True,
)
