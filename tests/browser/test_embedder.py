"""What is dropped on a page is read, normalized and compared with the enrolled there as Python does it with the same files."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from gaitlib.data.dataset import Walk, write_dataset
from gaitlib.data.preprocess import normalize
from gaitlib.data.walkers import make_walkers
from gaitlib.display.embedder import MODULE, embedder_weights, enrolled_people, layouts
from gaitlib.evaluation.identification import Identifier, Strangers, describe
from gaitlib.model.checkpoint import load_model
from gaitlib.poses.export import coco
from gaitlib.poses.formats.tables import CONFIDENCES, POSITIONS
from gaitlib.poses.reading import read
from gaitlib.skeleton import BODY_25, HEAD, MEDIAPIPE33, NECK, NUM_JOINTS, RIGHT_ANKLE, RIGHT_SHOULDER, RIGHT_WRIST

#: What packing the weights costs, as a share of the vector's length.
TOLERANCE = 1e-3
ASK = """(files) => {
  const start = performance.now();
  try {
    const vector = window.vectorOf(window.readWalk(files, window.layouts));
    return { vector: [...vector], scores: window.scoresOf(vector, window.people), ms: performance.now() - start };
  } catch (error) {
    return { error: error.message };
  }
}"""


@pytest.fixture(scope="module")
def model():
    return load_model("pretrained")[0]


@pytest.fixture(scope="module")
def identifier(model, tmp_path_factory):
    """Six enrolled walkers."""
    walks = (walk for walk in make_walkers(6, seed=8) if walk.condition == "nm" and walk.run < 3 and walk.view in ("054", "090"))
    known = normalize(write_dataset(tmp_path_factory.mktemp("known") / "known", walks, name="known"))
    return Identifier(model.discriminants, describe(model, known))


@pytest.fixture
def page(offline, model, identifier):
    """page(): a page with the network of the model that comes along and the enrolled people."""

    def opened():
        people = enrolled_people(identifier, Strangers(10.0, 15.0, 6), far=0.01)
        content = {"weights": embedder_weights(model, identifier), "people": people, "layouts": layouts()}
        payload = json.dumps(content, allow_nan=False)
        assert len(payload) < 5e6
        ready = """
            const content = JSON.parse(document.querySelector("script").textContent);
            Object.assign(window, content, { readWalk, scoresOf, vectorOf: readEmbedder(content.weights) });
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


def in_python(files, format, model, identifier, tmp_path):
    """The vector [D] of the one walk in these files."""
    folder = tmp_path / format / "001"
    folder.mkdir(parents=True)
    for name, text in files:
        (folder / name).write_text(text, "utf-8")
    left_out = []
    source = folder.parent if format == "openpose" else folder / files[0][0]
    walks = [replace(walk, view="somewhere") for walk in read(source, format, left_out=left_out, subject="asked")]
    assert (len(walks), left_out) == (1, [])
    walks = normalize(write_dataset(tmp_path / "data", walks, name="dropped"))
    return identifier.vectors(describe(model, walks))[0]


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


def test_dropped_walks_are_compared_as_in_python(page, poses, model, identifier, tmp_path):
    assert len(poses["short"]) < model.window < len(poses["toward"]) < len(poses["long"])
    shown, times = page(), {}
    for number, (case, (format, make, which)) in enumerate(CASES.items()):
        files = make(poses[which])
        found = shown.evaluate(ASK, [{"name": name, "text": text} for name, text in files])
        assert "error" not in found, (case, found)
        expected = in_python(files, format, model, identifier, tmp_path / str(number))
        assert np.linalg.norm(found["vector"] - expected) < TOLERANCE * np.linalg.norm(expected), case
        scores = dict(zip(identifier.people.tolist(), identifier.scores(expected[None])[0].tolist(), strict=True))
        assert {entry["name"]: entry["score"] for entry in found["scores"]} == pytest.approx(scores, abs=0.3), case
        assert found["scores"][0]["name"] == max(scores, key=scores.get)
        times[f"{which} ({len(poses[which])} frames)"] = round(found["ms"])
    print(f"read and compared in the page, ms: {times}")


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
        'a.csv holds "left", which is not a number.': [("a.csv", text.replace(lines[3].split(",")[2], "left"))],
        "a.csv holds frame 40 twice.": [("a.csv", f"{text}\n{lines[-1]}")],
        "a.csv has only 9 frames, and at least 16 are needed.": [("a.csv", "\n".join(lines[:10]))],
        "a.csv is one of several files; choose one, or all frames of OpenPose.": [("a.csv", text), ("b.csv", text)],
        "a.json is neither a table (.csv) nor JSON, or it is damaged.": [("a.json", people[:-9])],
        "a.json holds poses in no format that this page reads.": [("a.json", '{"hello": 1}')],
        "a.json has more than one person in a frame; follow one with `gaitlib prepare`.": [("a.json", json.dumps(two))],
        "a.json has 3 keypoints a person, which is not a known layout.": [("a.json", unknown)],
        "a.json shows nobody in any frame.": [("a.json", "[null, null]")],
        f"b.json is a frame of OpenPose, but {frames[3][0]} is not; choose files of one kind.":
            [("b.json", frames[0][1]), (frames[3][0], people)],
        f"{frames[7][0]} has 25 keypoints and not the shape of BODY_25; read it with `gaitlib prepare`.":
            sorted(openpose(moved), key=lambda file: file[0] != frames[7][0]),
    }  # fmt: skip
    no_neck = poses["short"].copy()
    no_neck[:, [NECK, RIGHT_SHOULDER]] = np.nan
    wrong["walk.csv has no frame with the neck, without which the size is unknown."] = table(no_neck)
    shown = page()
    for sentence, files in wrong.items():
        found = shown.evaluate(ASK, [{"name": name, "text": text} for name, text in files])
        assert found.get("error") == sentence
