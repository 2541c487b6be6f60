"""torchdiffeq's calls on our solvers: its own cases by their behaviour, and its results."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torchdiffeq
from torch import Tensor, nn

import ndecore
from ndecore import odeint, odeint_adjoint
from ndecore.dropin_options import ADAPTIVE, FIXED
from ndecore.errors import InputError, SolveFailed

# --- its problems, with their exact solutions -----------------------------------------------------------------------


class Constant(nn.Module):
    """dy/dt = a + (y - (a t + b))^5, solved by a t + b."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.2, dtype=dtype))
        self.b = nn.Parameter(torch.tensor(3.0, dtype=dtype))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.a + (y - (self.a * t + self.b)) ** 5

    def exact(self, t: Tensor) -> Tensor:
        return (self.a * t + self.b)[:, None]


class Sine(nn.Module):
    """dy/dt = 2 y / t + t^4 sin(2 t) - t^2 + 4 t^3."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=dtype))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.scale * (2 * y / t + t**4 * torch.sin(2 * t) - t**2 + 4 * t**3)

    def exact(self, t: Tensor) -> Tensor:
        y = -0.5 * t**4 * torch.cos(2 * t) + 0.5 * t**3 * torch.sin(2 * t) + 0.25 * t**2 * torch.cos(2 * t)
        return (y - t**3 + 2 * t**4 + (math.pi - 0.25) * t**2)[:, None]


class Linear(nn.Module):
    """dy/dt = A y with a skew A: solved by exp(A t) y0."""

    def __init__(self, dtype: torch.dtype, dim: int = 6) -> None:
        super().__init__()
        draw = torch.randn(dim, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.3
        self.A = nn.Parameter((2 * draw - (draw + draw.t())).to(dtype))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return y @ self.A.t()

    def exact(self, t: Tensor) -> Tensor:
        start = torch.ones(len(self.A), dtype=self.A.dtype)
        return torch.stack([torch.linalg.matrix_exp(self.A.double() * at.double()).to(start) @ start for at in t])


PROBLEMS = (Constant, Sine, Linear)


def problem(
    kind: Callable[[torch.dtype], nn.Module], dtype: torch.dtype, backwards: bool = False
) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """The field, y0, the times in the dtype, and the solution there."""
    field, t = kind(dtype), torch.linspace(1.0, 4.0, 6, dtype=torch.float64).to(dtype)
    t = t.flip(0) if backwards else t
    with torch.no_grad():
        exact = field.exact(t)
    return field, exact[0], t, exact


def relative_error(found: Tensor, exact: Tensor) -> float:
    return ((found - exact).abs() / (1 + exact.abs())).max().item()


@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("method", [*ADAPTIVE, None])
def test_adaptive_method_is_as_good_as_its_tolerance(
    method: str | None, backwards: bool, kind: Callable[[torch.dtype], nn.Module]
) -> None:
    field, y0, t, exact = problem(kind, torch.float64, backwards)
    low_order = method in ("adaptive_heun", "bosh3")
    tolerances = {"rtol": 1e-4, "atol": 1e-4} if low_order else {"rtol": 1e-7, "atol": 1e-9}
    with torch.no_grad():
        found = odeint(field, y0, t, method=method, **tolerances)
    assert found.shape == exact.shape
    assert relative_error(found, exact) < (2e-2 if low_order else 1e-4)


@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("method", "bound"), [("euler", 1.0), ("midpoint", 5e-2), ("heun2", 5e-2), ("rk4", 1e-3)])
def test_fixed_steps_are_as_good_as_their_order(
    method: str, bound: float, backwards: bool, kind: Callable[[torch.dtype], nn.Module]
) -> None:
    field, y0, t, exact = problem(kind, torch.float64, backwards)
    with torch.no_grad():
        errors = [
            relative_error(odeint(field, y0, t, method=method, options={"step_size": h})[-1], exact[-1])
            for h in (0.1, 0.05)
        ]
    assert errors[1] < bound
    assert errors[1] < 1e-9 or errors[0] / errors[1] > 0.7 * 2 ** FIXED[method].order


@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.parametrize("backwards", [False, True])
def test_float32_times_and_states_return_every_output(
    backwards: bool, kind: Callable[[torch.dtype], nn.Module]
) -> None:
    field, y0, t, exact = problem(kind, torch.float32, backwards)
    with torch.no_grad():
        found, theirs = odeint(field, y0, t), torchdiffeq.odeint(field, y0, t)
    assert found.dtype == torch.float32
    assert found.shape == exact.shape
    torch.testing.assert_close(found[0], y0, rtol=0, atol=0)
    assert relative_error(found, exact) < 2 * relative_error(theirs, exact) + 1e-4


def test_times_of_another_type_than_the_state_are_taken_as_they_are() -> None:
    field, y0, t, exact = problem(Linear, torch.float64)
    for times in (t.float(), t.tolist()):
        found = odeint(field, y0, times)
        assert found.dtype == torch.float64
        assert relative_error(found, exact) < 1e-5


@pytest.mark.parametrize("times", [[1.0], [1.0, 1.5]])
def test_one_time_is_the_start_alone(times: list[float]) -> None:
    y0 = torch.ones(2, 3)
    found = odeint(lambda t, y: -y, y0, torch.tensor(times))
    assert found.shape == (len(times), 2, 3)
    torch.testing.assert_close(found[0], y0, rtol=0, atol=0)


@pytest.mark.parametrize("method", ["dopri5", "bosh3", "adaptive_heun", "euler", "midpoint", "heun2", "rk4"])
def test_results_and_gradients_agree_with_torchdiffeq(method: str) -> None:
    field, y0, t, _ = problem(Linear, torch.float64)
    options = {"step_size": 0.05} if method in FIXED else None
    tolerances = {"rtol": 1e-5, "atol": 1e-5} if method == "adaptive_heun" else {}
    cotangent = torch.linspace(-1, 1, len(t), dtype=torch.float64)[:, None]
    found = []
    for call in (odeint, torchdiffeq.odeint):
        start, times = y0.clone().requires_grad_(), t[:3].clone().requires_grad_()
        ys = call(field, start, times, method=method, options=options, **tolerances)
        loss = (ys[:, :3] * cotangent[: len(times)]).square().sum()
        found.append([ys, *torch.autograd.grad(loss, [start, times, *field.parameters()])])
    # Theirs reads outputs between fixed steps off a straight line, and its rk4 is another method of order 4.
    bound = {"euler": 2e-2, "midpoint": 5e-3, "heun2": 5e-3, "rk4": 5e-3, "adaptive_heun": 5e-3}.get(method, 1e-4)
    for i, (ours, theirs) in enumerate(zip(*found, strict=True)):
        if i != 2 or method == "dopri5":  # theirs to times are those of its interpolants
            assert (ours - theirs).norm() < bound * theirs.norm(), i


# --- states, tolerances, norms --------------------------------------------------------------------------------------


def pair(t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return -y[0], 30 * (torch.cos(30 * t) - y[1])


@pytest.mark.parametrize("backwards", [False, True])
def test_tuple_state_is_that_of_torchdiffeq(backwards: bool) -> None:
    y0 = torch.ones(8, 30, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    t = torch.tensor([0.0, 0.2, 0.3], dtype=torch.float64)
    t = t.flip(0) if backwards else t
    found, theirs = (call(pair, y0, t, rtol=1e-8, atol=1e-8) for call in (odeint, torchdiffeq.odeint))
    assert isinstance(found, tuple)
    for ours, other in zip(found, theirs, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-5)


def test_small_part_of_a_tuple_is_as_accurate_as_the_large_one() -> None:
    y0, t = (torch.ones(2, 784).double(), torch.zeros(2, 1).double()), torch.tensor([0.0, 1.0])
    exact = odeint(pair, y0, t, rtol=1e-9, atol=1e-9)[1]
    error = (odeint(pair, y0, t, rtol=1e-4, atol=1e-4)[1] - exact).abs().max()
    assert error < 20 * 1e-4
    by_rms = odeint(
        pair,
        y0,
        t,
        rtol=1e-4,
        atol=1e-4,
        options={"norm": lambda y: torch.cat([p.reshape(-1) for p in y]).square().mean().sqrt()},
    )
    assert (by_rms[1] - exact).abs().max() > 3 * error


def test_norm_is_given_what_is_built_like_the_state() -> None:
    seen = []

    def norm(y: tuple[Tensor, Tensor]) -> Tensor:
        seen.append([each.shape for each in y])
        return y[0].square().mean().sqrt()

    y0 = torch.ones(3, 2).double(), torch.zeros(4).double()
    odeint(pair, y0, torch.tensor([0.0, 0.1]), options={"norm": norm})
    assert seen
    assert all(shapes == [(3, 2), (4,)] for shapes in seen)


def test_tolerances_may_be_by_part_and_by_element() -> None:
    def field(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack([-y[0], 50 * torch.cos(50 * t)])

    y0, t = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0])
    with ndecore.observe() as loose:
        odeint(field, y0, t, rtol=1e-8, atol=torch.tensor([1e-8, 1e3]).double())
    with ndecore.observe() as tight:
        odeint(field, y0, t, rtol=1e-8, atol=1e-8)
    assert loose.n_steps * 3 < tight.n_steps
    parts = (torch.ones(1).double(), torch.zeros(1).double())
    with ndecore.observe() as by_part:
        odeint(lambda t, y: (-y[0], 50 * torch.cos(50 * t) + 0 * y[1]), parts, t, rtol=1e-8, atol=(1e-8, 1e3))
    assert by_part.n_steps * 3 < tight.n_steps


# --- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.parametrize("backwards", [False, True])
def test_adjoint_has_the_gradient_of_the_tape(backwards: bool, kind: Callable[[torch.dtype], nn.Module]) -> None:
    field, y0, t, _ = problem(kind, torch.float64, backwards)
    found = []
    for call in (odeint, odeint_adjoint):
        start, times = y0.clone().requires_grad_(), t[:4].clone().requires_grad_()
        loss = call(field, start, times, rtol=1e-6, atol=1e-8).square().sum()
        found.append(torch.autograd.grad(loss, [start, times, *field.parameters()], allow_unused=True))
    for tape, adjoint in zip(*found, strict=True):
        torch.testing.assert_close(adjoint, tape, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("call", [odeint, odeint_adjoint])
def test_gradients_reach_the_start_the_parameters_and_the_times(call: Callable[..., Tensor], backwards: bool) -> None:
    weight = torch.tensor([[0.3, -0.8], [0.5, 0.1]], dtype=torch.float64, requires_grad=True)
    y0 = torch.tensor([[0.4, -0.2]], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    t = (t.flip(0) if backwards else t).requires_grad_()

    def grid(func: object, y0: Tensor, t: Tensor) -> Tensor:
        between = torch.linspace(0, 1, 9).double()[:-1]
        return torch.cat([*(a + between * (b - a) for a, b in pairwise(t.detach())), t[-1:].detach()])

    def solved(y0: Tensor, t: Tensor, weight: Tensor) -> Tensor:
        more = {"adjoint_params": (weight,)} if call is odeint_adjoint else {}
        # One grid for the perturbed solves: the gradient is that of the steps.
        options = {"grid_constructor": grid}
        return call(lambda t, y: torch.tanh(y @ weight) * t, y0, t, method="rk4", options=options, **more)

    assert torch.autograd.gradcheck(solved, (y0, t, weight), rtol=1e-3, atol=1e-5, fast_mode=True)


def test_second_derivative_goes_through_the_tape_and_is_refused_elsewhere() -> None:
    def loss(call: Callable[..., Tensor], t: Tensor, y0: Tensor) -> Tensor:
        more = {"adjoint_params": ()} if call is odeint_adjoint else {}
        return call(lambda t, y: -(y**2), y0, t, rtol=1e-9, atol=1e-9, **more)[-1].sum()

    t, y0 = torch.tensor([0.0, 1.0]).double(), torch.ones(1).double().requires_grad_()
    (slope,) = torch.autograd.grad(loss(odeint, t, y0), y0, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), y0)  # y1 = y0 / (1 + y0)
    torch.testing.assert_close(curvature.item(), -2 / 8, rtol=1e-5, atol=0)
    with pytest.raises(InputError, match="create_graph"):
        torch.autograd.grad(loss(odeint_adjoint, t, y0), y0, create_graph=True)


def test_adjoint_has_to_know_the_parameters() -> None:
    t, y0 = torch.tensor([0.0, 1.0]), torch.ones(1)
    with pytest.raises(ValueError, match="adjoint_params"):
        odeint_adjoint(lambda t, y: -y, y0, t)
    assert odeint_adjoint(lambda t, y: -y, y0, t, adjoint_params=()).shape == (2, 1)


# --- options --------------------------------------------------------------------------------------------------------


def steps(**call: object) -> ndecore.Solves:
    with ndecore.observe() as solves:
        odeint(lambda t, y: -y, torch.ones(1).double(), torch.tensor([0.0, 1.0]).double(), **call)
    return solves


def test_limits_of_steps_are_kept() -> None:
    assert steps(options={"first_step": 0.03})[0].solution.records.dt[0] == pytest.approx(0.03)
    assert steps(options={"max_step": 0.05}).dt.max() <= 0.05 * 1.01
    assert steps(options={"min_step": 0.25}, rtol=1e-10, atol=1e-10).n_steps <= 4
    slow = steps(options={"ifactor": 1.1, "first_step": 0.001})
    assert (slow.dt[1:-1] / slow.dt[:-2]).max() < 1.101
    with pytest.raises(SolveFailed, match="MAX_STEPS"):
        steps(options={"max_num_steps": 3})


def test_fixed_steps_are_those_of_the_grid() -> None:
    t = torch.tensor([0.0, 0.3, 1.0]).double()
    for options, expected in (
        (None, [0.3, 0.7]),
        ({"step_size": 0.4}, [0.4, 0.4, 0.2]),
        ({"grid_constructor": lambda func, y0, t: torch.linspace(t[0], t[-1], 5)}, [0.25] * 4),
    ):
        with ndecore.observe() as solves:
            odeint(lambda t, y: -y, torch.ones(1).double(), t, method="midpoint", options=options)
        assert solves.dt.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
def test_jump_of_the_field_costs_nothing_where_its_time_is_told(backwards: bool, gradients: bool) -> None:
    def field(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(t < 0.5, y, -2 * y)

    t = torch.tensor([0.0, 0.4, 0.5, 1.0]).double()
    t = t.flip(0) if backwards else t
    y0 = torch.ones(2).double().requires_grad_(gradients)
    exact = torch.where(t <= 0.5, t.exp(), math.exp(0.5) * (-2 * (t - 0.5)).exp())
    exact = (exact / exact[0])[:, None].expand(4, 2)
    found = []
    for options in ({}, {"jump_t": torch.tensor([0.5, 3.0])}, {"step_t": torch.tensor([0.25])}):
        with ndecore.observe() as solves:
            ys = odeint(field, y0, t, options=options)
        torch.testing.assert_close(ys.detach(), exact, rtol=1e-5, atol=1e-5)
        found.append(solves)
    assert found[1].n_rejected <= 1 < found[0].n_rejected  # the step before is no guide to the one behind the jump
    assert found[1].nfe < found[0].nfe
    assert 0.25 in found[2][0].solution.records.t


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"method": "dopri8"}, "method: got 'dopri8'.*dop853"),
        ({"method": "scipy_solver"}, "method: got 'scipy_solver'"),
        ({"method": "implicit_adams"}, "method: got 'implicit_adams'.*rk4"),
        ({"method": "nothing"}, "method: got 'nothing', allowed: dopri5"),
        ({"options": {"frist_step": 0.1}}, "options: got 'frist_step' with dopri5"),
        ({"options": {"step_size": 0.1}}, "options: got 'step_size' with dopri5"),
        ({"method": "rk4", "options": {"first_step": 0.1}}, "options: got 'first_step' with rk4"),
        ({"method": "rk4", "options": {"perturb": True}}, "options: got 'perturb'"),
        ({"method": "rk4", "options": {"interp": "linear"}}, "options: got 'interp'"),
        ({"options": {"dtype": torch.float32}}, "dtype: got torch.float32"),
        ({"options": {"max_step": -1.0}}, "max_step: got -1.0"),
        ({"rtol": -1.0}, "rtol: got -1.0"),
        ({"t": torch.tensor([0.0, 1.0, 0.5])}, "strictly increasing or strictly decreasing"),
        ({"t": torch.tensor([0.0, 0.0])}, "strictly increasing or strictly decreasing"),
        ({"t": torch.tensor([[0.0, 1.0]])}, r"allowed: \[times\]"),
        ({"t": torch.tensor([0, 1])}, r"allowed: \[times\] of a floating-point type"),
        ({"y0": torch.ones(1, dtype=torch.bfloat16)}, "y0: got .* of torch.bfloat16"),
        ({"y0": 1.0}, "y0: got float"),
    ],
)
def test_what_is_not_offered_is_refused_in_a_line(call: dict, message: str) -> None:
    t, y0 = call.pop("t", torch.tensor([0.0, 1.0])), call.pop("y0", torch.ones(1))
    with pytest.raises(InputError, match=message) as refusal:
        odeint(lambda t, y: -y, y0, t, **call)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["callback_step", "callback_accept_step", "callback_reject_step"])
def test_callbacks_are_refused_by_name(name: str) -> None:
    field = Linear(torch.float32)
    setattr(field, name, lambda t, y, dt: None)
    with pytest.raises(InputError, match=name):
        odeint(field, torch.ones(6), torch.tensor([0.0, 1.0]))


def test_solve_that_fails_raises() -> None:
    with pytest.raises(SolveFailed, match="STEP_UNDERFLOW"):
        odeint(lambda t, y: y**3, torch.ones(1), torch.tensor([0.0, 1.0]), rtol=1e-4, atol=1e-4)


def test_adjoint_options_of_existing_code_are_taken() -> None:
    field, y0, t, exact = problem(Linear, torch.float64)
    found = odeint_adjoint(
        field,
        y0,
        t,
        adjoint_rtol=1e-4,
        adjoint_atol=1e-4,
        adjoint_method="dopri5",
        adjoint_options={"norm": "seminorm"},
    )
    assert relative_error(found.detach(), exact) < 1e-5


def test_penalties_see_what_existing_code_solves() -> None:
    field, y0, t, _ = problem(Linear, torch.float64)
    with ndecore.observe(penalties=[ndecore.GlobalError(), ndecore.LocalError()]) as solves:
        odeint_adjoint(field, y0, t)
    assert (solves.penalties > 0).all()
    assert torch.autograd.grad(solves.penalties.sum(), field.A)[0].abs().sum() > 0
