"""Times in any type: a float32 tensor does not hold 0.3, and no output is lost for it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ndecore.adjoints import ADJOINTS
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.solving import solve, solve_sde
from ndecore.status import Status


class Decay(nn.Module):
    """dy/dt = -y."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return -y


@pytest.mark.parametrize("adjoint", list(ADJOINTS))
def test_no_output_of_a_float32_tensor_is_lost(adjoint: str) -> None:
    settings = SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=1e-3, atol=1e-3)
    for hundredths in range(1, 100, 7):
        t1 = hundredths / 100
        ts = torch.tensor([0.0, t1 / 3, t1])
        solution = solve(Decay(), torch.ones(1), 0.0, t1, ts=ts, settings=settings, throw=True)
        assert torch.allclose(solution.ys[:, 0], torch.exp(-ts), atol=3e-3)
        assert torch.equal(solution.ys[-1], solution.y1)
        assert torch.equal(solution.at(ts[-1]), solution.y1)


def test_no_output_of_a_stochastic_solve_is_lost() -> None:
    for hundredths in range(1, 100, 7):
        t1, ts = hundredths / 100, torch.tensor([hundredths / 300, hundredths / 100])
        solution = solve_sde(lambda t, y: -y, lambda t, y: 0.1 * y, torch.ones(1), 0.0, t1, path=3, ts=ts, throw=True)
        assert len(solution.ys) == 2


@pytest.mark.parametrize("number", [float, np.float32, np.float64, torch.tensor, lambda t: torch.tensor([t])])
def test_ends_are_numbers_of_any_type(number: Callable[[float], object]) -> None:
    solution = solve(Decay(), torch.ones(1), number(0.25), number(0.5), ts=[number(0.25), number(0.5)], throw=True)
    assert (solution.t0, solution.t1, solution.ts) == (0.25, 0.5, (0.25, 0.5))


def test_outputs_may_be_an_array_and_go_backwards() -> None:
    ts = np.linspace(0.7, 0.1, 4, dtype=np.float32)
    solution = solve(Decay(), torch.ones(1), 0.7, 0.1, ts=ts, throw=True)
    assert len(solution.ys) == 4
    assert solution.ts[0] == 0.7
    assert solution.ts[-1] == 0.1


def test_time_outside_the_span_by_more_than_its_rounding_is_refused() -> None:
    with pytest.raises(InputError, match=r"ts: got .* allowed: times sorted"):
        solve(Decay(), torch.ones(1), 0.0, 0.3, ts=torch.tensor([0.1, 0.3001]))
    with pytest.raises(InputError, match="sorted"):  # float64 is as fine as it is
        solve(Decay(), torch.ones(1), 0.0, 0.3, ts=[0.1, 0.30000001])


@pytest.mark.parametrize("wrong", [torch.zeros(2), float("nan")])
def test_what_is_no_time_is_refused(wrong: object) -> None:
    with pytest.raises(InputError, match="t1"):
        solve(Decay(), torch.ones(1), 0.0, wrong)


def test_other_time_than_the_outputs_is_refused() -> None:
    solution = solve(Decay(), torch.ones(1), 0.0, 0.3, ts=[0.1])
    assert solution.status is Status.SUCCESS
    for t in (0.2, 0.1000001, torch.tensor(0.11)):
        with pytest.raises(InputError, match="no output at"):
            solution.at(t)
