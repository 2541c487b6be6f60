"""The one place where sizes of states and of errors are measured."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.linalg import vector_norm

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


class Pair(NamedTuple):
    """Two vectors of which the difference is meant."""

    first: State
    second: State


class Differences(NamedTuple):
    """What a step leaves for the estimates of its error and stiffness."""

    error: State | None  # estimate of the local error of y1, unit of y; None if the method has none
    slopes: Pair | None = None  # f at two arguments at one time; None if the method has no such stages
    arguments: Pair | None = None  # these arguments; present together with the slopes


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
    """The five fields of `StepSizes` as one tensor [5], so that one look from the host reads them all.

    Differentiable once, to the differences and to both states: the tolerance scale is differentiated too, as in P1's
    code. Where |y0| and |y1| are equal the scale counts as y1's. The gradient of a size that is 0 is 0.
    """
    if not torch.is_grad_enabled():
        return _measure(differences, y0, y1, rtol, atol).sizes
    slopes, arguments = differences.slopes or (None, None), differences.arguments or (None, None)
    sizes: Tensor = _StepSizes.apply(differences.error, y0, y1, *slopes, *arguments, rtol, atol)  # type: ignore[no-untyped-call]
    return sizes


class _Measured(NamedTuple):
    """The sizes, and the vectors that they are the sizes of."""

    sizes: Tensor
    scale: Tensor | None
    scaled_error: Tensor | None
    slopes: Tensor | None
    arguments: Tensor | None


def _measure(differences: Differences, y0: State, y1: State, rtol: float, atol: float) -> _Measured:
    scale = scaled = slopes = arguments = None
    if differences.error is not None:
        scale = tolerance_scale(y0, y1, rtol, atol)
        scaled = differences.error / scale
    if differences.slopes is not None and differences.arguments is not None:
        slopes = differences.slopes.second - differences.slopes.first
        arguments = differences.arguments.second - differences.arguments.first
    vectors = (scaled, differences.error, slopes, arguments, y1)
    if y1.numel() < _FEW and all(vector is not None for vector in vectors):
        sizes = vector_norm(torch.stack(vectors).view(len(vectors), -1), dim=1)  # type: ignore[arg-type]
    else:
        sizes = torch.stack([y1.new_zeros(()) if vector is None else vector_norm(vector) for vector in vectors])
    return _Measured(sizes, scale, scaled, slopes, arguments)


class _StepSizes(Function):
    """`step_sizes` with its gradient written out: autograd's own makes three times as many passes over the state."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        error, y0, y1, slope0, slope1, argument0, argument1, rtol, atol = given
        told = slope0 is not None
        pairs = (Pair(slope0, slope1), Pair(argument0, argument1)) if told else (None, None)
        measured = _measure(Differences(error, *pairs), y0, y1, rtol, atol)
        ctx.rtol = rtol
        ctx.save_for_backward(error, y0, y1, *measured)
        return measured.sizes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        error, y0, y1, sizes, scale, scaled, slopes, arguments = ctx.saved_tensors
        to_scaled, to_error, to_slopes, to_arguments, _ = safe_ratio(cotangent, sizes).unbind()
        error_bar = y0_bar = y1_bar = None
        if error is not None:
            pushed = (scaled / scale).mul_(to_scaled)
            error_bar = torch.addcmul(pushed, error, to_error)
            # The scale grows with the larger of |y0| and |y1|, in the direction of its sign.
            ends = y1.abs() >= y0.abs()
            pulled = pushed.mul_(scaled).mul_(-ctx.rtol).mul_(torch.where(ends, y1, y0).sgn_())
            y1_bar = pulled * ends
            y0_bar = pulled.sub_(y1_bar)
        pairs: tuple[Tensor | None, ...] = (None,) * 4
        if slopes is not None:
            slope, argument = slopes * to_slopes, arguments * to_arguments
            pairs = (-slope, slope, -argument, argument)
        return (error_bar, y0_bar, y1_bar, *pairs, None, None)
