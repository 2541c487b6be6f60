"""The automatic first step."""

import math

import torch

from ndecore.norms import rms_norm, tolerance_scale
from ndecore.terms import ODETerm
from ndecore.types import State

_TINY_STEP = 1e-6  # unit of time, where the state or the slope gives no scale


@torch.no_grad()
def initial_step(  # noqa: PLR0917 - the six inputs of the published algorithm
    term: ODETerm, t0: float, y0: State, f0: State, span: float, order: int, rtol: float, atol: float
) -> float:
    """Hairer's automatic step: small enough for the slope and the curvature at t0. Costs one evaluation.

    d0 = ||y0||, d1 = ||f0||, dt0 = 0.01 d0 / d1; d2 = ||f(t0 + dt0, y0 + dt0 f0) - f0|| / dt0;
    dt1 = (0.01 / max(d1, d2))^(1/order); the result is min(100 dt0, dt1, |span|) in the direction of span, norms scaled
    by atol + rtol |y0|.

    Args:
        term: the vector field.
        t0: time of y0.
        y0: the state.
        f0: f(t0, y0), which is not evaluated again.
        span: t1 - t0, in units of time.
        order: of the method, dimensionless.
        rtol: relative tolerance, dimensionless.
        atol: absolute tolerance, unit of y.

    Returns:
        The step, in units of time; NaN where y0 or f0 is not finite.

    Reference: Hairer, Norsett, Wanner I, II.4; exponent 1/order as in OrdinaryDiffEq.jl `initdt`, used by both papers.
    """
    scale = tolerance_scale(y0, y0, rtol, atol)
    d0, d1 = torch.stack([rms_norm(y0 / scale), rms_norm(f0 / scale)]).tolist()
    if not (math.isfinite(d0) and math.isfinite(d1)):
        return math.nan
    dt0 = _TINY_STEP if min(d0, d1) < 1e-5 else 0.01 * d0 / d1
    dt0 = math.copysign(min(dt0, abs(span)), span)
    d2 = (rms_norm((term(t0 + dt0, y0 + dt0 * f0) - f0) / scale) / abs(dt0)).item()
    if not math.isfinite(d2):
        return dt0  # the field cannot be probed there: let the controller find the way down from here
    steepest = max(d1, d2)
    dt1 = max(_TINY_STEP, 1e-3 * abs(dt0)) if steepest <= 1e-15 else (0.01 / steepest) ** (1 / order)
    return math.copysign(min(100 * abs(dt0), dt1, abs(span)), span)
