"""The one place where sizes of states and of errors are measured."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function
from torch.linalg import vector_norm

from ndecore.errors import InputError
from ndecore.types import Scalar, State

Norm: TypeAlias = Callable[[Tensor], Tensor]  # of a scaled error, its elements in order, whatever its shape: 0-d
_PART = 32768  # elements of a state, of which a handful stays in the cache
_FEW = 16384  # elements of a state below which a copy is cheaper than one more kernel


def rms_norm(x: State) -> Scalar:
    """Root mean square over all elements, state and batch alike: sqrt(sum(x^2) / n). Unit of x.

    Its gradient at x = 0 is 0 (the subgradient of `vector_norm`), so a penalty on it never yields NaN.

    Reference: the norm of P1 and P2 (OrdinaryDiffEq.jl `ODE_DEFAULT_NORM`); Hairer, Norsett, Wanner I, II.4 (4.11).
    """
    return vector_norm(x) / math.sqrt(x.numel())


def tolerance_scale(y0: State, y1: State, rtol: float | Tensor, atol: float | Tensor) -> State:
    """atol + rtol max(|y0|, |y1|), elementwise, tolerances being numbers or like y. Unit of y."""
    return torch.maximum(y0.abs(), y1.abs()).mul_(rtol).add_(atol)


def error_ratio(error: State, y0: State, y1: State, rtol: float, atol: float) -> Scalar:
    """Tolerance-scaled error of one step: rms(error / (atol + rtol max(|y0|, |y1|))). Dimensionless; accept below 1.

    This is what P1 and P2 call `EEst` in code and q in the text (Background, local error control).
    """
    return rms_norm(error / tolerance_scale(y0, y1, rtol, atol))


def safe_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator elementwise, and 0 with gradient 0 where the denominator is 0."""
    told = denominator > 0
    # Both selects are needed: a division by 0 in the branch not taken would still send NaN backwards.
    return torch.where(told, numerator / torch.where(told, denominator, 1.0), 0.0)


def refuse_second_derivative(what: str) -> None:
    """Raise `InputError` in a backward pass that is to be differentiated itself.

    Torch's `once_differentiable` refuses one only where a cotangent needs a gradient, and leaves it out elsewhere.
    """
    if torch.is_grad_enabled():
        raise InputError(
            f"create_graph: got true, and {what} has no derivative; allowed: false, or a loss on the states alone "
            "with the adjoint tape"
        )


class Pair(NamedTuple):
    """Two vectors of which the difference is meant."""

    first: State
    second: State


class Differences(NamedTuple):
    """What a step leaves for the estimates of its error and stiffness."""

    error: State | None  # estimate of the local error of y1, unit of y; None if the method has none
    slopes: State | None = None  # dt (f - f) at two arguments at one time, unit of y; None if it has no such stages
    arguments: Pair | None = None  # these arguments; present together with the slopes


class Measured(NamedTuple):
    """What of a step is measured."""

    differences: Differences
    y0: State
    y1: State

    def head(self, n: int) -> "Measured":
        """The same of the leading `n` elements of the flattened state."""

        def cut(x: State) -> Tensor:
            return x.reshape(-1)[:n]

        error, slopes, arguments = self.differences
        error, slopes = (None if each is None else cut(each) for each in (error, slopes))
        heads = Differences(error, slopes, arguments and Pair(*map(cut, arguments)))
        return Measured(heads, cut(self.y0), cut(self.y1))


class StepSizes(NamedTuple):
    """The sizes of a step's differences, 2-norms over all n elements; each of shape [] or, of several steps, [steps].

    What is absent (no error estimate, no stages that tell the stiffness) has size 0.
    """

    scaled_error: Tensor  # of error / (atol + rtol max(|y0|, |y1|)), dimensionless
    error: Tensor  # unit of y
    slopes: Tensor  # of dt (f - f), unit of y
    arguments: Tensor  # unit of y
    y1: Tensor  # unit of y, without gradient

    def error_ratio(self, n: int) -> Tensor:
        """Tolerance-scaled error, root mean square; dimensionless, accept below 1."""
        return self.scaled_error / math.sqrt(n)

    def rms_error(self, n: int) -> Tensor:
        """Root mean square of the error estimate, unit of y."""
        return self.error / math.sqrt(n)

    def stiffness(self, dt: Tensor | float) -> Tensor:
        """Estimate of the largest |eigenvalue| of df/dy, 1/time: ||f - f|| / ||arguments||, 0 where they coincide.

        Args:
            dt: of the steps, as the sizes; unit of time.

        Reference: Shampine (1977), as used by P1 (global stiffness regularizer).
        """
        return safe_ratio(self.slopes, self.arguments * (dt.abs() if isinstance(dt, Tensor) else abs(dt)))


def step_sizes(  # noqa: PLR0917 - what is measured, and by which measure
    differences: Differences,
    y0: State,
    y1: State,
    rtol: float | Tensor,
    atol: float | Tensor,
    norm: Norm | None = None,
) -> Tensor:
    """The five fields of `StepSizes` as one tensor [5], so that one look from the host reads them all. No gradient.

    With a norm, the scaled error's size is sqrt(n) times it, so that the error ratio is the norm.
    """
    if torch.is_grad_enabled():  # asked, since the context costs as much as a kernel
        with torch.no_grad():
            return step_sizes(differences, y0, y1, rtol, atol, norm)
    if not _is_plain(rtol, atol, norm):
        return _graphed_sizes(Measured(differences, y0, y1), rtol, atol, norm)
    scaled = arguments = None
    if differences.error is not None:
        # Of a large state, fresh memory costs more than the arithmetic in it.
        scale = tolerance_scale(y0, y1, rtol, atol)
        scaled = torch.div(differences.error, scale, out=scale)
    if differences.arguments is not None:
        arguments = differences.arguments.second - differences.arguments.first
    vectors = (scaled, differences.error, differences.slopes, arguments, y1)
    present = [vector for vector in vectors if vector is not None]
    if y1.numel() < _FEW and len(present) == len(vectors):
        return vector_norm(torch.stack(present).view(len(vectors), -1), dim=1)
    return torch.stack([y1.new_zeros(()) if vector is None else vector_norm(vector) for vector in vectors])


def _is_plain(rtol: float | Tensor, atol: float | Tensor, norm: Norm | None) -> bool:
    """Whether it is one root mean square by two numbers, of which the fast ways below know."""
    return norm is None and rtol.__class__ is float and atol.__class__ is float and atol > 0.0


def _graphed_sizes(step: Measured, rtol: float | Tensor, atol: float | Tensor, norm: Norm | None) -> Tensor:
    """`step_sizes` for any tolerances and norm, with the graph that autograd makes of it."""
    (error, slopes, arguments), y0, y1 = step
    zero = y1.new_zeros(())
    scaled = zero
    if error is not None:
        # Where the tolerance is 0 an error of 0 meets it, and no other.
        scale = (rtol * torch.maximum(y0.abs(), y1.abs()) + atol).clamp(min=torch.finfo(y1.dtype).tiny)
        scaled = (norm or rms_norm)(error / scale) * math.sqrt(y1.numel())
    sizes = [zero if vector is None else vector_norm(vector) for vector in (error, slopes)]
    between = zero if arguments is None else vector_norm(arguments.second - arguments.first)
    return torch.stack([scaled, *sizes, between, vector_norm(y1.detach())])


class SizeTape:
    """What `step_sizes` measured of one step after the other, with gradients to the differences and to the states.

    The tolerance scale is differentiated too, as in P1's code; where |y0| and |y1| are equal, to both by half. The
    gradient of a size that is 0 is 0. Differentiable once.

    Args:
        rtol: relative tolerance, dimensionless.
        atol: absolute tolerance, unit of y.
        norm: of the scaled error; one root mean square by default.
    """

    def __init__(self, rtol: float | Tensor, atol: float | Tensor, norm: Norm | None = None) -> None:
        self._tolerances, self._norm = (rtol, atol), norm
        self._is_plain = _is_plain(rtol, atol, norm)
        self._waiting: list[tuple[Tensor | None, ...]] = []
        self._parts: list[Tensor] = []

    def add(self, sizes: Tensor, differences: Differences, y0: State, y1: State) -> None:
        """Take in the next step, with its measured sizes [5]."""
        if not self._is_plain:
            sizes = _graphed_sizes(Measured(differences, y0, y1), *self._tolerances, self._norm)
            self._parts.append(sizes.unsqueeze(1))
            return
        error, slopes, arguments = differences
        first, second = arguments or (None, None)
        # Often the second argument is y1: counted as the same, it costs no addition of cotangents.
        second = None if second is y1 else second
        self._waiting.append((sizes, y0, y1, error, slopes, first, second))
        # Small steps are gathered, which saves kernels; the node of a large one is made at once, so that on the way
        # back its cotangents are used while they are in the cache.
        if y0.numel() > _FEW:
            self._flush()

    def result(self) -> Tensor:
        """The fields of `StepSizes` of all steps: [5, steps]."""
        self._flush()
        return torch.cat(self._parts, dim=1)

    def _flush(self) -> None:
        if self._waiting:
            columns = [_stacked(column) for column in zip(*self._waiting, strict=True)]
            self._parts.append(_StepSizes.apply(*columns, *self._tolerances))
            self._waiting = []


def _stacked(column: tuple[Tensor | None, ...]) -> Tensor | None:
    present = [each for each in column if each is not None]
    if not present:
        return None
    return present[0].unsqueeze(0) if len(present) == 1 else torch.stack(present)


def sizes_of_step(differences: Differences, y0: State, y1: State, rtol: float, atol: float) -> StepSizes:
    """The sizes of one step by itself, with gradients; see `SizeTape`."""
    sizes = step_sizes(differences, y0, y1, rtol, atol)
    if not torch.is_grad_enabled():
        return StepSizes(*sizes)
    tape = SizeTape(rtol, atol)
    tape.add(sizes, differences, y0, y1)
    return StepSizes(*tape.result().squeeze(1))


class _StepSizes(Function):
    """Sizes of steps at once, each input [steps, *state]. Autograd's own gradient would take 60 kernels for each."""

    @staticmethod
    def forward(ctx: Any, sizes: Tensor, y0: Tensor, y1: Tensor, *given: Any) -> Tensor:
        *differences, ctx.rtol, ctx.atol = given
        ctx.save_for_backward(sizes, y0, y1, *differences)
        return sizes.t()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative("the gradient of error and stiffness")
        sizes, y0, y1, error, slopes, first, second = ctx.saved_tensors
        to_scaled, to_error, to_slopes, to_arguments, _ = safe_ratio(cotangent, sizes.t()).unsqueeze(-1)
        y0_bar = y1_bar = error_bar = slopes_bar = first_bar = second_bar = None
        if error is not None:
            y0_bar, y1_bar, error_bar = _pull_error((y0, y1, error), (to_scaled, to_error), (ctx.rtol, ctx.atol))
        if slopes is not None:
            slopes_bar = slopes * to_slopes.view(-1, *[1] * (slopes.dim() - 1))
            if second is None:
                first_bar, y1_bar = _pull_difference(first, y1, y1_bar, to_arguments)
            else:
                first_bar, second_bar = _pull_difference(first, second, None, to_arguments)
        return None, y0_bar, y1_bar, error_bar, slopes_bar, first_bar, second_bar, None, None


def _parts(*states: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views [steps, elements] of states [steps, *state], part by part.

    Of a large state, memory costs more than the arithmetic in it: on a CPU what is done to a part is done in the cache.
    """
    rows = [each.reshape(len(each), -1) for each in states]
    n = rows[0].shape[1]
    if n <= _PART or not rows[0].is_cpu:
        yield tuple(rows)
    else:
        yield from zip(*(each.split(_PART, dim=1) for each in rows), strict=True)


def _pull_error(
    states: tuple[Tensor, Tensor, Tensor], factors: tuple[Tensor, Tensor], tolerances: tuple[float, float]
) -> list[Tensor]:
    """The cotangents of y0, y1 and the error from those of the scaled error and of the error.

    These are `factors` [steps, 1] times themselves; all states are [steps, *state].
    """
    (to_scaled, to_error), (rtol, atol) = factors, tolerances
    bars = [torch.empty_like(each, memory_format=torch.contiguous_format) for each in states]
    for y0, y1, error, y0_bar, y1_bar, error_bar in _parts(*states, *bars):
        # max(|y0|, |y1|) = (|y1 + y0| + |y1 - y0|) / 2: the signs of both tell which is the larger, ties included.
        total, change = torch.add(y1, y0, out=y1_bar), torch.sub(y1, y0, out=y0_bar)
        scale = total.abs().add_(change.abs()).mul_(rtol / 2).add_(atol)
        scaled = error / scale
        pushed = torch.div(scaled, scale, out=scale).mul_(to_scaled)
        torch.addcmul(pushed, error, to_error, out=error_bar)
        pulled = pushed.mul_(scaled).mul_(-rtol / 2)
        by_total, by_change = torch.mul(total.sgn_(), pulled, out=scaled), change.sgn_().mul_(pulled)
        torch.add(by_total, by_change, out=y1_bar)
        torch.sub(by_total, by_change, out=y0_bar)
    return bars


def _pull_difference(first: Tensor, second: Tensor, second_bar: Tensor | None, factor: Tensor) -> tuple[Tensor, Tensor]:
    """The cotangents of both from that of second - first, `factor` times itself; added to `second_bar` if there is one.

    All states are [steps, *state], the factor is [steps, 1].
    """
    first_bar = torch.empty_like(first, memory_format=torch.contiguous_format)
    is_new = second_bar is None
    to_second = torch.empty_like(first_bar) if second_bar is None else second_bar
    for start, end, to_start, to_end in _parts(first, second, first_bar, to_second):
        torch.sub(start, end, out=to_start).mul_(factor)
        if is_new:
            torch.neg(to_start, out=to_end)
        else:
            to_end.sub_(to_start)
    return first_bar, to_second
