"""The linear algebra of a Runge-Kutta step, forwards and backwards.

Everything that a step makes of its slopes is a combination y0 + dt sum_j w_j k_j: the stages' arguments, the solution,
the error estimate, the dense output. Left to autograd, each slope gathers its cotangent by an addition for each
combination it is part of, and each slice of the buffer of slopes by a buffer of zeros. Here a slope's cotangent is one
matrix-vector product over the cotangents of the combinations, which autograd delivers in the order of a chain.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from ndecore.solvers.tableau import Tableau, coefficients
from ndecore.types import State


class Stages:
    """The slopes of one step as they come in, what is combined from them, and on the way back their cotangents.

    Gradients of `advance` and `read` may be differentiated again; nothing is saved for them, since all is linear.

    Args:
        tableau: of the method.
        dt: step size.
        y0: state at the start of the step.
    """

    def __init__(self, tableau: Tableau, dt: float, y0: State) -> None:
        self.coefficients = coefficients(tableau, y0.dtype, y0.device)
        self.shape = y0.shape
        self._dt = dt
        self._y0 = y0.detach().reshape(-1)
        self._slopes = self._y0.new_empty(self.coefficients.arguments.shape[1], len(self._y0))
        self._n_taken = 0
        self._rows = self.coefficients.rows.mul(dt).split(self.coefficients.sizes)
        self._readings: list[_Reading] = []
        self._cotangents: _Cotangents | None = None

    def advance(self, i: int, argument: State, slope: State) -> State:
        """Take in slope i, which was evaluated at `argument`, and return the next argument."""
        if torch.is_grad_enabled() and (argument.requires_grad or slope.requires_grad):
            return _Advance.apply(argument, slope, self, i)  # type: ignore[no-any-return, no-untyped-call]
        return self._advance(i, slope)

    def close(self, i: int, before: Tensor, slope: State) -> Tensor:
        """Take in slope i, the last one or one for the dense output, and return the token that `read` wants.

        `before` is what the slopes so far hang on: the argument of the last one, or the token before.
        """
        if torch.is_grad_enabled() and (before.requires_grad or slope.requires_grad):
            return _Close.apply(before, slope, self, i)  # type: ignore[no-any-return, no-untyped-call]
        self._take(i, slope)
        return before

    def read(self, token: Tensor, weights: Tensor, from_start: bool) -> Tensor:
        """dt sum_j weights_rj k_j over the slopes so far, plus y0 if `from_start`, for each row r: [rows, n]."""
        if torch.is_grad_enabled() and token.requires_grad:
            return _Read.apply(token, weights, from_start, self)  # type: ignore[no-any-return, no-untyped-call]
        return self._read(weights * self._dt, from_start)

    def _take(self, i: int, slope: State) -> None:
        self._slopes[i].copy_(slope.reshape(-1))
        self._n_taken = i + 1

    def _advance(self, i: int, slope: State) -> State:
        self._take(i, slope)
        # One matrix-vector product for a stage sum: a chain of additions costs i kernels.
        return torch.addmv(self._y0, self._slopes[: i + 1].t(), self._rows[i]).view(self.shape)

    def _read(self, weights: Tensor, from_start: bool) -> Tensor:
        # Only the slopes so far: the rest of the buffer may hold NaN, which a weight of zero does not remove.
        weights, slopes = weights[:, : self._n_taken], self._slopes[: self._n_taken]
        return torch.addmm(self._y0, weights, slopes) if from_start else weights @ slopes

    def _cotangents_of_this_pass(self) -> "_Cotangents":
        # Steps are passed once in a backward pass, but a graph may be passed more than once, by different roots.
        this_pass = torch._C._current_graph_task_id()
        if self._cotangents is None or self._cotangents.backward_pass != this_pass:
            arguments = self.coefficients.arguments * self._dt
            self._cotangents = _Cotangents(this_pass, arguments, self._readings, len(self._y0))
        return self._cotangents

    def _passed(self) -> None:
        self._cotangents = None


class _Reading(NamedTuple):
    """What was read beside the stages' arguments."""

    weights: Tensor  # [rows, slopes]
    from_start: bool


class _Cotangents:
    """The cotangents of a step's combinations in one backward pass, a row for each argument, then for each reading."""

    def __init__(self, backward_pass: int, arguments: Tensor, readings: list[_Reading], n: int) -> None:
        self.backward_pass = backward_pass
        self._weights = torch.cat([arguments, *(reading.weights for reading in readings)])
        self._n_arguments = len(arguments)
        # Cotangents that are differentiated again keep their own graphs; the others share one buffer.
        self._with_graph: dict[int, Tensor] = {}
        self._missing = set(range(len(self._weights)))
        self._buffer = arguments.new_empty(len(self._weights), n)

    def receive(self, row: int, cotangent: Tensor | None) -> None:
        """Take in the cotangent of a combination."""
        if cotangent is None:
            return
        if torch.is_grad_enabled():
            self._with_graph[row] = cotangent.reshape(-1)
        else:
            self._buffer[row].copy_(cotangent.reshape(-1))
        self._missing.discard(row)

    def to_slope(self, i: int) -> Tensor | None:
        """The cotangent of slope i, once those of all combinations that it is part of are in; [n]."""
        first = min(i, self._n_arguments)
        if all(row in self._missing for row in range(first, len(self._weights))):
            return None
        weights = self._weights[:, i]
        if self._with_graph:
            return self._sum({row: weights[row] for row in self._with_graph if row >= first})
        for row in [row for row in self._missing if row >= first]:
            self._buffer[row].zero_()
            self._missing.discard(row)
        return torch.mv(self._buffer[first:].t(), weights[first:])

    def to_start(self, readings: list[_Reading]) -> Tensor:
        """The cotangent of y0, after that of the first slope was asked for; [n]."""
        begins = [True] * self._n_arguments
        for reading in readings:
            begins += [reading.from_start] * len(reading.weights)
        rows = [row for row, begins_there in enumerate(begins) if begins_there]
        if self._with_graph:
            return self._sum({row: 1.0 for row in rows if row in self._with_graph})
        total = self._buffer[: self._n_arguments].sum(0)
        for row in rows[self._n_arguments :]:
            total += self._buffer[row]
        return total

    def _sum(self, weights: Mapping[int, Tensor | float]) -> Tensor:
        return torch.stack([weight * self._with_graph[row] for row, weight in weights.items()]).sum(0)


class _Advance(Function):
    """`Stages.advance`. The argument before is an input so that backwards these nodes are passed one by one."""

    @staticmethod
    def forward(ctx: Any, argument: Tensor, slope: Tensor, stages: Stages, i: int) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.stages, ctx.i = stages, i
        return stages._advance(i, slope)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        stages, i = ctx.stages, ctx.i
        cotangents = stages._cotangents_of_this_pass()
        cotangents.receive(i, cotangent)
        to_slope = cotangents.to_slope(i)
        if to_slope is None:
            return None, None, None, None
        to_start = None
        if i == 0:
            to_start = cotangents.to_start(stages._readings).view(stages.shape) if ctx.needs_input_grad[0] else None
            stages._passed()
        return to_start, to_slope.view(stages.shape), None, None


class _Close(Function):
    """`Stages.close`."""

    @staticmethod
    def forward(ctx: Any, before: Tensor, slope: Tensor, stages: Stages, i: int) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.stages, ctx.i = stages, i
        stages._take(i, slope)
        return slope.new_empty(0)

    @staticmethod
    def backward(ctx: Any, token: None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        to_slope = ctx.stages._cotangents_of_this_pass().to_slope(ctx.i)
        return None, None if to_slope is None else to_slope.view(ctx.stages.shape), None, None


class _Read(Function):
    """`Stages.read`."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, weights: Tensor, from_start: bool, stages: Stages) -> Tensor:
        ctx.set_materialize_grads(False)
        weights = weights * stages._dt
        ctx.stages, ctx.first = stages, sum((len(each.weights) for each in stages._readings), 0)
        stages._readings.append(_Reading(weights, from_start))
        return stages._read(weights, from_start)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor | None) -> tuple[None, ...]:  # type: ignore[override]
        if cotangent is not None:
            cotangents = ctx.stages._cotangents_of_this_pass()
            first = len(ctx.stages.coefficients.arguments) + ctx.first
            for row, each in enumerate(cotangent, first):
                cotangents.receive(row, each)
        return None, None, None, None
