"""A ledger's trials as Optuna's: told as they end, compared, and told anew where Optuna has lost them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseGASampler
from optuna.trial import TrialState, create_trial

from ndecore.metrics import Direction, Metric
from reports.records import TrialRecord, TrialStatus
from search_spaces.domains import Choice, Domain, Float, Int
from search_spaces.member_names import located
from studies.constraints import WORST
from studies.history import OPEN, History
from studies.spec import StudySpec
from studies.spec_search import SAMPLERS

_STATES = {
    TrialStatus.RUNNING: TrialState.RUNNING,
    TrialStatus.INTERRUPTED: TrialState.RUNNING,
    TrialStatus.COMPLETE: TrialState.COMPLETE,
    TrialStatus.DIVERGED: TrialState.COMPLETE,
    TrialStatus.FAILED: TrialState.FAIL,
    TrialStatus.STOPPED: TrialState.FAIL,
}
RERUN = "nde.rerun"  # user attribute of an Optuna trial: which of the reruns asked for it is


def tell(
    study: optuna.Study, trial: TrialRecord, constraints: Mapping[str, float], objectives: tuple[Metric, ...]
) -> None:
    """Tell Optuna how a trial ended.

    One that diverged is COMPLETE with a violated constraint: FAIL teaches the samplers nothing, and they go back. One
    that a rule stopped is FAIL: told as a violated constraint, or with its partial values, it misleads them.
    """
    if _STATES[trial.status] is TrialState.FAIL:
        study.tell(trial.number, state=TrialState.FAIL)
        return
    frozen = study.get_trials(deepcopy=False)[trial.number]
    open_trial = optuna.Trial(study, frozen._trial_id)  # there is no public way to one asked for before
    for name, excess in constraints.items():
        open_trial.set_constraint(name, excess)
    study.tell(trial.number, _told(trial, objectives))


def _told(trial: TrialRecord, objectives: tuple[Metric, ...]) -> list[float]:
    worst = [WORST if metric.direction is Direction.MINIMIZE else -WORST for metric in objectives]
    return list(trial.values(objectives) or worst)


def dimension_values(spec: StudySpec, config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a flat config under the names of the space's dimensions, as the sampler knows them.

    A complete config has the keys of a sum's regularizers under their summands, `error.agg`; a space may say `agg`.
    """
    known = {key.rpartition(".")[2]: value for key, value in config.items()} | dict(config)
    return {
        dimension.name: known[dimension.key]
        for dimension in spec.space.dimensions
        if dimension.only is None and dimension.is_active(known)
    }


def enqueue_reruns(study: optuna.Study, spec: StudySpec, history: History) -> None:
    """Ask for the reruns that Optuna does not know of yet."""
    known = sum(RERUN in frozen.user_attrs for frozen in study.get_trials(deepcopy=False))
    for index, rerun in list(enumerate(history.reruns))[known:]:
        values = dimension_values(spec, history.trials[rerun.parent].config)
        study.enqueue_trial(values, user_attrs={RERUN: index})


def disagreement(study: optuna.Study, spec: StudySpec, history: History) -> str:
    """In what Optuna's trials are not those of the ledger; empty where telling it what is left makes them so."""
    trials = study.get_trials(deepcopy=False)
    for number, trial in history.trials.items():
        if number >= len(trials):
            return f"it did not have trial {number}"
        frozen = trials[number]
        if trial.parent is None and frozen.params != dimension_values(spec, trial.config):
            return f"it had other values for trial {number}"
        if frozen.state is not TrialState.RUNNING and frozen.state is not _STATES[trial.status]:
            return f"it had trial {number} as {frozen.state.name.lower()}"
        if frozen.state is TrialState.COMPLETE and frozen.values != _told(trial, spec.objective_metrics):
            return f"it had measured other values of trial {number}"
    ended = [frozen.number for frozen in trials if frozen.state.is_finished() and frozen.number not in history.trials]
    return f"it had trial {ended[0]}, of which nothing is in the log" if ended else ""


def replay(study: optuna.Study, spec: StudySpec, history: History, folder: Path) -> None:
    """Tell an empty Optuna study all trials of the ledger in a folder, in the order of their numbers."""
    distributions = {d.name: _distribution(d.domain) for d in spec.space.dimensions if d.only is None}
    sampler = SAMPLERS[located(spec.sampler, folder)](spec.seed, spec)
    n_reruns = 0
    for number in range(max(history.trials, default=-1) + 1):
        trial = history.trials.get(number)
        if trial is None:  # asked for and never begun: it is proposed again
            study.enqueue_trial(dimension_values(spec, spec.start[number].config) if number < len(spec.start) else {})
            continue
        params = dimension_values(spec, trial.config)
        attributes = {RERUN: n_reruns} if trial.parent is not None else {}
        n_reruns += trial.parent is not None
        own = {name: distributions[name] for name in params}
        frozen = create_trial(state=TrialState.RUNNING, params=params, distributions=own, user_attrs=attributes)
        study.add_trial(frozen)
        if isinstance(sampler, BaseGASampler):  # which counts its generations by what it writes into the trials
            sampler.get_trial_generation(study, study.get_trials(deepcopy=False)[number])
        if trial.status not in OPEN:
            tell(study, trial, history.constraints[number], spec.objective_metrics)
    for start in spec.start[len(study.get_trials(deepcopy=False)) :]:
        study.enqueue_trial(dimension_values(spec, start.config))


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Float):
        return FloatDistribution(domain.low, domain.high, log=domain.log)
    if isinstance(domain, Int):
        return IntDistribution(domain.low, domain.high, log=domain.log)
    assert isinstance(domain, Choice)
    return CategoricalDistribution(domain.values)
