"""Domains -> Optuna, and the Ray searcher that hands out what the samplers propose."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from search_spaces.domains import Choice, Float, Int, Value
from search_spaces.member_names import located
from search_spaces.space import Dimension
from studies.build import complete
from studies.early_stopping.choice import gap_epochs
from studies.ledger import Attempt, Ledger
from studies.messages import ORDER, Order
from studies.replay import RERUN
from studies.spec_search import SAMPLERS
from studies.stopping import stop_reason
from studies.trial_files import DIRECT, WorkerFiles


@dataclass(frozen=True)
class Proposal:
    """A trial to run."""

    number: int
    label: str
    config: Mapping[str, Any]  # flat and complete
    parent: int | None = None


def propose(ledger: Ledger) -> Proposal:
    """Ask for the next trial: a function of the study's seed, the trial's number and the ledger."""
    spec = ledger.spec
    trial = _ask(ledger)
    config: dict[str, Any] = dict(spec.space.resolve(lambda dimension: _suggest(trial, dimension)))
    label, parent = "", None
    if trial.number < len(spec.start):
        label = spec.start[trial.number].label
        config |= spec.start[trial.number].config
    elif RERUN in trial.user_attrs:
        rerun = ledger.history.reruns[trial.user_attrs[RERUN]]
        parent = rerun.parent
        config = {**ledger.trial(parent).config, **rerun.changes}
        label = "" if rerun.changes else ledger.trial(parent).label
    return Proposal(trial.number, label, complete(spec.task, config, ledger.folder), parent)


def _ask(ledger: Ledger) -> optuna.Trial:
    study = ledger.proposals
    known = ledger.history.trials
    trials = study.get_trials(deepcopy=False)
    # A process killed between asking and entering the trial in the ledger leaves a number that nobody runs: take it up.
    is_open = [trial for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    lost = [trial for trial in is_open if trial.state is TrialState.RUNNING and trial.number not in known]
    waiting = [trial.number for trial in is_open if trial.state is TrialState.WAITING]
    number = lost[0].number if lost else min(waiting, default=len(trials))
    seed = int(np.random.SeedSequence([ledger.spec.seed, number]).generate_state(1)[0])
    study.sampler = SAMPLERS[located(ledger.spec.sampler, ledger.folder)](seed, ledger.spec)
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

    It remembers nothing: what is left is read from the ledger, where how a trial ended stands before the next is asked
    for.

    Args:
        ledger: being written.
        clock: seconds from an arbitrary origin.
        files: how workers reach the study's.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float], files: WorkerFiles = DIRECT) -> None:
        super().__init__()
        self._ledger, self._clock, self._files = ledger, clock, files
        self.is_draining = False  # set to hand out nothing more
        self._n_judged = -1  # ended trials at which the study's end was last thought about

    @property
    def has_work(self) -> bool:
        """Whether a trial is left to begin or to go on with."""
        history = self._ledger.history
        return not self.is_draining and bool(history.waiting or (self._n_left > 0 and not history.stopped))

    @property
    def _n_left(self) -> int:
        return self._ledger.n_trials - len(self._ledger.history.trials)

    def suggest(self, trial_id: str) -> Any:
        """The order of the next trial, None while one that runs may still come back, or `Searcher.FINISHED`."""
        self._judge()
        if not self.has_work:
            return None if self._ledger.history.running else Searcher.FINISHED
        waiting = self._ledger.history.waiting
        began = self._clock()
        proposal = self._again(min(waiting)) if waiting else propose(self._ledger)
        sampler_s = self._clock() - began
        attempt = self._ledger.started(proposal.number, proposal.label, proposal.config, proposal.parent, sampler_s)
        return {ORDER: self._order(proposal, attempt)}

    def _order(self, proposal: Proposal, attempt: Attempt) -> Order:
        spec = self._ledger.spec
        evaluate, gpu = spec.evaluate_tolerances, spec.resources.gpu
        return Order(
            number=proposal.number,
            task=spec.task,
            config=proposal.config,
            study=self._ledger.folder.resolve(),
            folder=attempt.folder,
            files=self._files,
            checkpoint=attempt.checkpoint,
            checkpoint_every=spec.checkpoint_every,
            keeps_epochs=spec.keeps_epochs,
            timeout_s=spec.timeout_s,
            spent_s=attempt.worker_s,
            solvers=evaluate.solver if evaluate else (),
            rtols=evaluate.rtol if evaluate else (),
            gap_epochs=gap_epochs(spec, proposal.config, self._ledger.folder),
            gpu=max(1.0, gpu) if attempt.alone and gpu else gpu,
        )

    def _again(self, number: int) -> Proposal:
        trial = self._ledger.trial(number)
        return Proposal(number, trial.label, trial.config, trial.parent)

    def _judge(self) -> None:
        """Whether the study should end early is asked after each trial that ended, not several times a second."""
        history = self._ledger.history
        if len(history.ended) > self._n_judged and self.has_work and not history.stopped:
            self._n_judged = len(history.ended)
            reason = stop_reason(self._ledger.spec, history, self._ledger.record())
            if reason is not None:
                self._ledger.stopped(reason)

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
