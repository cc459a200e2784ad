"""Clips become walks: with a stand-in for the estimator that sees rectangles, and with MediaPipe where it is installed."""

import errno
import os
import struct
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gaitlib import InputError, cli
from gaitlib.data.dataset import GaitDataset
from gaitlib.poses import clips, followed, formats, mediapipe_pose, people
from gaitlib.poses.formats import video
from gaitlib.poses.prepare import prepare
from gaitlib.poses.sequences import Detections, Unusable
from gaitlib.skeleton import LEFT_ANKLE, MEDIAPIPE33, MID_HIP, NECK, RIGHT_ANKLE

WIDTH, HEIGHT = 320, 240
DEMO = Path(os.environ.get("GAITLIB_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data") / "video" / "sports2d_demo.mp4"


# ------------------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("named", "steps", "given", "rate", "is_timed"),
    [
        (29.97, [1 / 29.97] * 9, None, 29.97, True),
        (30.0, [0.033, 0.033, 0.034] * 3, None, 30.0, True),
        (90000.0, [0.04] * 9, None, 25.0, True),
        (0.0, [0.04] * 9, None, 25.0, True),
        (120.0, [1 / 30] * 9, None, 30.0, True),
        (30.0, [0.0] * 9, None, 30.0, False),
        (25.0, [], None, 25.0, False),
        (30.0, [1 / 30] * 9, 240.0, 240.0, True),
        (0.0, [], 50.0, 50.0, False),
    ],
)
def test_the_frame_rate_is_that_of_the_times_and_what_the_user_says(named, steps, given, rate, is_timed):
    found = clips.frame_rate(named, np.cumsum([0, *steps]), given)
    assert found == (pytest.approx(rate), is_timed)


def test_a_clip_without_times_and_rate_needs_one():
    with pytest.raises(Unusable, match="give it with --fps"):
        clips.frame_rate(0.0, np.zeros(9))


@pytest.mark.parametrize(
    ("fps", "step"),
    [(10, 1), (24, 1), (30, 1), (48, 1), (50, 2), (49.98, 2), (59.94, 2), (60, 2), (90, 3), (100, 4), (119.88, 4), (240, 9)],
)
def test_of_many_frames_so_many_are_read_that_25_to_33_a_second_remain(fps, step):
    assert clips.frame_step(fps) == step
    assert step == 1 or 24.9 <= fps / step <= 33.4


def test_frames_are_even_when_only_rounded():
    assert clips.are_even(np.round(np.arange(90) / 30, 3))
    assert clips.are_even(np.array([0.0]))
    assert not clips.are_even(np.delete(np.arange(90) / 30, 40))
    assert not clips.are_even(np.cumsum([1 / 30] * 40 + [1 / 15] * 40))


def test_poses_at_even_times_are_those_of_a_steady_motion():
    """Whoever moves steadily is where the time says, however uneven the frames were."""
    seconds = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.06, 80))
    values = np.stack([100 * seconds, 7 - 3 * seconds], axis=1)[:, None]
    found = clips.at_even_times(values, seconds, 30.0)
    times = seconds[0] + np.arange(len(found)) / 30
    np.testing.assert_allclose(found[:, 0], np.stack([100 * times, 7 - 3 * times], axis=1), atol=1e-9)
    assert times[-1] <= seconds[-1] < times[-1] + 1 / 30
    assert found.dtype == values.dtype


def test_what_is_missing_stays_missing_at_even_times():
    seconds = np.array([0.0, 0.1, 0.2, 0.3, 0.7, 0.8])
    found = clips.at_even_times(np.array([0.0, 1, np.nan, 3, 7, 8], np.float32), seconds, 10.0)
    np.testing.assert_allclose(found, [0, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, 7, 8], atol=1e-5)


@pytest.mark.parametrize(
    ("start", "stop", "parts"),
    [
        (0, 45, [(0, 20), (20, 40), (40, 45)]),
        (25, 30, [(25, 30)]),
        (19, 40, [(19, 20), (20, 40)]),
    ],
)
def test_the_pieces_of_a_clip_are_the_same_wherever_one_begins(start, stop, parts):
    assert list(video.pieces(start, stop)) == parts


def test_the_pieces_of_a_clip_do_not_end_before_it():
    endless = video.pieces(0, np.inf)
    assert [next(endless) for _ in range(3)] == [(0, 20), (20, 40), (40, 60)]


# ------------------------------------------------------------------------------------------------------ people


def body(x, width, height, y=0.0):
    """The 33 keypoints [33, 2] of somebody in a box, who swings the legs with the way."""
    points = np.full((33, 2), (0.5, 0.1))
    points[[11, 13, 15, 23]] = (0.6, 0.25), (0.62, 0.4), (0.64, 0.55), (0.55, 0.55)
    points[[12, 14, 16, 24]] = (0.4, 0.25), (0.38, 0.4), (0.36, 0.55), (0.45, 0.55)
    swing = 0.4 * np.sin(x / width * 1.5)
    points[25:33:2] = (0.55 + swing / 2, 0.75), *[(0.55 + swing, 1.0)] * 3
    points[26:33:2] = (0.45 - swing / 2, 0.75), *[(0.45 - swing, 1.0)] * 3
    return points * (width, height) + (x - width / 2, y)


def scene(*ways, height=80.0):
    """Detections of people whose middle is at `ways`, lists of x with NaN where nobody is found."""
    rows = [(t, x, i) for i, way in enumerate(ways) for t, x in enumerate(way) if np.isfinite(x)]
    rows.sort()
    points = np.array([body(x, height / 2, height, 90.0 * i) for _, x, i in rows], np.float32)
    ones = np.ones(points.shape[:2], np.float32)
    found = Detections(np.array([t for t, *_ in rows]), points, ones, np.full(len(rows), -1))
    return found, np.array([i for *_, i in rows])


def test_who_walks_across_is_followed_and_not_who_stands_a_little_longer():
    found, who = scene(np.where(np.arange(80) < 10, np.nan, 20 + 3.0 * np.arange(80)), np.full(80, 160.0))
    rows, choices = people.follow(found)
    assert set(who[rows]) == {0}
    assert choices == 70
    still, who = scene(np.where(np.arange(80) < 10, np.nan, 100.0), np.full(80, 160.0))
    assert set(who[people.follow(still)[0]]) == {1}


def test_people_are_numbered_as_they_appear_and_those_of_a_moment_are_not():
    at = np.arange(100)
    found, who = scene(
        np.where(at < 20, np.nan, 20.0 + 3 * at), np.where(at < 30, 400.0, np.nan), np.where(at > 5, 300.0 - 2 * at, np.nan)
    )
    everybody = people.tracks(found)
    assert len(everybody.rows) == 3
    assert people.numbered(everybody, 50) == [1, 2]
    number = people.numbers(everybody, 50, len(found.frame))
    assert [set(number[who == i]) for i in range(3)] == [{2}, {0}, {1}]
    for person, expected in (("1", [2]), ("2", [0]), ("all", [2, 0]), ("", [2])):
        assert [who[rows[0]] for rows in people.choose(everybody, person, 50)] == expected
    with pytest.raises(Unusable, match="has no person 3: 2 are seen in 50 frames or more"):
        people.choose(everybody, "3", 50)
    with pytest.raises(Unusable, match="nobody is seen in 200 frames or more"):
        people.choose(everybody, "all", 200)


def test_the_largest_is_not_who_is_seen_for_longest():
    small, _ = scene(20 + 3.0 * np.arange(80))
    large, _ = scene(np.full(60, 600.0), height=160)
    frame = np.concatenate([small.frame, large.frame])
    order = np.argsort(frame, kind="stable")
    found = Detections(
        frame[order],
        np.concatenate([small.keypoints, large.keypoints])[order],
        np.concatenate([small.confidence, large.confidence * 0.3])[order],
        np.full(len(order), -1),
    )
    everybody = people.tracks(found)
    sizes = [len(people.choose(everybody, person, 50)[0]) for person in ("", "largest")]
    assert sizes == [80, 60]


def walk_of(points):
    return MEDIAPIPE33.to_joints(np.asarray(points, np.float32))


def test_who_stands_is_told_from_who_walks_on_the_spot_or_toward_the_camera():
    jitter = np.random.default_rng(0).normal(0, 0.5, (90, 33, 2))
    at, noise = np.arange(90), jitter
    assert people.stands(walk_of([body(100, 40, 80)] * 90 + noise))
    assert not people.stands(walk_of([body(3 * t, 40, 80) for t in at] + noise))
    assert not people.stands(walk_of([body(3 * t, 40, 80) - (3 * t, 0) for t in at] + noise)), "on a treadmill"
    assert not people.stands(walk_of([body(100, 40, 80) * (1 + t / 90) for t in at] + noise)), "toward the camera"
    exchanged = np.array([body(100, 40, 80)] * 90)
    exchanged[40:50, [27, 28]] = exchanged[40:50, [28, 27]]
    assert people.stands(walk_of(exchanged + noise))
    assert not people.stands(np.full((9, 15, 2), np.nan, np.float32))


# ------------------------------------------------------------------------------------------------------- clips


@pytest.fixture
def cv2():
    return clips.opencv()


@pytest.fixture
def estimated(cv2, tmp_path, monkeypatch):
    """The milliseconds of all images that were estimated: who is seen are bright rectangles, of one width and height each."""
    seen = []

    @contextmanager
    def rectangles(model):
        def estimate(image, milliseconds):
            seen.append(milliseconds)
            bright = cv2.threshold(image[..., 0], 128, 1, cv2.THRESH_BINARY)[1]
            boxes = cv2.connectedComponentsWithStats(bright)[2][1:]
            boxes = boxes[boxes[:, 4] > 200]
            points = [body(x + w / 2, w, h, y) for x, y, w, h, _ in boxes.tolist()]
            return np.array(points, np.float32).reshape(-1, 33, 2), np.ones((len(boxes), 33), np.float32)

        yield estimate

    (tmp_path / "pose.task").write_bytes(b"a model")
    monkeypatch.setattr(mediapipe_pose, "estimator", rectangles)
    monkeypatch.setattr(mediapipe_pose, "find_model", lambda named="": tmp_path / (named or "pose.task"))
    monkeypatch.chdir(tmp_path)
    return seen


def film(cv2, path, *ways, fps=30.0, codec="mp4v", size=(WIDTH, HEIGHT), height=80, top=20):
    """A clip of rectangles whose middle is at `ways`, one a person, each below the other."""
    width, tall = size
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
    assert writer.isOpened()
    for t in range(len(ways[0])):
        image = np.full((tall, width, 3), 30, np.uint8)
        for i, way in enumerate(ways):
            if np.isfinite(way[t]):
                left, upper = int(way[t]) - height // 4, top + i * (height + 20)
                image[upper : upper + height, max(left, 0) : left + height // 2] = 230
        writer.write(image)
    writer.release()
    return path


def across(frames=90, start=40.0, step=2.5):
    return start + step * np.arange(frames)


def made(source, out="out", **options):
    return prepare(source, Path(out), format="video", say=lambda text: None, **options)


def hip(walk):
    return walk.pose[:, MID_HIP, 0]


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "mp4v"), ("mov", "mp4v"), ("m4v", "mp4v"), ("avi", "MJPG"), ("mkv", "MJPG"), ("webm", "VP80")]
)
def test_a_clip_becomes_a_walk(cv2, estimated, tmp_path, suffix, codec):
    file = film(cv2, tmp_path / f"anna.{suffix}", across(), fps=25, codec=codec)
    kind, why = formats.guess(file)
    assert (kind, why.startswith("anna is a clip (")) == ("video", True)
    [walk] = made(file)
    assert (walk.subject, walk.condition, walk.run, walk.view, walk.fps) == ("anna", "nm", 1, "000", 25)
    np.testing.assert_allclose(hip(walk), across(), atol=1.5)
    assert np.ptp(walk.pose[:, [LEFT_ANKLE, RIGHT_ANKLE], 0] - hip(walk)[:, None]) > 20
    assert [path.name for path in Path("out/followed").iterdir()] == ["anna-nm-01-000.jpg"]


@pytest.mark.parametrize(("content", "reason"), [(b"", "is empty"), (b"RIFF....WAVEfmt ", "does not start like an MP4")])
def test_what_is_only_named_as_a_clip_is_told_what_it_lacks(tmp_path, content, reason):
    (tmp_path / "anna.MP4").write_bytes(content)
    with pytest.raises(InputError, match=f"nothing was written. The first reason: anna: {reason}"):
        prepare(tmp_path / "anna.MP4", tmp_path / "out", say=lambda text: None)
    assert [path.name for path in tmp_path.iterdir()] == ["anna.MP4"]


def test_names_of_a_folder_of_clips_come_from_a_table_as_ever(cv2, estimated, tmp_path):
    for name in ("a", "b"):
        film(cv2, tmp_path / f"{name}.mp4", across(40))
    (tmp_path / "names.csv").write_text("path,subject,run\na.mp4,eva,1\nb.mp4,eva,2\n")
    data = made(tmp_path, names=tmp_path / "names.csv")
    assert list(data.index["sequence"]) == ["eva-nm-01-000", "eva-nm-02-000"]
    assert len(list(Path("out/followed").iterdir())) == 2


@pytest.mark.parametrize(
    ("fps", "given", "kept", "rate"), [(60, None, 40, 30), (50, None, 40, 25), (120, None, 20, 30), (30, 120, 20, 30)]
)
def test_of_many_frames_every_nth_is_read(cv2, estimated, tmp_path, fps, given, kept, rate):
    [walk] = (data := made(film(cv2, tmp_path / "fast.mp4", across(80), fps=fps), fps=given))
    assert (len(walk.pose), walk.fps, len(estimated)) == (kept, rate, kept)
    np.testing.assert_allclose(hip(walk), across(80)[:: 80 // kept], atol=1.5)
    assert data.preparation[-1] == f"one frame in {80 // kept} was read, of {given or fps} a second: fast"


def test_names_as_phones_give_them_become_plain_ones(cv2, estimated, tmp_path):
    data = made(film(cv2, tmp_path / "My Video 2026-01-01 at 10.00 (2).mp4", across(40)))
    assert list(data.index["subject"]) == ["My_Video_2026-01-01_at_10.00_2_"]
    assert [path.stem for path in Path("out/followed").iterdir()] == list(data.index["sequence"])


def patched(file, box, offset, content):
    """The file with bytes replaced, so many behind the name of a box."""
    whole = bytearray(file.read_bytes())
    at = whole.index(box) + 4 + offset
    whole[at : at + len(content)] = content
    file.write_bytes(whole)
    return file


def test_a_phone_held_upright_gives_upright_people(cv2, estimated, tmp_path):
    """The matrix of the track turns the image: 90 degrees clockwise."""
    lying = np.full((90, WIDTH, HEIGHT, 3), 30, np.uint8)
    for image, x in zip(lying, across(90, 60, 1.2), strict=True):
        image[40:120, int(x) - 20 : int(x) + 20] = 230
    writer = cv2.VideoWriter(str(tmp_path / "up.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 30, (WIDTH, HEIGHT))
    for image in lying:
        writer.write(np.rot90(image).copy())  # counterclockwise, as the sensor of the turned phone sees it
    writer.release()
    turn = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, HEIGHT << 16, 0, 1 << 30)
    [walk] = made(patched(tmp_path / "up.mp4", b"tkhd", 40, turn))
    np.testing.assert_allclose(hip(walk), across(90, 60, 1.2), atol=1.5)
    assert (walk.pose[:, NECK, 1] + 30 < walk.pose[:, RIGHT_ANKLE, 1]).all()
    sheet = cv2.imread("out/followed/up-nm-01-000.jpg")
    assert sheet.shape[0] / 4 > sheet.shape[1] / 3, "its images stand too"


def uneven(file, frames):
    """The file with half as long intervals in its second half, by a second line in its table of times."""
    whole = bytearray(file.read_bytes())
    for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
        at = whole.index(box) - 4
        whole[at : at + 4] = struct.pack(">I", struct.unpack(">I", whole[at : at + 4])[0] + 8)
    at = whole.index(b"stts") + 8
    (count, number, delta) = struct.unpack(">3I", whole[at : at + 12])
    assert (count, number) == (1, frames), "OpenCV writes its clips in another way"
    whole[at : at + 12] = struct.pack(">5I", 2, frames // 2, delta, frames - frames // 2, delta // 2)
    file.write_bytes(whole)
    return file


def test_uneven_frames_are_brought_to_an_even_pace(cv2, estimated, tmp_path):
    """Who moves by as many pixels in each frame is twice as fast where the frames are twice as dense."""
    frames = 80
    [walk] = (data := made(uneven(film(cv2, tmp_path / "phone.mp4", across(frames), fps=20), frames)))
    assert "frames are uneven in time; poses were interpolated at" in data.preparation[-1]
    seconds = np.cumsum([0, *[0.05] * (frames // 2), *[0.025] * (frames // 2 - 1)])
    expected = np.interp(np.arange(len(walk.pose)) / walk.fps, seconds, across(frames))
    assert len(walk.pose) == pytest.approx(1 + seconds[-1] * walk.fps, abs=1)
    np.testing.assert_allclose(hip(walk), expected, atol=2)


def test_a_part_of_a_clip(cv2, estimated, tmp_path):
    file = film(cv2, tmp_path / "long.mp4", across(90, 40, 2.5), fps=30)
    [walk] = made(file, start=1.0, stop=2.0)
    np.testing.assert_allclose(hip(walk), across(90)[30:60], atol=1.5)
    assert len(estimated) == 30
    with pytest.raises(InputError, match="has no frame at second 9 or later"):
        made(file, start=9.0)
    with pytest.raises(InputError, match=r"--from 2 --to 1 cannot be used; give seconds"):
        made(file, start=2.0, stop=1.0)


def test_each_of_several_people_and_nothing_is_estimated_twice(cv2, estimated, tmp_path):
    there, back = across(), across()[::-1]
    film(cv2, tmp_path / "two.mp4", there, np.where(np.arange(90) < 10, np.nan, back))
    film(cv2, tmp_path / "two_again.mp4", there)
    (tmp_path / "names.csv").write_text("path,subject,run\ntwo,two,1\ntwo_again,two,2\n")
    data = made(tmp_path, names=tmp_path / "names.csv", person="all")
    assert list(data.index["sequence"]) == ["two-nm-01-000", "two-nm-02-000", "two-nm-03-000"]
    np.testing.assert_allclose(hip(data[1]), back[10:], atol=1.5)
    assert len(list(Path("out/followed").iterdir())) == 3
    count = len(estimated)
    for person, way in (("", there), ("1", there), ("2", back[10:])):
        [walk] = made(tmp_path / "two.mp4", person=person)
        np.testing.assert_allclose(hip(walk), way, atol=1.5)
    assert len(estimated) == count == 180
    with pytest.raises(InputError, match="has no person 3"):
        made(tmp_path / "two.mp4", person="3")
    with pytest.raises(InputError, match=r"--person 0 does not name anybody; give largest, all, or a number"):
        made(tmp_path / "two.mp4", person="0")


def test_people_who_cross_are_followed(cv2, estimated, tmp_path):
    """Where they meet they are one rectangle."""
    there = across(120, 30, 2.2)
    writer = cv2.VideoWriter(str(tmp_path / "cross.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 30, (WIDTH, HEIGHT))
    for x in there.astype(int):
        image = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
        image[60:160, x - 20 : x + 20] = image[100:160, WIDTH - x - 12 : WIDTH - x + 12] = 230
        writer.write(image)
    writer.release()
    [walk] = made(tmp_path / "cross.mp4")
    assert len(walk.pose) == 120
    apart = np.abs(there - WIDTH / 2) > 30
    np.testing.assert_allclose(hip(walk)[apart], there[apart], atol=1.5)


def test_what_was_estimated_before_a_run_was_killed_is_used(cv2, estimated, tmp_path, monkeypatch):
    monkeypatch.setattr(video, "PIECE", 1.0)
    file = film(cv2, tmp_path / "long.mp4", across(100), fps=30)
    whole = made(file, out="whole")
    (tmp_path / "cache").rename(tmp_path / "old")
    estimated.clear()
    estimator = mediapipe_pose.estimator

    @contextmanager
    def killed(model):
        with estimator(model) as estimate:

            def until(image, milliseconds):
                if milliseconds > 2500:
                    raise KeyboardInterrupt
                return estimate(image, milliseconds)

            yield until

    with monkeypatch.context() as changed:
        changed.setattr(mediapipe_pose, "estimator", killed)
        with pytest.raises(KeyboardInterrupt):
            made(file)
    assert not Path("out").exists()
    assert not Path(".out.partial").exists()
    assert len(estimated) == 76
    estimated.clear()
    data = made(file)
    assert len(estimated) == 40, "from second 2 on"
    assert data.info["frames_digest"] == whole.info["frames_digest"]
    (tmp_path / "pose.task").write_bytes(b"another model")
    estimated.clear()
    made(file)
    assert len(estimated) == 100


def test_the_clip_with_the_skeleton(cv2, estimated, tmp_path):
    made(film(cv2, tmp_path / "anna.mp4", across(), across()[::-1]), overlay=True)
    capture = cv2.VideoCapture("out/followed/anna-nm-01-000.mp4")
    assert (capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)) == (30, 90)
    _, image = capture.read()
    colors = [(np.abs(image[..., ::-1].astype(int) - color).sum(-1) < 90).sum() for color in (followed.LEFT, followed.RIGHT)]
    assert min(colors) > 50
    source = tmp_path / "001-nm-01-090.json"
    source.write_text("[]")
    for option in ({"overlay": True}, {"model": "x.task"}, {"start": 1.0}, {"stop": 1.0}):
        with pytest.raises(InputError, match=r"is for clips, which --format coco does not read"):
            prepare(source, Path("other"), format="coco", **option)


def test_a_full_disk_leaves_the_old_data_set_and_nothing_else(cv2, estimated, tmp_path, monkeypatch):
    file = film(cv2, tmp_path / "anna.mp4", across())
    before = made(file).info
    write = Path.write_bytes

    def full(path, content):
        if path.suffix == ".jpg":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    done = CliRunner().invoke(cli.main, ["prepare", str(file), "--format", "video", "--out", "out", "--person", "1"])
    assert done.exit_code == 1
    assert "No space left on device" in done.stderr
    assert "anna-nm-01-000.jpg" in done.stderr
    assert GaitDataset.open("out").info == before
    assert {path.name for path in tmp_path.iterdir()} == {"anna.mp4", "pose.task", "cache", "out"}
    monkeypatch.setattr(np, "savez", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    done = CliRunner().invoke(cli.main, ["prepare", str(file), "--format", "video", "--out", "new", "--to", "2"])
    assert (done.exit_code, "No space left on device" in done.stderr) == (1, True)
    assert len(list((tmp_path / "cache").glob("poses-*"))) == 1
    assert not Path("new").exists()


BAD = {
    "empty": (lambda whole: b"", "is empty"),
    "photo": (lambda whole: b"\xff\xd8\xff\xe0" + whole, "does not start like an MP4"),
    "list": (lambda whole: b"#EXTM3U\nhttp://127.0.0.1:9/x.ts\n", "does not start like an MP4"),
    "sound": (lambda whole: b"RIFF\x24\x00\x00\x00WAVEfmt " + whole, "does not start like an MP4"),
    "half": (lambda whole: whole[: len(whole) // 2], "is not a readable clip: it is cut off, damaged, or has only sound"),
    "no images": (lambda whole: whole.replace(b"vide", b"soun"), "is cut off, damaged, or has only sound"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_clip_is_told_in_one_sentence_and_stops_no_other(cv2, estimated, tmp_path, capfd, name):
    spoil, reason = BAD[name]
    (tmp_path / "clips").mkdir()
    file = film(cv2, tmp_path / "clips" / "bad.mp4", across(40))
    file.write_bytes(spoil(file.read_bytes()))
    capfd.readouterr()
    done = CliRunner().invoke(cli.main, ["prepare", str(file), "--format", "video", "--out", "out"])
    assert done.exit_code == 2
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert capfd.readouterr().err == "", "native code keeps silent"
    assert not Path("out").exists()
    film(cv2, tmp_path / "clips" / "good.mp4", across(40))
    data = made(tmp_path / "clips")
    assert [entry["source"] for entry in data.info["left_out"]] == ["bad"]
    assert len(data) == 1


@pytest.mark.parametrize(
    ("ways", "reason"),
    [
        ([np.full(40, np.nan)], "nobody was found in any frame"),
        ([across(3)], "only 3 frames; at least 16 are needed"),
        ([np.full(60, 100.0)], "stands still and has no gait"),
    ],
)
def test_clips_without_anybody_who_walks(cv2, estimated, tmp_path, ways, reason):
    with pytest.raises(InputError, match=reason):
        made(film(cv2, tmp_path / "clip.mp4", *ways))


def test_large_frames_at_a_high_rate(cv2, estimated, tmp_path):
    file = film(cv2, tmp_path / "large.mp4", across(34, 400, 20), fps=60, size=(3840, 2160), height=800)
    [walk] = made(file)
    assert (len(walk.pose), walk.fps) == (17, 30)
    np.testing.assert_allclose(hip(walk), across(34, 400, 20)[::2], atol=8)
    assert cv2.imread("out/followed/large-nm-01-000.jpg").shape[1] == followed.ACROSS * followed.SMALL


def test_a_clip_that_was_cut_off_is_read_to_its_end_and_that_is_remarked(cv2, estimated, tmp_path):
    file = film(cv2, tmp_path / "short.avi", across(90), codec="MJPG")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    data = made(file)
    assert 40 < data.index["frames"][0] < 70
    assert "is cut off or damaged: it has fewer frames than it states" in data.preparation[-1]


# ----------------------------------------------------------------------------------------------- the estimator


def test_what_is_missing_is_told_with_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(mediapipe_pose, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs MediaPipe, which is not installed; run `make video`"):
        mediapipe_pose.find_model()
    monkeypatch.setattr(mediapipe_pose, "find_spec", lambda name: True)
    monkeypatch.setattr(mediapipe_pose, "MODEL", tmp_path / "pose.task")
    with pytest.raises(InputError, match=r"pose.task does not exist; run `make video`"):
        mediapipe_pose.find_model()
    with pytest.raises(InputError, match=r"--model mine.task does not exist; give a file pose.task"):
        mediapipe_pose.find_model("mine.task")
    (tmp_path / "pose.task").touch()
    assert mediapipe_pose.find_model() == tmp_path / "pose.task"


needs_mediapipe = pytest.mark.skipif(
    not (mediapipe_pose.find_spec("mediapipe") and mediapipe_pose.MODEL.is_file()),
    reason="MediaPipe and its model are not here: `make video`",
)


@needs_mediapipe
def test_a_model_that_is_none_is_told(tmp_path):
    (tmp_path / "pose.task").write_bytes(b"no model")
    with (
        pytest.raises(InputError, match=r"pose.task is not a model that MediaPipe can use"),
        mediapipe_pose.estimator(tmp_path / "pose.task"),
    ):
        pass


@needs_mediapipe
@pytest.mark.skipif(not DEMO.is_file(), reason="no video/sports2d_demo.mp4 in the folder that GAITLIB_TEST_DATA names")
def test_a_real_walker_is_followed_and_not_who_stands_on_a_block(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    [walk] = made(DEMO, start=2.0, stop=4.0)
    assert len(walk.pose) > 50
    assert np.nanmin(walk.pose[:, MID_HIP, 1]) > 480, "below the block"
    assert np.nanmedian(np.diff(hip(walk))) < -5, "to the left"
    assert capfd.readouterr().err == ""
