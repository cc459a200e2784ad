"""Batches drawn from tables of walks: what must hold in each of them, and what over many."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from gaitlib import InputError
from gaitlib.data.dataset import COLUMNS
from gaitlib.data.sampling import BatchSampler, example_walks

WINDOW = 64


def table(rows):
    """An index and lengths; rows are (subject, condition, run, view, recording, frames)."""
    index = pd.DataFrame([[f"{rec}-{v}", rec, s, c, r, v, 0, n, 25.0, ""] for s, c, r, v, rec, n in rows], columns=COLUMNS)
    return index, index["frames"].to_numpy()


def synchronous():
    """12 people, three conditions, four cameras that start together and end apart, some before a window is over."""
    rng = np.random.default_rng(0)
    runs = [("nm", 1), ("nm", 2), ("bg", 1), ("cl", 1)]
    return table(
        [
            (f"{s:03d}", c, r, v, f"{s:03d}-{c}-{r:02d}", int(rng.integers(30, 160)))
            for s in range(12) for c, r in runs for v in ("000", "036", "090", "126")
        ]
    )  # fmt: skip


def headings():
    """As kgbd-2v: each walk is its own recording, seen from one of two headings."""
    rng = np.random.default_rng(1)
    return table(
        [
            (f"{s:03d}", "walk", r, v, f"{s:03d}-{v}-{r}", int(rng.integers(60, 120)))
            for s in range(9) for r in (1, 2, 3) for v in ("leftward", "rightward")
        ]
    )  # fmt: skip


def one_view():
    return table([(f"{s:03d}", "nm", r, "090", f"{s:03d}-{r}", 80) for s in range(6) for r in (1, 2)])


def with_holes():
    """People who lack cells: some have one view, some one walk, some another condition only."""
    index, _ = synchronous()
    keep = np.random.default_rng(2).random(len(index)) < 0.3
    keep[index.groupby("subject").head(1).index] = True
    keep &= ~((index["subject"] == "003") & (index.groupby("subject").cumcount() > 0))
    keep &= ~((index["subject"] == "004") & (index["view"] != index["view"][index["subject"] == "004"].iloc[0]))
    index = index[keep].reset_index(drop=True)
    return index, index["frames"].to_numpy()


EVERYTHING = pytest.mark.parametrize("data", [synchronous, headings, one_view, with_holes])


def has_other_person(batch):
    return batch.other_person != np.arange(len(batch.other_person))


def sampler_of(data, *, people=5, walks_per_person=4, seed=0, shards=1):
    index, length = data()
    sampler = BatchSampler(
        index, length, window=WINDOW, people=people, walks_per_person=walks_per_person, seed=seed, shards=shards
    )
    return sampler, index, length


@EVERYTHING
def test_what_holds_in_every_batch(data):
    sampler, index, length = sampler_of(data)
    subject, view, recording = (index[c].to_numpy() for c in ("subject", "view", "recording"))
    views_of = index.groupby("subject")["view"].unique()
    for iteration in range(150):
        batch = sampler.batch(iteration)
        pairs = 5 * 4
        assert [len(a) for a in (batch.walk, batch.offset, batch.subject)] == [2 * pairs] * 3
        assert len(batch.other_person) == len(batch.synchronous) == pairs
        anchor, partner = batch.walk[:pairs], batch.walk[pairs:]

        # P people x K walks, all people different; numbers of people follow their sorted names
        assert sampler.names.tolist() == sorted(set(subject))
        np.testing.assert_array_equal(sampler.names[batch.subject], subject[batch.walk])
        by_person = subject[anchor].reshape(5, 4)
        assert (by_person == by_person[:, :1]).all()
        assert len(set(by_person[:, 0])) == 5

        # partners: the same person, from another view where the person has one
        np.testing.assert_array_equal(subject[partner], subject[anchor])
        several = np.array([len(views_of[s]) > 1 for s in subject[anchor]])
        np.testing.assert_array_equal(view[partner] != view[anchor], several)
        together = batch.synchronous
        assert (view[partner] != view[anchor])[together].all()
        assert (recording[partner] == recording[anchor])[together].all()

        # windows lie within their walks; synchronous ones show the same frames
        offset, own = batch.offset[:pairs], batch.offset[pairs:]
        assert (batch.offset >= 0).all()
        assert (batch.offset + np.minimum(WINDOW, length[batch.walk]) <= length[batch.walk]).all()
        np.testing.assert_array_equal(offset[together], own[together])
        for n, a, b, o in zip(together, anchor, partner, offset, strict=True):
            if n:
                np.testing.assert_array_equal(
                    (o + np.arange(WINDOW)) % length[a], (o + np.arange(WINDOW)) % length[b], "looped apart"
                )

        # x_i: another person in the anchor's view
        has = has_other_person(batch)
        np.testing.assert_array_equal(batch.other_person[~has], np.arange(pairs)[~has])
        other = anchor[batch.other_person]
        assert (subject[other] != subject[anchor])[has].all()
        assert (view[other] == view[anchor])[has].all()
        if data is not with_holes:
            assert has.all()


def test_recorded_together_means_paired_together():
    """Of two cameras that both saw a whole window, each is the other's synchronous partner."""
    index, _ = synchronous()
    length = np.full(len(index), 100)
    sampler = BatchSampler(index, length, window=WINDOW, people=5, walks_per_person=4, seed=0)
    offsets = []
    for i in range(50):
        batch = sampler.batch(i)
        assert batch.synchronous.all()
        offsets.extend(batch.offset[:20])
    assert set(offsets) == set(range(37))  # every place a window fits, and no other


def test_nothing_is_synchronous_where_nothing_was_recorded_together():
    for data in (headings, one_view):
        assert not any(sampler_of(data)[0].batch(i).synchronous.any() for i in range(20))


def test_partners_without_synchronous_views_have_offsets_of_their_own():
    sampler, _, _ = sampler_of(headings)
    offsets = np.array([sampler.batch(i).offset.reshape(2, -1) for i in range(20)])
    assert (offsets[:, 0] != offsets[:, 1]).mean() > 0.8


@EVERYTHING
def test_a_batch_depends_on_seed_and_iteration_alone(data):
    def walks(iteration, **more):
        batch = sampler_of(data, **more)[0].batch(iteration)
        return [*batch.walk, *batch.offset, *batch.other_person]

    used, _, _ = sampler_of(data)
    for i in range(5):
        used.batch(i)
    batch = used.batch(7)
    assert walks(7) == [*batch.walk, *batch.offset, *batch.other_person]
    assert walks(7) != walks(8)
    assert walks(7) != walks(7, seed=1)


@EVERYTHING
@pytest.mark.parametrize("shards", [2, 4])
def test_processes_share_a_batch(data, shards):
    sampler, _, _ = sampler_of(data, people=4, shards=shards)
    whole, alone = sampler.batch(3), sampler_of(data, people=4)[0].batch(3)
    for name in ("walk", "offset", "mirrored", "synchronous", "subject"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(alone, name))  # the same, however many share it
    parts = [whole.shard(rank, shards) for rank in range(shards)]
    count = len(whole.mirrored) // shards
    for rank, part in enumerate(parts):
        assert len(part.walk) == len(part.subject) == 2 * count
        rows = np.arange(rank, len(whole.mirrored), shards)
        np.testing.assert_array_equal(part.walk[:count], whole.walk[rows])
        np.testing.assert_array_equal(part.walk[count:], whole.walk[rows + len(whole.mirrored)])
        assert (part.other_person < count).all()  # nobody is needed whom another process has
        np.testing.assert_array_equal(part.walk[part.other_person], whole.walk[whole.other_person[rows]])
        np.testing.assert_array_equal(has_other_person(part), has_other_person(whole)[rows])


def test_fixed_partners_are_shared_too():
    index, length = synchronous()
    sampler = BatchSampler(index, length, window=WINDOW, people=5, walks_per_person=4, seed=0, shards=2, partners="fixed")
    whole = sampler.batch(0)
    for rank in (0, 1):
        part = whole.shard(rank, 2)
        np.testing.assert_array_equal(part.walk[part.other_person], whole.walk[whole.other_person[rank::2]])
        np.testing.assert_array_equal(part.walk[:10], whole.walk[rank:20:2])
        assert len(part.subject) == 10


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    with pytest.raises(InputError, match="5 people x 3 walks cannot be shared evenly by 2 processes"):
        sampler_of(synchronous, walks_per_person=3, shards=2)


def test_partners_are_mirrored_alike():
    index, length = sampler_of(synchronous)[1:]
    sampler = BatchSampler(index, length, window=WINDOW, people=5, walks_per_person=4, seed=0, mirror=0.3)
    mirrored, partners = [], 0
    for i in range(200):
        batch = sampler.batch(i)
        np.testing.assert_array_equal(batch.mirrored[batch.other_person], batch.mirrored)
        mirrored.append(batch.mirrored)
        partners += has_other_person(batch).sum()
    assert abs(np.mean(mirrored) - 0.3) < 0.04
    assert 0.9 < partners / (200 * 20) < 1  # somebody may be the only one who is mirrored in a view
    assert not sampler_of(synchronous)[0].batch(0).mirrored.any()


@EVERYTHING
def test_fixed_partners_are_drawn_once(data):
    """As released: x_v is any walk of the person in another view, x_i anybody else's in this view; zeros where there is none."""
    index, length = data()
    subject, view = index["subject"].to_numpy(), index["view"].to_numpy()

    def sampler(seed=0):
        return BatchSampler(index, length, window=WINDOW, people=5, walks_per_person=4, seed=seed, partners="fixed")

    partners: dict[int, set] = {}
    for used in (sampler(), sampler()):
        for iteration in range(40):
            batch = used.batch(iteration)
            x, x_v, x_i = batch.walk.reshape(3, 20)
            for of_x in np.stack([x, x_v, x_i], 1).tolist():
                partners.setdefault(of_x[0], set()).add(tuple(of_x[1:]))
            np.testing.assert_array_equal(used.names[batch.subject], subject[x])
            np.testing.assert_array_equal(batch.walk[batch.other_person], x_i)
            assert has_other_person(batch).all()  # zeros count as somebody
            assert not batch.synchronous.any()
            assert (batch.offset >= 0).all()
            there = batch.walk >= 0
            assert (batch.offset + np.minimum(WINDOW, length[batch.walk]) <= length[batch.walk])[there].all()
    assert {len(found) for found in partners.values()} == {1}
    for x, ((x_v, x_i),) in partners.items():
        others = np.flatnonzero((view == view[x]) & (subject != subject[x]))
        assert x_i in others if len(others) else x_i == -1
        same = np.flatnonzero((view != view[x]) & (subject == subject[x]))
        assert x_v in same if len(same) else x_v == -1
    again, other = sampler().batch(0), sampler(seed=1).batch(0)
    np.testing.assert_array_equal(again.walk, sampler().batch(0).walk)
    if data is not one_view:
        assert {(a, b) for a, b in other.walk[:40].reshape(2, 20).T.tolist()} - {
            (x, v) for x, s in partners.items() for v, _ in s
        }


def test_fixed_partners_are_drawn_evenly_and_mostly_from_another_recording():
    index, length = synchronous()
    recording = index["recording"].to_numpy()
    seen, elsewhere = Counter(), []
    for seed in range(100):
        sampler = BatchSampler(index, length, window=WINDOW, people=2, walks_per_person=1, seed=seed, partners="fixed")
        x_v, x_i = sampler.fixed
        elsewhere.append((recording[x_v] != recording).mean())
        seen.update(x_i[index["view"] == "036"].tolist())
    assert 0.7 < np.mean(elsewhere) < 0.8  # one of a person's four recordings is the walk's own
    assert len(seen) == 48  # every walk in that view
    assert max(abs(n - 100) for n in seen.values()) < 4.5 * 10


def test_cells_are_drawn_evenly():
    """Condition nm has twice the walks of bg and cl, and yet no more of the anchors."""
    sampler, index, _ = sampler_of(synchronous, walks_per_person=4)
    cells = index["view"] + "/" + index["condition"]
    counts, people = Counter(), Counter()
    for iteration in range(600):
        batch = sampler.batch(iteration)
        drawn = cells.to_numpy()[batch.walk[:20]].reshape(5, 4)
        assert (drawn == drawn[0]).all()  # the same cells for everybody
        assert len(set(drawn[0])) == 4
        counts.update(drawn[0])
        people.update(batch.subject[:20:4].tolist())
    assert len(counts) == 12
    for name, number, expected in [("cell", counts, 600 * 4 / 12), ("person", people, 600 * 5 / 12)]:
        worst = max(abs(n - expected) for n in number.values())
        assert worst < 4.5 * np.sqrt(expected), name


def test_people_have_cells_of_their_own_where_nobody_is_compared_with_another():
    index, length = synchronous()
    alike, own = (
        BatchSampler(index, length, window=WINDOW, people=5, walks_per_person=3, seed=0, alike=alike) for alike in (True, False)
    )
    cell = (index["view"] + "/" + index["condition"]).to_numpy()
    shared, drawn = (cell[sampler.batch(3).walk[:15]].reshape(5, 3) for sampler in (alike, own))
    assert (shared == shared[0]).all()
    assert len({tuple(row) for row in drawn}) == 5
    assert all(len(set(row)) == 3 for row in drawn)
    counts = Counter(cell[np.concatenate([own.batch(i).walk[:15] for i in range(300)])])
    assert len(counts) == 12
    assert max(counts.values()) / min(counts.values()) < 1.3


def test_more_walks_than_cells_repeat_them():
    sampler, index, _ = sampler_of(headings, walks_per_person=5)
    batch = sampler.batch(0)
    counts = Counter(index["view"].to_numpy()[batch.walk[:5]])
    assert sorted(counts.values()) == [2, 3]


def test_other_views_are_drawn_evenly():
    rows = [("a", "nm", r, v, f"a{v}{r}", 80) for v, runs in [("0", 1), ("1", 1), ("2", 9)] for r in range(runs)]
    rows += [("b", "nm", 1, "0", "b0", 80)]
    sampler = BatchSampler(*table(rows), window=WINDOW, people=2, walks_per_person=3, seed=0)
    seen = Counter()
    for i in range(600):
        batch = sampler.batch(i)
        seen.update(rows[p][3] for a, p in batch.walk.reshape(2, -1).T if rows[a][0] == "a" and rows[a][3] == "0")
    assert abs(seen["1"] - seen["2"]) < 5 * np.sqrt(seen.total())
    assert seen["0"] == 0


def test_who_has_one_walk_is_paired_with_it():
    index, length = table([("a", "nm", 1, "0", "a", 80), ("b", "nm", 1, "90", "b", 40)])
    batch = BatchSampler(index, length, window=WINDOW, people=2, walks_per_person=2, seed=0).batch(0)
    np.testing.assert_array_equal(batch.walk[:4], batch.walk[4:])
    assert not batch.synchronous.any()
    assert not has_other_person(batch).any()


def test_a_small_group_makes_small_batches():
    sampler, _, _ = sampler_of(one_view, people=50)
    assert sampler.people == 6
    assert len(sampler.batch(0).walk) == 2 * 6 * 4


def test_the_same_recording_name_of_two_people_is_two_recordings():
    rows = [(s, "nm", 1, v, "monday", 80) for s in "abc" for v in ("0", "90")]
    index, length = table(rows)
    sampler = BatchSampler(index, length, window=WINDOW, people=3, walks_per_person=2, seed=0)
    for i in range(20):
        batch = sampler.batch(i)
        subject = index["subject"].to_numpy()[batch.walk].reshape(2, -1)
        np.testing.assert_array_equal(*subject)
        assert batch.synchronous.all()


def test_walks_to_look_at():
    rows = [
        ("a", "nm", 1, "0", "a1", 80),  # never seen from 90
        ("b", "nm", 1, "0", "b1", 80),  # seen from 90 in another recording
        ("b", "nm", 2, "90", "b2", 80),
        ("c", "nm", 1, "90", "c1", 80),
        ("c", "nm", 1, "0", "c1", 80),
    ]
    assert example_walks(table(rows)[0], "0", "90") == (4, 3, 0, 2)
    assert example_walks(table(rows[:4])[0], "0", "90") == (1, 2, 0, 3)
    for asked in (("36", "90"), ("0", "0"), ("0", "36")):  # there are none: the first two views that have them
        assert example_walks(table(rows)[0], *asked) == (4, 3, 0, 2)
    assert example_walks(table(rows)[0], "90", "0") == (3, 4, 2, 0)
    with pytest.raises(InputError, match="two people each, at least one of them in both; no two views of 0, 90 do"):
        example_walks(table(rows[:3])[0], "0", "90")  # nobody else is seen from 90
    with pytest.raises(InputError, match="no two views of 0, 90 do"):
        example_walks(table([rows[0], rows[1], rows[3], ("d", "nm", 1, "90", "d1", 80)])[0], "0", "90")  # nobody from both


def test_walks_of_a_recording_name_that_two_people_share():
    rows = [("a", "nm", 1, "0", "m", 80), ("a", "nm", 2, "90", "n", 80), ("b", "nm", 1, "0", "k", 80),
            ("b", "nm", 1, "90", "k", 80), ("c", "nm", 1, "90", "m", 80)]  # fmt: skip
    assert example_walks(table(rows)[0], "0", "90") == (2, 3, 0, 1)
