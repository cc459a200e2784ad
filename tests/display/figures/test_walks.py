from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from gaitlib import InputError
from gaitlib.display import figures
from gaitlib.display.figures.walks import gait_starts
from gaitlib.evaluation.gait import PARAMETERS, GaitParameters
from gaitlib.skeleton import JOINTS


def test_a_strip_draws_one_of_five_frames(walker, labeled, texts):
    fig = labeled(figures.skeleton_strip({"original": walker(54), "exchanged": walker(0)}))
    bones = [collection for collection in fig.axes[0].collections if isinstance(collection, LineCollection)]
    assert sum(len(collection.get_segments()) for collection in bones) == 2 * 13 * 14
    assert [t.get_text() for t in fig.axes[0].get_xticklabels()][:3] == ["0", "5", "10"]
    assert texts(fig) == ["original", "exchanged"]


def test_a_strip_takes_missing_joints_and_refuses_other_shapes(walker, labeled):
    pose = walker()
    pose[5:20, 4] = np.nan
    labeled(figures.skeleton_strip({"walk": pose}))
    with pytest.raises(InputError, match="walk: a pose is"):
        figures.skeleton_strip({"walk": np.zeros((64, 30))})


def test_errors_of_joints_are_in_percent_of_the_torso(walker, labeled):
    truth, pose = walker(), walker()
    pose[:, JOINTS.index("left_knee")] += [0.3, 0.4]
    fig = labeled(figures.joint_errors(pose, truth))
    torso = np.linalg.norm(truth[:, 1] - truth[:, 8], axis=-1).mean()
    np.testing.assert_allclose(fig.axes[1].images[0].get_array()[JOINTS.index("left_knee")], 50 / torso, rtol=1e-5)
    assert fig.alt.startswith("The left knee is farthest off, by 50 %")


def test_saliency_names_the_first_joints(walker, labeled):
    shares = np.zeros((64, 15))
    shares[20:30, JOINTS.index("right_ankle")] = 0.06
    shares[:, JOINTS.index("head")] = 0.4 / 64
    fig = labeled(figures.saliency(shares, walker()[0]))
    assert fig.alt.startswith("Joints that identify the person most: right ankle 60 %, head 40 %")


def test_gait_cycles_have_the_length_that_the_walker_has(walker, labeled):
    starts = gait_starts(walker(90))
    np.testing.assert_allclose(np.diff(starts), 26, atol=1)
    still = np.repeat(walker(90)[:1], 64, axis=0)
    fig = labeled(figures.gait_cycles({"moves": walker(90), "stands": still}))
    assert "moves 26" in fig.alt
    assert "Without two beginnings of a cycle: stands" in fig.alt


def test_a_walk_among_the_gait_parameters_of_a_group(labeled, texts):
    rng = np.random.default_rng(0)
    group = pd.DataFrame({name: rng.normal(100, 5, 40) for name in PARAMETERS})
    group.loc[:3, "cadence"] = np.nan
    found = GaitParameters(130.0, 100.0, np.nan, 99.0, 100.0, 101.0, 99.0, 100.0, 7)
    fig = labeled(figures.gait_spread({"in the image": found}, group))
    assert fig.alt.startswith("Outside the middle 90 % of 40 walks: cadence. A strip")
    assert "cadence 130 steps/min (in the image)" in fig.alt
    assert "variability" not in fig.alt
    assert texts(fig) == ["not seen"]
    assert len(fig.axes[0].collections[0].get_offsets()) == 36
    assert fig.axes[0].get_xlim()[1] > 130
    within = replace(found, cadence=100.0)
    fig = figures.gait_spread({"in the image": within, "$x_": found}, group)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["in the image", "$x_"]
    assert figures.gait_spread({"it": within}, group).alt.startswith(
        "Everything measured lies within the middle 90 % of 40 walks."
    )
    unknown = group.assign(step_time_symmetry=np.nan)
    assert "symmetry" not in figures.gait_spread({"it": within}, unknown).alt.split(".")[0]
