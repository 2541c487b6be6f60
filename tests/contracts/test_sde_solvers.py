"""What every step method for stochastic equations promises."""

import pytest
import torch
from torch import Tensor

from ndecore.brownian import BrownianTree
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.integral import IController
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.norms import sizes_of_step
from ndecore.solvers import SDE_SOLVERS, SOLVERS
from ndecore.solvers.base import Solver
from ndecore.solving import solve, solve_sde
from ndecore.terms import ODETerm, SDETerm
from ndecore.types import Calculus, Noise

DT = 0.125
NOISES = ("diagonal", "scalar", "additive", "general")


@pytest.fixture(params=list(SDE_SOLVERS))
def solver(request: pytest.FixtureRequest) -> Solver:
    return SDE_SOLVERS[request.param]()


def drift(t: Tensor, y: Tensor) -> Tensor:
    return torch.cos(t) * y - 0.3 * y**3


def diffusion(t: Tensor, y: Tensor) -> Tensor:
    return 0.5 * torch.sin(y + t)


def matrix(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([torch.sin(y), torch.cos(y)], dim=-1)


def constant_matrix(t: Tensor, y: Tensor) -> Tensor:
    return (1 + t) * torch.ones((*y.shape, 2), dtype=y.dtype)


FIELDS = {"diagonal": diffusion, "scalar": diffusion, "additive": constant_matrix, "general": matrix}


def start(shape: tuple[int, ...] = (2, 3), dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.linspace(-1.0, 2.0, torch.Size(shape).numel(), dtype=dtype).reshape(shape)


def term_of(noise: Noise, calculus: Calculus, y0: Tensor) -> SDETerm:
    shape = y0.shape if noise == "diagonal" else (*y0.shape[:-1], 1 if noise == "scalar" else 2)
    path = BrownianTree(0, tuple(shape), 0.0, 1.0, dtype=y0.dtype)
    return SDETerm(drift, FIELDS[noise], path, noise=noise, calculus=calculus)


def taken(solver: Solver) -> list[SDETerm]:
    assert solver.calculus is not None
    return [term_of(noise, solver.calculus, start()) for noise in solver.noise_types]


def test_facts_are_stated(solver: Solver) -> None:
    assert solver.calculus in ("ito", "stratonovich")
    assert solver.noise_types
    assert set(solver.noise_types) <= set(NOISES)
    assert all(order >= solver.order > 0 for order in solver.noise_types.values())
    assert solver.stability_size > 0
    assert "Reference:" in (type(solver).__doc__ or "")


def test_step_has_no_side_effects_and_repeats(solver: Solver) -> None:
    for term in taken(solver):
        y0 = start()
        carry = solver.start(term, 0.25, y0)
        kept = y0.clone(), carry.clone()
        first, second = (solver.step(term, 0.25, DT, y0, carry) for _ in range(2))
        assert torch.equal(y0, kept[0])
        assert torch.equal(carry, kept[1])
        assert torch.equal(first.y1, second.y1)
        assert torch.equal(first.carry, second.carry)


def test_outputs_lie_on_the_line_between_the_ends(solver: Solver) -> None:
    for term in taken(solver):
        y0 = start()
        step = solver.step(term, 0.25, DT, y0, solver.start(term, 0.25, y0))
        at = step.interpolate([0.25, 0.25 + DT / 4, 0.25 + DT])
        torch.testing.assert_close(at, torch.stack([y0, 0.75 * y0 + 0.25 * step.y1, step.y1]))


@pytest.mark.parametrize("shape", [(3,), (2, 1, 2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_results_are_like_the_state(solver: Solver, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    for noise in solver.noise_types:
        y0 = start(shape, dtype)
        term = term_of(noise, solver.calculus, y0)
        step = solver.step(term, 0.0, DT, y0, solver.start(term, 0.0, y0))
        assert (step.y1.shape, step.y1.dtype) == (shape, dtype)
        error = step.differences().error
        assert (error is None) == (solver.error_order is None)
        assert error is None or (error.shape, error.dtype) == (shape, dtype)
        assert (step.differences().slopes is not None) == solver.tells_stiffness


def test_steps_without_gradients_are_those_with_them(solver: Solver) -> None:
    settings = SolveSettings(solver, ConstantStep(DT))
    for term in taken(solver):
        taped = solve(term, start().requires_grad_(), 0.0, 1.0, settings=settings, differentiable_records=True)
        with torch.no_grad():
            plain = solve(term, start(), 0.0, 1.0, settings=settings)
        torch.testing.assert_close(plain.y1, taped.y1, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(plain.records.error, taped.records.error, rtol=1e-12, atol=0, equal_nan=True)
        assert plain.stats == taped.stats


def test_solve_costs_what_is_stated(solver: Solver) -> None:
    for term in taken(solver):
        solution = solve(term, start(), 0.0, 1.0, settings=SolveSettings(solver, ConstantStep(DT))).check()
        first = 1 if type(solver).__name__ == "ReversibleHeun" else 0
        assert solution.stats.n_evaluations == term.n_evaluations == 8 * solver.evaluations_per_step + first
        assert solution.stats.n_diffusion_evaluations == term.n_diffusion_evaluations
        per_step = {"SOSRI": 4, "SOSRI2": 4, "EulerHeun": 2}.get(type(solver).__name__, 1)
        assert term.n_diffusion_evaluations == 8 * per_step + first


def test_step_is_differentiable_to_the_state_and_the_diffusion(solver: Solver) -> None:
    for term in taken(solver):
        scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        field = term.diffuse

        def stepped(y0: Tensor, scale: Tensor, term: SDETerm = term, field: object = field) -> tuple[Tensor, ...]:
            term.diffuse = lambda t, y: scale * field(t, y)
            step = solver.step(term, 0.25, 0.5, y0, solver.start(term, 0.25, y0))
            told = () if solver.error_order is None else (step.differences().error,)
            sizes = sizes_of_step(step.differences(), y0, step.y1, 1e-2, 1e-2)
            return step.y1, *told, *((sizes.stiffness(0.5),) if solver.tells_stiffness else ())

        assert torch.autograd.gradcheck(stepped, (start().requires_grad_(), scale))


@pytest.mark.parametrize("calculus", ["ito", "stratonovich"])
@pytest.mark.parametrize("noise", NOISES)
def test_noise_and_calculus_of_another_kind_are_refused_with_the_reason(
    solver: Solver, noise: Noise, calculus: Calculus
) -> None:
    term, settings = term_of(noise, calculus, start()), SolveSettings(solver, ConstantStep(DT))
    if noise not in solver.noise_types:
        with pytest.raises(
            InputError, match=f"solver: got .* with {noise} noise, for which it needs iterated integrals"
        ):
            solve(term, start(), 0.0, 1.0, settings=settings)
    elif calculus != solver.calculus and noise != "additive":
        with pytest.raises(InputError, match=f"whose calculus is {solver.calculus}, with a {calculus} equation"):
            solve(term, start(), 0.0, 1.0, settings=settings)
    else:
        solve(term, start(), 0.0, 1.0, settings=settings).check()


def test_ordinary_equations_are_refused(solver: Solver) -> None:
    settings = SolveSettings(solver, ConstantStep(DT))
    with pytest.raises(InputError, match=r"which is for stochastic equations, with an ordinary one, allowed: .* tsit5"):
        solve(drift, start(), 0.0, 1.0, settings=settings)
    with pytest.raises(InputError, match="which is for stochastic equations"):
        solve(ODETerm(drift), start(), 0.0, 1.0, settings=settings)


@pytest.mark.parametrize("name", list(SOLVERS))
def test_ordinary_methods_refuse_stochastic_equations(name: str) -> None:
    settings = SolveSettings(SOLVERS[name](), ConstantStep(DT))
    with pytest.raises(InputError, match="with an SDETerm, along whose path it does not converge, allowed: a method"):
        solve_sde(drift, diffusion, start(), 0.0, 1.0, path=0, settings=settings)


def test_control_of_an_error_that_is_not_estimated_is_refused(solver: Solver) -> None:
    if solver.error_order is None:
        with pytest.raises(InputError, match="which has no error estimate, allowed: one that needs none"):
            SolveSettings(solver, IController())
    else:
        SolveSettings(solver, IController())
