"""The walkers move as published gait does, are who they are by seed and number alone, and differ as told."""

from itertools import pairwise

import numpy as np
import pytest

from gaitlib import InputError
from gaitlib.data.dataset import write_dataset
from gaitlib.data.walkers import (
    ANGLES,
    CENTER,
    HIPS,
    RECORDINGS,
    WRISTS,
    Camera,
    Variation,
    make_walkers,
    perform,
    see,
)
from gaitlib.skeleton import BONES, HEAD, LEFT_ANKLE, MID_HIP, MIRROR, NECK, RIGHT_ANKLE

HIP, KNEE, SHOULDER = (ANGLES.index(name) for name in ("hip", "knee", "shoulder"))
PEOPLE = 40


@pytest.fixture(scope="module")
def people():
    """The six normal walks of forty persons."""
    return [[r for r in perform(n, seed=0) if r.condition == "nm"] for n in range(1, PEOPLE + 1)]


@pytest.fixture(scope="module")
def two_people():
    return list(make_walkers(2, seed=5))


def each_person(people, measure):
    """Mean over the recordings of each person."""
    return np.array([np.mean([measure(r) for r in recordings]) for recordings in people])


def stride(recording):
    way = np.linalg.norm(recording.joints[-1, MID_HIP, :2] - recording.joints[0, MID_HIP, :2])
    cycles = recording.cadence / 120 * (len(recording.joints) - 1) / 25
    return way / cycles


def reach(recording, angle):
    """Range of the right side's angle within a stride, mean over all of the recording's windows of a stride."""
    stride = round(120 / recording.cadence * 25)
    windows = np.lib.stride_tricks.sliding_window_view(recording.angles[:, 0, angle], stride)
    return np.ptp(windows, axis=-1).mean()


# Mean and standard deviation in the literature, rounded; see the top of walkers.py. Kadaba et al. (1990): cadence,
# stride over stature (1.41 m at about 1.77 m, 1.30 m at 1.63 m), sagittal range of hip (about 43) and knee (about 57).
# Murray et al. (1967): the arm's 32; its spread of 10 is ours.
@pytest.mark.parametrize(
    ("name", "measure", "mean", "sd"),
    [
        ("cadence", lambda r: r.cadence, 113.5, 9),
        ("stride / stature", lambda r: stride(r) / r.stature, 0.80, 0.07),
        ("hip range", lambda r: reach(r, HIP), 43, 5),
        ("knee range", lambda r: reach(r, KNEE), 57, 6),
        ("shoulder range", lambda r: reach(r, SHOULDER), 32, 10),
    ],
)
def test_gait_is_within_two_standard_deviations_of_the_tables(people, name, measure, mean, sd):
    values = each_person(people, measure)
    assert abs(values.mean() - mean) < sd, name  # the population
    assert (abs(values - mean) < 2 * sd).mean() > 0.9, name  # nearly every person, as 2 standard deviations say
    assert (abs(values - mean) < 3.5 * sd).all(), name


def test_pelvis_bobs_and_sways_by_a_few_centimeters(people):
    bob = each_person(people, lambda r: np.ptp(r.joints[:, MID_HIP, 2]))
    assert 0.025 < bob.mean() < 0.055
    assert bob.max() < 0.08

    def sway(recording):
        y, t = recording.joints[:, MID_HIP, 1], np.arange(len(recording.joints))
        return np.ptp(y - np.polyval(np.polyfit(t, y, 1), t))

    assert 0.02 < each_person(people, sway).mean() < 0.06


def test_knees_and_elbows_never_bend_backwards(people):
    for recordings in people:
        for r in recordings:
            assert r.angles[:, :, [KNEE, ANGLES.index("elbow")]].min() > 0


def test_bones_keep_their_length(people):
    for r in people[0]:
        for a, b in BONES:
            length = np.linalg.norm(r.joints[:, a] - r.joints[:, b], axis=-1)
            assert np.ptp(length) < 1e-9, (a, b)


def test_the_mid_hip_is_between_the_hips(people):
    joints = people[0][0].joints
    np.testing.assert_allclose(joints[:, HIPS].mean(axis=1), joints[:, MID_HIP], atol=1e-12)


def test_a_foot_is_always_on_the_ground_and_sinks_by_a_centimeter_at_most(people):
    lowest = np.concatenate([r.soles[..., 2].min(axis=1) for recordings in people for r in recordings])
    assert lowest.min() > -0.012
    assert lowest.max() < 0.02


def test_what_stands_hardly_slides(people):
    slid = []
    for recordings in people:
        for r in recordings:
            ball = r.soles[:, 1]
            standing = (r.soles[:, [0, 1], 2].max(axis=1) < 0.02)[:-1]  # the right foot, flat
            slid.append(np.linalg.norm(np.diff(ball[:, :2], axis=0), axis=-1)[standing] * 25)
    assert np.concatenate(slid).mean() < 0.25  # m/s, where the body passes by at 1.3


def test_left_is_half_a_cycle_behind_right_and_arms_swing_against_legs(people):
    def lag(a, b, period):
        """Shift of b against a with the highest correlation, in cycles, 0..1."""
        shifts = range(round(period))
        score = [np.corrcoef(a[: len(a) - s], b[s:])[0, 1] for s in shifts]
        return int(np.argmax(score)) / period

    for recordings in people:
        r = recordings[0]
        period = 120 / r.cadence * 25
        assert abs(lag(r.angles[:, 0, HIP], r.angles[:, 1, HIP], period) - 0.5) < 0.1
        arm, leg = (r.joints[:, k, 0] - r.joints[:, MID_HIP, 0] for k in (WRISTS[0], RIGHT_ANKLE))
        assert np.corrcoef(arm, leg)[0, 1] < -0.3


def test_cameras_see_the_person_come_pass_to_the_left_and_go():
    recording = perform(1, seed=0)[0]

    def size(pose):
        return np.linalg.norm(pose[:, NECK] - pose[:, MID_HIP], axis=-1)

    front, side, back = (see(recording.joints, view) for view in (0, 90, 180))
    assert size(front)[-1] > 1.3 * size(front)[0]  # comes nearer
    assert size(back)[-1] < size(back)[0] / 1.3
    assert side[-1, MID_HIP, 0] < side[0, MID_HIP, 0] - 150  # to the left
    assert (side[:, HEAD, 0] < side[:, NECK, 0]).mean() > 0.9  # and looks where it goes
    assert (front[:, HIPS[0], 0] < front[:, HIPS[1], 0]).all()  # the right hip is on the left of the image
    assert (back[:, HIPS[0], 0] > back[:, HIPS[1], 0]).all()
    assert (front[:, HEAD, 1] < front[:, NECK, 1]).all()  # y down


def test_a_camera_projects_as_worked_by_hand():
    # 1 m to the walker's left and 1.3 m high, seen from the front, 7 m away: 460 / 7 pixels to the right of the center
    np.testing.assert_allclose(see(np.array([0, 1, 1.3]), 0), [200 + 460 / 7, 110])
    # 1 m ahead on the ground, seen from the left side: to the left, and 1.3 m below the lens
    np.testing.assert_allclose(see(np.array([1, 0, 0.0]), 90), [200 - 460 / 7, 110 + 460 * 1.3 / 7])


def test_layout_is_that_of_casia_b(two_people):
    assert len(two_people) == 220
    assert len({w.sequence for w in two_people}) == 220
    assert {w.subject for w in two_people} == {"001", "002"}
    assert {w.view for w in two_people} == {f"{v:03d}" for v in range(0, 181, 18)}
    assert {(w.condition, w.run) for w in two_people} == set(RECORDINGS)
    assert all(75 <= len(w.pose) <= 105 for w in two_people)
    assert two_people[0].pose.dtype == two_people[0].confidence.dtype == np.float32


def test_views_of_a_recording_are_synchronous():
    """Two cameras at right angles give the walker's place on the ground; the third camera must agree with it."""
    walks = {w.view: w.pose.astype(float) for w in make_walkers(1, 3, views=[0, 54, 90], faults=False) if w.run == 1}
    assert len({len(p) for p in walks.values()}) == 1
    # a camera's equations, u * depth = f * right and v * depth = f * (z - h), are linear in x, y and z
    rows, values = [], []
    for view in ("000", "090"):
        a = np.radians(int(view))
        u, v = walks[view][40, :, 0] - 200, 110 - walks[view][40, :, 1]
        rows += [np.stack([-u * np.cos(a) + 460 * np.sin(a), -u * np.sin(a) - 460 * np.cos(a), 0 * u], -1)]
        rows += [np.stack([-v * np.cos(a), -v * np.sin(a), 0 * v - 460], -1)]
        values += [-7 * u, -7 * v - 460 * 1.3]
    points = np.stack([np.linalg.lstsq(np.stack(rows)[:, j], np.stack(values)[:, j])[0] for j in range(15)])
    np.testing.assert_allclose(see(points, 54), walks["054"][40], atol=0.01)


def same(a, b):
    return (
        a.sequence == b.sequence and np.array_equal(a.pose, b.pose, equal_nan=True) and np.array_equal(a.confidence, b.confidence)
    )


def test_same_seed_same_people_and_other_seed_others(two_people):
    again = list(make_walkers(2, seed=5))
    assert all(same(a, b) for a, b in zip(two_people, again, strict=True))
    other = next(iter(make_walkers(1, seed=6)))
    assert not same(two_people[0], other)


def test_a_person_is_the_same_in_any_company_and_any_choice_of_views(two_people):
    alone = list(make_walkers(1, seed=5, first_subject=2, views=[90, 18]))
    company = {w.sequence: w for w in two_people}
    assert len(alone) == 20
    assert all(same(w, company[w.sequence]) for w in alone)


def test_faults_are_all_that_faults_change(two_people):
    """Without faults: the true pose. With them: near it, missing here and there, less sure where wrong."""
    clean = list(make_walkers(2, seed=5, faults=False))
    truth = [see(r.joints, 0) for n in (1, 2) for r in perform(n, seed=5)]
    for walk, pose in zip([w for w in clean if w.view == "000"], truth, strict=True):
        np.testing.assert_allclose(walk.pose, pose, atol=1e-3)
        assert (walk.confidence == 1).all()
    off, sure, missing = [], [], []
    for a, b in zip(clean, two_people, strict=True):
        assert a.sequence == b.sequence
        assert len(a.pose) == len(b.pose)
        trunk = np.linalg.norm(a.pose[:, NECK] - a.pose[:, MID_HIP], axis=-1)[:, None]
        off.append((np.linalg.norm(a.pose - b.pose, axis=-1) / trunk).ravel())
        sure.append(b.confidence.ravel())
        missing.append(np.isnan(b.pose).any(axis=-1).ravel())
    off, sure, missing = map(np.concatenate, (off, sure, missing))
    assert np.nanmedian(off) < 0.08  # of the trunk's length: about 4 cm
    assert 0.003 < missing.mean() < 0.05
    assert (sure[missing] == 0).all()
    assert (sure[~missing] >= 0.05).all()
    assert np.corrcoef(off[~missing], sure[~missing])[0, 1] < -0.4
    nothing = list(make_walkers(1, seed=5, views=[90], variation=Variation(faults=0)))
    right = [w for w in clean if w.view == "090"][: len(nothing)]
    assert all(np.allclose(a.pose, b.pose, atol=1e-4) for a, b in zip(nothing, right, strict=True))


def test_far_joints_are_worse_seen_than_near_ones_from_the_side(two_people):
    side = np.concatenate([w.confidence for w in two_people if w.view == "090"])
    front = np.concatenate([w.confidence for w in two_people if w.view == "000"])
    assert side[:, RIGHT_ANKLE].mean() < side[:, LEFT_ANKLE].mean() - 0.03
    assert side[:, WRISTS[0]].mean() < side[:, WRISTS[1]].mean() - 0.1
    assert abs(front[:, RIGHT_ANKLE].mean() - front[:, LEFT_ANKLE].mean()) < 0.02


def test_bag_holds_an_arm_and_coat_stills_both(people):
    swing = {"nm": [], "bg": [], "cl": []}
    for n in range(1, 21):
        for r in perform(n, seed=0):
            swing[r.condition].append(np.sort(np.ptp(r.angles[:, :, SHOULDER], axis=0)))
    swing = {c: np.mean(v, axis=0) for c, v in swing.items()}  # the stiller arm, the other
    assert swing["bg"][0] < 0.7 * swing["nm"][0]
    assert swing["bg"][1] > 0.8 * swing["nm"][1]
    assert (swing["cl"] < 0.8 * swing["nm"]).all()


def test_variation_turns_differences_off():
    def bones(recording):
        return np.array([np.linalg.norm(recording.joints[0, a] - recording.joints[0, b]) for a, b in BONES])

    one, two = (perform(n, 0, variation=Variation(body=0))[0] for n in (1, 2))
    np.testing.assert_allclose(bones(one), bones(two))
    assert not np.isclose(one.cadence, two.cadence)
    one, two = (perform(n, 0, variation=Variation(motion=0, run=0))[0] for n in (1, 2))
    assert not np.allclose(bones(one), bones(two))
    assert np.isclose(one.cadence, two.cadence)
    np.testing.assert_allclose(np.ptp(one.angles, axis=0), np.ptp(two.angles, axis=0), rtol=0.05)
    runs = [r.cadence for r in perform(1, 0, variation=Variation(run=0)) if r.condition == "nm"]
    assert all(np.isclose(a, b) for a, b in pairwise(runs))


def test_other_frame_rates_show_the_same_gait():
    slow, fast = (perform(1, 0, fps=fps, variation=Variation(run=0))[0] for fps in (25, 50))
    for recording in (slow, fast):
        assert abs(np.ptp(recording.angles[:, 0, KNEE]) - np.ptp(slow.angles[:, 0, KNEE])) < 2
    assert abs(len(fast.joints) / 50 - len(slow.joints) / 25) < 0.2
    assert abs(np.ptp(fast.joints[:, MID_HIP, 2]) - np.ptp(slow.joints[:, MID_HIP, 2])) < 0.01


@pytest.mark.parametrize("wrong", [{"subjects": 0}, {"views": []}, {"views": [0, 0]}, {"views": [400]}, {"fps": 5}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match="give"):
        next(make_walkers(**{"subjects": 1, "seed": 0, **wrong}))


def test_a_camera_that_looks_down_sees_what_rotated_axes_give():
    point, view, tilt = np.array([0.4, -0.7, 1.6]), 30.0, 12.0
    a, t = np.radians([view, tilt])
    lens = np.array([3 * np.cos(a), 3 * np.sin(a), 2.0])
    toward = -np.array([np.cos(a) * np.cos(t), np.sin(a) * np.cos(t), np.sin(t)])
    right = np.array([-np.sin(a), np.cos(a), 0])
    down, away = np.cross(toward, right), point - lens
    assert down[2] < -0.9
    wanted = np.array(CENTER) + 500 * np.array([away @ right, away @ down]) / (away @ toward)
    np.testing.assert_allclose(see(point, view, Camera(distance=3, height=2, tilt=tilt, focal=500)), wanted)


def test_cameras_estimators_and_frame_rates_may_vary():
    def people(**kinds):
        made = {}
        for first in (19, 20, 21):  # the first was seen by another estimator
            walks = list(make_walkers(1, 5, views=[0, 90], faults=False, first_subject=first, variation=Variation(**kinds)))
            made[first] = [walk for walk in walks if (walk.condition, walk.run) == ("nm", 1)]
        return made

    usual, cameras, rates, moved = people(), people(cameras=1.0), people(rates=1.0), people(estimators=1.0)
    assert [w.view for w in usual[20]] == ["000", "090"]
    one, other = (int(w.view) for w in cameras[20])
    assert (other - one) % 360 == 90
    assert one != int(cameras[21][0].view)
    assert rates[20][0].fps == rates[21][0].fps != rates[19][0].fps
    assert 15 < rates[20][0].fps < 42
    assert len(rates[20][0].pose) / rates[20][0].fps == pytest.approx(len(usual[20][0].pose) / 25, abs=0.1)
    shift = {n: (moved[n][0].pose - usual[n][0].pose).mean(0) for n in usual}  # seen from the front
    apart = {n: np.abs(shift[n] - shift[20]).mean() for n in usual}
    assert apart[19] > 2 * apart[21] > 0
    np.testing.assert_allclose(shift[20][MIRROR] * [-1, 1], shift[20], atol=1.0)  # alike on both sides, pixels


def test_a_data_set_of_walkers_can_be_written_and_nothing_is_left_out(tmp_path, two_people):
    data = write_dataset(tmp_path / "walkers", two_people, name="walkers")
    assert len(data) == 220
    assert data.info["left_out"] == []


def rank1(poses, people, runs):
    """Nearest neighbor by mean and standard deviation of the joints, runs 1-4 against runs 5-6, in percent."""
    features = []
    for pose in poses:
        about_neck = pose - pose[:, [NECK]]
        body = about_neck / np.nanmedian(np.linalg.norm(about_neck[:, MID_HIP], axis=-1))
        features.append(np.concatenate([np.nanmean(body, axis=0).ravel(), np.nanstd(body, axis=0).ravel()]))
    features = np.array(features)
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-9)
    gallery, probe = runs <= 4, runs > 4
    distance = np.linalg.norm(features[probe][:, None] - features[gallery][None], axis=-1)
    return 100 * (people[gallery][distance.argmin(axis=1)] == people[probe]).mean()


def test_body_and_motion_together_tell_people_apart_better_than_either_alone():
    score = {}
    for name, variation in {
        "both": Variation(),
        "body": Variation(motion=0),
        "motion": Variation(body=0),
    }.items():
        some = [w for w in make_walkers(30, 1, views=[54, 126], variation=variation) if w.condition == "nm"]
        score[name] = np.mean(
            [
                rank1(
                    [w.pose for w in some if w.view == view],
                    np.array([w.subject for w in some if w.view == view]),
                    np.array([w.run for w in some if w.view == view]),
                )
                for view in ("054", "126")
            ]
        )
    assert 30 < score["both"] < 95
    assert score["body"] < score["both"] - 10
    assert score["motion"] < score["both"] - 10
    assert min(score["body"], score["motion"]) > 2 * 100 / 30  # and each of them says something
