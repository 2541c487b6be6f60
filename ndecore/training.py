"""Training as a generator of epoch records: seeded, resumable, timed honestly; early stopping is ceasing to iterate."""

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndecore.controllers.integral import IController
from ndecore.datasets.base import Split
from ndecore.errors import SolveFailed, TrainingDiverged
from ndecore.integrate import SolveSettings, Tape
from ndecore.metrics import EpochRecord
from ndecore.models.base import Prediction, SolveRequest, SolvingModel
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.regularizers.none import NoRegularizer
from ndecore.regularizers.schedules import Constant, Schedule
from ndecore.solvers.tsit5 import Tsit5
from ndecore.tasks.base import Hyperparameters, Task

_REFERENCE_TOLERANCE = 1e-9  # of the float64 solve that the solver gap is measured against
_REFERENCE_STEPS = 4096  # at least: a tolerance 10^5 times tighter takes ten times the steps at order 5
_REFERENCE_ORDER = 5  # at least: at order 3 it would be fifty times the steps
_SECONDS_PER_MS = 1e-3

Clock = Callable[[], float]


@dataclass(frozen=True)
class TrainPlan:
    """Everything that decides what a training run does; the same plan gives the same numbers on the same machine."""

    task: Task
    settings: SolveSettings
    hyperparameters: Hyperparameters
    regularizer: Regularizer = field(default_factory=NoRegularizer)
    schedule: Schedule = field(default_factory=lambda: Constant(0.0))
    seed: int = 0  # of the initial parameters, the order of the batches and the penalty's random times
    threads: int = 1  # of torch; sums over another number of threads differ in their last digits
    device: str = "cpu"


class TrainState:
    """What changes while a plan is carried out; saved and loaded as a checkpoint."""

    def __init__(self, plan: TrainPlan) -> None:
        hyper = plan.hyperparameters
        self.model = plan.task.model(torch.Generator().manual_seed(plan.seed)).to(plan.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=hyper.learning_rate, momentum=hyper.momentum)
        # Separate streams: a penalty that draws times must not change the order of the batches.
        self.batch_order = torch.Generator().manual_seed(2 * plan.seed + 1)
        self.penalty_times = torch.Generator().manual_seed(2 * plan.seed + 2)
        self.epoch = 0  # completed
        self.train_s = 0.0
        self.train_work = 0

    def state_dict(self) -> dict[str, Any]:
        """A checkpoint: tensors and numbers only, so that `torch.load(..., weights_only=True)` reads it."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batch_order": self.batch_order.get_state(),
            "penalty_times": self.penalty_times.get_state(),
            "epoch": self.epoch,
            "train_s": self.train_s,
            "train_work": self.train_work,
        }

    def load_state_dict(self, checkpoint: Mapping[str, Any]) -> "TrainState":
        """Continue from a checkpoint of the same plan; return self."""
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.batch_order.set_state(checkpoint["batch_order"])
        self.penalty_times.set_state(checkpoint["penalty_times"])
        self.epoch = checkpoint["epoch"]
        self.train_s = checkpoint["train_s"]
        self.train_work = checkpoint["train_work"]
        return self


def train(plan: TrainPlan, state: TrainState | None = None, clock: Clock = time.perf_counter) -> Iterator[EpochRecord]:
    """Carry out a plan, yielding a record after each epoch.

    Training seconds are of forward, backward and update alone; a batch is solved and thrown away first, because the
    first solve of a process is about twice as slow as the next. Sets torch's number of threads to the plan's.

    Args:
        plan: what to do.
        state: where to go on; a fresh one by default. Updated in place: save `state.state_dict()` after any record.
        clock: seconds from an arbitrary origin; on a GPU device events are used instead.

    Yields:
        One record per epoch; the last also has the solver gap, measured on held-out data.

    Raises:
        TrainingDiverged: a loss or a held-out score is not finite.
        SolveFailed: a solve ended early; the message names the remedy.
    """
    torch.set_num_threads(plan.threads)
    state = state or TrainState(plan)
    splits = plan.task.splits()
    train_split, held_out = _on_device(splits.train, plan.device), _on_device(splits.validation, plan.device)
    if state.epoch < plan.hyperparameters.epochs:
        _warm_up(plan, state, train_split)
    while state.epoch < plan.hyperparameters.epochs:
        weight = plan.schedule(state.epoch, plan.hyperparameters.epochs)
        steps = [_train_step(plan, state, batch, weight, clock) for batch in _batches(plan, state, train_split)]
        state.epoch += 1
        yield _record(plan, state, weight, steps, held_out, clock=clock)


@dataclass(frozen=True)
class _TrainStep:
    """What one update measured."""

    loss: float
    penalty: float
    n_evaluations: int
    n_accepted: int
    n_rejected: int


@dataclass(frozen=True)
class _Evaluation:
    """What the held-out split measured."""

    output: Tensor
    nfe: float
    accepted: float
    rejected: float
    predict_s: float


class _Stopwatch:
    """Seconds of a block: device events on a GPU, else the clock."""

    def __init__(self, device: str, clock: Clock) -> None:
        self._on_gpu = torch.device(device).type == "cuda"
        self._clock = clock
        self.seconds = 0.0

    def __enter__(self) -> "_Stopwatch":
        if self._on_gpu:
            self._begin, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self._begin.record()
        else:
            self._began = self._clock()
        return self

    def __exit__(self, *_: object) -> None:
        if self._on_gpu:
            self._end.record()
            self._end.synchronize()
            self.seconds = self._begin.elapsed_time(self._end) * _SECONDS_PER_MS
        else:
            self.seconds = self._clock() - self._began


def _on_device(split: Split, device: str) -> Split:
    return Split(split.inputs.to(device), split.targets.to(device))


def _batches(plan: TrainPlan, state: TrainState, split: Split) -> Iterator[Split]:
    # The incomplete last batch is dropped, as in both papers: NFE belongs to a batch size.
    size = min(plan.hyperparameters.batch_size, len(split))
    order = torch.randperm(len(split), generator=state.batch_order)
    for start in range(0, len(split) - size + 1, size):
        chosen = order[start : start + size].to(split.inputs.device)
        yield Split(split.inputs[chosen], split.targets[chosen])


class _Penalized(NamedTuple):
    """A prediction with its penalty."""

    prediction: Prediction
    penalty: Tensor
    n_differentiated: int  # evaluations on the tape whose gradients are asked for; of the solve and of the penalty


def _penalized(plan: TrainPlan, model: SolvingModel, batch: Split, generator: torch.Generator) -> _Penalized:
    times = plan.regularizer.sample_times(model.t0, model.t1, generator)
    request = SolveRequest(plan.settings, times, plan.regularizer.needs_differentiable_records)
    prediction = model(batch.inputs, request)
    context = PenaltyContext(prediction.term, plan.settings, prediction.solution, times)
    taped = prediction.term.n_taped
    # An adjoint that tapes nothing evaluates again what it differentiates: that is counted where it happens.
    of_solve = min(prediction.solution.stats.n_differentiated, taped)
    penalty = plan.regularizer.penalty(context)
    return _Penalized(prediction, penalty, of_solve + prediction.term.n_taped - taped)


def _warm_up(plan: TrainPlan, state: TrainState, split: Split) -> None:
    size = min(plan.hyperparameters.batch_size, len(split))
    batch = Split(split.inputs[:size], split.targets[:size])
    prediction, penalty, _ = _penalized(plan, state.model, batch, torch.Generator())
    (plan.task.loss(prediction.output, batch.targets) + penalty).backward()
    state.optimizer.zero_grad()


def _train_step(plan: TrainPlan, state: TrainState, batch: Split, weight: float, clock: Clock) -> _TrainStep:
    with _Stopwatch(plan.device, clock) as watch:
        state.optimizer.zero_grad()
        prediction, penalty, n_differentiated = _penalized(plan, state.model, batch, state.penalty_times)
        loss = plan.task.loss(prediction.output, batch.targets)
        (loss + weight * penalty).backward()
        state.optimizer.step()
    term, stats = prediction.term, prediction.solution.stats
    step = _TrainStep(loss.item(), penalty.item(), term.n_evaluations, stats.n_accepted, stats.n_rejected)
    if not (math.isfinite(step.loss) and math.isfinite(step.penalty)):
        raise TrainingDiverged(
            f"loss {step.loss} with penalty {step.penalty} in epoch {state.epoch + 1}: not finite; "
            "lower the learning rate or the penalty's weight"
        )
    # What the adjoint evaluated again, backward() has counted: each of these is evaluated and differentiated.
    state.train_work += term.n_evaluations + n_differentiated + 2 * term.n_replayed
    state.train_s += watch.seconds
    return step


def _evaluate(plan: TrainPlan, model: SolvingModel, split: Split, settings: SolveSettings, clock: Clock) -> _Evaluation:
    outputs, stats, seconds = [], [], []
    with torch.no_grad():
        for inputs in split.inputs.split(plan.hyperparameters.eval_batch_size):
            with _Stopwatch(plan.device, clock) as watch:
                prediction = model(inputs, SolveRequest(settings))
            outputs.append(prediction.output)
            stats.append(prediction.solution.stats)
            seconds.append(watch.seconds)
    return _Evaluation(
        output=torch.cat(outputs),
        nfe=statistics.fmean(s.n_evaluations for s in stats),
        accepted=statistics.fmean(s.n_accepted for s in stats),
        rejected=statistics.fmean(s.n_rejected for s in stats),
        predict_s=statistics.median(seconds),
    )


def _record(
    plan: TrainPlan, state: TrainState, weight: float, steps: list[_TrainStep], held_out: Split, *, clock: Clock
) -> EpochRecord:
    evaluation = _evaluate(plan, state.model, held_out, plan.settings, clock)
    scores = plan.task.scores(evaluation.output, held_out.targets)
    if not all(map(math.isfinite, scores.values())):  # the last update of the epoch may have been one too many
        raise TrainingDiverged(
            f"held-out {dict(scores)} after epoch {state.epoch}: not finite; lower the learning rate"
        )
    record = EpochRecord(
        epoch=state.epoch,
        scores=scores,
        train_loss=statistics.fmean(s.loss for s in steps),
        penalty=statistics.fmean(s.penalty for s in steps),
        weight=weight,
        nfe=evaluation.nfe,
        accepted=evaluation.accepted,
        rejected=evaluation.rejected,
        nfe_train=statistics.fmean(s.n_evaluations for s in steps),
        accepted_train=statistics.fmean(s.n_accepted for s in steps),
        rejected_train=statistics.fmean(s.n_rejected for s in steps),
        train_s=state.train_s,
        predict_s=evaluation.predict_s,
        train_work=float(state.train_work),
    )
    if state.epoch < plan.hyperparameters.epochs:
        return record
    return _with_solver_gap(plan, state.model, held_out, evaluation.output, record)


def _with_solver_gap(
    plan: TrainPlan, model: SolvingModel, held_out: Split, output: Tensor, record: EpochRecord
) -> EpochRecord:
    """|output - reference| / |reference|, the reference in float64 at a tight tolerance; and the scores' change."""
    settings = _reference_settings(plan.settings)
    split = Split(held_out.inputs.double(), held_out.targets)
    try:
        reference = _evaluate(plan, copy.deepcopy(model).double(), split, settings, time.perf_counter).output
    except SolveFailed as failure:
        raise SolveFailed(f"reference solve of the solver gap at {settings.rtol:g}: {failure}") from failure
    gap = torch.linalg.vector_norm(output - reference) / torch.linalg.vector_norm(reference)
    reference_scores = plan.task.scores(reference, held_out.targets)
    score_gaps = {name: record.scores[name] - value for name, value in reference_scores.items()}
    return replace(record, solver_gap=gap.item(), score_gaps=score_gaps)


def _reference_settings(settings: SolveSettings) -> SolveSettings:
    """The same at a tight tolerance, which takes an adaptive method of ours, and of a high order."""
    tight = min(_REFERENCE_TOLERANCE, 1e-2 * settings.rtol, 1e-2 * settings.atol)
    is_adaptive = settings.controller.needs_error
    return SolveSettings(
        solver=settings.solver if is_adaptive and settings.solver.order >= _REFERENCE_ORDER else Tsit5(),
        controller=settings.controller if is_adaptive else IController(),
        adjoint=Tape(),
        rtol=tight,
        atol=tight,
        max_steps=max(_REFERENCE_STEPS, settings.max_steps),
    )
