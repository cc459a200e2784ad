"""Preparing a clip compared with the estimator alone, and the person followed compared with a band of the image.

    python benchmarks/video.py CLIP.mp4 [--below 480] [--frames 54 200]

Needs what `make video` installs. The same frames are estimated twice: by a bare loop that reads and estimates, and by `gaitlib
prepare`, which also follows and draws. With --below, the part of the image below a row, in which the walker is alone, is
also estimated, and hips and ankles are compared with it. Figures are in docs/video.md.
"""

import argparse
import math
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gaitlib.poses.clips import Clip
from gaitlib.poses.mediapipe_pose import estimator, find_model
from gaitlib.poses.prepare import prepare
from gaitlib.poses.reading import Followed, Tally, read
from gaitlib.skeleton import LEFT_ANKLE, LEFT_HIP, MEDIAPIPE33, NECK, RIGHT_ANKLE, RIGHT_HIP

#: Share of the body's height: the walker counts as followed if hips and ankles are this near to the band's, on average.
NEAR = 0.2
SLOWEST = 0.5
COMPARED = [LEFT_HIP, RIGHT_HIP, LEFT_ANKLE, RIGHT_ANKLE]


def frames_a_second(file: Path) -> tuple[float, int]:
    """Frames a second of a loop that only reads and estimates; and the number of frames."""
    began = time.perf_counter()
    with Clip(file) as clip, estimator(find_model()) as estimate:
        frames = sum(1 for _, seconds, image in clip.frames(0, math.inf) if estimate(image, round(1000 * seconds)))
    return frames / (time.perf_counter() - began), frames


def lone_walker(file: Path, top: int) -> dict[int, np.ndarray]:
    """The pose [15, 2] of one person below row `top` of each frame, by plain MediaPipe, without our preprocessing of images."""
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.PoseLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(find_model())), running_mode=vision.RunningMode.VIDEO
    )
    found = {}
    with Clip(file) as clip, vision.PoseLandmarker.create_from_options(options) as landmarker:
        for number, seconds, image in clip.frames(0, math.inf):
            part = mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(image[top:]))
            for person in landmarker.detect_for_video(part, round(1000 * seconds)).pose_landmarks:
                points = np.array([(p.x * part.width, p.y * part.height + top) for p in person])
                found[number // clip.step] = MEDIAPIPE33.to_joints(points)
    return found


def compare(who: Followed, band: dict[int, np.ndarray], first: int, last: int) -> None:
    """Print in how many frames from first to last the person in the band is the one who was followed."""
    followed = dict(zip(who.frame[who.rows].tolist(), who.pose[who.rows], strict=True))
    both = [frame for frame in range(first, last + 1) if frame in band and frame in followed]
    truth, found = (np.array([poses[frame] for frame in both]) for poses in (band, followed))
    height = np.linalg.norm(truth[:, [LEFT_ANKLE, RIGHT_ANKLE]].mean(1) - truth[:, NECK], axis=1)
    apart = np.linalg.norm(found[:, COMPARED] - truth[:, COMPARED], axis=2).mean(1) / height
    there = sum(first <= frame <= last for frame in band)
    print(f"frames {first} to {last}: the walker appears in {there} and is followed in {np.sum(apart < NEAR)} of them")
    print(f"median distance of hips and ankles: {np.median(apart):.3f} of the height from neck to ankles")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, nargs="?")
    parser.add_argument("--below", type=int, help="the row below which the walker is alone")
    parser.add_argument("--frames", type=int, nargs=2, default=(0, 10**6), help="first and last in which to be followed")
    given = parser.parse_args()
    if not given.clip:
        print("No clip was given; nothing was measured.")
        return 0
    clip = given.clip.absolute()
    bare, frames = frames_a_second(clip)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # cache/ is created here
        began, tally = time.perf_counter(), Tally()
        prepare(clip, Path("out"), format="video")
        whole = frames / (time.perf_counter() - began)
        [walk] = read(clip, "video", left_out=[], tally=tally)
    print(f"{frames} frames: {bare:.1f} a second with the estimator alone, {whole:.1f} with prepare, {whole / bare:.2f} of it")
    if given.below:
        compare(tally.followed[walk.sequence], lone_walker(clip, given.below), *given.frames)
    return 0 if whole / bare >= SLOWEST else 1


if __name__ == "__main__":
    sys.exit(main())
