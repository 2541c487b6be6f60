"""The front once more with new seeds: one training at a time, in this process, judged on the test split."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count, islice

import torch

from ndecore.evaluation import measure
from ndecore.metrics import EpochRecord
from ndecore.training import TrainPlan, TrainState, train
from reports.choice import baseline_trial
from reports.pareto import non_empty_front
from reports.records import Confirmation, StudyRecord, TrialRecord, TrialStatus
from studies.build import build, deployed
from studies.calibration import calibrate
from studies.deadline import deadline
from studies.divergence import DIVERGING, divergence
from studies.ledger import Ledger

_REPEATS = 9  # predictions, of which the median is the time of one


@dataclass(frozen=True)
class Standing:
    """How far a confirmation is."""

    trial: TrialRecord  # as the search has it
    seed: int
    epoch: int  # completed
    n_done: int  # trainings
    n_asked: int  # trainings, those of earlier calls included
    found: Confirmation | None = None  # of a training that has just ended


def trials_that_matter(study: StudyRecord) -> tuple[TrialRecord, ...]:
    """The members of the search's front, the knee among them, and the vanilla baseline, by number.

    Raises:
        InputError: the front is empty.
    """
    baseline = baseline_trial(study)
    wanted = {trial.number: trial for trial in (*non_empty_front(study), *((baseline,) if baseline else ()))}
    return tuple(wanted[number] for number in sorted(wanted))


def new_seeds(study: StudyRecord, n: int) -> tuple[int, ...]:
    """The first n seeds from 1 that no trial of the search was trained with: the same at every call."""
    searched = {
        seed + i
        for trial in study.trials
        for seed in [trial.config["seed"]]
        for i in range(trial.config.get("n_seeds", 1))
    }
    return tuple(islice((seed for seed in count(1) if seed not in searched), n))


def confirm(ledger: Ledger, n_seeds: int, on_change: Callable[[Standing], None]) -> StudyRecord:
    """Train each trial that matters with each new seed, except where that was done by an earlier call.

    Seed by seed, so that whenever it is stopped the trials have been trained with the same ones. What has ended is in
    the ledger; what had not, begins again.

    Args:
        ledger: being written.
        n_seeds: of each trial, those of earlier calls included.
        on_change: told of each epoch and of each training that ended.

    Returns:
        The study with its confirmation.

    Raises:
        InputError: the front is empty.
        LedgerUnwritable: the disk is full, say.
    """
    study = ledger.record()
    trials = trials_that_matter(study)
    asked = [(trial, seed) for seed in new_seeds(study, n_seeds) for trial in trials]
    left = [each for each in asked if (each[0].number, each[1]) not in ledger.history.confirmations]
    ledger.confirming([trial.number for trial in trials])
    for n_done, (trial, seed) in enumerate(left, start=len(asked) - len(left)):
        standing = Standing(trial, seed, 0, n_done, len(asked))
        found = _trained_again(ledger, standing, on_change)
        ledger.confirmed(found)
        on_change(replace(standing, n_done=n_done + 1, found=found))
    return ledger.record()


def _trained_again(ledger: Ledger, standing: Standing, on_change: Callable[[Standing], None]) -> Confirmation:
    spec, trial, seed = ledger.spec, standing.trial, standing.seed
    device = "cuda" if spec.resources.gpu and torch.cuda.is_available() else "cpu"
    plan = build(spec.task, {**trial.config, "seed": seed, "n_seeds": 1}, device, folder=ledger.folder)
    calibration_s = calibrate(plan.threads, device)
    try:
        with deadline(spec.timeout_s):
            state = TrainState(plan)
            for record in train(plan, state):
                on_change(replace(standing, epoch=record.epoch))
            test = _on_test(plan, state, trial, record)
    except DIVERGING as error:
        found = divergence(error, spec.timeout_s, n_updates=1)  # its first update is known to work
        ended = Confirmation(trial.number, seed, None, {}, TrialStatus.DIVERGED, found.cause, found.reason)
    else:
        ended = Confirmation(trial.number, seed, test, record.objectives())
    return replace(ended, calibration_s=calibration_s, ended_s=time.time())


def _on_test(plan: TrainPlan, state: TrainState, trial: TrialRecord, record: EpochRecord) -> EpochRecord:
    """The last epoch with its held-out values measured on the test split, solved as the trial is deployed."""
    settings = deployed(plan.settings, trial.deployment) if trial.deployment else plan.settings
    data = plan.task.source(plan.task.splits().test, plan.device)
    size = plan.hyperparameters.eval_batch_size
    return replace(record, **vars(measure(plan.task, state.model, data, settings, size, repeats=_REPEATS)))
