"""What format 1 of ledgers and tags meant by its names and sentences."""

import re

from ndecore.errors import InputError
from ndecore.metrics import Direction, Metric
from reports.records import Stop, StopRule

# What a study measured then does not change with what tasks declare now.
METRICS_OF_FORMAT_1 = (
    Metric("accuracy", "1", Direction.MAXIMIZE, is_share=True),
    Metric("loss", "nats", Direction.MINIMIZE),
    Metric("mse", "unit of y squared", Direction.MINIMIZE, "error"),
    Metric("nfe", "evaluations per held-out solve", Direction.MINIMIZE, "NFE"),
    Metric("train_s", "s", Direction.MINIMIZE, "training time"),
    Metric("predict_s", "s per held-out batch", Direction.MINIMIZE, "prediction time"),
    Metric("train_work", "evaluations, forward and backward", Direction.MINIMIZE, "training work"),
)
_STOPPED = (
    (StopRule.HOURS, re.compile(r"it has run for (?P<limit>\S+) hours")),
    (StopRule.DEVICE_HOURS, re.compile(r"its trials have taken (?P<limit>\S+) device-hours")),
    (StopRule.FLAT_TRIALS, re.compile(r"the hypervolume has been flat for (?P<limit>\d+) trials")),
    (StopRule.SAME_ERROR, re.compile(r"(?P<error>.*) \((?P<limit>\d+) trials failed in a row\)", re.DOTALL)),
)


def metric_of_format_1(name: str) -> Metric:
    """The metric of that name; raise `InputError` where that format had none."""
    for metric in METRICS_OF_FORMAT_1:
        if metric.name == name:
            return metric
    raise InputError(f"metric: got {name!r}, allowed: {', '.join(each.name for each in METRICS_OF_FORMAT_1)}")


def stop_of_format_1(sentence: str) -> Stop | None:
    """What a sentence said of why a study stopped; None of none, or of one that nobody wrote."""
    for rule, form in _STOPPED:
        found = form.fullmatch(sentence)
        if found:
            return Stop(rule, float(found["limit"]), found.groupdict().get("error", ""))
    return None
