"""Domains -> Optuna, the samplers, and the Ray searcher that hands out what they propose."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from ray.tune.search import Searcher

from search_spaces.domains import Choice, Float, Int, Value
from search_spaces.space import Dimension
from studies.build import complete
from studies.ledger import Ledger

# Optuna's default of 10 random trials first is more than a third of a small study.
_N_STARTUP = 8


def _tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # Grouped: a conditional space is searched as its sub-spaces, each with its own joint density.
        return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=_N_STARTUP)


SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "nsgaii": lambda seed: NSGAIISampler(seed=seed, population_size=16),
    "random": lambda seed: RandomSampler(seed=seed),
}


@dataclass(frozen=True)
class Proposal:
    """A trial to run."""

    number: int
    label: str
    config: Mapping[str, Any]  # flat and complete


def propose(ledger: Ledger) -> Proposal:
    """Ask for the next trial: a function of the study's seed, the trial's number and the ledger."""
    spec = ledger.spec
    trial = _ask(ledger)
    config: dict[str, Any] = dict(spec.space.resolve(lambda dimension: _suggest(trial, dimension)))
    label = ""
    if trial.number < len(spec.start):
        label = spec.start[trial.number].label
        config |= spec.start[trial.number].config
    return Proposal(trial.number, label, complete(spec.task, config))


def _ask(ledger: Ledger) -> optuna.Trial:
    study = ledger.proposals
    known = {trial.number for trial in ledger.record().trials}
    trials = study.get_trials(deepcopy=False)
    # A process killed between asking and entering the trial in the ledger leaves a number that nobody runs: take it up.
    lost = [trial for trial in trials if trial.state is TrialState.RUNNING and trial.number not in known]
    waiting = [trial.number for trial in trials if trial.state is TrialState.WAITING]
    number = lost[0].number if lost else min(waiting, default=len(trials))
    seed = int(np.random.SeedSequence([ledger.spec.seed, number]).generate_state(1)[0])
    study.sampler = SAMPLERS[ledger.spec.sampler](seed)
    return optuna.Trial(study, lost[0]._trial_id) if lost else study.ask()


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Value:
    domain, name = dimension.domain, dimension.name
    if isinstance(domain, Float):
        return trial.suggest_float(name, domain.low, domain.high, log=domain.log)
    if isinstance(domain, Int):
        return trial.suggest_int(name, domain.low, domain.high, log=domain.log)
    assert isinstance(domain, Choice)
    return cast(Value, trial.suggest_categorical(name, domain.values))


class LedgerSearcher(Searcher):
    """Gives Ray Tune the trials that are left: the unfinished ones under their own numbers, then new proposals.

    How a trial ended reaches the samplers through the ledger, before the next is asked for.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger
        self._again = [Proposal(t.number, t.label, t.config) for t in ledger.unfinished()]
        self.n_left = ledger.spec.trials - len(ledger.record().trials) + len(self._again)

    def suggest(self, trial_id: str) -> Any:
        """The Ray config of the next trial, or `Searcher.FINISHED`."""
        if self.n_left == 0:
            return Searcher.FINISHED
        self.n_left -= 1
        proposal = self._again.pop(0) if self._again else propose(self._ledger)
        self._ledger.started(proposal.number, proposal.label, proposal.config)
        return {
            "number": proposal.number,
            "task": self._ledger.spec.task,
            "config": dict(proposal.config),
            "weights": str(self._ledger.weights_path(proposal.number)),
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the recorder has told the ledger."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing for Tune's snapshot to keep, for the same reason as in `save`."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Leave an empty file: Tune wants one, and the ledger is what a study is resumed from."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to read."""
