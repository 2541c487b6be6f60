"""The automatic first step."""

import math

import torch

from ndecore.norms import rms_norm, tolerance_scale
from ndecore.terms import Term
from ndecore.types import Scalar, State

_TINY_STEP = 1e-6  # unit of time, where the state or the slope gives no scale


@torch.no_grad()
def initial_step(  # noqa: PLR0913, PLR0917 - the inputs of the published algorithm
    term: Term,
    t0: float,
    y0: State,
    f0: State,
    span: float,
    order: int,
    rtol: float,
    atol: float,
    n_controlled: int | None = None,
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
        n_controlled: leading elements of the flattened state that count; all if None.

    Returns:
        The step, in units of time; NaN where y0 or f0 is not finite.

    Reference: Hairer, Norsett, Wanner I, II.4; exponent 1/order as in OrdinaryDiffEq.jl `initdt`, used by both papers.
    """
    scale = tolerance_scale(y0, y0, rtol, atol)

    def size(x: State) -> Scalar:
        return rms_norm((x / scale).reshape(-1)[:n_controlled])

    d0, d1 = torch.stack([size(y0), size(f0)]).tolist()
    if not (math.isfinite(d0) and math.isfinite(d1)):
        return math.nan
    dt0 = _TINY_STEP if min(d0, d1) < 1e-5 else 0.01 * d0 / d1
    dt0 = math.copysign(min(dt0, abs(span)), span)
    d2 = (size(term(t0 + dt0, y0 + dt0 * f0) - f0) / abs(dt0)).item()
    if not math.isfinite(d2):
        return dt0  # the field cannot be probed there: let the controller find the way down from here
    steepest = max(d1, d2)
    dt1 = max(_TINY_STEP, 1e-3 * abs(dt0)) if steepest <= 1e-15 else (0.01 / steepest) ** (1 / order)
    return math.copysign(min(100 * abs(dt0), dt1, abs(span)), span)
