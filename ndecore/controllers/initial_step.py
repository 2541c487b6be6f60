"""The automatic first step."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ndecore.norms import Norm, rms_norm, tolerance_scale
from ndecore.terms import SDETerm, Term
from ndecore.types import Carry, Scalar, State

_TINY_STEP = 1e-6  # unit of time, where the state or the slope gives no scale


@torch.no_grad()
def initial_step(  # noqa: PLR0913, PLR0917 - the inputs of the published algorithm
    term: Term,
    t0: float,
    y0: State,
    f0: Carry,
    span: float,
    order: float,
    rtol: float | Tensor,
    atol: float | Tensor,
    n_controlled: int | None = None,
    norm: Norm | None = None,
) -> float:
    """Hairer's automatic step: small enough for the slope and the curvature at t0. Costs one evaluation.

    d0 = ||y0||, d1 = ||f0||, dt0 = 0.01 d0 / d1; d2 = ||f(t0 + dt0, y0 + dt0 f0) - f0|| / dt0;
    dt1 = (0.01 / max(d1, d2))^(1/order); the result is min(100 dt0, dt1, |span|) in the direction of span, norms scaled
    by atol + rtol |y0|.

    Args:
        term: the vector field.
        t0: time of y0.
        y0: the state.
        f0: f(t0, y0), which is not evaluated again; of a stochastic equation f and g, [2, *state].
        span: t1 - t0, in units of time.
        order: of the method, dimensionless.
        rtol: relative tolerance, dimensionless.
        atol: absolute tolerance, unit of y.
        n_controlled: leading elements of the flattened state that count; all if None.
        norm: of what is scaled; the root mean square if None.

    Returns:
        The step, in units of time; NaN where y0 or f0 is not finite.

    Reference: Hairer, Norsett, Wanner I, II.4; exponent 1/order as in OrdinaryDiffEq.jl `initdt`, used by both papers.
    """

    def cut(x: Tensor) -> Tensor:
        return x if n_controlled is None else x.reshape(-1)[:n_controlled]

    scale, measure = tolerance_scale(cut(y0), cut(y0), rtol, atol), norm or rms_norm
    has_zeros = isinstance(atol, Tensor) or atol == 0

    def size(x: State) -> Scalar:
        scaled = cut(x) / scale
        # An element that is 0 has no scale without an absolute tolerance, and tells nothing here.
        return measure(torch.where(scale > 0, scaled, 0.0) if has_zeros else scaled)

    if isinstance(term, SDETerm):
        return _stochastic_step(term, t0, y0, f0, span, order, size)
    d0, d1 = torch.stack([size(y0), size(f0)]).tolist()
    if not (math.isfinite(d0) and math.isfinite(d1)):
        return math.nan
    dt0 = _first_guess(d0, d1, span)
    d2 = (size(term(t0 + dt0, y0 + dt0 * f0) - f0) / abs(dt0)).item()
    return _from_sizes(dt0, (d1, d2), span, order)


def _stochastic_step(  # noqa: PLR0917 - those of `initial_step`
    term: SDETerm, t0: float, y0: State, slopes: Carry, span: float, order: float, size: Callable[[State], Scalar]
) -> float:
    """The same with |f| + 3 |g| for the slope, a motion being below three deviations; forwards in time.

    d1 = || |f0| + 3 |g0| ||, d2 = || |f1 - f0| + 3 |g1| + 3 |g0| || / dt0 with f1, g1 after Euler's step over dt0, and
    dt1 = (0.01 / max(d1, d2))^(1 / (order + 1/2)). Costs one evaluation each of drift and diffusion.

    Reference: StochasticDiffEq.jl `initdt`, used by both papers.
    """
    f0, g0 = slopes.unbind()
    d0, d1 = torch.stack([size(y0), size(f0.abs() + 3 * g0.abs())]).tolist()
    if not (math.isfinite(d0) and math.isfinite(d1)):
        return math.nan
    dt0 = _first_guess(d0, d1, span)
    y1 = y0 + dt0 * f0
    f1, g1 = term(t0 + dt0, y1), term.diffusion(t0 + dt0, y1)
    d2 = (size((f1 - f0).abs() + 3 * (g1.abs() + g0.abs())) / dt0).item()
    return _from_sizes(dt0, (d1, d2), span, order + 0.5)


def _first_guess(d0: float, d1: float, span: float) -> float:
    dt0 = _TINY_STEP if min(d0, d1) < 1e-5 else 0.01 * d0 / d1
    return math.copysign(min(dt0, abs(span)), span)


def _from_sizes(dt0: float, sizes: tuple[float, float], span: float, order: float) -> float:
    """The step from the sizes of the slope and of its change."""
    if not math.isfinite(sizes[1]):
        return dt0  # the field cannot be probed there: let the controller find the way down from here
    steepest = max(sizes)
    dt1 = max(_TINY_STEP, 1e-3 * abs(dt0)) if steepest <= 1e-15 else (0.01 / steepest) ** (1 / order)
    return math.copysign(min(100 * abs(dt0), dt1, abs(span)), span)
