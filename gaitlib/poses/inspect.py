"""What a data set holds, and what a reviewer would question: `inspect(dataset)`.

The frames are read once, in chunks of walks, from the memory-mapped arrays; eight bytes are kept per frame, to find copies.
Distances are in torso lengths (the walk's mean from neck to mid-hip).
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import indent

import numpy as np
import pandas as pd

from gaitlib import InputError
from gaitlib.data.dataset import GaitDataset
from gaitlib.data.protocol import Protocol, spelled_alike
from gaitlib.data.views import sorted_views
from gaitlib.poses.repair import flip_edges
from gaitlib.skeleton import JOINTS, LEFT_HIP, LEFT_SHOULDER, MID_HIP, MIRROR, NECK, RIGHT_HIP, RIGHT_SHOULDER

#: Frames read at a time, about 25 MB.
CHUNK = 100_000
#: Torso lengths by which the right side must lie right of the left one, on average, for a walk to count as front or back.
TURNED = 0.15
#: Shared frames that make two walks copies; one or two may be equal by chance if coordinates are whole numbers.
COPIED = 5
#: Poses are compared in steps of this share of their spread about their center. A walk shifted by three pixels then shares
#: 99.9 % of its frames with the original; of 4,000 walks of real people in 11 views, no two share a single frame.
SAME_POSE = 0.001

#: Kind of finding -> what was found, as a plural, and what to do about it.
KINDS = {
    "changed": ("Data sets whose frames changed after they were written", "Do not trust them until you know who changed them."),
    "left out": ("Left out when the data set was prepared", "Repair these files, or report that they were left out."),
    "absent": ("Walks that most people have and these people lack", "Find their files, or report that they are missing."),
    "short": ("Walks shorter than a window of {window} frames", "They are looped; check that they are complete."),
    "lost joint": ("Walks without a certain joint in any frame", "Check the keypoint layout their files were read with."),
    "mostly missing": ("Walks with more than 30 % of their joints missing", "Estimate their poses again, or leave them out."),
    "one point": ("Walks with all joints at one point", "Nobody is visible in these frames: mark them as missing (NaN)."),
    "upside down": ("Walks with the hips above the neck", "y must point down: negate y, and prepare them again."),
    "frozen": ("Walks with a tenth or more of their frames frozen", "Remove the repeated frames."),
    "looped": ("Walks that repeat their own earlier frames", "Cut them where they start to repeat."),
    "copies": ("Walks that share frames with another walk", "One of the two is a copy or has the wrong name: remove it."),
    "jumps": ("Walks that jump by more than a torso length between frames", "The tracker changed people: track them again."),
    "flips": ("Walks in which left and right swap repeatedly", "Prepare them again with --repair flips."),
    "mirrored": ("Walks whose left and right are swapped for their view", "Check the view, and whether they are mirrored."),
    "fps": ("Walks with no frame rate, or not the usual {usual:g} a second", "Correct it, or resample them."),
    "alike": ("Names that differ only in spelling", "Give each person, condition and view one spelling."),
    "one recording": ("People with a single recording", "They can be gallery or probe, not both."),
    "protocol": ("Mismatches with the protocol", "Correct the protocol or the data."),
}
#: Kinds that synthetic walkers show on purpose.
SIMULATED = {"mostly missing", "jumps", "flips"}


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found.

    walks: one row per walk: the index, and missing (share of joints), frozen, looped, copied, collapsed, jumps (frames), flips
        (edges of swaps), upright (mean height of the neck above the mid-hip), facing (mean of right minus left along x, of
        shoulders and hips: negative for a person who comes toward the camera).
    missing: share of frames in which a joint is missing, float table 0..1, views x 15 joints.
    findings: kind (a key of KINDS), sequence, source, detail; one row for everything to look at.
    warnings: a sentence for each kind that was found, with the first names and advice.
    """

    name: str
    walks: pd.DataFrame
    missing: pd.DataFrame
    findings: pd.DataFrame
    warnings: list[str]

    @property
    def counts(self) -> pd.DataFrame:
        """Numbers of walks, one row per subject, columns (condition, view), the most frequent condition first."""
        walks, names = self.walks, ["condition", "view"]
        wanted = pd.MultiIndex.from_product([_conditions(walks), sorted_views(walks["view"])], names=names)
        return pd.crosstab(walks["subject"], [walks[name] for name in names]).reindex(columns=wanted, fill_value=0)

    @property
    def lengths(self) -> pd.DataFrame:
        """Length of the walks of each condition in frames: walks, shortest, median, longest."""
        frames = self.walks.groupby("condition")["frames"]
        return frames.agg(walks="count", shortest="min", median="median", longest="max").loc[_conditions(self.walks)]

    def to_text(self) -> str:
        """Tables and warnings for a terminal."""
        walks, missing, frames = self.walks, 100 * self.missing.T, self.walks["frames"].sum()
        people, views = walks["subject"].nunique(), sorted_views(walks["view"])
        missing["all"] = missing @ walks.groupby("view")["frames"].sum()[missing.columns] / frames
        parts = [f"{self.name}: {len(walks):,} walks of {people:,} people in {len(views)} views, {frames:,} frames"]
        for title, table in {
            "Walks by condition and view": self.counts.sum().unstack("view").loc[_conditions(walks), views],
            "Frames per walk by condition": self.lengths,
            "Missing joints by view, % of frames": missing.round(1),
        }.items():
            parts.append(f"{title}\n{indent(table.rename_axis(index=None, columns=None).to_string(), '    ')}")
        said = [f"{k}. {warning}" for k, warning in enumerate(self.warnings, 1)] or ["None: nothing a reviewer would question."]
        return "\n\n".join([*parts, "\n".join(["Warnings", *said])])


def _conditions(walks: pd.DataFrame) -> list[str]:
    return sorted(walks["condition"].unique(), key=(-walks["condition"].value_counts()).to_dict().get)


def inspect(dataset: GaitDataset, *, window: int = 64, protocol: Protocol | None = None) -> Inspection:
    """Check every walk, and whether walks fit together.

    window: frames of a window; shorter walks are listed. protocol: if given, people and walks that it misses are listed, too.
    The frames in the folder are compared with those that were written, even for a selection.
    Raises InputError for a data set without walks.
    """
    if not len(dataset):
        raise InputError(f"{dataset.name} holds no walks; there is nothing to inspect.")
    index = dataset.index.drop(columns="start").reset_index(drop=True)
    edges = np.flatnonzero(np.diff(np.cumsum(index["frames"]) // CHUNK)) + 1
    chunks = itertools.starmap(slice, itertools.pairwise([0, *edges.tolist(), len(index)]))
    parts = [_measure(dataset, rows) for rows in chunks]
    measures, lost, digests = zip(*parts, strict=True)
    walks, lost = pd.concat([index, pd.concat(measures, ignore_index=True)], axis=1), np.concatenate(lost)
    walks["looped"], walks["copied"], copies = _copies(np.concatenate(digests), index["frames"].to_numpy())
    walks["looped"] -= walks["frozen"]

    findings = [("left out", entry["source"], "", entry["reason"]) for entry in dataset.info.get("left_out", [])]
    try:
        dataset.check_frames()
    except InputError as error:
        findings.append(("changed", dataset.name, "", str(error).rstrip(".")))
    findings += [*_of_walks(walks, lost, copies, window), *_of_names(walks)]
    if protocol is not None:
        findings += _of_protocol(dataset, protocol)
    table = pd.DataFrame(findings, columns=["kind", "sequence", "source", "detail"])
    table = table.sort_values("kind", key=lambda kinds: kinds.map(list(KINDS).index), kind="stable", ignore_index=True)
    said = _sentences(table, is_simulated(index), window=window, usual=_usual(walks["fps"]))
    return Inspection(dataset.name, walks, missing_by_view(lost, index), table, said)


def missing_by_view(lost: np.ndarray, index: pd.DataFrame) -> pd.DataFrame:
    """The share of frames in which a joint is missing, float table 0..1, views x 15 joints.

    lost: frames of each walk without each joint, int [N, 15]. index: N rows with the columns view and frames.
    """
    by_view = pd.DataFrame(lost, columns=JOINTS).groupby(index["view"].to_numpy()).sum()
    return by_view.div(index.groupby("view")["frames"].sum(), axis=0).loc[sorted_views(index["view"])]


def is_simulated(index: pd.DataFrame) -> bool:
    """Whether all walks of an index are those of `gaitlib.data.walkers.make_walkers`, which says so in their source."""
    return bool(index["source"].str.startswith("walkers seed ").all())


def _measure(dataset: GaitDataset, rows: slice) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """For some walks: measures (a row per walk, see Inspection), frames without each joint [N, 15], digests of the poses [F]."""
    start, length = (dataset.index[c].to_numpy()[rows] for c in ("start", "frames"))
    first = np.cumsum(length) - length
    walk_of = np.repeat(np.arange(len(length)), length)
    pose = dataset.poses[np.arange(length.sum()) + (start - first)[walk_of]].astype(np.float32)
    present = np.isfinite(pose).all(-1)
    pose[~(np.abs(pose) < 1e9).all(-1)] = np.nan

    digest, collapsed = _digests(pose)
    begins = np.isin(np.arange(len(pose)), first)
    trunk = pd.Series(np.linalg.norm(pose[:, NECK] - pose[:, MID_HIP], axis=-1)).astype(float).groupby(walk_of).transform("mean")
    size = trunk.where(trunk > 0).to_numpy()
    middle = (pose[:, NECK] + pose[:, MID_HIP]) / 2
    step = np.linalg.norm(np.diff(middle, axis=0, prepend=np.nan), axis=-1)
    sides = pose[:, [RIGHT_SHOULDER, RIGHT_HIP], 0] - pose[:, [LEFT_SHOULDER, LEFT_HIP], 0]
    edges = np.zeros(len(pose), dtype=np.int64)
    for right in (_ARM, _LEG):
        d = (pose[:, right] - pose[:, MIRROR[right]]) / size[:, None, None]
        d = np.insert(d, first, np.nan, axis=0)  # between walks
        edges += np.delete(flip_edges(d), first + np.arange(len(first)))
    frames = pd.DataFrame({
        "missing": (~present).mean(1),
        "collapsed": collapsed,
        "frozen": ~begins & (digest != 0) & (digest == np.roll(digest, 1)),
        "jumps": ~begins & (step > size),
        "flips": edges,
        "upright": (pose[:, MID_HIP, 1] - pose[:, NECK, 1]) / size,
        "facing": sides.mean(1) / size,
    })  # fmt: skip
    ways = dict.fromkeys(frames, "sum") | dict.fromkeys(("missing", "upright", "facing"), "mean")
    return frames.groupby(walk_of).agg(ways), pd.DataFrame(~present).groupby(walk_of).sum().to_numpy(), digest


_ARM, _LEG = np.array([3, 4]), np.array([10, 11])
_ODD = np.random.default_rng(0).integers(2**63, size=2 * len(JOINTS), dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def _digests(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A number for each pose, float32 [F, 15, 2], independent of position and size: uint64 [F]; 0 for no pose.

    Also whether all joints lie at one point, bool [F]. Neither is known if fewer than half of the joints are.
    """
    known = np.isfinite(pose[..., 0])
    count = np.maximum(known.sum(1), 1)[:, None]
    apart = np.where(known[..., None], pose, 0).astype(np.float64)
    apart -= (np.einsum("fjx->fx", apart) / count)[:, None]
    apart[~known] = 0
    spread = np.sqrt(np.einsum("fjx,fjx->f", apart, apart) / count[:, 0])  # at one point exactly 0: equal float32 add up exactly
    steps = np.rint(apart / (SAME_POSE * np.where(spread > 0, spread, 1))[:, None, None])
    steps[~known] = 2**40
    enough = 2 * known.sum(1) >= len(JOINTS)
    digest = steps.reshape(len(pose), -1).astype(np.int64).view(np.uint64) @ _ODD
    return np.where(enough & (spread > 0), digest, 0), enough & (spread == 0)


def _copies(digests: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Frames equal to an earlier one of the same walk [N], frames shared with another walk [N], and pairs: a, b, frames."""
    frames = pd.DataFrame({"digest": digests, "walk": np.repeat(np.arange(len(length)), length)})
    frames = frames[frames["digest"] != 0]
    again = frames.duplicated()
    looped = np.bincount(frames["walk"][again], minlength=len(length))
    found = frames.assign(a=frames.groupby("digest")["walk"].transform("first")).rename(columns={"walk": "b"})[~again]
    pairs = found[found["a"] != found["b"]].value_counts(["a", "b"]).rename("frames").reset_index()
    pairs = pairs[pairs["frames"] >= COPIED]
    most = pairs.melt("frames", value_name="walk").groupby("walk")["frames"].max()
    return looped, most.reindex(range(len(length)), fill_value=0).to_numpy(), pairs


def _of_walks(walks: pd.DataFrame, lost: np.ndarray, pairs: pd.DataFrame, window: int) -> Iterator[tuple]:
    usual = _usual(walks["fps"])
    typical = walks.groupby("view")["facing"].transform("median")
    mirrored = (typical * walks["facing"] < 0) & (np.minimum(typical.abs(), walks["facing"].abs()) > TURNED)
    seldom = 4 + walks["frames"] / 25  # edges: two flips, and one more in two seconds
    for kind, rows, say in (
        ("short", walks["frames"] < window, "{frames} frames"),
        ("mostly missing", walks["missing"] > 0.3, "{missing:.0%} of the joints are missing"),
        ("one point", walks["collapsed"] > 0, "in {collapsed} of {frames} frames"),
        ("upside down", walks["upright"] < 0, "the neck is {upright:.1f} torso lengths above the hips"),
        ("frozen", walks["frozen"] >= 0.1 * walks["frames"], "{frozen} of {frames} frames equal the one before"),
        ("looped", walks["looped"] >= COPIED, "{looped} of {frames} frames occurred before"),
        ("jumps", walks["jumps"] > 0, "jumps: {jumps}"),
        ("flips", walks["flips"] > seldom, "swaps: {flips} in {frames} frames"),
        ("mirrored", mirrored, "right is {facing:.2f} torso lengths to the right of left"),
        ("fps", ~np.isclose(walks["fps"], usual) | ~(walks["fps"] > 0), "{fps:g} frames a second"),
    ):
        for row in walks[rows].itertuples():
            yield kind, row.sequence, row.source, say.format(**row._asdict())
    for i, joint in np.argwhere(lost == walks["frames"].to_numpy()[:, None]):
        yield "lost joint", walks["sequence"].iat[i], walks["source"].iat[i], f"no {JOINTS[joint].replace('_', ' ')}"
    for pair in pairs.itertuples():
        a, b = walks.iloc[pair.a], walks.iloc[pair.b]
        yield "copies", b["sequence"], b["source"], f"{pair.frames} of {b['frames']} frames also occur in {a['sequence']}"


def _of_names(walks: pd.DataFrame) -> Iterator[tuple]:
    """Walks that most people have and some lack, names that differ only in spelling, people with a single recording."""
    people = walks["subject"].unique()
    cells = pd.MultiIndex.from_frame(walks[["condition", "run", "view"]])
    common = cells.value_counts()
    place = {view: i for i, view in enumerate(sorted_views(walks["view"]))}
    common = sorted(common.index[common >= 0.5 * len(people)], key=lambda cell: (*cell[:2], place[cell[2]]))
    have = set(zip(walks["subject"], cells, strict=True))
    for subject in sorted(people):
        for condition, run, view in common:
            if (subject, (condition, run, view)) not in have:
                yield "absent", f"{subject}-{condition}-{run:02d}-{view}", "", "most people have this walk"
    for column in ("subject", "condition", "view"):
        names = pd.Series(sorted(walks[column].unique()))
        plain = names.map(spelled_alike)
        for _, same in names.groupby(plain.where(~plain.str.isdecimal(), plain.str.lstrip("0"))):
            if len(same) > 1:
                yield "alike", " ".join(repr(name) if re.search(r"\s", name) else name for name in same), "", f"{column} names"
    recordings = walks.groupby("subject")["recording"].nunique()
    for subject in recordings.index[recordings == 1]:
        yield "one recording", subject, "", walks.loc[walks["subject"] == subject, "recording"].iat[0]


def _of_protocol(dataset: GaitDataset, protocol: Protocol) -> Iterator[tuple]:
    try:
        split = protocol.split(dataset)
    except InputError as error:
        yield "protocol", protocol.name, "", str(error)
        return
    everyone = sorted(dataset.index["subject"].unique())
    for subject in sorted(set(everyone).difference(*protocol.people(everyone))):
        yield "protocol", subject, "", "this person is not in the protocol"
    for part, roles in (("validation", split.validation), ("test", split.test)):
        people = roles.walks.index["subject"]
        for name, rows in (("gallery", roles.gallery), *roles.probes.items()):
            for subject in sorted(set(dataset.index["subject"]) & set(people) - set(people[rows])):
                yield "protocol", subject, "", f"{part} person {subject} has no {name} walk"


def _usual(fps: pd.Series) -> float:
    return float(fps.mode().iloc[0]) if fps.notna().any() else float("nan")


def _sentences(findings: pd.DataFrame, simulated: bool, **facts) -> list[str]:
    """A warning for each kind: what, how many, the first three with their files, and advice."""
    out = []
    for kind, (what, advice) in KINDS.items():
        found = findings[findings["kind"] == kind].drop_duplicates("sequence")
        if len(found):
            first = [f"{r.sequence} ({'; '.join(filter(None, (r.detail, r.source)))})" for r in found.head(3).itertuples()]
            more = f", and {len(found) - 3} more" if len(found) > 3 else ""
            if simulated and kind in SIMULATED:
                advice = "They are simulated, with the faults of a pose estimator."
            out.append(f"{what.format(**facts)}, {len(found)}: {', '.join(first)}{more}. {advice}")
    return out
