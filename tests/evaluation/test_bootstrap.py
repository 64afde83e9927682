"""The bootstrap: what an interval covers, whom it resamples, pairs, and Holm's correction."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossview.evaluation import bootstrap
from crossview.evaluation.bootstrap import holm, interval, mean_of_means, paired, resample

RNG = np.random.default_rng(0)


def names(count):
    return [f"p{index}" for index in range(count)]


def test_mean_is_over_cases_then_over_columns():
    values = np.array([[0.0, 1.0], [0.5, np.nan], [1.0, np.nan]])
    assert mean_of_means(values) == pytest.approx(0.75)  # not the mean 0.625 of all four numbers
    assert np.isnan(mean_of_means(np.full((2, 1), np.nan)))


def test_interval_is_about_two_standard_errors():
    values = RNG.normal(0.8, 0.1, (200, 1))
    low, high = interval(values, names(200))
    error = values.std() / np.sqrt(200)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    covered = 0
    for _ in range(40):
        low, high = interval(RNG.normal(0, 1, (40, 1)), names(40))
        covered += low <= 0 <= high
    assert covered >= 33


def test_the_same_on_every_call():
    values = RNG.random((20, 3))
    assert interval(values, names(20)) == interval(values, names(20))


def test_patients_are_resampled_and_not_cases():
    """Ten copies of a patient's case tell nothing new."""
    values = RNG.random((12, 1))
    once = interval(values, names(12))
    tenfold = interval(
        np.repeat(values, 10, axis=0), [name for name in names(12) for _ in range(10)]
    )
    alone = interval(np.repeat(values, 10, axis=0), names(120))
    assert tenfold == pytest.approx(once)
    assert alone[1] - alone[0] < 0.5 * (once[1] - once[0])


def test_matches_a_plain_bootstrap_over_patients():
    values, patients = RNG.random((30, 2)), [f"p{index // 3}" for index in range(30)]
    values[3:6, 1] = np.nan
    drawn = RNG.integers(0, 10, (4000, 10))
    cases = (3 * drawn[:, :, None] + np.arange(3)).reshape(4000, 30)
    plain = [np.nanmean(values[rows], axis=0).mean() for rows in cases]
    np.testing.assert_allclose(
        interval(values, patients), np.percentile(plain, [2.5, 97.5]), atol=0.01
    )


def test_columns_of_one_table_share_their_resamples():
    values = RNG.random((15, 4))
    together = resample(values, names(15))
    assert together.interval([2]) == pytest.approx(interval(values[:, [2]], names(15)), rel=1e-12)
    assert together.interval([0, 3]) == pytest.approx(
        interval(values[:, [0, 3]], names(15)), rel=1e-12
    )
    assert together.means.shape == (bootstrap.RESAMPLES, 4)


def test_too_few_patients_have_no_interval():
    assert interval(np.array([[0.5]]), ["a"]) is None
    assert interval(np.array([[0.5], [0.9]]), ["a", "a"]) is None
    assert interval(np.array([[0.5], [np.nan]]), ["a", "b"]) is None
    assert interval(np.array([[0.5], [0.9]]), ["a", "b"]) == (0.5, 0.9)


def test_values_that_do_not_count_leave_the_interval_finite():
    values = np.full((20, 1), np.nan)
    values[:2] = [[0.2], [0.4]]
    assert interval(values, names(20)) == pytest.approx((0.2, 0.4))


@pytest.mark.filterwarnings("error")
def test_nothing_warns():
    assert interval(np.full((3, 2), np.nan), names(3)) is None
    interval(np.array([[np.nan, 1.0], [np.nan, 0.5], [0.1, np.nan]]), names(3))


def test_paired_sees_a_difference_that_the_spread_hides():
    cases = RNG.normal(0.8, 0.1, (20, 1))
    better = cases + 0.01 + RNG.normal(0, 0.005, (20, 1))
    found = paired([better], [cases], names(20))
    assert found.mean == pytest.approx((better - cases).mean())
    assert 0 < found.low < found.mean < found.high
    assert found.p < 0.01
    mirrored = paired([cases], [better], names(20))
    assert (mirrored.mean, mirrored.low, mirrored.high, mirrored.p) == pytest.approx(
        (-found.mean, -found.high, -found.low, found.p)
    )


def test_paired_without_a_difference():
    found = paired([np.full((5, 1), 0.7)], [np.full((5, 1), 0.7)], names(5))
    assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_paired_counts_what_both_have():
    ours, theirs = np.array([[0.9], [0.8], [np.nan]]), np.array([[0.5], [0.6], [0.1]])
    assert paired([ours], [theirs], names(3)).mean == pytest.approx(0.3)
    with pytest.raises(ValueError, match="shape"):
        paired([ours], [theirs[:2]], names(3))


def seeds_of(generator, count, seed_sd, cases=40):
    """Runs of one method on the same cases: a shift a seed, and noise a case."""
    return [
        0.8 + generator.normal(0, seed_sd) + generator.normal(0, 0.01, (cases, 1))
        for _ in range(count)
    ]


@pytest.mark.parametrize("seeds", [2, 3])
def test_seeds_of_one_method_are_seldom_called_different(monkeypatch, seeds):
    """If seeds differ more than patients, a bootstrap over patients alone finds differences that
    do not exist, most of the time.
    """
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)
    generator, rounds = np.random.default_rng(1), 60
    pairs = [
        (seeds_of(generator, seeds, 0.01), seeds_of(generator, seeds, 0.01)) for _ in range(rounds)
    ]
    found = sum(paired(ours, theirs, names(40)).p < 0.05 for ours, theirs in pairs)
    alone = sum(
        paired([np.mean(ours, axis=0)], [np.mean(theirs, axis=0)], names(40)).p < 0.05
        for ours, theirs in pairs
    )
    assert found <= 0.1 * rounds < 0.4 * rounds < alone


def test_seeds_that_agree_leave_the_interval_to_the_patients():
    cases = RNG.normal(0.8, 0.1, (30, 1))
    better = cases + RNG.normal(0.02, 0.02, (30, 1))
    one, three = paired([better], [cases], names(30)), paired([better] * 3, [cases] * 3, names(30))
    assert astuple(three) == pytest.approx(astuple(one))


def test_holm_of_a_textbook_row():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.2]) == [0.2]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_never_exceeds_one_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    assert all(after >= before for after, before in zip(adjusted, p_values, strict=True))
    assert max(adjusted) <= 1
    assert [adjusted[index] for index in np.argsort(p_values, kind="stable")] == sorted(adjusted)
    assert min(adjusted) == pytest.approx(min(1, min(p_values) * len(p_values)))
