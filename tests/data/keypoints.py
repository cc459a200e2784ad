"""Synthetic walkers as the files that pose estimators write, for tests."""

import json

import numpy as np

from gaitlib.data.walkers import make_walkers
from gaitlib.skeleton import JOINTS, LAYOUTS


def walks(count=3):
    """The first walks of one synthetic person, in pixels."""
    return [w for _, w in zip(range(count), make_walkers(1, 0), strict=False)]


def keypoints_of(pose, layout):
    """Foreign keypoints [T, K, 3] that map to our joints; those without one of ours lie near the nose or an ankle."""
    layout = LAYOUTS[layout]
    keypoints = np.full((len(pose), len(layout.names), 3), 0.9)
    for k, name in enumerate(layout.names):
        low = any(part in name.lower() for part in ("toe", "heel", "foot"))
        keypoints[:, k, :2] = pose[:, JOINTS.index("right_ankle") if low else 0] + [3, 4 if low else -4]
    for joint, sources in enumerate(layout.sources):
        if len(sources) == 1:
            keypoints[:, sources[0], :2] = pose[:, joint]
    return keypoints


def expected(pose, layout):
    """The 15 joints that come back: midpoints where the layout has them."""
    return LAYOUTS[layout].to_joints(keypoints_of(pose, layout)[..., :2])


def write_openpose(folder, keypoints, prefix="", others=()):
    folder.mkdir(parents=True, exist_ok=True)
    for t, points in enumerate(keypoints):
        people = [{"person_id": [-1], "pose_keypoints_2d": p.ravel().tolist()} for p in [*(o[t] for o in others), points]]
        (folder / f"{prefix}{t:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": people}))


def entries(keypoints, others=(), first=0, box=True):
    more = {"box": [0.0, 0.0, 1.0, 1.0], "idx": [0.0]} if box else {}
    return [
        {"image_id": f"{first + t}.jpg", "category_id": 1, "keypoints": p.ravel().tolist(), "score": 2.5, **more}
        for t in range(len(keypoints))
        for p in [*(o[t] for o in others), keypoints[t]]
    ]


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
