import json
import re

import numpy as np
import pytest

from gaitlib import InputError
from gaitlib.display.player import SkeletonPlayer, packed, panel, player_html


def payload(fragment):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', fragment, re.DOTALL)[1])


def test_packed_poses_come_back_within_half_a_step(unpacked):
    poses = np.random.default_rng(0).normal(size=(64, 15, 2)).astype(np.float32)
    poses[5, 3] = np.nan
    numbers = packed(poses)
    back, scale = unpacked(numbers).reshape(poses.shape), numbers["scale"]
    assert np.isnan(back[5, 3]).all()
    assert np.nanmax(np.abs(back - poses)) <= scale / 2 + 1e-6
    assert scale < 2e-4


def test_a_pose_without_any_joint_can_be_packed(unpacked):
    assert np.isnan(unpacked(packed(np.full((2, 15, 2), np.nan)))).all()


def test_a_joint_with_one_coordinate_is_missing(walker, unpacked):
    pose = walker()
    pose[3, 4, 0] = np.nan
    entry = panel("walk", pose)
    back = unpacked({"data": entry["pose"], "scale": entry["scale"]})
    assert np.isnan(back.reshape(64, 15, 2)[3, 4]).all()


@pytest.mark.parametrize("pose", [np.zeros((64, 30)), np.zeros((0, 15, 2)), np.zeros((4, 17, 2))])
def test_a_wrong_shape_is_named(pose):
    with pytest.raises(InputError, match=r"walk: a pose to play is \[T,15,2\]"):
        panel("walk", pose)


def test_a_frame_rate_must_be_positive(walker):
    with pytest.raises(InputError, match="positive"):
        panel("walk", walker(), fps=0)


def test_no_text_can_leave_its_place_in_the_page(walker):
    title = "</script><script>alert(1)</script><!-- & \" ' \u2028"
    fragment = player_html(panel(title, walker(), subtitle="<b>x</b>"), label='"><img src=x onerror=alert(1)>')
    assert fragment.count("</script>") == 2  # the data and the module
    assert "alert(1)</script>" not in fragment
    assert "<img" not in fragment
    assert payload(fragment)["panels"][0]["title"] == title


def test_a_fragment_fetches_nothing(walker):
    fragment = player_html(panel("walk", walker()))
    assert not re.search(r"(src|href)\s*=|import\s*\(|import\s.*from|fetch\(|XMLHttp|url\(", fragment)
    assert set(re.findall(r"https?://[^\"' )]+", fragment)) == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_an_unknown_option_is_an_error(walker):
    with pytest.raises(InputError, match="no option 'sped'"):
        player_html(panel("walk", walker()), sped=2)


def test_the_widget_shows_itself_live_and_as_a_page(walker):
    player = SkeletonPlayer(panel("walk", walker(), fps=30.0), speed=0.5)
    data, _ = player._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    state = payload(data["text/html"])
    assert state["speed"] == 0.5
    assert state["panels"] == player.panels
    assert "export default" in str(player._esm)
