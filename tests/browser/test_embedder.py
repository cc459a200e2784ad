"""What is dropped on a page is read, normalized and embedded there as Python does it with the same files."""

import json
from itertools import islice

import numpy as np
import pytest

from gaitlib.data.dataset import Walk, write_dataset
from gaitlib.data.preprocess import normalize
from gaitlib.data.walkers import make_walkers
from gaitlib.display.embedder import MODULE, embedder_weights, layouts
from gaitlib.evaluation.embedding import adapted, embed_walks
from gaitlib.model.checkpoint import load_model
from gaitlib.poses.export import coco
from gaitlib.poses.formats.tables import CONFIDENCES, POSITIONS
from gaitlib.poses.reading import read
from gaitlib.skeleton import BODY_25, HEAD, MEDIAPIPE33, NECK, NUM_JOINTS, RIGHT_ANKLE, RIGHT_SHOULDER, RIGHT_WRIST

#: What packing the weights costs; numbers of an embedding are about 0.06.
TOLERANCE = 2e-4
EMBED = """(files) => {
  const start = performance.now();
  try {
    return { embedding: [...window.embedWalk(window.readWalk(files, window.layouts))], ms: performance.now() - start };
  } catch (error) {
    return { error: error.message };
  }
}"""


@pytest.fixture(scope="module")
def model():
    return load_model("pretrained")[0]


@pytest.fixture
def page(offline, model):
    """page(**settings): a page with the network of the model that comes along, or of another."""

    def opened(model=model, **settings):
        payload = json.dumps({"weights": embedder_weights(model, **settings), "layouts": layouts()}, allow_nan=False)
        assert len(payload) < 5e6
        ready = """
            const { weights, layouts } = JSON.parse(document.querySelector("script").textContent);
            Object.assign(window, { readWalk, layouts, embedWalk: readEmbedder(weights) });
            document.body.dataset.ready = true;"""
        scripts = f'<script type="application/json">{payload}</script><script type="module">{MODULE}{ready}</script>'
        return offline(f"<p>Drop a walk.</p>{scripts}", shows="[data-ready]")

    return opened


@pytest.fixture(scope="module")
def poses():
    """Poses of walkers, as an estimator finds them, by what is wrong with them: float32 [T, 15, 2], NaN = missing."""
    whole = [walk.pose.copy() for walk in islice(make_walkers(1, seed=3), 0, 60, 13)]
    gaps, short, long, lost, toward = (pose.copy() for pose in whole)
    gaps[0:9, RIGHT_WRIST] = gaps[20:31, NECK] = gaps[40:44] = gaps[50:60, [NECK, RIGHT_SHOULDER]] = np.nan
    lost[:, [HEAD, RIGHT_ANKLE]] = np.nan
    long = np.concatenate([long, long[::-1], long])
    return {"gaps": gaps, "short": short[:41], "long": long, "lost": lost, "toward": toward}


def table(pose, first=0, step=1):
    """Our own table; frames of which nothing is known have no row."""
    rows = [",".join(("path", "frame", *POSITIONS, *CONFIDENCES))]
    for t, joints in enumerate(pose):
        if np.isfinite(joints).any():
            cells = ["" if np.isnan(value) else f"{value:.9g}" for value in (*joints.ravel(), *np.isfinite(joints[:, 0]))]
            rows.append(f"001/nm-01/090,{first + step * t}," + ",".join(cells))
    return [("walk.csv", "\n".join(rows))]


def landmarks(pose, shape="dicts"):
    """MediaPipe's landmarks as shares of an image of 1280 x 720, null where nobody is."""
    points = np.zeros((len(pose), 33, 2))
    for joint, (source, *more) in enumerate(MEDIAPIPE33.sources):
        if not more:
            points[:, source] = pose[:, joint] / (1280, 720)
    seen = np.isfinite(points[..., 0]) & points.any(-1)
    as_list = [[[x, y, -0.1, visibility] for x, y, visibility in frame] for frame in np.dstack([points, seen])]
    as_dict = [[dict(zip(("x", "y", "z", "visibility"), point, strict=True)) for point in frame] for frame in as_list]
    frames = {"dicts": as_dict, "lists": as_list, "people": [{"pose_landmarks": [frame]} for frame in as_dict]}[shape]
    frames = [frame if s.any() else None for frame, s in zip(frames, seen, strict=True)]
    content = {"width": 1280, "height": 720, "frames": frames} if shape == "lists" else frames
    return [("walk.json", json.dumps(content))]


def results(pose, shape="list"):
    """Keypoint results of COCO; the images are every second one."""
    confidence = np.isfinite(pose[..., 0]).astype(np.float32)
    keypoints = coco(Walk(pose, confidence, 25.0, "001", "nm", 1, "090"))
    seen = [(f"{2 * t + 1:04}.jpg", k) for t, k in enumerate(keypoints) if k.any()]
    if shape == "inferencer":
        frames = [
            {"frame_id": int(name[:4]), "instances": [{"keypoints": k[:, :2].tolist(), "keypoint_scores": k[:, 2].tolist()}]}
            for name, k in seen
        ]
        return [("walk.json", json.dumps({"instance_info": frames}))]
    entries = [{"image_id": name, "category_id": 1, "keypoints": k.ravel().tolist(), "score": 1.0} for name, k in seen]
    if shape == "annotations":
        images = [{"id": i, "file_name": name} for i, (name, _) in enumerate(seen)]
        entries = [{**entry, "image_id": i} for i, entry in enumerate(entries)]
        return [("walk.json", json.dumps({"images": images, "annotations": entries}))]
    return [("walk.json", json.dumps(entries))]


def openpose(pose):
    """A file a frame, in no order."""
    points = np.zeros((len(pose), BODY_25.size, 3))
    points[:, :NUM_JOINTS, :2], points[:, :NUM_JOINTS, 2] = np.nan_to_num(pose), np.isfinite(pose[..., 0])
    points[:, [15, 16]] = points[:, [HEAD, HEAD]] + [1, -2, 0]
    frames = [{"people": [{"person_id": [-1], "pose_keypoints_2d": p.ravel().tolist()}] if p.any() else []} for p in points]
    files = [(f"walk_{t:012}_keypoints.json", json.dumps(frame)) for t, frame in enumerate(frames)]
    return [*files[7:], *files[:7]]


def in_python(files, format, model, tmp_path, **settings):
    """The embedding of the one walk in these files."""
    folder = tmp_path / format / "001"
    folder.mkdir(parents=True)
    for name, text in files:
        (folder / name).write_text(text, "utf-8")
    left_out = []
    source = folder.parent if format == "openpose" else folder / files[0][0]
    walks = list(read(source, format, left_out=left_out, pattern="" if format == "csv" else "{subject}"))
    assert (len(walks), left_out) == (1, [])
    return embed_walks(model, normalize(write_dataset(tmp_path / "data", walks, name="dropped")), **settings).values[0]


CASES = {
    "a table": ("csv", table, "gaps"),
    "a table with a joint that is never found": ("csv", table, "lost"),
    "a table of every third frame": ("csv", lambda pose: table(pose, first=7, step=3), "toward"),
    "a short table": ("csv", table, "short"),
    "a long table": ("csv", table, "long"),
    "landmarks": ("mediapipe", landmarks, "gaps"),
    "landmarks as lists": ("mediapipe", lambda pose: landmarks(pose, "lists"), "short"),
    "landmarks of people": ("mediapipe", lambda pose: landmarks(pose, "people"), "long"),
    "keypoint results": ("coco", results, "gaps"),
    "keypoint results with images": ("coco", lambda pose: results(pose, "annotations"), "long"),
    "keypoint results of an inferencer": ("coco", lambda pose: results(pose, "inferencer"), "toward"),
    "frames of OpenPose": ("openpose", openpose, "gaps"),
}


def test_dropped_walks_are_embedded_as_in_python(page, poses, model, tmp_path):
    assert len(poses["short"]) < model.window < len(poses["toward"]) < len(poses["long"])
    shown, times = page(), {}
    for number, (case, (format, make, which)) in enumerate(CASES.items()):
        files = make(poses[which])
        found = shown.evaluate(EMBED, [{"name": name, "text": text} for name, text in files])
        assert "error" not in found, (case, found)
        expected = in_python(files, format, model, tmp_path / str(number))
        assert np.abs(np.array(found["embedding"]) - expected).max() < TOLERANCE, case
        times[f"{which} ({len(poses[which])} frames)"] = round(found["ms"])
    print(f"read and embedded in the page, ms: {times}")


def test_an_adapted_network_without_mirror_images_is_embedded_as_in_python(page, poses, model, tmp_path):
    known = normalize(write_dataset(tmp_path / "known", islice(make_walkers(2, seed=8), 0, 220, 5), name="known"))
    ours, settings = adapted(model, known), {"stride": 11, "mirrored": False}
    files = table(poses["long"])
    found = page(ours, **settings).evaluate(EMBED, [{"name": name, "text": text} for name, text in files])
    expected = in_python(files, "csv", ours, tmp_path, **settings)
    assert np.abs(np.array(found["embedding"]) - expected).max() < TOLERANCE
    assert np.abs(in_python(files, "csv", model, tmp_path / "before", **settings) - expected).max() > 0.01


def test_what_cannot_be_read_is_said_in_one_sentence(page, poses):
    (_, text), (_, people) = table(poses["short"])[0], results(poses["short"])[0]
    lines = text.split("\n")
    two = [*json.loads(people), *json.loads(people)[:1]]
    frames = openpose(poses["short"])
    unknown = json.dumps([{"image_id": str(t), "keypoints": [1.0] * 9} for t in range(20)])
    hip = BODY_25.sources.index((8,))
    moved = poses["short"].copy()
    moved[:, hip] += 1000
    wrong = {
        "a.csv lacks the column frame.": [("a.csv", text.replace("frame", "time"))],
        "a.csv has the column frame twice.": [("a.csv", text.replace("head_confidence", "frame"))],
        "a.csv has a row of 3 fields, not 47.": [("a.csv", f"{text}\n001/nm-01/090,9,1.5")],
        "a.csv holds 2 walks; choose a table of one.": [("a.csv", f"{text}\n{lines[-1].replace('001', '002')}")],
        'a.csv holds "left", which is no number.': [("a.csv", text.replace(lines[3].split(",")[2], "left"))],
        "a.csv holds frame 40 twice.": [("a.csv", f"{text}\n{lines[-1]}")],
        "a.csv has only 9 frames, and at least 16 are needed.": [("a.csv", "\n".join(lines[:10]))],
        "a.csv is one of several files; choose one, or all frames of OpenPose.": [("a.csv", text), ("b.csv", text)],
        "a.json is neither a table (.csv) nor JSON, or it is damaged.": [("a.json", people[:-9])],
        "a.json holds poses in no format that this page reads.": [("a.json", '{"hello": 1}')],
        "a.json has more than one person in a frame; follow one with `gaitlib prepare`.": [("a.json", json.dumps(two))],
        "a.json has 3 keypoints a person, which is no layout that is known.": [("a.json", unknown)],
        "a.json shows nobody in any frame.": [("a.json", "[null, null]")],
        f"b.json is a frame of OpenPose and {frames[3][0]} is none; choose files of one kind.":
            [("b.json", frames[0][1]), (frames[3][0], people)],
        f"{frames[7][0]} has 25 keypoints and not the shape of BODY_25; read it with `gaitlib prepare`.":
            sorted(openpose(moved), key=lambda file: file[0] != frames[7][0]),
    }  # fmt: skip
    no_neck = poses["short"].copy()
    no_neck[:, [NECK, RIGHT_SHOULDER]] = np.nan
    wrong["walk.csv has no frame with the neck, without which the size is unknown."] = table(no_neck)
    shown = page()
    for sentence, files in wrong.items():
        found = shown.evaluate(EMBED, [{"name": name, "text": text} for name, text in files])
        assert found.get("error") == sentence
