"""Logs of earlier formats, event by event, as this one.

Format 1 had neither a version nor checksums, a sentence for why a study stopped, and a study's definition in its spec
alone.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ndecore.errors import InputError
from ndecore.metrics import Direction
from reports.codec import encode
from reports.earlier_formats import METRICS_OF_FORMAT_1, metric_of_format_1, stop_of_format_1
from reports.records import Threshold
from studies.events import Definition

_BOUND = re.compile(r"\s*(\w+)\s*(>=|<=)\s*(\S+)\s*")


def from_format_1(event: Any, definition: Callable[[], Definition]) -> Any:
    """An event of format 1 in the form of format 2; whatever has another form is left for the reader to refuse.

    Args:
        event: as it was written.
        definition: of the study, from its spec.
    """
    change = _CHANGES.get(str(event.get("event"))) if isinstance(event, dict) else None
    try:
        return event if change is None else change(event, definition)
    except (KeyError, TypeError, AttributeError):
        return event


def definition_of_format_1(path: Path) -> Definition:
    """The definition in a spec; raise `InputError` where it cannot be read."""
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        bounds = tuple(_threshold(text) for text in spec.get("thresholds", ()))
        gaps = [each.bound for each in bounds if each.name == "solver_gap"]
        return Definition(
            name=spec["name"],
            task=spec["task"],
            objectives=tuple(metric_of_format_1(name) for name in spec["objectives"]),
            metrics=METRICS_OF_FORMAT_1,
            thresholds=tuple(each for each in bounds if each.name != "solver_gap"),
            max_solver_gap=min([float(spec["max_solver_gap"]), *gaps]),
            n_trials=spec["trials"],
        )
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        told = " ".join(str(error).split())
        raise InputError(f"{path}: got no spec of a study: {told}; copy it again") from None


def _threshold(text: str) -> Threshold:
    found = _BOUND.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no bound")
    name, sign, bound = found.groups()
    return Threshold(name, float(bound), Direction.MAXIMIZE if sign == ">=" else Direction.MINIMIZE)


def _created(event: Mapping[str, Any], definition: Callable[[], Definition]) -> dict[str, Any]:
    facts = event["facts"]
    own = {"study_id": facts.get("study_id", ""), "versions": facts.get("versions"), "format": 1}
    return {**event, **own, "study": encode(definition()), "tracking": _tracking(facts)}


def _moved(event: Mapping[str, Any], _: Callable[[], Definition]) -> dict[str, Any]:
    return {**event, "tracking": _tracking(event["facts"])}


def _tracking(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {"uri": facts.get("tracking_uri", ""), "experiment_id": facts.get("experiment_id", "")}


def _extended(event: Mapping[str, Any], _: Callable[[], Definition]) -> dict[str, Any]:
    return {**event, "event": "rerun"} if "parent" in event else dict(event)


def _stopped(event: Mapping[str, Any], _: Callable[[], Definition]) -> dict[str, Any]:
    stop = stop_of_format_1(event["reason"])
    return dict(event) if stop is None else {**event, "stop": encode(stop)}


def _placed(event: Mapping[str, Any], _: Callable[[], Definition]) -> dict[str, Any]:
    return {**event, "placement": {key: event[key] for key in ("node", "device", "since", "calibration_s")}}


def _epoch(event: Mapping[str, Any], _: Callable[[], Definition]) -> dict[str, Any]:
    return {**event, "record": _record(event["record"])}


def _record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Only the last epoch had its solver gap measured."""
    return {**record, "is_last": record["solver_gap"] is not None}


def _confirmed(event: Mapping[str, Any], _: Callable[[], Definition]) -> dict[str, Any]:
    found = {key: value for key, value in event.items() if key not in ("time", "event", "number")}
    test = found["test"] and _record(found["test"])
    return {**event, "found": {**found, "trial": event["number"], "test": test, "ended_s": event["time"]}}


_CHANGES: Mapping[str, Callable[[Mapping[str, Any], Callable[[], Definition]], dict[str, Any]]] = {
    "created": _created,
    "moved": _moved,
    "extended": _extended,
    "stopped": _stopped,
    "placed": _placed,
    "epoch": _epoch,
    "confirmed": _confirmed,
}
