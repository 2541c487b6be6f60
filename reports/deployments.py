"""Trained models solved in other ways: which way is the cheapest that still gives the same outputs."""

from collections.abc import Iterable
from dataclasses import replace

from ndecore.metrics import EpochRecord
from reports.records import StudyRecord, SweptPoint, Threshold, TrialRecord


def points_of(study: StudyRecord, number: int) -> tuple[SweptPoint, ...]:
    """What was swept of a trial, method by method, the tightest tolerance first."""
    found = [point for point in study.swept if point.trial == number]
    return tuple(sorted(found, key=lambda point: (point.deployment.solver, point.deployment.rtol)))


def deployed_record(record: EpochRecord, point: SweptPoint) -> EpochRecord:
    """A last epoch with its held-out values as the point measured them; what training took is the same."""
    reference = {name: record.scores[name] - gap for name, gap in record.score_gaps.items()}
    return replace(
        record,
        scores=point.scores,
        nfe=point.nfe,
        accepted=point.accepted,
        rejected=point.rejected,
        predict_s=point.predict_s,
        solver_gap=point.solver_gap,
        score_gaps={name: point.scores[name] - value for name, value in reference.items()},
    )


def deployed_trial(trial: TrialRecord, point: SweptPoint) -> TrialRecord:
    """A trial as it would stand in its study had it been solved like this after training.

    Args:
        trial: complete.
        point: of the same trial, with scores.
    """
    epochs = (*trial.epochs[:-1], deployed_record(trial.epochs[-1], point))
    return replace(trial, epochs=epochs, deployment=point.deployment)


def cheapest_point(
    trial: TrialRecord,
    points: Iterable[SweptPoint],
    max_solver_gap: float,
    thresholds: tuple[Threshold, ...] = (),
) -> SweptPoint | None:
    """The point with the fewest evaluations of those within a study's bounds; of equals the one with the least gap.

    Args:
        trial: complete.
        points: of this trial.
        max_solver_gap: dimensionless.
        thresholds: of the study.

    Returns:
        None where no point is within the bounds.
    """
    within = [
        point
        for point in points
        if point.scores and deployed_trial(trial, point).is_feasible(max_solver_gap, thresholds)
    ]
    return min(within, key=lambda point: (point.nfe, point.solver_gap), default=None)
