"""Intervals against closed forms, coverage and refusals."""

import math

import numpy as np
import pytest

from ndecore.errors import InputError
from reports.statistics import difference_interval, mean_interval, ratio_interval


def test_the_interval_of_a_mean_uses_students_quantile():
    interval = mean_interval([1.0, 2.0, 3.0])
    half = 4.302652729749 / math.sqrt(3.0)  # t quantile of 2 degrees of freedom at 0.975; standard deviation 1
    assert (interval.mean, interval.n, interval.confidence) == (2.0, 3, 0.95)
    assert (interval.low, interval.high) == pytest.approx((2.0 - half, 2.0 + half), rel=1e-10)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    """2,000 samples of five: the covered share is within 4 standard errors (alpha 6e-5) of 0.9; the seed is fixed."""
    samples = np.random.default_rng(3).normal(5.0, 2.0, size=(2000, 5))
    intervals = [mean_interval(sample.tolist(), confidence=0.9) for sample in samples]
    share = np.mean([interval.low <= 5.0 <= interval.high for interval in intervals])
    assert share == pytest.approx(0.9, abs=4.0 * math.sqrt(0.9 * 0.1 / 2000))


def test_one_value_has_a_mean_and_no_bounds():
    interval = mean_interval([4.0])
    assert (interval.mean, interval.n) == (4.0, 1)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_a_ratio_is_a_geometric_mean_and_turns_over_with_its_sides():
    ratio = ratio_interval([26.0, 32.0, 26.0], [44.0, 50.0, 38.0])
    inverse = ratio_interval([44.0, 50.0, 38.0], [26.0, 32.0, 26.0])
    assert ratio.mean == pytest.approx((26 / 44 * 32 / 50 * 26 / 38) ** (1 / 3), rel=1e-12)
    assert (inverse.mean, inverse.low) == pytest.approx((1 / ratio.mean, 1 / ratio.high), rel=1e-12)


def test_halved_and_doubled_average_to_no_change():
    assert ratio_interval([1.0, 4.0], [2.0, 2.0]).mean == pytest.approx(1.0, rel=1e-12)


def test_a_paired_difference_does_not_see_what_the_pairs_share():
    shared = np.array([0.1, 0.5, 0.9])
    difference = difference_interval((shared + 0.02).tolist(), shared.tolist())
    assert (difference.mean, difference.low, difference.high) == pytest.approx((0.02, 0.02, 0.02), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([]), r"values: got \[\]"),
        (lambda: mean_interval([1.0, math.nan]), "one finite number or more"),
        (lambda: mean_interval([1.0, 2.0], confidence=95.0), "confidence: got 95.0"),
        (lambda: ratio_interval([1.0, 0.0], [1.0, 1.0]), "ratio: got 0; allowed are positive values"),
        (lambda: ratio_interval([1.0], [-2.0]), "ratio: got -2"),
        (lambda: difference_interval([1.0, 2.0], [1.0]), "got 2 values, 1 of the baseline"),
    ],
)
def test_what_has_no_interval_is_refused_with_a_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
