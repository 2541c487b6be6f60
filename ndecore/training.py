"""Training as a generator of epoch records: seeded, resumable, timed honestly; early stopping is ceasing to iterate."""

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from ndecore.datasets.base import Split
from ndecore.errors import TrainingDiverged
from ndecore.evaluation import Clock, Evaluation, Stopwatch, evaluate, reference_output, relative_difference
from ndecore.integrate import SolveSettings
from ndecore.metrics import EpochRecord
from ndecore.models.base import Prediction, SolveRequest, SolvingModel
from ndecore.regularizers.schedules import Moment, Seen
from ndecore.regularizers.weighted import Session, Weighted
from ndecore.tasks.base import Hyperparameters, Task
from ndecore.types import PerPenalty

_OPTIMIZERS = {"adam": torch.optim.Adam, "adamax": torch.optim.Adamax}


@dataclass(frozen=True)
class TrainPlan:
    """Everything that decides what a training run does; the same plan gives the same numbers on the same machine."""

    task: Task
    settings: SolveSettings
    hyperparameters: Hyperparameters
    penalties: tuple[Weighted, ...] = ()
    seed: int = 0  # of the initial parameters, the batches' order, a penalty's random times, a stochastic model's paths
    threads: int = 1  # of torch; sums over another number of threads differ in their last digits
    device: str = "cpu"


class TrainState:
    """What changes while a plan is carried out; saved and loaded as a checkpoint."""

    def __init__(self, plan: TrainPlan) -> None:
        hyper = plan.hyperparameters
        self.model = plan.task.model(torch.Generator().manual_seed(plan.seed)).to(plan.device)
        self.optimizer = _optimizer(self.model, hyper)
        # Separate streams: a penalty that draws times must not change the order of the batches.
        self.batch_order = torch.Generator().manual_seed(2 * plan.seed + 1)
        self.penalty_times = torch.Generator().manual_seed(2 * plan.seed + 2)
        self.epoch = 0  # completed
        self.step = 0  # completed, over all epochs
        self.seen: list[Seen | None] = [None] * len(plan.penalties)  # by the last step
        self.before: list[Seen | None] = self.seen  # by the one before it
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
            "step": self.step,
            "seen": [None if seen is None else tuple(seen) for seen in (*self.seen, *self.before)],
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
        self.step = checkpoint["step"]
        seen = [None if each is None else Seen(*each) for each in checkpoint["seen"]]
        self.seen, self.before = seen[: len(seen) // 2], seen[len(seen) // 2 :]
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
    train_split, held_out = splits.train.to(plan.device), splits.validation.to(plan.device)
    if state.epoch < plan.hyperparameters.epochs:
        _warm_up(plan, state, train_split)
    while state.epoch < plan.hyperparameters.epochs:
        batches = _batches(plan, state, train_split)
        steps = [_train_step(plan, state, batch, len(batches), clock) for batch in batches]
        state.epoch += 1
        yield _record(plan, state, steps, held_out, clock)


@dataclass(frozen=True)
class _TrainStep:
    """What one update measured."""

    loss: float
    penalty: float  # of several, the mean by weight
    weight: float  # of several, the sum
    n_evaluations: int
    n_accepted: int
    n_rejected: int


def _optimizer(model: SolvingModel, hyper: Hyperparameters) -> torch.optim.Optimizer:
    if hyper.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=hyper.learning_rate, momentum=hyper.momentum)
    return _OPTIMIZERS[hyper.optimizer](model.parameters(), lr=hyper.learning_rate)


def _batches(plan: TrainPlan, state: TrainState, split: Split) -> list[Split]:
    # The incomplete last batch is dropped, as in both papers: NFE belongs to a batch size.
    size = min(plan.hyperparameters.batch_size, len(split))
    order = torch.randperm(len(split), generator=state.batch_order)
    parts = (order[at : at + size].to(split.inputs.device) for at in range(0, len(split) - size + 1, size))
    return [Split(split.inputs[chosen], split.targets[chosen]) for chosen in parts]


class _Penalized(NamedTuple):
    """A prediction with its penalties."""

    prediction: Prediction
    penalties: PerPenalty
    n_differentiated: int  # evaluations on the tape whose gradients are asked for; of the solve and of the penalties


def _penalized(plan: TrainPlan, state: TrainState, batch: Split, generator: torch.Generator) -> _Penalized:
    session = Session([each.regularizer for each in plan.penalties], state.model.grid, generator)
    # A path for each step and seed, without a stream to be saved: a resumed training goes on with the same ones.
    path_seed = plan.seed << 32 | state.step
    prediction = state.model(batch.inputs, SolveRequest(plan.settings, session.wishes, path_seed=path_seed))
    term, solution = prediction.term, prediction.solution
    taped = term.n_taped
    # An adjoint that tapes nothing evaluates again what it differentiates: that is counted where it happens.
    of_solve = min(solution.stats.n_differentiated, taped)
    penalties = session.penalties(term, plan.settings, solution)
    return _Penalized(prediction, penalties, of_solve + term.n_taped - taped)


def _warm_up(plan: TrainPlan, state: TrainState, split: Split) -> None:
    size = min(plan.hyperparameters.batch_size, len(split))
    batch = Split(split.inputs[:size], split.targets[:size])
    prediction, penalties, _ = _penalized(plan, state, batch, torch.Generator())
    (plan.task.loss(prediction.output, batch.targets) + penalties.sum()).backward()
    state.optimizer.zero_grad()


def _weights(plan: TrainPlan, state: TrainState, n_batches: int) -> list[float]:
    n_epochs = plan.hyperparameters.epochs
    moment = Moment(state.epoch, n_epochs, state.step, n_epochs * n_batches)
    penalties = zip(plan.penalties, state.seen, state.before, strict=True)
    return [each.schedule(moment._replace(seen=seen, before=before)) for each, seen, before in penalties]


def _train_step(plan: TrainPlan, state: TrainState, batch: Split, n_batches: int, clock: Clock) -> _TrainStep:
    weights = _weights(plan, state, n_batches)
    with Stopwatch(plan.device, clock) as watch:
        state.optimizer.zero_grad()
        prediction, penalties, n_differentiated = _penalized(plan, state, batch, state.penalty_times)
        loss = plan.task.loss(prediction.output, batch.targets)
        (loss + penalties.dot(penalties.new_tensor(weights))).backward()
        state.optimizer.step()
    term, stats = prediction.term, prediction.solution.stats
    values = penalties.tolist()
    total, added = math.fsum(weights), math.fsum(w * value for w, value in zip(weights, values, strict=True))
    # The weighted mean, or the plain one where no weight is left.
    penalty = added / total if total else sum(values) / max(1, len(values))
    step = _TrainStep(loss.item(), penalty, total, term.n_evaluations, stats.n_accepted, stats.n_rejected)
    if not (math.isfinite(step.loss) and math.isfinite(step.penalty)):
        raise TrainingDiverged(
            f"loss {step.loss} with penalty {step.penalty} in epoch {state.epoch + 1}: not finite; "
            "lower the learning rate or the penalty's weight"
        )
    # What the adjoint evaluated again, backward() has counted: each of these is evaluated and differentiated.
    state.train_work += term.n_evaluations + n_differentiated + 2 * term.n_replayed
    state.train_s += watch.seconds
    state.step += 1
    state.before = state.seen
    state.seen = [Seen(w, stats.n_evaluations, value) for w, value in zip(weights, values, strict=True)]
    return step


def _record(
    plan: TrainPlan, state: TrainState, steps: Sequence[_TrainStep], held_out: Split, clock: Clock
) -> EpochRecord:
    evaluation = evaluate(state.model, held_out, plan.settings, plan.hyperparameters.eval_batch_size, clock)
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
    )
    if state.epoch < plan.hyperparameters.epochs:
        return record
    return _with_solver_gap(plan, state.model, held_out, evaluation, record)


def _with_solver_gap(
    plan: TrainPlan, model: SolvingModel, held_out: Split, evaluation: Evaluation, record: EpochRecord
) -> EpochRecord:
    """The outputs against those of a tight solve of the same weights; and the scores' change."""
    reference = reference_output(model, held_out, plan.settings, plan.hyperparameters.eval_batch_size)
    reference_scores = plan.task.scores(reference, held_out.targets)
    score_gaps = {name: record.scores[name] - value for name, value in reference_scores.items()}
    return replace(record, solver_gap=relative_difference(evaluation.output, reference), score_gaps=score_gaps)
