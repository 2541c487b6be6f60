"""How much of a box a study's front came to dominate, against the epochs and the seconds that it had spent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ndecore.errors import InputError
from ndecore.metrics import Direction, Metric
from reports.dominated_region import DominatedRegion
from reports.pareto import MARGIN, Costs
from reports.records import StudyRecord, TrialStatus
from studies.simulation.recorded import RecordedCurve
from studies.spec import StudySpec


@dataclass(frozen=True)
class Scale:
    """Where hypervolume is measured: costs that are always positive by their logarithms, in a box of given points."""

    objectives: tuple[Metric, ...]
    is_log: NDArray[np.bool_]
    low: Costs
    span: Costs

    @classmethod
    def of(cls, measured: Costs, objectives: tuple[Metric, ...]) -> "Scale":
        """The scale on which points (n, m), in the units of the objectives, fill the unit box."""
        less = np.array([metric.direction is Direction.MINIMIZE for metric in objectives])
        is_log = np.asarray(less & (measured > 0.0).all(axis=0), dtype=np.bool_)
        scale = cls(objectives, is_log, np.zeros(len(objectives)), np.ones(len(objectives)))
        costs = scale(measured)
        span = np.ptp(costs, axis=0)
        return cls(objectives, is_log, costs.min(axis=0), np.where(span > 0.0, span, 1.0))

    def __call__(self, measured: Costs) -> Costs:
        """Points (n, m) in the units of the objectives, as costs in the box."""
        signs = [-1.0 if metric.direction is Direction.MAXIMIZE else 1.0 for metric in self.objectives]
        costs = np.where(self.is_log, np.log(np.where(self.is_log, measured, 1.0)), measured * signs)
        return (costs - self.low) / self.span

    @property
    def reference(self) -> Costs:
        """A tenth beyond the worst."""
        return np.full(len(self.objectives), 1.0 + MARGIN)

    def share(self, measured: Costs) -> float:
        """The share of the box, up to the reference, that points (n, m) dominate; above 1 where they are beyond it."""
        return DominatedRegion(self(measured), self.reference).volume / float(np.prod(self.reference))


@dataclass(frozen=True)
class Course:
    """A step for each trial that improved the front."""

    epochs: NDArray[np.float64]  # that all trials had trained by then
    seconds: NDArray[np.float64]  # since the study began
    shares: NDArray[np.float64]  # of the box

    def epochs_to(self, share: float) -> float:
        """The epochs after which the front dominated this share of the box; infinite if it never did."""
        reached = np.flatnonzero(self.shares >= share)
        return float(self.epochs[reached[0]]) if reached.size else np.inf

    def at_epochs(self, epochs: Sequence[float]) -> NDArray[np.float64]:
        """The share after so many epochs of all trials, for each of them."""
        steps = np.searchsorted(self.epochs, epochs, side="right")
        return np.concatenate([[0.0], self.shares])[steps]


def course(study: StudyRecord, scale: Scale, began_s: float) -> Course:
    """The course of a study whose times are in its trials, begun at `began_s`."""
    spent = np.sort([time for trial in study.trials for time in trial.epoch_times])
    ended = sorted(
        (t for t in study.trials if t.is_feasible(study.max_solver_gap, study.thresholds)),
        key=lambda trial: (trial.ended_s, trial.number),
    )
    points = np.array([trial.values(study.objectives) for trial in ended], dtype=np.float64)
    costs = scale(points.reshape(len(ended), len(study.objectives)))
    region = DominatedRegion(costs[:0], scale.reference)
    steps: list[tuple[float, float, float]] = []
    for trial, cost in zip(ended, costs, strict=True):
        if region.gains(cost[None])[0] > 0.0:
            region = DominatedRegion(np.vstack([region.front, cost]), scale.reference)
            epochs = float(np.searchsorted(spent, trial.ended_s, side="right"))
            steps.append((epochs, trial.ended_s - began_s, region.volume / float(np.prod(scale.reference))))
    columns = np.array(steps, dtype=np.float64).reshape(len(steps), 3).T
    return Course(columns[0], columns[1], columns[2])


def recorded_scale(curves: Sequence[RecordedCurve], spec: StudySpec) -> Scale:
    """The box of what the recorded curves measured at their ends, of those within the study's solver gap."""
    whole = [curve.epochs[-1] for curve in curves if curve.status is TrialStatus.COMPLETE]
    near = [last for last in whole if last.solver_gap is not None and last.solver_gap <= spec.solver_gap_bound]
    ends = [last.objectives() for last in near or whole]
    values = [[end.get(metric.name, np.nan) for metric in spec.objective_metrics] for end in ends]
    measured = np.array(values, dtype=np.float64).reshape(len(ends), len(spec.objectives))
    if not len(measured) or not np.isfinite(measured).all():
        raise InputError(
            f"--curves: got curves without some of {', '.join(spec.objectives)}, allowed: with all of them"
        )
    return Scale.of(measured, spec.objective_metrics)
