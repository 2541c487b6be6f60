"""The one place where sizes of states and of errors are measured."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.linalg import vector_norm

from ndecore.errors import InputError
from ndecore.types import Scalar, State

_FEW = 16384  # elements of a state below which a copy is cheaper than one more kernel


def rms_norm(x: State) -> Scalar:
    """Root mean square over all elements, state and batch alike: sqrt(sum(x^2) / n). Unit of x.

    Its gradient at x = 0 is 0 (the subgradient of `vector_norm`), so a penalty on it never yields NaN.

    Reference: the norm of P1 and P2 (OrdinaryDiffEq.jl `ODE_DEFAULT_NORM`); Hairer, Norsett, Wanner I, II.4 (4.11).
    """
    return vector_norm(x) / math.sqrt(x.numel())


def tolerance_scale(y0: State, y1: State, rtol: float, atol: float) -> State:
    """atol + rtol max(|y0|, |y1|), elementwise. Unit of y."""
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
    slopes: Pair | None = None  # f at two arguments at one time; None if the method has no such stages
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
        pairs = (pair and Pair(*map(cut, pair)) for pair in (slopes, arguments))
        return Measured(Differences(None if error is None else cut(error), *pairs), cut(self.y0), cut(self.y1))


class StepSizes(NamedTuple):
    """The sizes of a step's differences, 2-norms over all n elements; each of shape [] or, of several steps, [steps].

    What is absent (no error estimate, no stages that tell the stiffness) has size 0.
    """

    scaled_error: Tensor  # of error / (atol + rtol max(|y0|, |y1|)), dimensionless
    error: Tensor  # unit of y
    slopes: Tensor  # unit of y per time
    arguments: Tensor  # unit of y
    y1: Tensor  # unit of y, without gradient

    def error_ratio(self, n: int) -> Tensor:
        """Tolerance-scaled error, root mean square; dimensionless, accept below 1."""
        return self.scaled_error / math.sqrt(n)

    def rms_error(self, n: int) -> Tensor:
        """Root mean square of the error estimate, unit of y."""
        return self.error / math.sqrt(n)

    def stiffness(self) -> Tensor:
        """Estimate of the largest |eigenvalue| of df/dy, ||slopes|| / ||arguments||, 1/time; 0 where they coincide.

        Reference: Shampine (1977), as used by P1 (global stiffness regularizer).
        """
        return safe_ratio(self.slopes, self.arguments)


def step_sizes(differences: Differences, y0: State, y1: State, rtol: float, atol: float) -> Tensor:
    """The five fields of `StepSizes` as one tensor [5], so that one look from the host reads them all. No gradient."""
    if torch.is_grad_enabled():  # asked, since the context costs as much as a kernel
        with torch.no_grad():
            return step_sizes(differences, y0, y1, rtol, atol)
    scaled = slopes = arguments = None
    if differences.error is not None:
        scaled = differences.error / tolerance_scale(y0, y1, rtol, atol)
    if differences.slopes is not None and differences.arguments is not None:
        slopes = differences.slopes.second - differences.slopes.first
        arguments = differences.arguments.second - differences.arguments.first
    vectors = (scaled, differences.error, slopes, arguments, y1)
    present = [vector for vector in vectors if vector is not None]
    if y1.numel() < _FEW and len(present) == len(vectors):
        return vector_norm(torch.stack(present).view(len(vectors), -1), dim=1)
    return torch.stack([y1.new_zeros(()) if vector is None else vector_norm(vector) for vector in vectors])


class SizeTape:
    """What `step_sizes` measured of one step after the other, with gradients to the differences and to the states.

    The tolerance scale is differentiated too, as in P1's code; where |y0| and |y1| are equal, to both by half. The
    gradient of a size that is 0 is 0. Differentiable once.

    Args:
        rtol: relative tolerance, dimensionless.
        atol: absolute tolerance, unit of y.
    """

    def __init__(self, rtol: float, atol: float) -> None:
        self._tolerances = rtol, atol
        self._waiting: list[tuple[Tensor | None, ...]] = []
        self._parts: list[Tensor] = []

    def add(self, sizes: Tensor, differences: Differences, y0: State, y1: State) -> None:
        """Take in the next step, with its measured sizes [5]."""
        error, slopes, arguments = differences
        first, second = arguments or (None, None)
        # Often the second argument is y1: counted as the same, it costs no addition of cotangents.
        second = None if second is y1 else second
        self._waiting.append((sizes, y0, y1, error, *(slopes or (None, None)), first, second))
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
        sizes, y0, y1, error, slope0, slope1, argument0, argument1 = ctx.saved_tensors
        by_step = (-1, *[1] * (y0.dim() - 1))
        factors = (each.view(by_step) for each in safe_ratio(cotangent, sizes.t()))
        to_scaled, to_error, to_slopes, to_arguments, _ = factors
        y0_bar = y1_bar = error_bar = slope_bar = argument_bar = None
        if error is not None:
            # In as little memory as will do: of a large state, fresh memory costs more than the arithmetic in it.
            starts, ends = y0.abs(), y1.abs()
            scale = torch.maximum(starts, ends).mul_(ctx.rtol).add_(ctx.atol)
            larger = starts.sub_(ends).neg_().sgn_()
            scaled = error / scale
            pushed = torch.div(scaled, scale, out=scale).mul_(to_scaled)
            error_bar = torch.addcmul(pushed, error, to_error)
            # The scale grows with the larger of |y0| and |y1|, in the direction of its sign.
            pulled = pushed.mul_(scaled).mul_(-ctx.rtol / 2)
            y1_bar = torch.addcmul(pulled, pulled, larger, out=scaled).mul_(torch.sgn(y1, out=ends))
            y0_bar = pulled.addcmul_(pulled, larger, value=-1).mul_(torch.sgn(y0, out=ends))
        if slope0 is not None:
            slope_bar = (slope1 - slope0).mul_(to_slopes)
            argument_bar = (argument0 - (y1 if argument1 is None else argument1)).mul_(to_arguments)
            if argument1 is None:
                y1_bar = -argument_bar if y1_bar is None else y1_bar.sub_(argument_bar)
        slope_bars = (None if slope_bar is None else -slope_bar, slope_bar)
        argument_bars = (argument_bar, None if argument1 is None or argument_bar is None else -argument_bar)
        return None, y0_bar, y1_bar, error_bar, *slope_bars, *argument_bars, None, None
