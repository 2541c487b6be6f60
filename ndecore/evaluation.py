"""Measuring a model on data: its outputs, what they cost, and how far the solver's tolerance moves them."""

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn

from ndecore.controllers.integral import IController
from ndecore.datasets.base import Batch
from ndecore.datasets.source import Source
from ndecore.errors import InputError, SolveFailed
from ndecore.integrate import SolveSettings, Tape
from ndecore.observation import observe
from ndecore.seeding import seeded
from ndecore.solvers.sosri import SOSRI
from ndecore.solvers.tsit5 import Tsit5
from ndecore.states import map_tensors, tensors_of
from ndecore.tasks.base import Task
from ndecore.tasks.metering import Meter, Output
from ndecore.terms import SDETerm

_REFERENCE_TOLERANCE = 1e-9  # of the float64 solve that the solver gap is measured against
_REFERENCE_STEPS = 4096  # at least: a tolerance 10^5 times tighter takes ten times the steps at order 5
_TIGHTER, _LOOSEST = 4, 0.1  # of a stochastic solve: tells the gap to a tenth, for less than four times the steps
_CLOSER, _CLOSEST = 30, 3e-7  # of an estimate in float32: how much tighter, and the rounding below which nothing is
_REFERENCE_ORDER = 5  # at least: at order 3 it would be fifty times the steps
_SECONDS_PER_MS = 1e-3

Clock = Callable[[], float]


@dataclass(frozen=True)
class Evaluation:
    """What a split measured."""

    scores: Mapping[str, float]  # the task's metrics, by `Metric.name`
    outputs: tuple[Output, ...]  # of each batch, on the host; none unless they were asked for
    nfe: float  # sum over the solves of a forward pass, mean over the batches
    accepted: float  # steps, likewise
    rejected: float  # steps, likewise
    predict_s: float  # s per batch, median over the batches
    nfe_diffusion: float | None  # None of ordinary equations


@dataclass(frozen=True)
class Measurement:
    """What a trained model does on a split: the fields of an `EpochRecord` that are of held-out data."""

    scores: Mapping[str, float]
    score_gaps: Mapping[str, float]
    nfe: float
    accepted: float
    rejected: float
    predict_s: float
    solver_gap: float
    nfe_diffusion: float | None  # None of ordinary equations


class Stopwatch:
    """Seconds of a block: device events on a GPU, else the clock."""

    def __init__(self, device: torch.device | str, clock: Clock) -> None:
        self._on_gpu = torch.device(device).type == "cuda"
        self._clock = clock
        self.seconds = 0.0

    def __enter__(self) -> "Stopwatch":
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


def evaluate(
    task: Task,
    model: nn.Module,
    data: Source,
    settings: SolveSettings,
    batch_size: int,
    *,
    clock: Clock = time.perf_counter,
    keeps_outputs: bool = False,
    precision: torch.dtype | None = None,
) -> Evaluation:
    """Predict a split, batch by batch, without gradients; a stochastic model along the same paths each time.

    Args:
        task: whose metrics, and whose `forward`.
        model: on the device of the data.
        data: the split.
        settings: how to solve.
        batch_size: examples per forward pass.
        clock: seconds from an arbitrary origin.
        keeps_outputs: whether the outputs are returned too.
        precision: to which floating-point tensors of a batch are cast for the model; None leaves them.

    Raises:
        SolveFailed: a solve ended early.
    """
    meter, outputs, stats, seconds, is_stochastic = task.meter(), list[Output](), [], [], False
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with torch.no_grad(), predicting(model), seeded(0, str(device)):
        for i, batch in enumerate(data.in_order(batch_size)):
            given = batch if precision is None else _cast(batch, precision)
            # No training has a path of a negative seed.
            with Stopwatch(device, clock) as watch, observe(settings=settings, path_seed=-1 - i) as solves:
                output = task.forward(model, given)
            for each in solves:
                each.solution.check()
            meter.update(output, batch)
            if keeps_outputs:
                outputs.append(map_tensors(lambda tensor: tensor.cpu(), output))
            stats.append((solves.nfe, solves.n_steps, solves.n_rejected, solves.nfe_diffusion))
            seconds.append(watch.seconds)
            is_stochastic |= any(isinstance(each.term, SDETerm) for each in solves)
    nfe, accepted, rejected, nfe_diffusion = (statistics.fmean(c) / task.n_paths for c in zip(*stats, strict=True))
    return Evaluation(
        scores=_scores(task, meter),
        outputs=tuple(outputs),
        nfe=nfe,
        accepted=accepted,
        rejected=rejected,
        predict_s=statistics.median(seconds),
        nfe_diffusion=nfe_diffusion if is_stochastic else None,
    )


def _scores(task: Task, meter: Meter) -> Mapping[str, float]:
    """What the meter tells, or an `InputError` if it lacks a metric that the task declares."""
    scores, names = meter.compute(), [metric.name for metric in task.metrics]
    if not set(names) <= set(scores):
        raise InputError(
            f"scores: got {', '.join(scores) or 'none'} of {type(task).__name__}, allowed: every metric that it "
            f"declares: {', '.join(names)}"
        )
    return scores


def _cast(batch: Batch, precision: torch.dtype) -> Batch:
    return {name: tensor.to(precision) if tensor.is_floating_point() else tensor for name, tensor in batch.items()}


def measure(
    task: Task,
    model: nn.Module,
    data: Source,
    settings: SolveSettings,
    batch_size: int,
    *,
    reference: Evaluation | None = None,
    repeats: int = 1,
    clock: Clock = time.perf_counter,
) -> Measurement:
    """Everything that is measured of a trained model on a split.

    Args:
        task: whose metrics.
        model: trained.
        data: the split, on the model's device.
        settings: how to solve.
        batch_size: examples per forward pass.
        reference: what a tight solve of the same weights gives; made here unless given.
        repeats: how often to predict; the seconds are the median, and the first time warms up if there are more.
        clock: seconds from an arbitrary origin.

    Raises:
        SolveFailed: a solve ended early.
    """
    found = [
        evaluate(task, model, data, settings, batch_size, clock=clock, keeps_outputs=not i) for i in range(repeats)
    ]
    first, timed = found[0], found[1:] or found
    if reference is None:
        reference = reference_evaluation(task, model, data, settings, batch_size)
    return Measurement(
        scores=first.scores,
        score_gaps={name: first.scores[name] - value for name, value in reference.scores.items()},
        nfe=first.nfe,
        accepted=first.accepted,
        rejected=first.rejected,
        predict_s=statistics.median(each.predict_s for each in timed),
        solver_gap=relative_difference(first.outputs, reference.outputs),
        nfe_diffusion=first.nfe_diffusion,
    )


@contextmanager
def predicting(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and then as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def reference_evaluation(
    task: Task, model: nn.Module, data: Source, settings: SolveSettings, batch_size: int
) -> Evaluation:
    """What the same weights give at a tight tolerance, along the same path; raise `SolveFailed` if it ends early.

    That of an ordinary equation is in float64. A path is another one in another dtype, and no tolerance of a stochastic
    equation is near the rounding of float32.
    """
    precision = None if task.calculus else torch.float64
    if precision:
        model = copy.deepcopy(model).double()
    try:
        with observe(settings=tightened):
            return evaluate(task, model, data, settings, batch_size, keeps_outputs=True, precision=precision)
    except SolveFailed as failure:
        tight = tightened(settings)
        raise SolveFailed(f"reference solve of the solver gap at {tight.rtol:g}: {failure}") from failure


def estimated_gap(task: Task, model: nn.Module, data: Source, settings: SolveSettings, batch_size: int) -> float:
    """About the solver gap, for a fraction of its cost: dimensionless.

    Against a solve in the model's own precision at a thirtieth of the tolerance, where the step adapts; else it is the
    gap itself. Mostly within a tenth of a decade of it; where a loose solve has a step or two, a factor of two.

    Raises:
        SolveFailed: a solve ended early.
    """
    own = evaluate(task, model, data, settings, batch_size, keeps_outputs=True)
    if task.calculus is not None or not settings.controller.needs_error:
        return relative_difference(own.outputs, reference_evaluation(task, model, data, settings, batch_size).outputs)
    with observe(settings=_closer):
        closer = evaluate(task, model, data, settings, batch_size, keeps_outputs=True)
    return relative_difference(own.outputs, closer.outputs)


def _closer(settings: SolveSettings) -> SolveSettings:
    rtol, atol = (min(each, max(each / _CLOSER, _CLOSEST)) for each in (settings.rtol, settings.atol))
    return replace(settings, rtol=rtol, atol=atol, max_steps=max(_REFERENCE_STEPS, settings.max_steps))


def relative_difference(outputs: Sequence[Output], references: Sequence[Output]) -> float:
    """|output - reference| / |reference|, 2-norms over all elements of all floating-point tensors of all batches."""
    pairs = [
        (a, b)
        for output, reference in zip(outputs, references, strict=True)
        for a, b in zip(tensors_of(output), tensors_of(reference), strict=True)
        if a.is_floating_point()
    ]
    differences, norms = (
        math.hypot(*(torch.linalg.vector_norm(each).item() for each in column))
        for column in ([a - b for a, b in pairs], [b for _, b in pairs])
    )
    return differences / norms if norms else (math.inf if differences else 0.0)


def tightened(settings: SolveSettings) -> SolveSettings:
    """The settings of a reference solve, from those of the solve that it is compared with."""
    return _reference_settings(settings) if settings.solver.calculus is None else _stochastic_reference(settings)


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


def _stochastic_reference(settings: SolveSettings) -> SolveSettings:
    """SOSRI at tighter tolerances, and those of `_LOOSEST` made tighter where steps are constant or very large."""
    rtol, atol = (min(tolerance, _LOOSEST) / _TIGHTER for tolerance in (settings.rtol, settings.atol))
    return SolveSettings(SOSRI(), rtol=rtol, atol=atol, max_steps=max(_REFERENCE_STEPS, settings.max_steps))
