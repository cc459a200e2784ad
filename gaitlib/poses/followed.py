"""Pictures of who was followed in a clip: a contact sheet, and the clip with the skeleton drawn on it."""

import errno
import math
from pathlib import Path

import numpy as np

from gaitlib.files import naming
from gaitlib.poses.clips import Clip, opencv
from gaitlib.poses.reading import Followed
from gaitlib.skeleton import BONES, HEAD, LEFT_JOINTS, RIGHT_JOINTS

#: Images on a contact sheet, images per row, and the longer side in pixels of each image and of the clip with the skeleton.
IMAGES, ACROSS, SMALL, LARGE = 12, 3, 640, 1280
#: In RGB: middle, left and right of the person who was followed, and everybody else.
MIDDLE, LEFT, RIGHT, OTHERS = (255, 255, 255), (255, 150, 0), (0, 200, 255), (200, 200, 200)
_CODEC = "mp4v"  # the only .mp4 codec that OpenCV ships everywhere
_QUALITY = 85


def draw(who: Followed, path: Path, *, overlay: bool) -> None:
    """Write the contact sheet to `path`.jpg and, on request, the clip with the skeleton to `path`.mp4.

    Raises OSError, with the file's name, if one cannot be written.
    """
    path.parent.mkdir(exist_ok=True)
    cv2, film = opencv(), path.with_name(f"{path.name}.mp4")
    frames = who.frame[who.rows]
    shown = set(frames[np.linspace(0, len(frames) - 1, IMAGES).round().astype(int)].tolist())
    wanted = range(frames[0], frames[-1] + 1) if overlay else shown
    sheet, writer, written = [], None, 0
    with Clip(who.clip, who.given_fps) as clip:
        for number, seconds, image in clip.frames(0, math.inf, {frame * clip.step for frame in wanted}):
            frame = number // clip.step
            if frame in shown:
                sheet.append(_drawn(image, SMALL, who, frame, f"{seconds:.2f} s"))
            if overlay:
                large = _drawn(image, LARGE, who, frame)
                writer = writer or cv2.VideoWriter(
                    str(film), cv2.VideoWriter.fourcc(*_CODEC), clip.fps / clip.step, large.shape[1::-1]
                )
                writer.write(large[..., ::-1])
                written += 1
            if frame == frames[-1]:
                break
    _, jpeg = cv2.imencode(".jpg", _side_by_side(sheet)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    jpg = path.with_name(f"{path.name}.jpg")
    with naming(jpg):
        jpg.write_bytes(jpeg.tobytes())
    if writer:
        writer.release()
        if cv2.VideoCapture(str(film), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT) != written:  # the writer raises nothing
            raise OSError(errno.EIO, "The clip with the skeleton is incomplete; is the disk full?", str(film))


def _side_by_side(images: list[np.ndarray]) -> np.ndarray:
    """Many images of one size in rows, as one image, black where there are none."""
    across = min(ACROSS, len(images))
    images = images + [np.zeros_like(images[0])] * (-len(images) % across)
    return np.concatenate([np.concatenate(images[i : i + across], axis=1) for i in range(0, len(images), across)])


def _drawn(image: np.ndarray, longest: int, who: Followed, frame: int, label: str = "") -> np.ndarray:
    """The image [H, W, 3], scaled down to a longest side, with skeletons: thick for the person followed, thin for the others."""
    cv2 = opencv()
    scale = min(1.0, longest / max(image.shape[:2]))
    width, height = (2 * math.ceil(side * scale / 2) for side in image.shape[1::-1])  # clips have even sides
    image = np.ascontiguousarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
    thin = max(1, round(max(width, height) / 640))
    here = range(*np.searchsorted(who.frame, [frame, frame + 1]))
    for row in sorted(here, key=lambda row: row in who.rows):  # the person followed is drawn last, over the others
        pose, is_followed = who.pose[row] * scale, row in who.rows
        for a, b in BONES:
            if np.isfinite(pose[[a, b]]).all():
                color = (LEFT if b in LEFT_JOINTS else RIGHT if b in RIGHT_JOINTS else MIDDLE) if is_followed else OTHERS
                ends = [tuple(int(v) for v in point.round()) for point in pose[[a, b]]]
                cv2.line(image, *ends, color, (2 + thin) if is_followed else thin, cv2.LINE_AA)
        if who.numbers[row] and np.isfinite(pose[HEAD]).all():
            top = max(int(np.nanmin(pose[:, 1])) - 12 * thin, 16 * thin)
            _write(image, str(who.numbers[row]), (int(pose[HEAD, 0]), top), thin, MIDDLE if is_followed else OTHERS)
    if label:
        _write(image, label, (8 * thin, height - 10 * thin), thin, MIDDLE)
    return image


def _write(image: np.ndarray, text: str, place: tuple[int, int], thin: int, color: tuple[int, int, int]) -> None:
    """Write text with its lower left corner at a place, legible on any background."""
    cv2 = opencv()
    for ink, width in (((0, 0, 0), 4 * thin), (color, thin)):
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7 * thin, ink, width, cv2.LINE_AA)
