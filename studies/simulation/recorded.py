"""Recorded learning curves: of a finished study, or of a table with one JSON object a line."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ndecore.errors import InputError
from ndecore.metrics import EpochRecord, Metric
from ndecore.tasks import TASKS
from reports.records import Cause, TrialRecord, TrialStatus
from studies.build import complete
from studies.ledger import Ledger

_ROW = ("epoch", "score", "train_loss", "penalty", "weight", "nfe", "nfe_train", "train_s", "train_work", "cpu_s")
_UNKNOWN: Mapping[str, Any] = dict.fromkeys(  # in tables
    ("accepted", "rejected", "accepted_train", "rejected_train", "predict_s"), 0.0
)
_LEAST_GAP = 1e-16


@dataclass(frozen=True)
class RecordedCurve:
    """A training as it was."""

    config: Mapping[str, Any]  # flat and complete
    epochs: tuple[EpochRecord, ...]  # each with a solver gap
    epoch_s: tuple[float, ...]  # s that each took
    status: TrialStatus = TrialStatus.COMPLETE  # or DIVERGED, after the last of them
    cause: Cause = Cause.NONE


def curves_of_study(ledger: Ledger) -> tuple[RecordedCurve, ...]:
    """The trials of a study that are complete or have diverged."""
    return tuple(
        _of_trial(trial)
        for trial in ledger.record().trials
        if trial.epochs and trial.status in (TrialStatus.COMPLETE, TrialStatus.DIVERGED)
    )


def _of_trial(trial: TrialRecord) -> RecordedCurve:
    times = (trial.began_s, *trial.epoch_times)
    epoch_s = tuple(max(0.0, after - before) for before, after in pairwise(times))
    gaps = {each.epoch: each.solver_gap for each in trial.epochs if each.solver_gap is not None}
    return RecordedCurve(trial.config, _with_gaps(trial.epochs, gaps), epoch_s, trial.status, trial.cause)


def read_table(path: Path, task: str) -> tuple[RecordedCurve, ...]:
    """The curves of a task in a table, gzipped or not.

    A line has `config`, `status`, `curve` (a list of epoch, the task's first score, train_loss, penalty, weight, nfe,
    nfe_train, train_s, train_work, s since the training began) and `gaps` (epoch -> solver gap).

    Raises:
        InputError: it cannot be read, has another form, or no curve of the task.
    """
    try:
        opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        own = [row for row in rows if row.get("task", task) == task and row["curve"] and row["gaps"]]
        found = tuple(_of_row(row, task, TASKS.facts(task).metrics) for row in own)
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        got = f"got {type(error).__name__} ({error})"
        raise InputError(
            f"--curves: {path}: {got}, allowed: a study, or a table as `nde-study simulate` reads"
        ) from None
    if not found:
        raise InputError(f"--curves: {path}: got no curve of {task}, allowed: a table of that task")
    return found


def _of_row(row: Mapping[str, Any], task: str, metrics: Sequence[Metric]) -> RecordedCurve:
    measured = [dict(zip(_ROW, values, strict=True)) for values in row["curve"]]
    times = (0.0, *(each.pop("cpu_s") for each in measured))
    is_complete = row["status"] == "complete"
    records = [
        EpochRecord(
            scores={metrics[0].name: each.pop("score")},
            is_last=is_complete and each["epoch"] == row["config"]["epochs"],
            **each,
            **_UNKNOWN,
        )
        for each in measured
    ]
    gaps = {int(epoch): gap for epoch, gap in row["gaps"].items()}
    return RecordedCurve(
        complete(task, row["config"]),
        _with_gaps(records, gaps),
        tuple(after - before for before, after in pairwise(times)),
        TrialStatus.COMPLETE if is_complete else TrialStatus.DIVERGED,
        Cause.NONE if is_complete else Cause.STEP_LIMIT,
    )


def _with_gaps(records: Sequence[EpochRecord], gaps: Mapping[int, float]) -> tuple[EpochRecord, ...]:
    """Solver gaps between the epochs at which they were measured: their logarithms, linear in that of the epoch."""
    if not gaps:
        return tuple(records)
    known = np.log([[epoch, max(gap, _LEAST_GAP)] for epoch, gap in sorted(gaps.items())])
    between = np.exp(np.interp(np.log([each.epoch for each in records]), known[:, 0], known[:, 1]))
    return tuple(replace(each, solver_gap=float(gap)) for each, gap in zip(records, between, strict=True))
