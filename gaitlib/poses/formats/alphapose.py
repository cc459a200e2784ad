"""AlphaPose's JSON: a list with an entry for each person in each image, or people by image.

H.-S. Fang et al., "AlphaPose: Whole-body regional multi-person pose estimation and tracking in real-time", TPAMI 2022.
"""

from pathlib import Path

from gaitlib.poses.formats import coco
from gaitlib.poses.formats.coco import find, load
from gaitlib.poses.formats.keypoint_files import first_contents

__all__ = ["LAYOUT", "find", "load", "recognize"]

LAYOUT = """\
SOURCE/.../WALK.json                     one walk a file: a list of {"image_id", "category_id", "keypoints", "score",
SOURCE/.../WALK/alphapose-results.json   "box", "idx"}, keypoints [x, y, score, ...] of 17 (COCO), 26 or 136 (Halpe);
SOURCE.json                              or people by image, as --format cmu and open write it (18 keypoints)
                                         images are ordered by their numbers; idx is used where people have been tracked"""


def recognize(source: Path) -> str:
    """Why `source` is this format, or an empty string."""
    for name, content in first_contents(source):
        if coco.is_results(content) and content[0].keys() & {"box", "idx"}:
            return f"{name} is a list with image_id, keypoints and {'box' if 'box' in content[0] else 'idx'}"
        if coco.is_by_image(content):
            return f"{name} lists people by image"
    return ""
