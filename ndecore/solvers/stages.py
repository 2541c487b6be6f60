"""The linear algebra of a Runge-Kutta step, forwards and backwards.

Everything that a step makes of its slopes is a combination y0 + dt sum_j w_j k_j: the stages' arguments, the solution,
the error estimate, the dense output. Left to autograd, each slope gathers its cotangent by an addition for each
combination it is part of, and each slice of the buffer of slopes by a buffer of zeros. Here a slope's cotangent is one
matrix product with the cotangents of the combinations, which autograd delivers in the order of a chain.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from ndecore.graphs import is_batched
from ndecore.solvers.tableau import Coefficients, Tableau, coefficients
from ndecore.types import State


class Scratch:
    """The buffer of a step's slopes, with views of it that every step needs.

    Args:
        tableau: of the method.
        y0: a state like those that are stepped.
    """

    def __init__(self, tableau: Tableau, y0: State) -> None:
        self.coefficients = coefficients(tableau, y0.dtype, y0.device)
        n_slopes = self.coefficients.n_slopes
        self._slopes = torch.empty(n_slopes, y0.numel(), dtype=y0.dtype, device=y0.device)
        self.like = y0.new_empty(()).expand(y0.shape)  # the shape of a state: `view` by sizes takes three times as long
        self.rows = [row.view_as(self.like) for row in self._slopes.unbind()]
        self.first = [self._slopes[:n] for n in range(n_slopes + 1)]  # the first n slopes, [n, numel]
        self.pool = _Pool()


class Stages:
    """The slopes of one step as they come in, and what is combined from them.

    Gradients of `advance` and `read` may be differentiated again; nothing is saved for them, since all is linear.

    Args:
        scratch: whose slopes are overwritten.
        dt: step size.
        y0: state at the start of the step.
    """

    def __init__(self, scratch: Scratch, dt: float, y0: State) -> None:
        self._scratch, self._dt = scratch, dt
        self._y0 = y0.detach().reshape(-1)
        self._n_taken = 0

    def advance(self, i: int, argument: State, slope: State) -> State:
        """Take in slope i, which was evaluated at `argument`, and return the next argument."""
        if torch.is_grad_enabled() and (argument.requires_grad or slope.requires_grad):
            return _Advance.apply(argument, slope, self, i)
        return self._advance(i, slope)

    def close(self, i: int, before: Tensor, slope: State, weights: Tensor | None = None) -> "Closed":
        """Take in slope i, the last one or one for the dense output, and read at once, not from the start.

        `before` is what the slopes so far hang on: the argument of the last one, or the token before.
        """
        if torch.is_grad_enabled() and (before.requires_grad or slope.requires_grad):
            token, *rows = _Close.apply(before, slope, self, i, weights)
            return Closed(token, tuple(rows))
        self._take(i, slope)
        return Closed(before, () if weights is None else self._read(weights, from_start=False).unbind())

    def read(self, token: Tensor, weights: Tensor, from_start: bool) -> Tensor:
        """dt sum_j weights_rj k_j over the slopes so far, plus y0 if `from_start`, for each row r: [rows, n].

        Args:
            token: from `close`.
            weights: [rows, slopes], 0 for the slopes that are not in yet.
            from_start: whether the combinations begin at y0.
        """
        if torch.is_grad_enabled() and token.requires_grad:
            return _Read.apply(token, weights, from_start, self)
        return self._read(weights, from_start)

    @cached_property
    def backwards(self) -> "_Backwards":
        """What the way back needs, if there is one."""
        return _Backwards(self._scratch.coefficients, self._dt, self._scratch.like, self._scratch.pool)

    def _take(self, i: int, slope: State) -> None:
        self._scratch.rows[i].copy_(slope)
        self._n_taken = i + 1

    def _advance(self, i: int, slope: State) -> State:
        self._take(i, slope)
        # One product for a stage sum: a chain of additions costs i kernels. dt goes into the product's own factor.
        row = self._scratch.coefficients.arguments[i]
        return torch.addmm(self._y0, row, self._scratch.first[i + 1], alpha=self._dt).view_as(self._scratch.like)

    def _read(self, weights: Tensor, from_start: bool) -> Tensor:
        # Only the slopes so far: the rest of the buffer may hold NaN, which a weight of zero does not remove.
        if self._n_taken < weights.shape[1]:
            weights = weights[:, : self._n_taken]
        # With a factor of 0 the start is ignored, NaN included.
        first = self._scratch.first[self._n_taken]
        return torch.addmm(self._y0, weights, first, beta=int(from_start), alpha=self._dt)


class Closed(NamedTuple):
    """A token, after which all can be read that hangs on the slopes so far, and what was read at once."""

    token: Tensor
    reading: tuple[Tensor, ...]  # [n] for each row of the weights


class _Reading(NamedTuple):
    """What was read beside the stages' arguments."""

    weights: Tensor  # [rows, slopes]
    from_start: bool


@dataclass
class _Backwards:
    """What the way back through a step needs, which is not its slopes."""

    coefficients: Coefficients
    dt: float
    like: State  # of its shape
    pool: "_Pool"
    readings: list[_Reading] = field(default_factory=list)
    cotangents: "_Cotangents | None" = None

    @property
    def n_rows(self) -> int:
        """The combinations so far: the arguments and the readings."""
        return len(self.coefficients.arguments) + sum(len(reading.weights) for reading in self.readings)

    def this_pass(self) -> "_Cotangents":
        """The cotangents of this backward pass: a graph may be passed more than once, from different roots."""
        current = torch._C._current_graph_task_id()
        if self.cotangents is None or self.cotangents.backward_pass != current:
            self.cotangents = _Cotangents(self, current)
        return self.cotangents

    def is_passed(self) -> None:
        """Give the buffer of cotangents to the step that is passed next."""
        if self.cotangents is not None and self.cotangents.buffer is not None:
            self.pool.buffers.append(self.cotangents.buffer)
        self.cotangents = None


@dataclass
class _Pool:
    """Buffers of cotangents that steps have done with: fresh memory is slower than the products that it is for."""

    buffers: list[Tensor] = field(default_factory=list)

    def take(self, n_rows: int, like: State) -> Tensor:
        """A buffer [n_rows, n]."""
        n = like.numel()
        while self.buffers:
            buffer = self.buffers.pop()
            if len(buffer) >= n_rows:
                return buffer[:n_rows]
        return like.new_empty(n_rows, n)


class _Cotangents:
    """The cotangents of a step's combinations in one backward pass: a row for each argument, then for each reading."""

    def __init__(self, step: _Backwards, backward_pass: int) -> None:
        self.backward_pass = backward_pass
        self._step, self._of = step, step.coefficients
        self._n_arguments = len(self._of.arguments)
        self._n_rows = step.n_rows
        self._missing = set(range(self._n_rows))
        # Cotangents that are differentiated again keep their own graphs; the others share one buffer.
        self._with_graph: dict[int, Tensor] = {}
        # So do those of several passes at once, for which a buffer of one pass has no room.
        self._keeps_graphs = is_batched()
        self.buffer: Tensor | None = None

    def receive(self, row: int, cotangent: Tensor | None) -> None:
        """Take in the cotangent of a combination."""
        if cotangent is None:
            return
        if self._keeps_graphs or torch.is_grad_enabled():
            self._with_graph[row] = cotangent.reshape(-1)
        else:
            if self.buffer is None:
                self.buffer = self._step.pool.take(self._n_rows, cotangent)
            self.buffer[row].copy_(cotangent.reshape(-1))
        self._missing.discard(row)

    def to_slope(self, i: int) -> Tensor | None:
        """The cotangent of slope i, like it, once those of all combinations that it is part of are in."""
        first = min(i, self._n_arguments)
        missing = [row for row in self._missing if row >= first]
        if len(missing) == self._n_rows - first:
            return None
        weights = self._columns[i] if self._step.readings else self._of.columns[i]
        if self._with_graph:
            live = [row for row in self._with_graph if row >= first]
            rows = torch.stack([self._with_graph[row] for row in live])
            return (self._step.dt * (weights[:, [row - first for row in live]] @ rows)).view_as(self._step.like)
        assert self.buffer is not None, "a cotangent that is not missing is in the buffer"
        for row in missing:
            self.buffer[row].zero_()
            self._missing.discard(row)
        rows = self.buffer[first:]
        return torch.addmm(rows[0], weights, rows, beta=0, alpha=self._step.dt).view_as(self._step.like)

    def to_start(self) -> Tensor | None:
        """The cotangent of y0, after that of the first slope was asked for."""
        begins = [True] * self._n_arguments
        for reading in self._step.readings:
            begins += [reading.from_start] * len(reading.weights)
        if self._with_graph:
            live = [bar for row, bar in self._with_graph.items() if begins[row]]
            if not live:
                return None
            total = torch.stack(live).sum(0)
        else:
            assert self.buffer is not None, "the first slope had a cotangent"
            total = self.buffer[: self._n_arguments].sum(0)
            for row in range(self._n_arguments, self._n_rows):
                if begins[row]:
                    total += self.buffer[row]
        return total.view_as(self._step.like)

    @cached_property
    def _columns(self) -> list[Tensor]:
        """For each slope its weights in the combinations from its own argument on: [1, rows]."""
        readings = torch.cat([reading.weights for reading in self._step.readings]).t()
        return [
            torch.cat([column, own], dim=1) for column, own in zip(self._of.columns, readings.split(1), strict=True)
        ]


class _Advance(Function):
    """`Stages.advance`. The argument before is an input so that backwards these nodes are passed one by one."""

    @staticmethod
    def forward(ctx: Any, argument: Tensor, slope: Tensor, stages: Stages, i: int) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.step, ctx.i = stages.backwards, i
        return stages._advance(i, slope)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor | None) -> tuple[Tensor | None, ...]:
        step, i = ctx.step, ctx.i
        cotangents = step.this_pass()
        cotangents.receive(i, cotangent)
        to_slope = cotangents.to_slope(i)
        to_start = cotangents.to_start() if i == 0 and to_slope is not None and ctx.needs_input_grad[0] else None
        if i == 0:
            step.is_passed()
        return to_start, to_slope, None, None


class _Close(Function):
    """`Stages.close`."""

    @staticmethod
    def forward(  # noqa: PLR0917 - torch's signature
        ctx: Any, before: Tensor, slope: Tensor, stages: Stages, i: int, weights: Tensor | None
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        step = ctx.step = stages.backwards
        ctx.i, ctx.row = i, step.n_rows
        stages._take(i, slope)
        token = slope.new_empty(0)
        if weights is None:
            return (token,)
        step.readings.append(_Reading(weights, from_start=False))
        # Row by row: autograd would add up the rows' cotangents in fresh memory.
        return token, *stages._read(weights, from_start=False).unbind()

    @staticmethod
    def backward(ctx: Any, token: None, *rows: Tensor | None) -> tuple[Tensor | None, ...]:
        cotangents = ctx.step.this_pass()
        for row, cotangent in enumerate(rows, ctx.row):
            cotangents.receive(row, cotangent)
        return None, cotangents.to_slope(ctx.i), None, None, None


class _Read(Function):
    """`Stages.read`."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, weights: Tensor, from_start: bool, stages: Stages) -> Tensor:
        ctx.set_materialize_grads(False)
        step = ctx.step = stages.backwards
        ctx.row = step.n_rows
        step.readings.append(_Reading(weights, from_start))
        return stages._read(weights, from_start)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor | None) -> tuple[None, ...]:
        cotangents = ctx.step.this_pass()
        for row, own in enumerate(() if cotangent is None else cotangent.unbind(), ctx.row):
            cotangents.receive(row, own)
        return None, None, None, None
