"""Faults that other people's tests found: each here failed once."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from ndecore.adjoints import ADJOINTS
from ndecore.brownian import BrownianTree
from ndecore.controllers.constant import ConstantStep
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.running_cost import RunningCost
from ndecore.solving import solve, solve_sde
from ndecore.status import Status
from ndecore.terms import ODETerm


class Kinetic(RunningCost):
    """|f|^2 and the time derivative of f, which needs a graph."""

    n_costs = 1

    def __call__(self, t: Tensor, y: Tensor, slope: Tensor) -> Tensor:
        return slope.square().sum().reshape(1)


def test_milstein_makes_no_tape_where_nothing_needs_gradients() -> None:
    def solved(weight: Tensor, y0: Tensor) -> Tensor:
        return solve_sde(
            lambda t, y: -y, lambda t, y: weight * torch.sin(y), y0, 0.0, 1.0, path=1, solver="milstein",
            controller=_steps(),
        ).y1  # fmt: skip

    weight, y0 = torch.tensor(0.5, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    end = solved(weight, y0)
    assert not end.requires_grad
    end.numpy()
    by_start, by_weight = solved(weight, y0.clone().requires_grad_()), solved(weight.clone().requires_grad_(), y0)
    assert torch.equal(by_start.detach(), end)
    assert torch.equal(by_weight.detach(), end)
    assert by_start.requires_grad
    assert by_weight.requires_grad


def _steps() -> ConstantStep:
    return ConstantStep(1 / 16)


def test_running_cost_makes_no_tape_where_nothing_needs_gradients() -> None:
    weight, cost = torch.tensor(0.5), Kinetic()
    free = solve(lambda t, y: -weight * y, torch.ones(2), 0.0, 1.0, running_cost=cost)
    assert not free.y1.requires_grad
    assert not free.costs.requires_grad
    weight.requires_grad_()
    bound = solve(lambda t, y: -weight * y, torch.ones(2), 0.0, 1.0, running_cost=cost)
    assert bound.costs.requires_grad
    assert torch.equal(bound.costs.detach(), free.costs)


@pytest.mark.parametrize("adjoint", list(ADJOINTS))
def test_state_without_axes_is_solved(adjoint: str) -> None:
    class Decay(nn.Module):
        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return -y

    y0 = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    solution = solve(Decay(), y0, 0.0, 1.0, ts=[0.5, 1.0], adjoint=adjoint)
    assert solution.y1.shape == ()
    assert solution.ys.shape == (2,)
    (slope,) = torch.autograd.grad(solution.y1, y0)
    assert slope.item() == pytest.approx(0.36788, abs=1e-4)


def test_one_tree_gives_the_same_increments_to_many_threads() -> None:
    tree = BrownianTree(3, (64,), 0.0, 1.0, levels=12)
    spans = [(i / 128, (i + 1 + i % 5) / 140) for i in range(100)]
    spans = [(a, b) for a, b in spans if a < b] * 8
    alone = [tree.increment(*span).W.clone() for span in spans]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda span: tree.increment(*span).W.clone(), spans))
    assert sum(not torch.equal(a, b) for a, b in zip(alone, together, strict=True)) == 0


def test_tree_that_is_pickled_is_the_same_path() -> None:
    tree = BrownianTree(3, (4,), 0.0, 2.0, cells=3, levels=12, dtype=torch.float64)
    tree.increment(0.1, 0.7)
    again = pickle.loads(pickle.dumps(tree))  # noqa: S301
    assert torch.equal(again.increment(0.3, 1.1).H, tree.increment(0.3, 1.1).H)


def test_path_that_is_too_coarse_is_named_with_the_remedy() -> None:
    def ended(levels: int) -> Status:
        path = BrownianTree(1, (2,), 0.0, 1.0, levels=levels)
        settings = SolveSettings("sosri", rtol=1e-6, atol=1e-6)
        fields = (lambda t, y: -40 * y, lambda t, y: 0.1 * y, torch.ones(2), 0.0, 1e-6)
        return solve_sde(*fields, path=path, settings=settings, throw=False).status

    assert ended(20) is Status.PATH_UNDERFLOW
    assert "levels=30" in Status.PATH_UNDERFLOW.remedy
    assert ended(30) is Status.SUCCESS


@pytest.mark.parametrize("adjoint", ["tape", "checkpointed"])
def test_batched_gradients_are_those_one_by_one_after_and_before_an_ordinary_pass(adjoint: str) -> None:
    weight = torch.tensor([[0.0, 1.0], [-1.0, 0.3]], dtype=torch.float64, requires_grad=True)
    y0 = torch.ones(2, dtype=torch.float64, requires_grad=True)
    term = ODETerm(lambda t, y: torch.tanh(weight @ y), [weight])
    y1 = solve(term, y0, 0.0, 1.0, adjoint=adjoint).y1
    first = [torch.autograd.grad(y1[i], y0, retain_graph=True)[0] for i in range(2)]
    (batched,) = torch.autograd.grad(
        y1, y0, torch.eye(2, dtype=torch.float64), is_grads_batched=True, retain_graph=True
    )
    again = [torch.autograd.grad(y1[i], y0, retain_graph=True)[0] for i in range(2)]
    torch.testing.assert_close(batched, torch.stack(first))
    assert all(map(torch.equal, first, again))


def test_batched_gradients_of_steps_chosen_for_one_cotangent_are_refused() -> None:
    y0 = torch.ones(2, requires_grad=True)
    y1 = solve(lambda t, y: -y, y0, 0.0, 1.0, adjoint="interpolating", parameters=()).y1
    with pytest.raises(InputError, match="is_grads_batched: got true with Interpolating"):
        torch.autograd.grad(y1, y0, torch.eye(2), is_grads_batched=True)
