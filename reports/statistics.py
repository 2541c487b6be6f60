"""What repeated runs say: means, ratios and differences over seeds, with Student's t intervals, two-sided.

All take `confidence` = 1 - alpha, dimensionless, 0.95 unless told: over many experiments that share of the
intervals holds the true value, if the values (for ratios: their logarithms) are normal and independent
between seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit  # scipy.stats takes a second to import

from ndecore.errors import InputError


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval, in the unit of what was estimated; NaN bounds if n is 1."""

    mean: float
    low: float
    high: float
    n: int  # values, or pairs of values, behind it
    confidence: float  # dimensionless, 1 - alpha


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean of independent values.

    mean +- t_{n-1, 1 - alpha/2} s / sqrt(n), s the standard deviation with n - 1

    Args:
        values: one per seed, any unit.
        confidence: 1 - alpha, dimensionless.

    Returns:
        In the unit of the values; with one value the bounds are NaN: one run says nothing of its spread.

    Raises:
        InputError: no values, one that is not finite, or a confidence outside (0, 1).

    Reference: Student, "The probable error of a mean", Biometrika 6(1), 1908.
    """
    sample = _sample("values", values)
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence: got {confidence}; allowed is a number between 0 and 1, as 0.95.")
    mean, n = float(sample.mean()), sample.size
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1, confidence)
    quantile = float(stdtrit(n - 1, (1.0 + confidence) / 2.0))
    half = quantile * float(sample.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, confidence)


def ratio_interval(values: Sequence[float], baseline: Sequence[float], confidence: float = 0.95) -> Interval:
    """The geometric mean ratio of paired values, as of one seed with and without a penalty.

    exp of the `mean_interval` of log(values_i / baseline_i)

    The geometric mean, because a cost halved and a cost doubled should average to no change, whichever is the
    baseline.

    Args:
        values: one per seed, any unit, positive.
        baseline: of the same seeds in the same order, in the same unit, positive.
        confidence: 1 - alpha, dimensionless.

    Returns:
        Dimensionless.

    Raises:
        InputError: as `mean_interval`, lengths that differ, or a value that is not positive.
    """
    above, below = _pairs(values, baseline)
    if (above <= 0.0).any() or (below <= 0.0).any():
        least = min(above.min(), below.min())
        raise InputError(f"ratio: got {least:g}; allowed are positive values; compare by difference instead.")
    logs = mean_interval(np.log(above / below).tolist(), confidence)
    return Interval(math.exp(logs.mean), math.exp(logs.low), math.exp(logs.high), logs.n, confidence)


def difference_interval(values: Sequence[float], baseline: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean difference of paired values: the `mean_interval` of values_i - baseline_i.

    Args:
        values: one per seed, any unit.
        baseline: of the same seeds in the same order, in the same unit.
        confidence: 1 - alpha, dimensionless.

    Returns:
        In the unit of the values.

    Raises:
        InputError: as `mean_interval`, or lengths that differ.
    """
    above, below = _pairs(values, baseline)
    return mean_interval((above - below).tolist(), confidence)


def _sample(name: str, values: Sequence[float]) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not sample.size or not np.isfinite(sample).all():
        raise InputError(f"{name}: got {list(values)}; allowed is one finite number or more.")
    return sample


def _pairs(values: Sequence[float], baseline: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    above, below = _sample("values", values), _sample("baseline", baseline)
    if above.size != below.size:
        raise InputError(f"pairs: got {above.size} values, {below.size} of the baseline; allowed is as many.")
    return above, below
