"""Neural differential equations as layers."""

import copy
import pickle

import pytest
import torch
from initial_value_problems import TinyField
from penalized_solves import start
from torch import Tensor, nn

import ndecore
from ndecore.errors import InputError, SolveFailed
from ndecore.integrate import SolveSettings
from ndecore.models.neural_sde import GeometricSDE
from ndecore.models.time_mlp import TimeMLP


def blocks() -> list[nn.Module]:
    """An ordinary one and a stochastic one, float64."""
    draw = torch.Generator().manual_seed(0)
    sde = GeometricSDE(TimeMLP(2, 5, draw), 2, draw).double()
    return [ndecore.NeuralODE(TinyField(), rtol=1e-3), ndecore.NeuralSDE(sde, rtol=0.1, atol=0.1)]


def called(block: nn.Module, y0: Tensor) -> Tensor:
    with ndecore.observe(path_seed=3):
        found: Tensor = block(y0)
    return found


def test_block_is_a_layer_of_a_sequential_model() -> None:
    model = nn.Sequential(nn.Linear(3, 2), *blocks(), nn.Linear(2, 1)).double()
    with ndecore.observe() as solves:
        model(torch.ones(4, 3, dtype=torch.float64)).sum().backward()
    assert len(solves) == 2
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in model.parameters())


@pytest.mark.parametrize("i", [0, 1])
def test_block_is_copied_pickled_saved_and_moved(i: int) -> None:
    block = blocks()[i]
    expected = called(block, start())
    for copied in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):  # noqa: S301 - its own
        torch.testing.assert_close(called(copied, start()), expected, rtol=0, atol=0)
        with torch.no_grad():
            next(copied.parameters()).add_(1.0)
        assert not torch.equal(called(copied, start()), expected), "it has parameters of its own"
        copied.load_state_dict(block.state_dict())
        torch.testing.assert_close(called(copied, start()), expected, rtol=0, atol=0)
    assert called(block.float(), start().float()).dtype == torch.float32


@pytest.mark.parametrize("i", [0, 1])
def test_block_returns_the_solution_at_all_times_if_asked(i: int) -> None:
    block = blocks()[i]
    block.t, block.return_times = (0.0, 0.25, 1.0), True
    found = called(block, start())
    assert found.shape == (3, 3, 2)
    torch.testing.assert_close(found[0], start(), rtol=0, atol=0)
    block.return_times = False
    torch.testing.assert_close(called(block, start()), found[-1], rtol=0, atol=0)


def test_block_takes_structures_and_decreasing_times() -> None:
    block = ndecore.NeuralODE(lambda t, y: (y[1], -y[0]), torch.tensor([1.0, 0.0]), solver="dopri5", rtol=1e-9)
    sine, cosine = block((torch.zeros(1).double(), torch.ones(1).double()))
    torch.testing.assert_close(sine.item(), -torch.tensor(1.0).double().sin().item(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(cosine.item(), torch.tensor(1.0).double().cos().item(), rtol=1e-5, atol=1e-5)


def test_names_are_methods_and_adjoints() -> None:
    y0, field = start().requires_grad_(), TinyField()
    named = ndecore.NeuralODE(field, solver="rk4", adjoint="checkpointed", step_size=0.1)
    settings = SolveSettings(ndecore.RK4(), ndecore.ConstantStep(0.1), ndecore.Checkpointed())
    (found,) = torch.autograd.grad(named(y0).sum(), y0)
    (expected,) = torch.autograd.grad(ndecore.NeuralODE(field, settings=settings)(y0).sum(), y0)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ndecore.NeuralODE(TinyField(), t=(0.0,)), "at least two times"),
        (lambda: ndecore.NeuralODE(TinyField(), solver="rk5"), "unknown solver: got 'rk5'"),
        (lambda: ndecore.NeuralODE(TinyField(), solver="rk4"), "no error estimate"),
        (lambda: ndecore.NeuralODE(TinyField(), rtol=-1.0), "rtol: got -1.0"),
        (lambda: ndecore.NeuralSDE(TinyField()), "diffusion: got none"),
        (lambda: ndecore.NeuralSDE(TinyField(), TinyField(), noise="general"), "n_motions: got none"),
    ],
)
def test_block_that_cannot_solve_is_refused_when_it_is_made(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_solve_that_fails_raises() -> None:
    with pytest.raises(SolveFailed):
        ndecore.NeuralODE(lambda t, y: y**3)(torch.ones(1))


@pytest.mark.parametrize("noise", ["scalar", "additive", "general"])
def test_noise_of_every_kind_has_a_path_of_its_shape(noise: str) -> None:
    columns = 1 if noise == "scalar" else 3

    def diffusion(t: Tensor, y: Tensor) -> Tensor:
        g = torch.full((*y.shape, columns), 0.1)
        return g.squeeze(-1) if noise == "scalar" else g

    block = ndecore.NeuralSDE(
        lambda t, y: -y,
        diffusion,
        noise=noise,
        n_motions=None if noise == "scalar" else columns,
        solver="euler_maruyama",
        step_size=0.25,
    )
    y0 = torch.ones(4, 2)
    found = block(y0, 5)
    assert found.shape == y0.shape
    torch.testing.assert_close(found, block(y0, 5), rtol=0, atol=0)
    assert not torch.equal(found, block(y0, 6))


@pytest.mark.parametrize("adjoint", ["tape", "checkpointed"])
def test_block_runs_under_autocast_between_layers_that_compute_in_half_precision(adjoint: str) -> None:
    torch.manual_seed(0)
    field = TimeMLP(2, 8, torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Linear(3, 2), ndecore.NeuralODE(field, rtol=1e-3, atol=1e-3, adjoint=adjoint))
    x = torch.ones(4, 3)
    exact = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model[0](x).dtype == torch.bfloat16
        with ndecore.observe(penalties=[ndecore.GlobalError(), ndecore.LocalError()]) as solves:
            found = model(x)
        penalties = solves.penalties
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 3e-2
    (found.sum() + penalties.sum()).backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in model.parameters())
