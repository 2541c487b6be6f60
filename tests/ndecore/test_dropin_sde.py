"""torchsde's calls on our solvers: its results along one path."""

from collections.abc import Callable

import pytest
import torch
import torchsde
from torch import Tensor, nn

import ndecore
from ndecore import sdeint, sdeint_adjoint
from ndecore.errors import InputError

COLUMNS = {"diagonal": 2, "scalar": 1, "additive": 3, "general": 3}
PAIRS = [
    (noise, kind, method)
    for kind, methods in (("ito", ("euler", "milstein")), ("stratonovich", ("euler_heun", "reversible_heun")))
    for method in methods
    for noise in COLUMNS
    if (noise, method) != ("general", "milstein")
]


class Equation(nn.Module):
    """dy = -a y dt + b (y or 1) dW, as torchsde wants it."""

    def __init__(self, noise: str, kind: str) -> None:
        super().__init__()
        self.noise_type, self.sde_type = noise, kind
        self.a = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
        self.b = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return -self.a * y

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        if self.noise_type == "diagonal":
            return self.b * y
        columns = torch.ones(COLUMNS[self.noise_type], dtype=y.dtype)
        return self.b * (torch.ones_like(y) if self.noise_type == "additive" else y).unsqueeze(-1) * columns


def motion(noise: str, area: str = "space-time") -> torchsde.BrownianInterval:
    return torchsde.BrownianInterval(
        0.0,
        1.0,
        size=(4, COLUMNS[noise]),
        dtype=torch.float64,
        entropy=3,
        levy_area_approximation=area,
        halfway_tree=True,
        tol=1e-6,
    )


Y0 = torch.linspace(0.5, 1.5, 8, dtype=torch.float64).view(4, 2)
TS = torch.linspace(0, 1, 4, dtype=torch.float64)


@pytest.mark.parametrize("area", ["space-time", "none"])
@pytest.mark.parametrize(("noise", "kind", "method"), PAIRS)
def test_paths_and_gradients_are_those_of_torchsde(noise: str, kind: str, method: str, area: str) -> None:
    found = []
    for call in (sdeint, sdeint_adjoint, torchsde.sdeint):
        sde = Equation(noise, kind)
        ys = call(sde, Y0, TS, bm=motion(noise, area), method=method, dt=1 / 16)
        found.append([ys, *torch.autograd.grad(ys.square().sum(), [sde.a, sde.b])])
    for ours, adjoint, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(adjoint, ours, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("noise", ["diagonal", "scalar"])
def test_srk_has_the_path_of_torchsde_to_its_order(noise: str) -> None:
    sde, errors = Equation(noise, "ito"), []
    for dt in (1 / 8, 1 / 32):
        with torch.no_grad():
            ours, theirs = (
                call(sde, Y0, TS, bm=motion(noise), method="srk", dt=dt) for call in (sdeint, torchsde.sdeint)
            )
        errors.append((ours[-1] - theirs[-1]).abs().max().item())
    assert errors[1] < 5e-4
    assert errors[1] < 0.3 * errors[0]


def test_default_methods_and_random_paths() -> None:
    for noise, columns in COLUMNS.items():
        for kind in ("ito", "stratonovich"):
            sde = Equation(noise, kind)
            torch.manual_seed(1)
            with ndecore.observe() as solves:
                first = sdeint(sde, Y0, TS, dt=0.25)
            torch.manual_seed(1)
            torch.testing.assert_close(sdeint(sde, Y0, TS, dt=0.25), first, rtol=0, atol=0)
            assert not torch.equal(sdeint(sde, Y0, TS, dt=0.25), first)
            path = solves[0].term.path
            assert path.shape == (4, columns)
            assert path.cells == 4
            assert first.shape == (4, 4, 2)


def test_adaptive_steps_and_paths_of_ours() -> None:
    sde = Equation("diagonal", "ito")
    path = ndecore.BrownianTree(5, (4, 2), 0.0, 1.0, dtype=torch.float64)
    exact = Y0 * torch.exp(-(0.5 + 0.5 * 0.3**2) + 0.3 * path.increment(0.0, 1.0).W)
    with torch.no_grad():
        found = sdeint(sde, Y0, [0.0, 1.0], bm=path, adaptive=True, rtol=1e-2, atol=1e-2)
    assert (found[-1] - exact).abs().max() < 5e-2


def test_other_names_of_drift_and_diffusion() -> None:
    class Renamed(Equation):
        def slope(self, t: Tensor, y: Tensor) -> Tensor:
            return Equation.f(self, t, y)

        f = None

    found = sdeint(Renamed("diagonal", "ito"), Y0, TS, bm=motion("diagonal"), dt=0.25, names={"drift": "slope"})
    torch.testing.assert_close(found, sdeint(Equation("diagonal", "ito"), Y0, TS, bm=motion("diagonal"), dt=0.25))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"method": "midpoint"}, "method: got 'midpoint'"),
        ({"method": "srk", "bm": motion("diagonal", "none")}, "without Levy area"),
        ({"logqp": True}, "logqp: got True"),
        ({"extra": True}, "extra: got True"),
        ({"options": {"x": 1}}, "options: got"),
        ({"dt_min": 0.1}, "dt_min: got 0.1"),
        ({"ts": [0.0, 0.0]}, "strictly increasing"),
        ({"y0": torch.ones(2)}, "y0: got"),
        ({"sde": nn.Linear(1, 1)}, "without noise_type"),
        ({"names": {"drift": "h"}}, "without h"),
        ({"method": "milstein", "sde": Equation("general", "ito"), "bm": motion("general")}, "general noise"),
    ],
)
def test_what_is_not_offered_is_refused_in_a_line(call: dict, message: str) -> None:
    sde, y0, ts = call.pop("sde", Equation("diagonal", "ito")), call.pop("y0", Y0), call.pop("ts", TS)
    with pytest.raises(InputError, match=message) as refusal:
        sdeint(sde, y0, ts, **call)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("call", [sdeint, sdeint_adjoint])
def test_nobody_has_to_say_that_noise_is_mixed(call: Callable[..., Tensor]) -> None:
    class Mixed(Equation):
        def g(self, t: Tensor, y: Tensor) -> Tensor:
            return self.b * y.flip(-1)

    assert call(Mixed("diagonal", "ito"), Y0, TS, bm=motion("diagonal"), dt=0.25).shape == (4, 4, 2)
