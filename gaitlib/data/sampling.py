"""Training batches as index arrays: people-balanced anchors, partners in another view, and other people in the same view."""

from itertools import permutations
from typing import NamedTuple

import numpy as np
import pandas as pd

from gaitlib import InputError
from gaitlib.data.views import sorted_views


class Batch(NamedTuple):
    """B anchors x and their partners, as walk numbers and offsets of windows in them.

    walk: int64 [2B], the anchors x, then their partners x_v (same person, another view); with fixed partners [3B], also x_i
        (another person, same view). -1: there is none, and the window is all zeros.
    offset: int64, of the same length, the first frame of each window, counted from the walk's start.
    mirrored: bool [B], whether x, x_v and x_i are to be mirrored; a view and its mirror image are two views.
    other_person: int64 [B], the row of the batch that serves as x_i: an anchor of another person in this anchor's view, mirrored
        alike; the row itself if the batch has none. With fixed partners, one of the last B rows.
    synchronous: bool [B], whether x and x_v show the same moment, frame by frame.
    subject: int64, the person numbers of the first rows, which the recognizer learns: [2B], with fixed partners [B].
    """

    walk: np.ndarray
    offset: np.ndarray
    mirrored: np.ndarray
    other_person: np.ndarray
    synchronous: np.ndarray
    subject: np.ndarray

    def shard(self, rank: int, shards: int) -> "Batch":
        """One process's part of a batch that was drawn for `shards` processes: every `shards`-th row from `rank` on."""
        mine = Batch(*(rows[rank::shards] for rows in self))
        return mine._replace(other_person=mine.other_person // shards)


class _Groups:
    """The members of numbered groups in one array, to draw from many groups at once."""

    def __init__(self, group: np.ndarray, groups: int):
        self.members = np.argsort(group, kind="stable")
        self.count = np.bincount(group, minlength=groups)
        self.first = np.cumsum(self.count) - self.count
        self.rank = np.empty(len(group), np.int64)
        self.rank[self.members] = np.arange(len(group)) - np.repeat(self.first, self.count)

    def draw(self, groups: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """One member of each of the groups; empty groups give an arbitrary one. chance: a random number 0..1 for each."""
        pick = (chance * self.count[groups]).astype(np.int64)
        return self.members[np.minimum(self.first[groups] + pick, len(self.members) - 1)]

    def draw_other(self, groups: np.ndarray, member: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """One member of each group other than the given one, if there is another; else the given one."""
        others = self.count[groups] - 1
        pick = (chance * others).astype(np.int64)
        pick += pick >= self.rank[member]
        return np.where(others > 0, self.members[np.minimum(self.first[groups] + pick, len(self.members) - 1)], member)


class BatchSampler:
    """Draw batches of `people` x `walks_per_person` anchors, each with a partner in another view.

    Cells (view and condition) are drawn evenly, so that rare conditions are well represented.

    index: the table of the training walks; length: int64 [N], frames of each; window: frames of a window; mirror: the chance that
    an anchor and its partner are mirrored; partners: "synchronous" if possible, or "fixed" (as released): x_v and x_i of
    each walk are drawn once from any recording, and are zeros if there is none. alike: all people of a batch are seen in the
    same cells, so that each anchor finds another person in its view within the batch; otherwise each person has their own cells.
    shards: how many processes share a batch, each taking every shards-th row; x_i is then drawn within the anchor's shard.
    `batch(i)` depends only on (seed, i), x_i also on the shards. Raises InputError if a batch cannot be shared evenly.
    """

    def __init__(self, index: pd.DataFrame, length: np.ndarray, *, window: int, people: int, walks_per_person: int, seed: int,
                 mirror: float = 0.0, shards: int = 1, partners: str = "synchronous", alike: bool = True):  # fmt: skip
        self.length, self.window, self.seed, self.shards, self.mirror = length, window, seed, shards, mirror
        self.alike = alike
        self.subject, self.names = pd.factorize(index["subject"], sort=True)
        self.people, self.walks_per_person = min(people, len(self.names)), walks_per_person
        if self.people * walks_per_person % shards:
            raise InputError(
                f"A batch of {self.people} people x {walks_per_person} walks cannot be shared evenly by {shards} processes; "
                "change training.people or training.walks_per_person."
            )
        self.view, views = pd.factorize(index["view"], sort=True)
        cell, cells = pd.factorize(index["view"] + "/" + index["condition"], sort=True)
        self.cells = len(cells)
        self.in_cell = _Groups(self.subject * self.cells + cell, len(self.names) * self.cells)
        self.of_subject = _Groups(self.subject, len(self.names))
        self.recording, recordings = pd.factorize(index["subject"] + "/" + index["recording"])
        self.of_recording = _Groups(self.recording, len(recordings))
        # the partner of an unsynchronized walk: the same person in another view
        self.in_view = _Groups(self.subject * len(views) + self.view, len(self.names) * len(views))
        self.views_of_subject = self.in_view.count.reshape(len(self.names), len(views))
        self.fixed = self._fixed_partners() if partners == "fixed" else None

    def batch(self, iteration: int) -> Batch:
        """The batch of an iteration, for all processes."""
        rng = np.random.default_rng([self.seed, iteration])
        people = rng.choice(len(self.names), self.people, replace=False)
        repeats = -(-self.walks_per_person // self.cells)
        cells = [
            np.concatenate([rng.permutation(self.cells) for _ in range(repeats)])[: self.walks_per_person]
            for _ in range(1 if self.alike else self.people)
        ]
        subject = np.repeat(people, self.walks_per_person)
        group = subject * self.cells + np.resize(cells, len(subject))  # if alike, everybody has the same cells
        anchor = self.in_cell.draw(group, rng.random(len(group)))
        missing = self.in_cell.count[group] == 0
        anchor = np.where(missing, self.of_subject.draw(subject, rng.random(len(subject))), anchor)

        if self.fixed is not None:
            return self._with_fixed_partners(anchor, rng)
        partner, offset, partner_offset, synchronous = self.pairs(anchor, rng)
        row = np.arange(len(anchor))
        mirrored = rng.random(len(anchor)) < self.mirror
        slot = row % self.walks_per_person  # the same slot of another person has the same cell
        group = (2 * slot + mirrored) * self.shards + row % self.shards
        alike = _Groups(group, 2 * self.walks_per_person * self.shards)
        other = alike.draw_other(group, row, rng.random(len(row)))
        fits = self.view[anchor[other]] == self.view[anchor]
        return Batch(
            walk=np.concatenate([anchor, partner]),
            offset=np.concatenate([offset, partner_offset]),
            mirrored=mirrored,
            other_person=np.where(fits, other, row),
            synchronous=synchronous,
            subject=np.concatenate([subject, subject]),
        )

    def pairs(self, anchor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """A partner for each anchor, the offsets of the windows of both, and whether they are synchronous; int64 [B] each."""
        partner = self.of_recording.draw_other(self.recording[anchor], anchor, rng.random(len(anchor)))
        synchronous = self.view[partner] != self.view[anchor]
        # walks that are looped to fill a window stay synchronous only if they are equally long
        a, b = self.length[anchor], self.length[partner]
        synchronous &= (np.minimum(a, b) >= self.window) | (a == b)
        chances = rng.random((len(anchor), self.views_of_subject.shape[1])), rng.random(len(anchor)), rng.random(len(anchor))
        if not synchronous.all():
            rest = np.flatnonzero(~synchronous)
            partner[rest] = self._other_view(anchor[rest], *(chance[rest] for chance in chances))
        room = np.maximum(self.length - self.window, 0)
        shared = np.where(synchronous, np.minimum(room[anchor], room[partner]), room[anchor])
        offset = (rng.random(len(anchor)) * (shared + 1)).astype(np.int64)
        own = (rng.random(len(anchor)) * (room[partner] + 1)).astype(np.int64)
        return partner, offset, np.where(synchronous, offset, own), synchronous

    def _fixed_partners(self) -> np.ndarray:
        """x_v and x_i of every walk, int64 [2, N]; -1 if the person has no other view, or the view no other person."""
        rng = np.random.default_rng(self.seed)  # the same in every batch
        walks, views = np.arange(len(self.view)), self.views_of_subject.shape[1]
        x_v = self._other_view(walks, rng.random((len(walks), views)), rng.random(len(walks)), rng.random(len(walks)))
        x_v = np.where(self.view[x_v] != self.view, x_v, -1)
        # walks by view, and within a view by person: a draw beyond the person's own block skips that block
        own = self.view * len(self.names) + self.subject
        cells = _Groups(own, views * len(self.names))
        first = cells.first[self.view * len(self.names)]
        others = np.bincount(self.view)[self.view] - cells.count[own]
        pick = first + (rng.random(len(walks)) * others).astype(np.int64)
        pick += np.where(pick >= cells.first[own], cells.count[own], 0)
        x_i = np.where(others > 0, cells.members[np.minimum(pick, len(walks) - 1)], -1)
        return np.stack([x_v, x_i])

    def _with_fixed_partners(self, anchor: np.ndarray, rng: np.random.Generator) -> Batch:
        """The batch of these anchors with fixed partners; every window has its own offset."""
        count = len(anchor)
        walk = np.concatenate([anchor, *self.fixed[:, anchor]])
        room = np.maximum(self.length[walk] - self.window, 0)
        return Batch(
            walk=walk,
            offset=(rng.random(3 * count) * (room + 1)).astype(np.int64),
            mirrored=rng.random(count) < self.mirror,
            other_person=np.arange(2 * count, 3 * count),
            synchronous=np.zeros(count, bool),
            subject=self.subject[anchor],
        )

    def _other_view(self, anchor: np.ndarray, for_view: np.ndarray, for_walk: np.ndarray, for_any: np.ndarray) -> np.ndarray:
        """A walk of the same person in another view, drawn evenly over views; any other walk if there is only one view.

        Random numbers 0..1: for_view [B, views], for_walk and for_any [B].
        """
        subject = self.subject[anchor]
        weight = for_view * (self.views_of_subject[subject] > 0)
        weight[np.arange(len(anchor)), self.view[anchor]] = 0
        view = weight.argmax(1)
        other = self.in_view.draw(subject * self.views_of_subject.shape[1] + view, for_walk)
        return np.where(weight.max(1) > 0, other, self.of_subject.draw_other(subject, anchor, for_any))


def example_walks(index: pd.DataFrame, view: str, other_view: str) -> tuple[int, int, int, int]:
    """Four example walks: x, x_v (the same recording, or else the same person, in other_view), x_i (another person, view), and
    another person in other_view, whose view code x can be given.

    index: a data set's table. If these views have no such walks, those of the first two views that do. Returns the row numbers
    of the first that fit. Raises InputError if no two views have them.
    """
    people = {name: set(walks) for name, walks in index.groupby("view")["subject"]}
    for here, there in [(view, other_view), *permutations(sorted_views(people), 2)]:
        seen_here, seen_there = people.get(here, set()), people.get(there, set())
        if here != there and min(len(seen_here), len(seen_there)) > 1 and seen_here & seen_there:
            break
    else:
        raise InputError(
            "The pictures need two views with two people each, at least one of them in both; no two views of "
            f"{', '.join(sorted_views(people))} do."
        )
    here, there = index[index["view"] == here], index[index["view"] == there]
    both = here[here["subject"].isin(seen_there)]
    seen = there["subject"] + "/" + there["recording"]
    synchronous = both[(both["subject"] + "/" + both["recording"]).isin(seen)]
    x = (synchronous if len(synchronous) else both).index[0]
    same = there[there["subject"] == index["subject"][x]]
    twin = same[same["recording"] == index["recording"][x]]
    x_v = (twin if len(twin) else same).index[0]
    x_i, other = (some[some["subject"] != index["subject"][x]].index[0] for some in (here, there))
    return int(x), int(x_v), int(x_i), int(other)
