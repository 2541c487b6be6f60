"""Bounds as a person writes them: `accuracy >= 0.95`."""

import math
import re
from collections.abc import Sequence

from ndecore.metrics import METRICS, Direction
from reports.records import Threshold

SOLVER_GAP = "solver_gap"
THRESHOLDS_ALLOWED = (
    "a list of bounds such as accuracy >= 0.95 or nfe <= 100, one for each of some of "
    f"{', '.join((*METRICS, SOLVER_GAP))}: at least where more is better, else at most"
)
_SIGNS = {Direction.MINIMIZE: "<=", Direction.MAXIMIZE: ">="}
_FORM = re.compile(r"\s*(\w+)\s*(>=|<=)\s*([-+.\deE]+)\s*")


def read_thresholds(texts: Sequence[str]) -> tuple[Threshold, ...]:
    """The bounds; raise ValueError for one that is not allowed, or two on one metric."""
    found = tuple(map(_read, texts))
    if len({each.name for each in found}) < len(found):
        raise ValueError("two bounds on one metric")
    return found


def _read(text: str) -> Threshold:
    match = _FORM.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is no bound")
    name, sign, number = match.groups()
    direction = METRICS[name].direction if name in METRICS else Direction.MINIMIZE
    is_known = name in METRICS or name == SOLVER_GAP
    if not is_known or sign != _SIGNS[direction] or not math.isfinite(float(number)):
        raise ValueError(f"{text!r} is no bound on a metric, or the wrong way round")
    if name == SOLVER_GAP and float(number) <= 0:
        raise ValueError("no gap is below 0")
    return Threshold(name, float(number), direction)
