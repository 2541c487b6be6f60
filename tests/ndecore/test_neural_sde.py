"""Neural SDEs: their equations, what the stable ones promise, one path in training and ten at prediction."""

import pytest
import torch
from torch import Tensor, nn

from ndecore.blocks import NeuralSDE as Block
from ndecore.brownian import BrownianTree
from ndecore.integrate import SolveSettings
from ndecore.models import SDES
from ndecore.models.cubic_mlp import CubicMLP
from ndecore.models.drift_mlp import DriftMLP
from ndecore.models.neural_sde import NeuralSDE
from ndecore.models.path_at_times import PathAtTimes
from ndecore.models.sde_classifier import NeuralSDEClassifier
from ndecore.noise import check_noise
from ndecore.observation import observe
from ndecore.solvers.sosri import SOSRI
from ndecore.solves import Solves
from ndecore.solving import solve

SETTINGS = SolveSettings(SOSRI(), rtol=0.1, atol=0.1)
T = torch.tensor(0.3, dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def equation(name: str) -> NeuralSDE:
    """Of three elements, its biases not zero."""
    kind = SDES[name]
    sde: NeuralSDE = kind(DriftMLP(3, 8, generator(), sees_time=kind.sees_time), 3, generator(1)).double()
    for parameter in sde.parameters():
        parameter.data += 0.1
    return sde


def states() -> Tensor:
    return torch.randn(5, 3, generator=generator(2), dtype=torch.float64)


def test_naive_equation_is_that_of_the_papers() -> None:
    sde, z = equation("naive"), states()
    inner, outer, noise = sde.net.inner, sde.net.outer, sde.noise
    expected = torch.tanh(z @ inner.weight.T + inner.bias) @ outer.weight.T + outer.bias
    torch.testing.assert_close(sde.drift(T, z), expected)
    torch.testing.assert_close(sde.diffusion(T, z), z @ noise.weight.T + noise.bias)


def test_drift_and_diffusion_of_the_stable_equations() -> None:
    z = states()
    for name in ("langevin", "linear_noise", "geometric"):
        sde = equation(name)
        gamma = sde.net(T, z)
        sigma = sde.noise.weight @ torch.stack((T.sin(), T.cos())) + sde.noise.bias
        drift, diffusion = {
            "langevin": (gamma, sigma.expand(5, 3)),
            "linear_noise": (gamma, sigma * z),
            "geometric": (gamma * z, sigma * z),
        }[name]
        torch.testing.assert_close(sde.drift(T, z), drift)
        torch.testing.assert_close(sde.diffusion(T, z), diffusion)


@pytest.mark.parametrize(("name", "sees_time"), [("naive", 0), ("langevin", 0), ("linear_noise", 1), ("geometric", 1)])
def test_drift_sees_time_where_it_is_published_so(name: str, sees_time: int) -> None:
    sde, z = equation(name), states()
    assert SDES[name].sees_time == sees_time
    assert torch.equal(sde.drift(T, z), sde.drift(T + 0.5, z)) != bool(sees_time)


@pytest.mark.parametrize("name", SDES)
def test_noise_is_diagonal_but_for_the_naive_equation_which_says_so(name: str) -> None:
    z, sde = states(), equation(name)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda y: sde.diffusion(T, y)))(z)
    off = jacobian - torch.diag_embed(jacobian.diagonal(dim1=-2, dim2=-1))
    assert (off.abs().max().item() > 1e-3) == sde.is_mixing
    path = BrownianTree(0, (5, 3), 0.0, 1.0, dtype=torch.float64)
    check_noise(sde.along(path), 0.0, z)  # and the solver takes it for what it says


def solved(name: str, z0: Tensor, seed: int, rtol: float = 0.05) -> Tensor:
    path = BrownianTree(seed, tuple(z0.shape), 0.0, 1.0, dtype=z0.dtype)
    settings = SolveSettings(SOSRI(), rtol=rtol, atol=rtol)
    return solve(equation(name).along(path), z0, 0.0, 1.0, settings=settings, throw=True).y1


def test_geometric_solution_keeps_its_signs_and_zero_is_absorbing() -> None:
    z0 = torch.randn(400, 3, generator=generator(6), dtype=torch.float64)
    z0[:100] = 0.0
    z1 = solved("geometric", z0, 6)
    assert torch.equal(z1.sign(), z0.sign())
    assert not torch.equal(z1, z0)


def test_linear_noise_vanishes_at_zero_and_langevin_noise_does_not() -> None:
    zero = torch.zeros(2, 3, dtype=torch.float64)
    assert equation("linear_noise").diffusion(T, zero).eq(0).all()
    assert equation("linear_noise").drift(T, zero).ne(0).all()
    assert equation("langevin").diffusion(T, zero).ne(0).all()


@pytest.mark.slow
def test_stable_equations_follow_their_path_closer_than_the_naive_one_at_one_tolerance() -> None:
    z0 = torch.randn(32, 3, generator=generator(5), dtype=torch.float64)
    gaps = {}
    for name in SDES:
        coarse, fine = (solved(name, z0, 7, rtol) for rtol in (0.1, 0.1 / 8))
        gaps[name] = (torch.linalg.vector_norm(coarse - fine) / torch.linalg.vector_norm(fine)).item()
    # Strong order 3/2 on diagonal noise, 1/2 on noise that mixes the states.
    assert all(gaps[name] < 0.3 * gaps["naive"] for name in ("langevin", "linear_noise", "geometric")), gaps


def classifier(name: str = "naive", seed: int = 0) -> NeuralSDEClassifier:
    draw = generator(seed)
    kind = SDES[name]
    sde = kind(DriftMLP(32, 64, draw, sees_time=kind.sees_time), 32, draw)
    return NeuralSDEClassifier(sde, n_inputs=64, n_state=32, n_classes=10, generator=draw)


def predicted(model: nn.Module, inputs: Tensor, seed: int = 0) -> tuple[Tensor, Solves]:
    with observe(settings=SETTINGS, path_seed=seed) as solves:
        return model(inputs), solves


def images() -> Tensor:
    return torch.rand(12, 64, generator=generator(3))


@pytest.mark.parametrize("name", SDES)
def test_classifier_has_the_published_layers_scaled_to_64_pixels(name: str) -> None:
    model = classifier(name)
    assert (model.encoder.weight.shape, model.head.weight.shape) == ((32, 64), (10, 32))
    assert (model.block.drift.net.inner.weight.shape, model.block.drift.net.outer.weight.shape) == ((64, 32), (32, 64))
    output, _ = predicted(model, images())
    assert output.shape == (12, 10)
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_training_follows_one_path_and_prediction_is_the_mean_of_ten() -> None:
    model = classifier()
    training, solves = predicted(model, images(), 4)
    assert len(solves) == 1
    start = model.encoder(images())
    mean, solves = predicted(model.eval(), images(), 4)
    assert len(solves) == 10
    first = BrownianTree(4, tuple(start.shape), 0.0, 1.0)
    terms = [model.block.drift.along(path) for path in (first, *(first.apart(i, 0.0, 1.0) for i in range(1, 10)))]
    each = [model.head(solve(term, start, 0.0, 1.0, settings=SETTINGS).y1) for term in terms]
    torch.testing.assert_close(mean, torch.stack(each).mean(dim=0))
    torch.testing.assert_close(training, each[0])
    assert len({logits.sum().item() for logits in each}) == 10


def test_drift_and_diffusion_of_a_solve_are_counted_apart() -> None:
    _, solves = predicted(classifier(), images())
    attempts = solves.n_steps + solves.n_rejected
    # SOSRI: four each an attempt, the first slopes again in none of them, one of the automatic first step.
    assert 3 * attempts + solves.n_steps < solves.nfe <= 4 * attempts + 2
    assert solves.nfe_diffusion == solves.nfe == solves.n_evaluations


def test_one_seed_is_one_path_and_another_seed_another() -> None:
    model = classifier()
    once, again, other = (predicted(model, images(), seed)[0] for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_solving_moves_no_global_generator() -> None:
    before = torch.get_rng_state()
    predicted(classifier().eval(), images())
    assert torch.equal(torch.get_rng_state(), before)


def test_paths_are_states_at_the_times_of_the_grid_each_of_the_batch_along_its_own() -> None:
    draw = generator()
    sde = SDES["naive"](CubicMLP(2, 50, draw), 2, draw)
    model = PathAtTimes(Block(sde, t=(0.0, 0.25, 0.5, 1.0), return_times=True))
    output, solves = predicted(model, torch.tensor([2.0, 0.0]).expand(7, 2))
    assert output.shape == (7, 3, 2)
    assert torch.equal(output[:, -1], solves[0].solution.y1)
    assert len(output[:, 0, 0].unique()) == 7
