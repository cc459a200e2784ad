"""Likelihood ratios against the densities themselves, and strangers who are as frequent as it is said."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal

from gaitlib import InputError
from gaitlib.data.dataset import write_dataset
from gaitlib.data.preprocess import cut_windows, mirror, normalize
from gaitlib.data.walkers import make_walkers
from gaitlib.evaluation.identification import (
    FEWEST_PEOPLE,
    SCORE_OF_FEW,
    STRIDE,
    Descriptions,
    Identifier,
    Strangers,
    describe,
    strangers,
)
from gaitlib.model.discriminants import Discriminants
from gaitlib.model.recognizer import GaitModel

STATISTICS = 12


@pytest.fixture(scope="module")
def population():
    """drawn(people, seed): descriptions of people, each with four walks of three windows; and discriminants of others."""
    mixing = np.random.default_rng(0).normal(size=(STATISTICS, STATISTICS))

    def drawn(people: int, seed: int) -> Descriptions:
        rng = np.random.default_rng(seed)
        person = np.repeat(np.arange(people), 4)
        places = 1.5 * rng.normal(size=(people, STATISTICS))[person] + 0.4 * rng.normal(size=(4 * people, STATISTICS))
        windows = np.repeat(places, 3, axis=0) + 0.7 * rng.normal(size=(12 * people, STATISTICS))
        index = pd.DataFrame({"subject": [f"{p:03d}" for p in person], "view": np.tile(["090", "270"], 2 * people)})
        return Descriptions(torch.from_numpy(windows @ mixing).half(), np.repeat(np.arange(len(person)), 3), index)

    train = drawn(200, 1)
    discriminants = Discriminants(STATISTICS, STATISTICS)
    discriminants.fit(train.statistics.float(), pd.factorize(train.index["subject"])[0][train.walk])
    return drawn, discriminants


def rows(described: Descriptions, keep) -> Descriptions:
    return described.chosen(np.array([keep(walk) for walk in described.index.itertuples()]))


def test_scores_are_the_ratio_of_the_two_densities(population):
    drawn, discriminants = population
    known = drawn(6, 2)
    identifier = Identifier(discriminants, known)
    vectors, scores = identifier.vectors(known), identifier.scores(identifier.vectors(known))
    places, enrolled = vectors / identifier.gain, identifier.enrolled / identifier.gain
    between, total = identifier.total - 1, identifier.total
    for i in (0, 7, 20):
        each = []
        for walk in enrolled:
            pair = np.stack([places[i], walk], 1)
            same = sum(multivariate_normal.logpdf(p, cov=[[t, b], [b, t]]) for p, t, b in zip(pair, total, between, strict=True))
            apart = sum(multivariate_normal.logpdf(p, cov=np.eye(2) * t) for p, t in zip(pair, total, strict=True))
            each.append(same - apart)
        expected = np.max(np.reshape(each, (6, 4)), axis=1)
        np.testing.assert_allclose(scores[i], expected, rtol=1e-3, atol=1e-3)
    assert list(identifier.people) == [f"{p:03d}" for p in range(6)]


def test_everybody_is_found_among_the_enrolled_and_order_does_not_matter(population):
    drawn, discriminants = population
    everybody = drawn(30, 3)
    first = np.tile([True, True, False, False], 30)
    known, asked = everybody.chosen(first), everybody.chosen(~first)
    identifier = Identifier(discriminants, known)
    scores = identifier.scores(identifier.vectors(asked))
    assert (identifier.people[scores.argmax(1)] == asked.index["subject"]).mean() > 0.95
    shuffled = np.random.default_rng(0).permutation(len(known.index))
    windows = np.concatenate([np.flatnonzero(known.walk == walk) for walk in shuffled])
    moved = Descriptions(
        known.statistics[windows], np.repeat(np.arange(len(shuffled)), 3), known.index.iloc[shuffled].reset_index(drop=True)
    )
    again = Identifier(discriminants, moved)
    np.testing.assert_allclose(again.scores(again.vectors(asked)), scores, rtol=1e-3, atol=0.02)


def test_as_many_strangers_are_taken_for_somebody_as_is_said(population):
    drawn, discriminants = population
    let_in = {0.01: [], 0.1: []}
    for seed in range(10, 16):
        known, others = drawn(25, seed), drawn(100, 100 + seed)
        near, identifier = strangers(discriminants, known), Identifier(discriminants, known)
        best = identifier.scores(identifier.vectors(others)).max(1)
        for far, shares in let_in.items():
            shares.append((best >= near.score(far)).mean())
            np.testing.assert_array_equal(near.share(best) <= far, best >= near.score(far))
    assert 0.002 < np.mean(let_in[0.01]) < 0.03
    assert 0.06 < np.mean(let_in[0.1]) < 0.15


def test_of_few_people_nothing_is_said_about_strangers(population):
    drawn, discriminants = population
    few = strangers(discriminants, drawn(FEWEST_PEOPLE - 1, 5))
    assert few.people == FEWEST_PEOPLE - 1
    assert np.isnan(few.share(100.0))
    assert few.score(0.01) == SCORE_OF_FEW
    alone = strangers(discriminants, drawn(1, 5))
    assert alone.people == 1
    assert np.isnan(alone.mean)
    enough = strangers(discriminants, drawn(FEWEST_PEOPLE, 5))
    assert 0 < enough.share(enough.score(0.02)) < 0.021


def test_more_people_make_the_same_scores_say_more():
    few, many = Strangers(10, 5, 6), Strangers(10, 5, 200)
    assert many.score(0.01) < few.score(0.01)
    assert many.score(0.01) == pytest.approx(
        10 + 5 * 2.345 * np.sqrt(1 + 1 / 200), abs=0.01
    )  # Student's t of 199 degrees, a table


def test_walks_are_described_window_by_window_and_whichever_way_they_face(tmp_path):
    torch.manual_seed(0)
    model = GaitModel(people=5, window=32, encoder_width=8, recognizer_width=8, embedding=8, discriminants=1.0)
    walks = normalize(write_dataset(tmp_path / "walks", list(make_walkers(1, 3))[:3], name="walks"))
    described = describe(model, walks)
    counts = np.bincount(described.walk)
    assert counts.tolist() == [1 + -(-max(n - 32, 0) // STRIDE) for n in walks.length]
    x = cut_windows(
        torch.from_numpy(walks.frames), torch.tensor([walks.start[1]]), torch.tensor([walks.length[1]]), torch.tensor([0]), 32
    )
    expected = (model.code_statistics(x) + model.code_statistics(mirror(x))) / 2
    torch.testing.assert_close(described.statistics[counts[0]].float(), expected[0], rtol=2e-3, atol=2e-3)


def test_a_model_without_discriminants_is_refused(tmp_path):
    model = GaitModel(people=5, window=32, encoder_width=8, recognizer_width=8, embedding=8)
    walks = normalize(write_dataset(tmp_path / "walks", list(make_walkers(1, 3))[:1], name="walks"))
    with pytest.raises(InputError, match="discriminants of the codes"):
        describe(model, walks)
