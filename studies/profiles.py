"""The solver's way through trained models: a solve of held-out data by the weights that a study kept."""

import torch

from ndecore.models.base import SolveRequest
from reports.pareto import front, knee_trial
from reports.records import TrialRecord
from reports.solver_profile import SolverProfile
from reports.tables import BASELINE, baseline_trial
from studies.build import build
from studies.ledger import Ledger
from studies.weights import trained_model


def solver_profiles(ledger: Ledger) -> tuple[SolverProfile, ...]:
    """Of the knee of a study's front and of its baseline, as far as their weights are here and tell of their steps."""
    study = ledger.record()
    if not front(study):
        return ()
    knee, baseline = knee_trial(study), baseline_trial(study)
    chosen = [(knee, "knee")] + ([(baseline, BASELINE)] if baseline not in (None, knee) else [])
    found = [_profile(ledger, trial, role) for trial, role in chosen if trial is not None]
    return tuple(profile for profile in found if profile is not None)


def _profile(ledger: Ledger, trial: TrialRecord, role: str) -> SolverProfile | None:
    """None without weights, where they cannot be read, or where the model fails or its solver is a closed box."""
    path = ledger.weights_path(trial.number)
    if not path.exists():
        return None
    try:
        plan = build(ledger.spec.task, trial.config)
        batch = plan.task.splits().validation.inputs[: plan.hyperparameters.eval_batch_size]
        with torch.no_grad():
            solution = trained_model(plan, path)(batch, SolveRequest(plan.settings)).solution
    except Exception:  # noqa: BLE001 - a task may be somebody else's and count on its worker: no study fails for a picture
        return None
    records, stats = solution.records, solution.stats
    if not len(records.t):
        return None
    return SolverProfile(
        trial=trial.number,
        role=role,
        n_evaluations=stats.n_evaluations,
        n_rejected=stats.n_rejected,
        t=tuple(records.t.tolist()),
        dt=tuple(records.dt.tolist()),
        error_ratio=tuple(records.error_ratio.tolist()),
        stiffness=tuple(records.stiffness.tolist()),
    )
