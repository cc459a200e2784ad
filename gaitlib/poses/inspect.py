"""What a data set holds, and what a reviewer would say about it: `inspect(dataset)`.

The frames are read once, in chunks of walks, from the memory-mapped arrays; of each frame eight bytes are kept, to find copies.
Distances are in torso lengths (the walk's mean from neck to mid-hip).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gaitlib import InputError
from gaitlib.data.dataset import GaitDataset
from gaitlib.data.protocol import Protocol
from gaitlib.data.views import sorted_views
from gaitlib.poses.repair import flip_edges
from gaitlib.skeleton import (
    BONES,
    JOINTS,
    LEFT_HIP,
    LEFT_SHOULDER,
    MID_HIP,
    MIRROR,
    NECK,
    RIGHT_HIP,
    RIGHT_SHOULDER,
)

#: Frames read at a time, about 25 MB.
CHUNK = 100_000
#: A recording whose body is this many times farther from its person than recordings, and this person's, usually are. Of 20
#: recordings of synthetic walkers (11 views) that were given another's name, 16 were found, of 400 with their own name none.
#: From a single view of a noisy sensor (Kinect) one in ten was found, and 9 of 1,316 were named: proportions say little there.
STRANGER = 2.5
#: Torso lengths by which the right side must be right of the left one, on average, for a walk to be seen from front or back.
TURNED = 0.15
#: Copied frames by which two walks are called copies; one or two may be equal by chance where coordinates are whole numbers.
COPIED = 5

#: Kind of finding -> what was found, as a plural, and what to do about it.
KINDS = {
    "left out": ("Left out when the data set was prepared", "Repair these files, or report that they were left out."),
    "absent": ("Walks that most people have and these have not", "Find their files, or report that they lack."),
    "short": ("Walks shorter than a window of {window} frames", "They are looped; check that they are whole."),
    "lost joint": ("Walks that lack a joint in every frame", "Check the joint layout that their files were read with."),
    "mostly missing": ("Walks without more than 30 % of their joints", "Estimate their poses again, or leave them out."),
    "upside down": ("Walks with the hips above the neck", "Image y must grow downward: negate y, and prepare them again."),
    "frozen": ("Walks that stand still for a tenth of their frames or more", "Remove the repeated frames."),
    "looped": ("Walks that repeat earlier frames of their own", "Cut them where they begin again."),
    "copies": ("Walks that share frames with another walk", "One of the two has the wrong name or is a copy: remove it."),
    "jumps": (
        "Walks that jump by over a torso length between two frames",
        "Another person was followed: track or cut them again.",
    ),
    "flips": ("Walks in which left and right are exchanged again and again", "Prepare them again with --repair flips."),
    "mirrored": ("Walks that show left and right as no other of their view", "Check the view, and whether they are mirrored."),
    "stranger": ("Recordings of a body unlike that of their person", "Look: the name or the followed person may be wrong."),
    "fps": ("Walks with another frame rate than most ({usual:g} a second), or none", "Correct it, or resample them."),
    "alike": ("Names that differ only in writing", "Give each person, condition and view one spelling."),
    "one recording": ("People with a single recording", "They can be in the gallery or be probes, not both."),
    "protocol": ("What does not fit the protocol", "Correct the protocol or the data."),
}


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found.

    walks: a row a walk: the index, and missing (share of joints), frozen, looped, copied, jumps (frames), flips (edges of
        exchanges), upright, facing, stranger (see `inspect`).
    missing: share of frames in which a joint is missing, float table 0..1, views x 15 joints.
    findings: kind (a key of KINDS), sequence, source, detail: every single thing to look at.
    warnings: a sentence for each kind that was found, with the first names and what to do.
    """

    name: str
    walks: pd.DataFrame
    missing: pd.DataFrame
    findings: pd.DataFrame
    warnings: list[str]

    @property
    def counts(self) -> pd.DataFrame:
        """Walks, int table, a row a subject, columns (condition, view), the most frequent condition first."""
        counts = pd.crosstab(self.walks["subject"], [self.walks["condition"], self.walks["view"]])
        wanted = pd.MultiIndex.from_product(
            [_conditions(self.walks), sorted_views(self.walks["view"])], names=["condition", "view"]
        )
        return counts.reindex(columns=wanted, fill_value=0)

    @property
    def lengths(self) -> pd.DataFrame:
        """Frames of the walks of each condition: walks, shortest, median, longest."""
        frames = self.walks.groupby("condition")["frames"]
        return frames.agg(walks="count", shortest="min", median="median", longest="max").loc[_conditions(self.walks)]

    @property
    def bodies(self) -> pd.DataFrame:
        """A row a subject: recordings, how far their bodies lie from the person's (usually, at most), and the farthest one."""
        known = self.walks.dropna(subset="stranger")
        known = known.drop_duplicates(["subject", "recording"])
        people = known.groupby("subject")["stranger"].agg(recordings="count", usual="median", most="max")
        return people.assign(farthest=known.loc[known.groupby("subject")["stranger"].idxmax(), "recording"].to_numpy())

    def to_frame(self) -> pd.DataFrame:
        return self.walks

    def to_text(self) -> str:
        """Tables and warnings for a terminal."""
        walks, missing = self.walks, 100 * self.missing.T
        counts = self.counts.sum().unstack("view").loc[_conditions(walks), sorted_views(walks["view"])]
        people, views = walks["subject"].nunique(), walks["view"].nunique()
        missing["all"] = missing @ walks.groupby("view")["frames"].sum()[missing.columns] / walks["frames"].sum()
        parts = [
            f"{self.name}: {len(walks):,} walks of {people:,} people in {views} views, {walks['frames'].sum():,} frames",
            ("Walks by condition and view", counts),
            ("Frames of a walk by condition", self.lengths),
            ("Frames without a joint by view, %", missing.round(1)),
            ("The bodies least like themselves (1 is usual)", self.bodies.sort_values("most").tail(3)[::-1].round(1)),
        ]
        said = [f"{k}. {warning}" for k, warning in enumerate(self.warnings, 1)] or ["None: nothing a reviewer would ask about."]
        text = [part if isinstance(part, str) else f"{part[0]}\n{_indented(part[1])}" for part in parts]
        return "\n\n".join([*text, "Warnings\n" + "\n".join(said)])

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name, for a workbook or a terminal."""
        return {
            "counts": self.counts,
            "lengths": self.lengths,
            "missing": self.missing,
            "bodies": self.bodies,
            "findings": self.findings,
            "walks": self.walks,
        }


def inspect(dataset: GaitDataset, *, window: int = 64, protocol: Protocol | None = None) -> Inspection:
    """Look at every walk, and for what does not fit between walks.

    window: frames of a window; shorter walks are listed. protocol: if given, who lacks in it is listed too.

    Measures of a walk. upright: mean height of the neck over the mid-hip. facing: mean of right minus left along x, of shoulders
    and hips: negative for who comes toward the camera. stranger: logarithms of the mean bone lengths over the torso's, less the
    median of all walks of that view and condition, averaged over the walks of a recording (one view says little), compared with
    the median of the person's recordings: root mean square over bones, each divided by its usual deviation in that condition; 1
    is usual, and people with fewer than three recordings have NaN. A recording is only called a stranger when it is beyond
    STRANGER and less than two thirds as far from some other person.
    Raises InputError for a data set without walks.
    """
    if not len(dataset):
        raise InputError(f"{dataset.name} holds no walks; there is nothing to inspect.")
    index = dataset.index.drop(columns="start").reset_index(drop=True)
    parts = [_measure(dataset, rows) for rows in _chunks(dataset.index["frames"].to_numpy())]
    of_walk, lost, bones, digests = ([part[k] for part in parts] for k in range(4))
    lost, bones, digests = np.concatenate(lost), np.concatenate(bones), np.concatenate(digests)
    walks = pd.concat([index, pd.concat(of_walk, ignore_index=True)], axis=1)
    walks["looped"], walks["copied"], copies = _copies(digests, index["frames"].to_numpy())
    walks["looped"] -= walks["frozen"]
    walks["stranger"], likely = _strangers(bones, index)

    by_view = pd.DataFrame(lost, columns=JOINTS).groupby(index["view"].to_numpy()).sum()
    frames = index.groupby("view")["frames"].sum()
    missing = by_view.div(frames, axis=0).loc[sorted_views(index["view"])]

    findings = [("left out", entry["source"], "", entry["reason"]) for entry in dataset.info.get("left_out", [])]
    findings += [*_of_walks(walks, lost, likely, window), *_copied(walks, copies), *_of_names(walks)]
    if protocol is not None:
        findings += _of_protocol(dataset, protocol)
    table = pd.DataFrame(findings, columns=["kind", "sequence", "source", "detail"])
    order = {kind: i for i, kind in enumerate(KINDS)}
    table = table.sort_values("kind", key=lambda kinds: kinds.map(order), kind="stable", ignore_index=True)
    return Inspection(dataset.name, walks, missing, table, _sentences(table, window=window, usual=_usual(walks["fps"])))


# ------------------------------------------------------------------------------------------------------- frames


def _chunks(frames: np.ndarray) -> Iterator[slice]:
    """Slices of walks with about CHUNK frames each."""
    part = np.cumsum(frames) // CHUNK
    edges = np.flatnonzero(np.diff(part)) + 1
    return (slice(int(a), int(b)) for a, b in zip([0, *edges], [*edges, len(frames)], strict=True))


def _measure(dataset: GaitDataset, rows: slice) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Of some walks: measures (a row a walk), frames without each joint [N, 15], mean bone lengths [N, 14], digests [F]."""
    start, length = (dataset.index[c].to_numpy()[rows] for c in ("start", "frames"))
    first = np.cumsum(length) - length
    if (np.diff(start) == length[:-1]).all():
        pose = np.array(dataset.poses[start[0] : start[0] + length.sum()], dtype=np.float32)
    else:
        pose = dataset.poses[np.arange(length.sum()) + np.repeat(start - first, length)].astype(np.float32)
    present = np.isfinite(pose).all(-1)
    pose[~present] = np.nan
    pose[np.abs(pose) > 1e9] = np.nan
    walk_of = np.repeat(np.arange(len(length)), length)

    def total(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, first, axis=0)

    def mean(values: np.ndarray) -> np.ndarray:
        known = np.isfinite(values)
        count = total(known.astype(np.int64))
        return total(np.where(known, values, 0).astype(np.float64)) / np.where(count, count, np.nan)

    bits = np.where(present[..., None], pose + 0.0, np.float32(-12345.0)).reshape(len(pose), -1).view(np.uint32)
    digest = np.where(present.any(1), (bits.astype(np.uint64) * _ODD).sum(1, dtype=np.uint64), 0)
    begins = np.zeros(len(pose), dtype=bool)
    begins[first] = True
    frozen = ~begins & (digest != 0) & (digest == np.roll(digest, 1))

    a, b = np.array(BONES).T
    bones = mean(np.linalg.norm(pose[:, a] - pose[:, b], axis=-1))
    trunk = bones[:, BONES.index((NECK, MID_HIP))]
    size = np.where(trunk > 0, trunk, np.nan)[walk_of]
    middle = (pose[:, NECK] + pose[:, MID_HIP]) / 2
    step = np.linalg.norm(np.diff(middle, axis=0, prepend=np.nan), axis=-1)
    sides = pose[:, [RIGHT_SHOULDER, RIGHT_HIP], 0] - pose[:, [LEFT_SHOULDER, LEFT_HIP], 0]
    edges = np.zeros(len(pose), dtype=np.int64)
    for right in (_ARM, _LEG):
        d = (pose[:, right] - pose[:, MIRROR[right]]) / size[:, None, None]
        d = np.insert(d, first, np.nan, axis=0)  # between walks
        edges += np.delete(flip_edges(d), first + np.arange(len(first)))
    measures = pd.DataFrame({
        "missing": total(~present).sum(1) / (length * len(JOINTS)),
        "frozen": total(frozen.astype(np.int64)),
        "jumps": total((step > size) & ~begins),
        "flips": total(edges),
        "upright": mean((pose[:, MID_HIP, 1] - pose[:, NECK, 1]) / size),
        "facing": mean(sides.mean(1) / size),
    })  # fmt: skip
    return measures, total((~present).astype(np.int64)), bones, digest


_ARM, _LEG = np.array([3, 4]), np.array([10, 11])
_ODD = np.random.default_rng(0).integers(2**63, size=2 * len(JOINTS), dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def _copies(digests: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Frames equal to an earlier one of the same walk [N], frames shared with another walk [N], and pairs: a, b, frames."""
    walk_of = np.repeat(np.arange(len(length)), length)
    order = np.argsort(digests, kind="stable")
    digest, walk = digests[order], walk_of[order]
    again = np.r_[False, (digest[1:] == digest[:-1]) & (digest[1:] != 0)]
    same_walk = again & (walk == np.r_[-1, walk[:-1]])
    looped = np.bincount(walk[same_walk], minlength=len(length))
    head = np.maximum.accumulate(np.where(again, 0, np.arange(len(digest))))  # the first frame like this one
    elsewhere = again & ~same_walk & (walk[head] != walk)
    pairs = pd.DataFrame({"a": walk[head[elsewhere]], "b": walk[elsewhere]}).value_counts().rename("frames").reset_index()
    pairs = pairs[pairs["frames"] >= COPIED]
    copied = np.zeros(len(length), dtype=np.int64)
    np.maximum.at(copied, pairs[["a", "b"]].to_numpy().T, pairs["frames"].to_numpy())
    return looped, copied, pairs


def _strangers(bones: np.ndarray, index: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """How unlike its person the body of each walk's recording is, and the person it is most like: [N] each; see `inspect`."""
    trunk = BONES.index((NECK, MID_HIP))
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = np.log(bones / bones[:, [trunk]])
    shape = pd.DataFrame(np.where(np.isfinite(shape), shape, np.nan)).drop(columns=trunk)
    shape -= shape.groupby([index["view"], index["condition"]]).transform("median")
    recordings = index.groupby(["subject", "recording"], sort=False)
    body, condition, of = (
        shape.groupby(recordings.ngroup()).mean(),
        recordings["condition"].first().to_numpy(),
        recordings.ngroup(),
    )
    subject = recordings["subject"].first().to_numpy()
    person = body.groupby(subject).median()
    away = (body - person.loc[subject].to_numpy()).abs()
    usual = (1.4826 * away.groupby(condition).transform("median")).clip(lower=0.005)
    score = _distance(away, usual)
    score[(pd.Series(subject).groupby(subject).transform("count") < 3).to_numpy()] = np.nan
    spread = pd.Series(score).groupby(subject).transform("median").clip(lower=1).to_numpy()  # some people are seen badly
    likely = np.full(len(body), "", dtype=object)
    for i in np.flatnonzero(score > STRANGER * spread):
        others = _distance((person - body.iloc[i]).abs(), usual.iloc[i])
        if others.min() < score[i] * 2 / 3:
            likely[i] = person.index[others.argmin()]
    return score[of], likely[of]


def _distance(away: pd.DataFrame, usual: pd.DataFrame | pd.Series) -> np.ndarray:
    """Root mean square over bones; a single bone counts up to ten times the usual."""
    return np.sqrt(((away / usual).clip(upper=10) ** 2).mean(axis=1)).to_numpy(copy=True)


# ----------------------------------------------------------------------------------------------------- findings


def _of_walks(walks: pd.DataFrame, lost: np.ndarray, likely: np.ndarray, window: int) -> Iterator[tuple]:
    usual = _usual(walks["fps"])
    typical = walks.groupby("view")["facing"].transform("median")
    mirrored = (typical * walks["facing"] < 0) & (np.minimum(typical.abs(), walks["facing"].abs()) > TURNED)
    seldom = 4 + walks["frames"] / 25  # edges: two flips, and one more in two seconds
    for kind, rows, say in (
        ("short", walks["frames"] < window, "{frames} frames"),
        ("mostly missing", walks["missing"] > 0.3, "{missing:.0%} of the joints are missing"),
        ("upside down", walks["upright"] < 0, "the neck is {upright:.1f} torso lengths above the hips"),
        ("frozen", walks["frozen"] >= 0.1 * walks["frames"], "{frozen} of {frames} frames are those before"),
        ("looped", walks["looped"] >= COPIED, "{looped} of {frames} frames were there before"),
        ("jumps", walks["jumps"] > 0, "{jumps} times"),
        ("flips", walks["flips"] > seldom, "{flips} times in {frames} frames"),
        ("mirrored", mirrored, "right is {facing:.2f} torso lengths right of left"),
        ("fps", ~np.isclose(walks["fps"], usual) | ~(walks["fps"] > 0), "{fps:g} frames a second"),
    ):
        for row in walks[rows].itertuples():
            yield kind, row.sequence, row.source, say.format(**row._asdict())
    strange = walks.assign(likely=likely)[likely != ""].drop_duplicates(["subject", "recording"])
    for row in strange.itertuples():
        yield "stranger", row.recording, row.source, f"{row.stranger:.1f} times the usual; more like {row.likely}"
    for i, joint in np.argwhere(lost == walks["frames"].to_numpy()[:, None]):
        yield "lost joint", walks["sequence"].iat[i], walks["source"].iat[i], f"no {JOINTS[joint].replace('_', ' ')}"


def _copied(walks: pd.DataFrame, pairs: pd.DataFrame) -> Iterator[tuple]:
    for pair in pairs.itertuples():
        a, b = walks.iloc[pair.a], walks.iloc[pair.b]
        yield "copies", b["sequence"], b["source"], f"{pair.frames} of {b['frames']} frames are those of {a['sequence']}"


def _of_names(walks: pd.DataFrame) -> Iterator[tuple]:
    """Walks that most people have and some have not, names that differ only in writing, people with a single recording."""
    people = walks["subject"].unique()
    cells = pd.MultiIndex.from_frame(walks[["condition", "run", "view"]])
    common = cells.value_counts()
    common = common.index[common >= 0.5 * len(people)].sort_values()
    have = set(zip(walks["subject"], cells, strict=True))
    for subject in sorted(people):
        for condition, run, view in common:
            if (subject, (condition, run, view)) not in have:
                yield "absent", f"{subject}-{condition}-{run:02d}-{view}", "", "most people have this walk"
    for column, key in (("subject", _plain), ("condition", str.lower), ("view", _plain)):
        names = pd.Series(sorted(walks[column].unique()))
        for _, same in names.groupby(names.map(key)):
            if len(same) > 1:
                yield "alike", " ".join(same), "", f"{column} names"
    recordings = walks.groupby("subject")["recording"].nunique()
    for subject in recordings.index[recordings == 1]:
        yield "one recording", subject, "", walks.loc[walks["subject"] == subject, "recording"].iat[0]


def _conditions(walks: pd.DataFrame) -> list[str]:
    return sorted(walks["condition"].unique(), key=(-walks["condition"].value_counts()).to_dict().get)


def _indented(table: pd.DataFrame) -> str:
    if not len(table):
        return "    none"
    return "\n".join(f"    {line}" for line in table.rename_axis(index=None, columns=None).to_string().splitlines())


def _plain(name: str) -> str:
    return str(int(name)) if name.isdecimal() else name.lower()


def _of_protocol(dataset: GaitDataset, protocol: Protocol) -> Iterator[tuple]:
    try:
        split = protocol.split(dataset)
    except InputError as error:
        yield "protocol", protocol.name, "", str(error)
        return
    everyone = sorted(dataset.index["subject"].unique())
    for subject in sorted(set(everyone).difference(*protocol.people(everyone))):
        yield "protocol", subject, "", "this person is in no part of the protocol"
    for part, roles in (("validation", split.validation), ("test", split.test)):
        people = roles.walks.index["subject"]
        for name, rows in (("gallery", roles.gallery), *roles.probes.items()):
            for subject in sorted(set(dataset.index["subject"]) & set(people) - set(people[rows])):
                yield "protocol", subject, "", f"{part} person {subject} has no walk for {name}"


def _usual(fps: pd.Series) -> float:
    return float(fps.mode().iloc[0]) if fps.notna().any() else float("nan")


def _sentences(findings: pd.DataFrame, **facts) -> list[str]:
    """A warning for each kind: what, how many, the first three with their files, and what to do."""
    out = []
    for kind, (what, advice) in KINDS.items():
        found = findings[findings["kind"] == kind].drop_duplicates("sequence")
        if len(found):
            first = [f"{r.sequence} ({'; '.join(filter(None, (r.detail, r.source)))})" for r in found.head(3).itertuples()]
            more = f", and {len(found) - 3} more" if len(found) > 3 else ""
            out.append(f"{what.format(**facts)}, {len(found)}: {', '.join(first)}{more}. {advice}")
    return out
