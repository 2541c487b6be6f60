"""What a sampler is told of a trial beside its objectives: how far each bound was missed."""

import math

from reports.records import TrialRecord, TrialStatus
from studies.spec import StudySpec

WORST = 1e6  # for what is not finite, and for each objective of a trial that diverged, beside the violated constraint


def constraints_of(trial: TrialRecord, status: TrialStatus, spec: StudySpec) -> dict[str, float]:
    """Each bound by name: dimensionless, positive where it is missed; none of a trial that failed or was stopped.

    A trial that diverged has measured nothing: it violates `diverged`, and no bound is held against it.
    """
    if status in (TrialStatus.FAILED, TrialStatus.STOPPED):
        return {}
    last = trial.epochs[-1] if status is TrialStatus.COMPLETE and trial.epochs else None
    measured = last.objectives() if last else {}
    has_values = all(math.isfinite(measured.get(metric.name, math.nan)) for metric in spec.objective_metrics)
    gap = last.solver_gap if last else spec.solver_gap_bound
    excess = {str(each): each.excess(measured) if last else 0.0 for each in spec.metric_thresholds}
    excess["solver_gap"] = math.nan if gap is None else gap - spec.solver_gap_bound
    finite = {name: value if math.isfinite(value) else WORST for name, value in excess.items()}
    return {"diverged": 0.0 if has_values else 1.0} | finite
