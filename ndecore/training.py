"""Training as a generator of epoch records: seeded, resumable, timed honestly; early stopping is ceasing to iterate."""

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ndecore.batch_statistics import BatchStatistics
from ndecore.datasets.base import Batch
from ndecore.datasets.source import Source
from ndecore.errors import InputError, SolveFailed, TrainingDiverged
from ndecore.evaluation import Clock, Evaluation, Stopwatch, evaluate, reference_evaluation, relative_difference
from ndecore.memory import peak_memory_mib
from ndecore.metrics import EpochRecord, mean_record
from ndecore.observation import observe
from ndecore.plans import TrainPlan, TrainState
from ndecore.regularizers.schedules import Moment
from ndecore.regularizers.weighted import Weighted
from ndecore.seeding import seeded
from ndecore.solves import Solves
from ndecore.status import Status
from ndecore.types import Scalar

__all__ = ["TrainPlan", "TrainState", "train"]


def train(plan: TrainPlan, state: TrainState | None = None, clock: Clock = time.perf_counter) -> Iterator[EpochRecord]:
    """Carry out a plan, yielding a record after each epoch.

    Training seconds are of forward, backward and update alone; a batch is solved and thrown away first, because the
    first solve of a process is about twice as slow as the next. Sets torch's number of threads to the plan's.

    Args:
        plan: what to do.
        state: where to go on; a fresh one by default. Updated in place: save `state.state_dict()` after any record.
        clock: seconds from an arbitrary origin; on a GPU device events are used instead.

    Yields:
        One record per epoch; the last also has the solver gap, measured on held-out data. Of several seeds it is the
        mean; the model is that of the first, the others are in `state.others`.

    Raises:
        TrainingDiverged: a loss or a held-out score is not finite.
        SolveFailed: a solve ended early; the message names the remedy.
    """
    state = state or TrainState(plan)
    trainings = [
        _train_alone(plan.alone(seed), each, clock)
        for seed, each in zip(plan.seeds, (state, *state.others), strict=True)
    ]
    for records in zip(*trainings, strict=True):
        yield mean_record(records)


def _train_alone(plan: TrainPlan, state: TrainState, clock: Clock) -> Iterator[EpochRecord]:
    torch.set_num_threads(plan.threads)
    splits = plan.task.splits()
    data, held_out = (plan.task.source(part, plan.device) for part in (splits.train, splits.validation))
    run = _Run(plan, state, data.n_batches(plan.hyperparameters.batch_size), clock)
    if state.epoch < plan.hyperparameters.last_epoch:
        with _seeded(plan, -1):
            run.warm_up(data)
    while state.epoch < plan.hyperparameters.last_epoch:
        with _seeded(plan, state.epoch):
            batches = data.shuffled(plan.hyperparameters.batch_size, state.batch_order)
            steps = [run.step(batch) for batch in batches]
            state.epoch += 1
            if state.epoch == plan.hyperparameters.last_epoch:
                run.look_at_memory(data)
        yield _record(plan, state, steps, held_out, clock)


def _seeded(plan: TrainPlan, epoch: int) -> Any:
    """Let dropout and other draws from torch's global stream be the same in an epoch of a plan, resumed or not."""
    return seeded(1_000_003 * plan.seed + epoch + 1, plan.device)


@dataclass(frozen=True)
class _TrainStep:
    """What one update measured."""

    loss: float
    parts: Mapping[str, float]  # of the loss, where it has named ones
    penalty: float  # of several, the mean by weight
    weight: float  # of several, the sum
    n_evaluations: int
    n_accepted: int
    n_rejected: int
    learning_rate: float


@dataclass(frozen=True)
class _Forward:
    """A forward pass, with its loss and penalties."""

    solves: Solves
    loss: Scalar
    parts: Mapping[str, Scalar]
    penalty: Scalar  # with its weight, summed


class _Run:
    """The steps of one call of `train`."""

    def __init__(self, plan: TrainPlan, state: TrainState, n_batches: int, clock: Clock) -> None:
        self._plan, self._state, self._clock = plan, state, clock
        self._n_steps = plan.hyperparameters.epochs * n_batches
        self._statistics = BatchStatistics(state.model)

    def step(self, batch: Batch) -> _TrainStep:
        """Update the parameters by one batch; raise `TrainingDiverged` if the loss is not finite."""
        state = self._state
        rate = self._set_rate()
        with Stopwatch(self._plan.device, self._clock) as watch, self._statistics.steady():
            state.optimizer.zero_grad()
            found = self._forward(batch, state.penalties, state.penalty_times)
            (found.loss + found.penalty).backward()
            self._clip()
            state.optimizer.step()
        self._statistics.update(found.solves)
        step = _told(found, rate)
        if not (math.isfinite(step.loss) and math.isfinite(step.penalty)):
            raise TrainingDiverged(self._why(step, batch))
        state.train_work += found.solves.work  # what the adjoint evaluated again, backward() has counted
        state.train_s += watch.seconds
        state.step += 1
        return step

    def _why(self, step: _TrainStep, batch: Batch) -> str:
        """Why a loss is not finite, in one line."""
        if self._state.step or math.isfinite(step.loss):
            told = f"loss {step.loss} with penalty {step.penalty} in epoch {self._state.epoch + 1}: not finite"
            return f"{told}; lower the learning rate or the penalty's weight{_blemishes(batch)}"
        return f"loss {step.loss} before the first update: not finite; look at data, model and loss{_blemishes(batch)}"

    def warm_up(self, data: Source) -> None:
        """Make a step that leaves no trace; before the first of a training another tells how much memory it takes."""
        self._traceless(self._first_batch(data))  # first, for it fills the caches of a process
        if not self._state.step:
            self.look_at_memory(data)

    def look_at_memory(self, data: Source) -> None:
        """Make a step that leaves no trace but the memory that it takes."""
        state, batch = self._state, self._first_batch(data)
        taken = peak_memory_mib(lambda: self._traceless(batch), self._plan.device)
        state.peak_memory_mib = max(state.peak_memory_mib, taken)

    def _first_batch(self, data: Source) -> Batch:
        return next(data.in_order(min(self._plan.hyperparameters.batch_size, len(data))))

    def _traceless(self, batch: Batch) -> None:
        model = self._state.model
        kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
        with self._statistics.steady():
            found = self._forward(batch, [each.fresh() for each in self._plan.penalties], torch.Generator())
            (found.loss + found.penalty).backward()
        self._state.optimizer.zero_grad()
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)

    def _forward(self, batch: Batch, penalties: Sequence[Weighted], generator: torch.Generator) -> _Forward:
        plan, state = self._plan, self._state
        # A path for each step and seed, without a stream to be saved: a resumed training goes on with the same ones.
        path_seed = plan.seed << 32 | state.step
        with observe(settings=plan.settings, penalties=penalties, generator=generator, path_seed=path_seed) as solves:
            output = plan.task.forward(state.model, batch)
        for solution in (each.solution for each in solves):
            if solution.status is not Status.SUCCESS:
                raise SolveFailed(solution.ending() + _blemishes(batch))
        moment = Moment(state.epoch, plan.hyperparameters.epochs, state.step, self._n_steps)
        penalty = (
            solves.weighted_penalty(
                step=moment.step, n_steps=moment.n_steps, epoch=moment.epoch, n_epochs=moment.n_epochs
            )
            if penalties
            else None
        )
        made = plan.task.loss(output, batch, moment)
        parts = made if isinstance(made, Mapping) else {}
        loss = made if isinstance(made, Tensor) else _summed(made)
        return _Forward(solves, loss, parts, loss.new_zeros(()) if penalty is None else penalty)

    def _clip(self) -> None:
        if self._plan.hyperparameters.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._state.model.parameters(), self._plan.hyperparameters.clip_norm)

    def _set_rate(self) -> float:
        rate = self._plan.hyperparameters.rate(self._state.step, self._n_steps, self._state.epoch)
        for group in self._state.optimizer.param_groups:
            group["lr"] = rate
        return rate


def _blemishes(batch: Batch) -> str:
    """Which tensors of a batch hold NaN or infinity, as the end of a sentence; empty if none does."""
    names = [name for name, tensor in batch.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    return f"; the batch has NaN or infinite values in {', '.join(names)}" if names else ""


def _summed(parts: Mapping[str, Tensor]) -> Scalar:
    """The sum of a loss's named parts."""
    if not isinstance(parts, Mapping) or not parts:
        raise InputError(f"loss: got {type(parts).__name__}, allowed: a 0-d tensor, or a dict of at least one of such")
    total: Tensor = sum(parts.values(), start=next(iter(parts.values())).new_zeros(()))
    return total


def _told(found: _Forward, rate: float) -> _TrainStep:
    weights = found.solves.weights
    values = found.solves.penalties.tolist() if weights else []
    total, added = math.fsum(weights), math.fsum(w * value for w, value in zip(weights, values, strict=True))
    solves = found.solves
    return _TrainStep(
        loss=found.loss.item(),
        parts={name: part.item() for name, part in found.parts.items()},
        # The weighted mean, or the plain one where no weight is left.
        penalty=added / total if total else sum(values) / max(1, len(values)),
        weight=total,
        n_evaluations=solves.n_evaluations,
        n_accepted=solves.n_steps,
        n_rejected=solves.n_rejected,
        learning_rate=rate,
    )


def _record(
    plan: TrainPlan, state: TrainState, steps: Sequence[_TrainStep], held_out: Source, clock: Clock
) -> EpochRecord:
    is_last = state.epoch == plan.hyperparameters.last_epoch
    size = plan.hyperparameters.eval_batch_size
    evaluation = evaluate(plan.task, state.model, held_out, plan.settings, size, clock=clock, keeps_outputs=is_last)
    scores = evaluation.scores
    if not all(map(math.isfinite, scores.values())):  # the last update of the epoch may have been one too many
        raise TrainingDiverged(
            f"held-out {dict(scores)} after epoch {state.epoch}: not finite; lower the learning rate"
        )
    record = EpochRecord(
        epoch=state.epoch,
        scores=scores,
        train_loss=statistics.fmean(s.loss for s in steps),
        penalty=statistics.fmean(s.penalty for s in steps),
        weight=statistics.fmean(s.weight for s in steps),
        nfe=evaluation.nfe,
        accepted=evaluation.accepted,
        rejected=evaluation.rejected,
        nfe_train=statistics.fmean(s.n_evaluations for s in steps),
        accepted_train=statistics.fmean(s.n_accepted for s in steps),
        rejected_train=statistics.fmean(s.n_rejected for s in steps),
        train_s=state.train_s,
        predict_s=evaluation.predict_s,
        nfe_diffusion=evaluation.nfe_diffusion,
        train_work=float(state.train_work),
        loss_parts={name: statistics.fmean(s.parts[name] for s in steps) for name in steps[0].parts},
        n_parameters=sum(p.numel() for p in state.model.parameters() if p.requires_grad),
        peak_memory_mib=state.peak_memory_mib,
        learning_rate=steps[-1].learning_rate,
    )
    return _with_solver_gap(plan, state.model, held_out, evaluation, record) if is_last else record


def _with_solver_gap(
    plan: TrainPlan, model: nn.Module, held_out: Source, evaluation: Evaluation, record: EpochRecord
) -> EpochRecord:
    """The outputs against those of a tight solve of the same weights; and the scores' change."""
    reference = reference_evaluation(plan.task, model, held_out, plan.settings, plan.hyperparameters.eval_batch_size)
    score_gaps = {name: record.scores[name] - value for name, value in reference.scores.items()}
    gap = relative_difference(evaluation.outputs, reference.outputs)
    return replace(record, solver_gap=gap, score_gaps=score_gaps, is_last=True)
