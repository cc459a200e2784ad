"""Faults are put into walks one by one, and the inspection must find each, name it, and find nothing else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gaitlib import InputError
from gaitlib.data.dataset import COLUMNS, GaitDataset, write_dataset
from gaitlib.data.protocol import Protocol
from gaitlib.data.walkers import make_walkers
from gaitlib.poses import inspect as module
from gaitlib.poses.inspect import KINDS, inspect
from gaitlib.skeleton import JOINTS, MIRROR, NUM_JOINTS


def dataset_of(walks):
    start = np.cumsum([0, *(len(w.pose) for w in walks)])
    rows = [[getattr(w, c, None) for c in COLUMNS] for w in walks]
    for row, first, last in zip(rows, start[:-1], start[1:], strict=True):
        row[COLUMNS.index("start")], row[COLUMNS.index("frames")] = first, last - first
    index = pd.DataFrame(rows, columns=COLUMNS)
    return GaitDataset(index, np.concatenate([w.pose for w in walks]), np.concatenate([w.confidence for w in walks]))


@pytest.fixture(scope="module")
def people():
    """Five people without faults, from three sides."""
    walks = list(make_walkers(5, 1, views=(0, 90, 144), faults=False))
    return [replace(walk, source=f"{walk.sequence}.json") for walk in walks]


def changed(walks, sequence, change):
    """The walks, one of them put through `change`."""
    return [change(w) if w.sequence == sequence else w for w in walks]


def posed(change):
    def apply(walk):
        pose = walk.pose.copy()
        found = change(pose)
        pose = pose if found is None else found
        return replace(walk, pose=pose, confidence=np.ones(pose.shape[:2], np.float32))

    return apply


def test_good_walks_have_no_findings(people):
    found = inspect(dataset_of(people))
    assert found.warnings == []
    assert len(found.findings) == 0
    assert (found.missing.to_numpy() == 0).all()
    assert list(found.missing.index) == ["000", "090", "144"]


def test_tables_count_by_hand(people):
    without = [w for w in people if not (w.subject == "003" and w.condition == "bg" and w.view == "090")]
    found = inspect(dataset_of(without))
    assert found.counts.shape == (5, 3 * 3)
    assert found.counts.loc["003", ("bg", "090")] == 0
    assert found.counts.loc["003", ("bg", "000")] == 2
    assert found.counts.to_numpy().sum() == len(found.walks) == 5 * 30 - 2
    assert found.lengths.loc["nm", "walks"] == 5 * 18
    assert found.lengths.loc["bg", "shortest"] == min(len(w.pose) for w in without if w.condition == "bg")
    assert found.findings["sequence"].tolist() == ["003-bg-01-090", "003-bg-02-090"]


def test_views_without_leading_zeros_are_in_order(people):
    walks = [replace(w, view=str(int(w.view))) for w in people]
    walks += [replace(w, view="18") for w in walks if w.view == "0"]
    found = inspect(dataset_of([w for w in walks if w.subject != "003" or w.condition != "bg" or w.run == 2]))
    assert list(found.missing.index) == list(found.counts["nm"]) == ["0", "18", "90", "144"]
    absent = found.findings.query("kind == 'absent'")["sequence"].tolist()
    assert absent == ["003-bg-01-0", "003-bg-01-18", "003-bg-01-90", "003-bg-01-144"]


def test_missing_joints_are_shares_of_frames(people):
    def hole(pose):
        pose[:10, JOINTS.index("left_wrist"), 1] = np.inf  # half a joint is none

    found = inspect(dataset_of(changed(people, "002-nm-03-090", posed(hole))))
    frames = sum(len(w.pose) for w in people if w.view == "090")
    assert found.missing.loc["090", "left_wrist"] == pytest.approx(10 / frames)
    assert (found.missing.to_numpy() > 0).sum() == 1


def upside_down(pose):
    pose[..., 1] *= -1


def frozen(pose):
    pose[30:45] = pose[29]


def away(pose):
    pose[40:] += 300


def mirrored(pose):
    return pose[:, MIRROR]


def flipping(pose):
    for first in range(5, 70, 8):
        pose[first : first + 3] = pose[first : first + 3, MIRROR]


def on_one_point(pose):
    pose[:] = 0


def on_another_point(pose):
    pose[20:26, :9] = [0.1, 640.3]
    pose[20:26, 9:] = np.nan


def without_wrist(pose):
    pose[:, JOINTS.index("right_wrist")] = np.nan


def mostly_gone(pose):
    pose[5:, :8] = np.nan


@pytest.mark.parametrize(
    ("sequence", "change", "kind", "words"),
    [
        ("002-nm-03-090", upside_down, "upside down", "the neck is -1"),
        ("002-nm-03-090", frozen, "frozen", "15 of"),
        ("002-nm-03-090", lambda pose: np.concatenate([pose, pose[:20]]), "looped", "20 of"),
        ("002-nm-03-090", lambda pose: pose[:50], "short", "50 frames"),
        ("002-nm-03-090", away, "jumps", "jumps: 1"),
        ("002-nm-03-000", mirrored, "mirrored", "right is"),
        ("002-nm-03-000", flipping, "flips", "swaps:"),
        ("002-nm-03-090", on_one_point, "one point", "in "),
        ("002-nm-03-090", on_another_point, "one point", "in 6 of"),
        ("002-nm-03-144", without_wrist, "lost joint", "no right wrist"),
        ("002-nm-03-144", mostly_gone, "mostly missing", "of the joints are missing"),
    ],
)
def test_a_fault_is_found_and_nothing_else(people, sequence, change, kind, words):
    found = inspect(dataset_of(changed(people, sequence, posed(change))))
    rows = found.findings[found.findings["sequence"] == sequence]
    assert kind in set(rows["kind"])
    assert set(found.findings["sequence"]) == {sequence}
    assert words in rows.loc[rows["kind"] == kind, "detail"].iat[0]
    said = [w for w in found.warnings if w.startswith(KINDS[kind][0].format(window=64))]
    assert len(said) == 1
    assert f"{sequence}.json" in said[0]
    assert said[0].endswith(KINDS[kind][1])


def test_copies_between_walks_are_found(people):
    original = people[4]
    walks = changed(
        people, "004-bg-01-000", lambda w: replace(w, pose=original.pose[10:80], confidence=original.confidence[10:80])
    )
    found = inspect(dataset_of(walks)).findings.query("kind == 'copies'")
    assert found["sequence"].tolist() == ["004-bg-01-000"]
    assert found["detail"].tolist() == [f"70 of 70 frames also occur in {original.sequence}"]


def test_what_each_of_several_copies_shares_is_counted(people):
    walks, frames = people, {"004-bg-01-000": 70, "005-bg-01-000": 65, "005-bg-01-090": 60}
    for original, (sequence, count) in zip(people[4:], frames.items(), strict=False):
        pose, sure = original.pose[:count], original.confidence[:count]
        walks = changed(walks, sequence, lambda w, pose=pose, sure=sure: replace(w, pose=pose, confidence=sure))
    copied = inspect(dataset_of(walks)).walks.set_index("sequence")["copied"]
    assert copied[list(frames)].to_dict() == frames
    assert copied.sum() == 2 * sum(frames.values())


def test_empty_and_still_frames_are_no_copies_of_each_other(people):
    walks = people
    for sequence in ("002-nm-03-090", "003-nm-03-090"):
        walks = changed(walks, sequence, posed(lambda pose: pose.__setitem__(slice(0, 8), np.nan)))
    assert len(inspect(dataset_of(walks)).findings) == 0


@pytest.mark.parametrize("unit", [1, 0.01])  # pixels, or meters, say
def test_copies_are_found_wherever_and_whenever_they_are(people, unit):
    """A copy is moved by a frame and three pixels, lacks joints where the original does, and has another size."""
    original, other = (replace(w, pose=w.pose * np.float32(unit)) for w in (people[4], people[5]))
    original.pose[30:40, 3] = np.nan
    for copy in (original.pose[1:] + np.float32(3), original.pose[1:] * np.float32(1.7)):
        copied = replace(original, pose=copy, confidence=original.confidence[1:], subject="2", recording="", source="copy.json")
        found = inspect(dataset_of([original, other, copied]))
        (row,) = found.findings.query("kind == 'copies'").itertuples()
        assert (row.sequence, row.source) == (copied.sequence, "copy.json")
        first, second, third = found.walks["copied"]
        assert 0.97 * len(copy) < first == third <= len(copy)
        assert second == 0


def test_people_without_a_pose_are_no_copies_of_each_other(people):
    zeros = [posed(on_one_point)(w) for w in people[:2]]
    found = inspect(dataset_of([*zeros, *people[2:]])).findings
    assert found["kind"].value_counts()["one point"] == 2
    assert not {"copies", "frozen"} & set(found["kind"])


@pytest.mark.parametrize("file", ["poses.npy", "confidence.npy"])
def test_frames_that_are_not_those_that_were_written_are_found(people, tmp_path, file):
    dataset = write_dataset(tmp_path / "set", people, name="five")
    assert len(inspect(dataset).findings) == 0
    array = np.load(tmp_path / "set" / file, mmap_mode="r+")
    array[1000, 7] += 0.25
    array.flush()
    for changed in (GaitDataset.open(tmp_path / "set"), dataset.select(view="090")):
        found = inspect(changed)
        assert found.findings["kind"].tolist() == ["changed"]
        assert found.warnings[0].startswith("Data sets whose frames changed after they were written, 1: five (")


def test_names_and_frame_rates(people):
    walks = changed(people, "002-nm-03-090", lambda w: replace(w, fps=30.0))
    walks = changed(walks, "002-nm-04-090", lambda w: replace(w, fps=0.0))
    other = posed(upside_down)(people[0])
    walks += [replace(other, subject="5", condition="NM ", recording="other")]
    findings = inspect(dataset_of(walks)).findings
    assert findings.query("kind == 'fps'")["sequence"].tolist() == ["002-nm-03-090", "002-nm-04-090"]
    assert findings.query("kind == 'alike'")["sequence"].tolist() == ["005 5", "'NM ' nm"]
    assert findings.query("kind == 'one recording'")["sequence"].tolist() == ["5"]


def test_a_protocol_names_who_is_in_no_part_of_it(people):
    chosen = Protocol("p", "1-4", ["005"], 2, {"condition": "nm", "run": "1-4"}, {"BG": {"condition": "bg"}})
    walks = [w for w in people if w.subject != "004" or w.condition == "bg"]  # 004 trains all the same
    walks += [replace(people[0], subject="bob")]
    found = inspect(dataset_of(walks), protocol=chosen).findings.query("kind == 'protocol'")
    assert found["sequence"].tolist() == ["bob"]
    assert found["detail"].tolist() == ["this person is not in the protocol"]


def test_a_protocol_names_who_has_no_gallery(people):
    chosen = Protocol("small", "1-4", "5-", 2, {"condition": "nm", "run": "1-4"}, {"BG": {"condition": "bg"}})
    assert len(inspect(dataset_of(people), protocol=chosen).findings) == 0
    walks = [w for w in people if not (w.subject == "002" and w.condition == "bg")]
    details = inspect(dataset_of(walks), protocol=chosen).findings.query("kind == 'protocol'")["detail"]
    assert details.tolist() == ["validation person 002 has no BG walk"]
    other = replace(chosen, train="1-9", test="10-")
    assert "not include 006" in inspect(dataset_of(people), protocol=other).warnings[-1]


def test_simulated_faults_are_not_to_be_repaired(people):
    walks = changed(people, "002-nm-03-000", posed(flipping))
    simulated = [replace(walk, source="walkers seed 0") for walk in walks]
    (flips,) = (warning for warning in inspect(dataset_of(simulated)).warnings if "swap repeatedly" in warning)
    assert flips.endswith("They are simulated, with the faults of a pose estimator.")
    (flips,) = (warning for warning in inspect(dataset_of(walks)).warnings if "swap repeatedly" in warning)
    assert flips.endswith("Prepare them again with --repair flips.")


def test_chunks_and_selections_see_the_same(people, monkeypatch):
    dataset = dataset_of(changed(people, "002-nm-03-090", posed(away)))
    whole = inspect(dataset)
    monkeypatch.setattr(module, "CHUNK", 700)
    parts = inspect(dataset)
    pd.testing.assert_frame_equal(parts.walks, whole.walks)
    pd.testing.assert_frame_equal(parts.findings, whole.findings)
    chosen = inspect(dataset.select(view="090"))
    same = whole.walks[whole.walks["view"] == "090"].reset_index(drop=True)
    columns = ["sequence", "missing", "frozen", "looped", "jumps", "flips", "upright", "facing"]
    pd.testing.assert_frame_equal(chosen.walks[columns], same[columns])


@pytest.mark.filterwarnings("error")
def test_walks_without_sense_are_inspected_too():
    rng = np.random.default_rng(0)
    values = np.array([0, 1, 1e9, -1e30, np.nan, np.inf], np.float32)
    walk = next(iter(make_walkers(1, 0, views=[0])))
    walks = [
        replace(walk, pose=p, confidence=np.ones(p.shape[:2], np.float32), run=k, recording=str(k))
        for k, p in enumerate([
            rng.choice(values, (16, NUM_JOINTS, 2)), np.zeros((20, NUM_JOINTS, 2), np.float32),
            np.full((17, NUM_JOINTS, 2), np.nan, np.float32), np.ones((1, NUM_JOINTS, 2), np.float32),
        ])
    ]  # fmt: skip
    found = inspect(dataset_of(walks))
    assert len(found.walks) == 4
    assert found.warnings


def test_nothing_to_inspect():
    with pytest.raises(InputError, match="no walks"):
        inspect(GaitDataset(pd.DataFrame(columns=COLUMNS), np.zeros((0, 15, 2)), np.zeros((0, 15))))
