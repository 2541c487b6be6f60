"""The solver's way through trained models: the longest solve of held-out data by the weights that a study kept."""

import torch

from ndecore.observation import observe
from ndecore.solves import Solve
from reports.choice import BASELINE, baseline_trial, knee_trial
from reports.pareto import front
from reports.records import TrialRecord
from reports.solver_profile import SolverProfile
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
        plan = build(ledger.spec.task, trial.config, folder=ledger.folder)
        data = plan.task.source(plan.task.splits().validation)
        batch = next(data.in_order(plan.hyperparameters.eval_batch_size))
        with torch.no_grad(), observe(settings=plan.settings, path_seed=0) as solves:
            plan.task.forward(trained_model(plan, path), batch)
    except Exception:  # noqa: BLE001 - a task may be somebody else's and count on its worker: no study fails for a picture
        return None
    longest = max(solves, key=_nfe, default=None)
    if longest is None or not len(longest.solution.records.t):
        return None
    records, stats = longest.solution.records, longest.solution.stats
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


def _nfe(solve: Solve) -> int:
    """By which the longest solve of a forward pass is told."""
    return solve.solution.stats.n_evaluations
