"""Solves inside `torch.autocast`: the field runs in bfloat16, the solver's algebra in the state's dtype."""

import math

import pytest
import torch
from torch import Tensor, nn

from ndecore.adjoints import ADJOINTS, SDE_ADJOINTS
from ndecore.integrate import SolveSettings
from ndecore.solvers import SDE_SOLVERS, SOLVERS
from ndecore.solving import solve, solve_sde
from ndecore.terms import ODETerm

BFLOAT16 = {"device_type": "cpu", "dtype": torch.bfloat16}


class Net(nn.Module):
    """f(t, y) = W2 tanh(W1 y); remembers the dtype of its products."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.inner, self.outer = (nn.Parameter(0.5 * torch.randn(4, 4, generator=draw)) for _ in range(2))
        self.seen: set[torch.dtype] = set()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        slope = torch.tanh(y @ self.inner) @ self.outer
        self.seen.add(slope.dtype)
        return slope


@pytest.mark.parametrize("solver", ["tsit5", "dopri5", "dop853", "bosh3"])
def test_solve_of_plain_arithmetic_is_as_accurate_as_outside(solver: str) -> None:
    settings = SolveSettings(SOLVERS[solver](), rtol=1e-4, atol=1e-4)
    with torch.autocast(**BFLOAT16):
        y1 = solve(lambda t, y: -y, torch.ones(2), 0.0, 1.0, settings=settings, throw=True).y1
        assert torch.is_autocast_enabled("cpu")
    assert y1.dtype is torch.float32
    assert torch.allclose(y1, torch.full((2,), math.exp(-1)), atol=1e-3)


@pytest.mark.parametrize("adjoint", list(ADJOINTS))
def test_field_runs_in_autocast_and_gradients_are_those_of_float32_to_its_rounding(adjoint: str) -> None:
    settings = SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=1e-2, atol=1e-2)
    found = []
    for enabled in (False, True):
        net, y0 = Net(), torch.linspace(-1, 1, 8).reshape(2, 4).requires_grad_()
        with torch.autocast(**BFLOAT16, enabled=enabled):
            y1 = solve(net, y0, 0.0, 1.0, settings=settings, throw=True).y1
        assert y1.dtype is torch.float32
        y1.square().sum().backward()
        assert net.seen == {torch.bfloat16 if enabled else torch.float32}
        found.append([y1, y0.grad, net.inner.grad, net.outer.grad])
    for exact, rounded in zip(*found, strict=True):
        # torchdiffeq adds up its gradient through bfloat16, eight bits, along other steps.
        assert (exact - rounded).norm() < (0.2 if adjoint == "torchdiffeq" else 0.08) * exact.norm()


@pytest.mark.parametrize("adjoint", ["tape", "checkpointed", "interpolating"])
def test_gradients_may_be_asked_for_inside_autocast(adjoint: str) -> None:
    settings = SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=1e-2, atol=1e-2)
    net = Net()
    with torch.autocast(**BFLOAT16):
        y1 = solve(net, torch.ones(2, 4), 0.0, 1.0, settings=settings, throw=True).y1
        y1.sum().backward()
    assert net.inner.grad is not None
    assert net.inner.grad.norm() > 0.1


def test_structured_state_and_a_counting_term_keep_their_dtype() -> None:
    net = Net()
    with torch.autocast(**BFLOAT16):
        y0 = {"a": torch.ones(2, 4), "b": (torch.ones(3),)}
        found = solve(
            lambda t, y: {"a": net(t, y["a"]), "b": (-y["b"][0],)}, y0, 0.0, 1.0, throw=True,
            settings=SolveSettings(rtol=1e-2, atol=1e-2),
        )  # fmt: skip
        term = ODETerm(net)
        solution = solve(term, torch.ones(2, 4), 0.0, 1.0, settings=SolveSettings(rtol=1e-2, atol=1e-2), throw=True)
    assert found.y1["a"].dtype is found.y1["b"][0].dtype is torch.float32
    assert solution.stats.n_evaluations == term.n_evaluations > 0


@pytest.mark.parametrize("adjoint", list(SDE_ADJOINTS))
def test_stochastic_solve_leaves_autocast_too(adjoint: str) -> None:
    name = "srk" if adjoint.startswith("torchsde") else "sosri"
    assert name == "srk" or name in SDE_SOLVERS
    found = []
    for enabled in (False, True):
        net = Net()
        with torch.autocast(**BFLOAT16, enabled=enabled):
            solution = solve_sde(
                net, lambda t, y: 0.1 * y, torch.ones(2, 4), 0.0, 1.0, path=1, parameters=list(net.parameters()),
                settings=SolveSettings(SDE_SOLVERS["sosri"](), adjoint=SDE_ADJOINTS[adjoint](), rtol=1e-2, atol=1e-2),
                throw=True,
            )  # fmt: skip
        assert solution.y1.dtype is torch.float32
        found.append(solution.y1.detach())
    assert (found[0] - found[1]).norm() < 0.03 * found[0].norm()
