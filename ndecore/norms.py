"""The one place where sizes of states and of errors are measured."""

import math

import torch

from ndecore.types import Scalar, State


def rms_norm(x: State) -> Scalar:
    """Root mean square over all elements, state and batch alike: sqrt(sum(x^2) / n). Unit of x.

    Its gradient at x = 0 is 0 (the subgradient of `vector_norm`), so a penalty on it never yields NaN.

    Reference: the norm of P1 and P2 (OrdinaryDiffEq.jl `ODE_DEFAULT_NORM`); Hairer, Norsett, Wanner I, II.4 (4.11).
    """
    return torch.linalg.vector_norm(x) / math.sqrt(x.numel())


def tolerance_scale(y0: State, y1: State, rtol: float, atol: float) -> State:
    """atol + rtol max(|y0|, |y1|), elementwise. Unit of y."""
    return torch.maximum(y0.abs(), y1.abs()).mul(rtol).add(atol)


def error_ratio(error: State, y0: State, y1: State, rtol: float, atol: float) -> Scalar:
    """Tolerance-scaled error of one step: rms(error / (atol + rtol max(|y0|, |y1|))). Dimensionless; accept below 1.

    This is what P1 and P2 call `EEst` in code and q in the text (Background, local error control).
    """
    return rms_norm(error / tolerance_scale(y0, y1, rtol, atol))
