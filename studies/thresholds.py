"""Bounds as a person writes them: `accuracy >= 0.95`."""

import math
import re
from collections.abc import Mapping, Sequence

from ndecore.metrics import Direction, Metric
from reports.records import Threshold

SOLVER_GAP = "solver_gap"
THRESHOLDS_ALLOWED = (
    "a list of bounds such as accuracy >= 0.95 or nfe <= 100, one for each of some metrics: at least where more is "
    "better, else at most"
)
_SIGNS = {Direction.MINIMIZE: "<=", Direction.MAXIMIZE: ">="}
_FORM = re.compile(r"\s*(\w+)\s*(>=|<=)\s*([-+.\deE]+)\s*")


def read_thresholds(texts: Sequence[str], metrics: Mapping[str, Metric]) -> tuple[Threshold, ...]:
    """The bounds; raise ValueError for one that is not allowed, or two on one metric."""
    found = tuple(_read(text, metrics) for text in texts)
    if len({each.name for each in found}) < len(found):
        raise ValueError("two bounds on one metric")
    return found


def bounds_allowed(metrics: Mapping[str, Metric]) -> str:
    """The bounds that there may be on these metrics, in words."""
    return ", ".join(f"{each.name} {_SIGNS[each.direction]} NUMBER" for each in metrics.values())


def _read(text: str, metrics: Mapping[str, Metric]) -> Threshold:
    match = _FORM.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is no bound")
    name, sign, number = match.groups()
    direction = metrics[name].direction if name in metrics else Direction.MINIMIZE
    is_known = name in metrics or name == SOLVER_GAP
    if not is_known or sign != _SIGNS[direction] or not math.isfinite(float(number)):
        raise ValueError(f"{text!r} is no bound on a metric, or the wrong way round")
    if name == SOLVER_GAP and float(number) <= 0:
        raise ValueError("no gap is below 0")
    return Threshold(name, float(number), direction)
