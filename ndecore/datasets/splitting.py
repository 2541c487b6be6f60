"""Series into training, validation and test."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ndecore.datasets.series import IrregularSeries
from ndecore.errors import InputError

_Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SeriesSplits:
    """Training sees `train`, the search sees `validation`; `test` is for a confirmation after the search."""

    train: IrregularSeries
    validation: IrregularSeries
    test: IrregularSeries


def split_series(series: IrregularSeries, validation: float = 0.15, test: float = 0.15, seed: int = 0) -> SeriesSplits:
    """Series at random into three parts; each class as frequent in each, if there are classes.

    Args:
        series: at least 3.
        validation: share of it, above 0; as a part of all.
        test: the same.
        seed: decides which series goes where; the same seed gives the same split on every machine.

    Raises:
        InputError: a part would be empty.
    """
    n = len(series)
    sizes = [round(n * share) for share in (validation, test)]
    if min(sizes, default=0) < 1 or sum(sizes) >= n:
        raise InputError(f"shares of {n} series: got {validation} and {test}, allowed: such that no part is empty")
    rest, held = hold_out(labels_of(series), sizes[1], seed)
    kept, chosen = hold_out(labels_of(series)[rest], sizes[0], seed)
    return SeriesSplits(series.take(rest[kept]), series.take(rest[chosen]), series.take(held))


def labels_of(series: IrregularSeries) -> _Indices:
    """The classes of series; 0 for each where there are none."""
    if series.targets is None or not series.classes:
        return np.zeros(len(series), dtype=np.int64)
    labels: _Indices = series.targets.numpy()
    return labels


def hold_out(labels: _Indices, size: int, seed: int) -> tuple[_Indices, _Indices]:
    """Indices of what stays and of `size` that are held out, both increasing; of each class its share.

    What a class lacks to a whole number goes to the classes with the largest remainders.
    """
    generator = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * size / len(labels)
    shares = np.floor(exact).astype(int)
    missing = size - shares.sum()
    shares[np.argsort(shares - exact, kind="stable")[:missing]] += 1
    held = [
        generator.permutation(np.flatnonzero(labels == name))[:share]
        for name, share in zip(classes, shares, strict=True)
    ]
    chosen = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen
