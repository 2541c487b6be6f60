"""Variants of one computation timed in turn, so that all meet the same disturbances."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

_MS = 1e3


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over the rounds."""

    median: float
    low: float
    high: float

    def __format__(self, form: str) -> str:
        return f"{self.median:{form}} [{self.low:{form}}, {self.high:{form}}]"


def spread(values: list[float]) -> Spread:
    """Median and quartiles of two values or more."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


@dataclass(frozen=True)
class Times:
    """Milliseconds of each variant, round by round in the same order."""

    by_variant: Mapping[str, list[float]]

    def ms(self, variant: str) -> Spread:
        """The time of a variant, ms."""
        return spread(self.by_variant[variant])

    def ratio(self, variant: str, to: str) -> Spread:
        """The ratio of two variants within each round, dimensionless."""
        pairs = zip(self.by_variant[variant], self.by_variant[to], strict=True)
        return spread([mine / other for mine, other in pairs])


def race(variants: Mapping[str, Callable[[], object]], rounds: int, device: str) -> Times:
    """Time the variants once each a round, in rotated order, after one warm-up of each.

    On the CPU by the process's CPU time, which other programs do not add to; on a GPU by device events.
    """
    for run in variants.values():
        run()
    names = list(variants)
    found: dict[str, list[float]] = {name: [] for name in names}
    for n in range(rounds):
        for name in names[n % len(names) :] + names[: n % len(names)]:
            found[name].append(_timed(variants[name], device))
    return Times(found)


def _timed(run: Callable[[], object], device: str) -> float:
    if device == "cpu":
        began = time.process_time()
        run()
        return (time.process_time() - began) * _MS
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))
