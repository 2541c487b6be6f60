"""Measuring a model on data: its outputs, what they cost, and how far the solver's tolerance moves them."""

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ndecore.controllers.integral import IController
from ndecore.datasets.base import Split
from ndecore.errors import SolveFailed
from ndecore.integrate import SolveSettings, Tape
from ndecore.models.base import SolveRequest, SolvingModel
from ndecore.solvers.sosri import SOSRI
from ndecore.solvers.tsit5 import Tsit5
from ndecore.tasks.base import Task

_REFERENCE_TOLERANCE = 1e-9  # of the float64 solve that the solver gap is measured against
_REFERENCE_STEPS = 4096  # at least: a tolerance 10^5 times tighter takes ten times the steps at order 5
_TIGHTER, _LOOSEST = 4, 0.1  # of a stochastic solve: tells the gap to a tenth, for less than four times the steps
_REFERENCE_ORDER = 5  # at least: at order 3 it would be fifty times the steps
_SECONDS_PER_MS = 1e-3

Clock = Callable[[], float]


@dataclass(frozen=True)
class Evaluation:
    """What a split measured."""

    output: Tensor
    nfe: float
    accepted: float
    rejected: float
    predict_s: float
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


def evaluate(model: SolvingModel, split: Split, settings: SolveSettings, batch_size: int, clock: Clock) -> Evaluation:
    """Predict a split, batch by batch, without gradients; a stochastic model along the same paths each time."""
    device = split.inputs.device
    outputs, stats, seconds = [], [], []
    with torch.no_grad(), _predicting(model):
        for i, inputs in enumerate(split.inputs.split(batch_size)):
            request = SolveRequest(settings, path_seed=-1 - i)  # no training has a path of a negative seed
            with Stopwatch(device, clock) as watch:
                prediction = model(inputs, request)
            outputs.append(prediction.output)
            stats += [solution.stats for solution in (prediction.solution, *prediction.others)]
            seconds.append(watch.seconds)
    diffusion = statistics.fmean(s.n_diffusion_evaluations for s in stats)
    return Evaluation(
        output=torch.cat(outputs),
        nfe=statistics.fmean(s.n_evaluations for s in stats),
        accepted=statistics.fmean(s.n_accepted for s in stats),
        rejected=statistics.fmean(s.n_rejected for s in stats),
        predict_s=statistics.median(seconds),
        nfe_diffusion=diffusion if model.is_stochastic else None,
    )


def measure(
    task: Task,
    model: SolvingModel,
    split: Split,
    settings: SolveSettings,
    batch_size: int,
    *,
    reference: Tensor | None = None,
    repeats: int = 1,
    clock: Clock = time.perf_counter,
) -> Measurement:
    """Everything that is measured of a trained model on a split.

    Args:
        task: whose scores.
        model: trained.
        split: on the model's device.
        settings: how to solve.
        batch_size: examples per solve.
        reference: what a tight solve of the same weights puts out; made here unless given.
        repeats: how often to predict; the seconds are the median, and the first time warms up if there are more.
        clock: seconds from an arbitrary origin.

    Raises:
        SolveFailed: a solve ended early.
    """
    found = [evaluate(model, split, settings, batch_size, clock) for _ in range(repeats)]
    output, timed = found[0].output, found[1:] or found
    if reference is None:
        reference = reference_output(model, split, settings, batch_size)
    scores, tight = task.scores(output, split.targets), task.scores(reference, split.targets)
    return Measurement(
        scores=scores,
        score_gaps={name: scores[name] - value for name, value in tight.items()},
        nfe=found[0].nfe,
        accepted=found[0].accepted,
        rejected=found[0].rejected,
        predict_s=statistics.median(each.predict_s for each in timed),
        solver_gap=relative_difference(output, reference),
        nfe_diffusion=found[0].nfe_diffusion,
    )


@contextmanager
def _predicting(model: SolvingModel) -> Iterator[None]:
    """The model in evaluation mode, and then as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def reference_output(model: SolvingModel, split: Split, settings: SolveSettings, batch_size: int) -> Tensor:
    """What the same weights put out at a tight tolerance, along the same path; raise `SolveFailed` if it ends early.

    That of an ordinary equation is in float64. A path is another one in another dtype, and no tolerance of a stochastic
    equation is near the rounding of float32.
    """
    if model.is_stochastic:
        tight = _stochastic_reference(settings)
    else:
        tight, model = _reference_settings(settings), copy.deepcopy(model).double()
        split = Split(split.inputs.double(), split.targets)
    try:
        return evaluate(model, split, tight, batch_size, time.perf_counter).output
    except SolveFailed as failure:
        raise SolveFailed(f"reference solve of the solver gap at {tight.rtol:g}: {failure}") from failure


def relative_difference(output: Tensor, reference: Tensor) -> float:
    """|output - reference| / |reference|, 2-norms over all elements."""
    return (torch.linalg.vector_norm(output - reference) / torch.linalg.vector_norm(reference)).item()


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
