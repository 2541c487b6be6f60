"""The derivative of a solve on its steps: against finite differences, and against a loop of ordinary operations."""

from dataclasses import dataclass

import pytest
import torch
from initial_value_problems import TinyField, tiny_field
from torch import Tensor

from ndecore.controllers.step_to import StepTo
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.solution import Solution
from ndecore.solvers import SOLVERS
from ndecore.solvers.explicit_rk import ExplicitRungeKutta
from ndecore.solvers.tableau import Weights
from ndecore.solving import solve
from ndecore.terms import ODETerm

TOLERANCE = 1e-2  # steps so long that error and stiffness stand far above rounding
SPAN = 3.0
OUTPUTS = (0.0, 0.31, 0.9, 0.9, 2.4, 3.0, 3.0)
ADAPTIVE = ("tsit5", "dopri5", "bosh3", "heun", "dop853", "rodas5p")
EXPLICIT = [name for name in SOLVERS if not SOLVERS[name].is_implicit]
Inputs = tuple[Tensor, ...]


def inputs(n_members: int = 2) -> Inputs:
    """An initial state and the parameters of a tiny field, all to be differentiated."""
    field = TinyField()
    start = torch.tensor([[0.6, -1.1], [0.2, 0.9]], dtype=torch.float64)[:n_members]
    return tuple(x.detach().clone().requires_grad_() for x in (start, field.inner, field.outer, field.time))


def steps_of(method: str, y0: Tensor, parameters: Inputs) -> tuple[float, ...]:
    """What an adaptive solve takes."""
    settings = SolveSettings(SOLVERS[method](), rtol=TOLERANCE, atol=TOLERANCE)
    with torch.no_grad():
        solution = solve(lambda t, y: tiny_field(t, y, *parameters), y0, 0.0, SPAN, settings=settings)
    return tuple(solution.check().records.dt.tolist())


def replayed(method: str, dts: tuple[float, ...], y0: Tensor, *parameters: Tensor) -> Solution:
    settings = SolveSettings(SOLVERS[method](), StepTo(dts), rtol=TOLERANCE, atol=TOLERANCE)
    solution = solve(
        lambda t, y: tiny_field(t, y, *parameters),
        y0,
        0.0,
        SPAN,
        settings=settings,
        ts=OUTPUTS,
        differentiable_records=True,
    )
    return solution.check()


@pytest.mark.parametrize("method", ADAPTIVE)
def test_end_outputs_and_records_have_exact_gradients(method: str) -> None:
    y0, *parameters = inputs(1)
    # Of an order so high that on its own steps no digits are left of the stiffness.
    dts = (1.6, 1.4) if method == "dop853" else steps_of(method, y0, tuple(parameters))
    assert len(dts) >= 2

    def everything(*given: Tensor) -> Inputs:
        solution = replayed(method, dts, *given)
        records = solution.records
        return solution.y1, solution.ys, records.error_ratio, records.error, records.stiffness

    assert torch.autograd.gradcheck(everything, inputs(1), fast_mode=len(dts) > 10)


@pytest.mark.parametrize("method", list(SOLVERS))
def test_end_and_outputs_have_exact_second_derivatives(method: str) -> None:
    dts = (1.0, 0.6, 1.4)

    def end_and_outputs(*given: Tensor) -> Inputs:
        solution = replayed(method, dts, *given)
        return solution.y1, solution.ys

    assert torch.autograd.gradgradcheck(end_and_outputs, inputs(1), fast_mode=True)


@pytest.mark.parametrize("record", ["error_ratio", "error", "stiffness"])
def test_second_derivatives_of_records_are_refused(record: str) -> None:
    y0, *parameters = inputs()
    records = replayed("tsit5", (1.0, 0.6, 1.4), y0, *parameters).records
    with pytest.raises(InputError, match="create_graph: got true"):
        torch.autograd.grad(getattr(records, record).sum(), [y0, *parameters], create_graph=True)


def test_second_derivative_of_the_logistic_equation_is_its_own() -> None:
    y0 = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    settings = SolveSettings(rtol=1e-11, atol=1e-11)
    end = solve(lambda t, y: y * (1 - y), y0, 0.0, 1.0, settings=settings).check().y1
    (first,) = torch.autograd.grad(end, y0, create_graph=True)
    (second,) = torch.autograd.grad(first, y0)
    grown = torch.exp(torch.tensor(1.0, dtype=torch.float64))
    shrunk = 1 + 0.25 * (grown - 1)
    torch.testing.assert_close(first.detach(), grown / shrunk**2, rtol=1e-9, atol=0)
    torch.testing.assert_close(second, -2 * grown * (grown - 1) / shrunk**3, rtol=1e-9, atol=0)


@pytest.mark.parametrize("create_graph", [False, True])
def test_error_estimate_alone_of_a_field_that_ignores_the_state_has_no_gradient_to_it(create_graph: bool) -> None:
    y0, rate = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (1.0, 0.5))
    term, solver = ODETerm(lambda t, y: rate * t**7), SOLVERS["tsit5"]()
    error = solver.step(term, 0.0, 1.0, y0, solver.start(term, 0.0, y0)).differences().error
    to_y0, to_rate = torch.autograd.grad(error, [y0, rate], create_graph=create_graph, allow_unused=True)
    assert to_y0 is None or to_y0.item() == 0
    torch.testing.assert_close(rate * to_rate, error, rtol=1e-12, atol=0)


# --- against a loop written out -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """What a plain loop of ordinary operations makes of the same steps."""

    y1: Tensor
    ys: Tensor
    error: Tensor
    error_ratio: Tensor
    stiffness: Tensor


def mixed(weights: Weights, slopes: list[Tensor]) -> Tensor:
    """sum_i weights_i k_i."""
    total = torch.zeros_like(slopes[0])
    for weight, slope in zip(weights, slopes, strict=False):
        total = total + weight * slope
    return total


def rms(x: Tensor) -> Tensor:
    return x.square().mean().sqrt()


def written(solver: ExplicitRungeKutta, dts: tuple[float, ...], y0: Tensor, parameters: Inputs) -> Written:
    """The loop of an explicit Runge-Kutta method, from its tableau as in the textbook."""
    of, y, t = solver.tableau, y0, 0.0
    found: dict[str, list[Tensor]] = {"ys": [], "error": [], "error_ratio": [], "stiffness": []}
    for dt in dts:
        slopes, arguments = [], []
        for node, row in zip((*of.c, *of.further_c), ((), *of.a, *of.further_a), strict=True):
            arguments.append(y + dt * mixed(row, slopes) if row else y)
            slopes.append(tiny_field(torch.tensor(t + node * dt, dtype=y.dtype), arguments[-1], *parameters))
        end = y + dt * mixed(of.b, slopes)
        if of.b_error is not None:
            error = dt * mixed(of.b_error, slopes)
            if of.b_error_low is not None:
                size, low = rms(error), rms(dt * mixed(of.b_error_low, slopes))
                error = error * size / (size.square() + 0.01 * low.square()).sqrt()
            found["error"].append(rms(error))
            scale = TOLERANCE + TOLERANCE * torch.maximum(y.abs(), end.abs())
            found["error_ratio"].append(rms(error / scale))
        if of.stiffness_stages is not None:
            first, second = of.stiffness_stages
            rise = (slopes[second] - slopes[first]).norm()
            found["stiffness"].append(rise / (arguments[second] - arguments[first]).norm())
        for at in OUTPUTS:
            if t < at <= t + dt or (t == at == 0.0):
                theta = (at - t) / dt
                weights = [sum(c * theta ** (j + 1) for j, c in enumerate(polynomial)) for polynomial in of.dense]
                found["ys"].append(y + dt * mixed(tuple(weights), slopes))
        y, t = end, t + dt
    empty = y0.new_full((len(dts),), float("nan"))
    lists = {name: torch.stack(values) if values else empty for name, values in found.items()}
    return Written(y, **lists)


def weighed(values: Tensor) -> Tensor:
    flat = values.reshape(-1)
    return (torch.cos(1.0 + torch.arange(flat.numel(), dtype=flat.dtype)) * flat).sum()


@pytest.mark.parametrize("part", ["y1", "ys", "error", "error_ratio", "stiffness"])
@pytest.mark.parametrize("method", EXPLICIT)
def test_values_and_gradients_are_those_of_a_plain_loop(method: str, part: str) -> None:
    y0, *parameters = inputs()
    # All exact in binary, so that outputs at the ends of steps are recognised by both.
    dts = (1.0, 0.5, 0.75, 0.75)
    solution, plain = replayed(method, dts, y0, *parameters), written(SOLVERS[method](), dts, y0, tuple(parameters))
    ours, theirs = (solution if part in ("y1", "ys") else solution.records), plain
    values, expected = getattr(ours, part), getattr(theirs, part)
    if expected.isnan().all():
        assert values.isnan().all() or torch.equal(values, torch.zeros_like(values))
        return
    allowed = 1e-9 if (method, part) == ("dop853", "stiffness") else 1e-12  # it divides a 1e-5 of y by another
    torch.testing.assert_close(values, expected, rtol=allowed, atol=1e-13)
    leaves = [y0, *parameters]
    for left, right in zip(
        torch.autograd.grad(weighed(values), leaves), torch.autograd.grad(weighed(expected), leaves), strict=True
    ):
        assert (left - right).norm() <= allowed * right.norm() + 1e-13 / TOLERANCE
