"""Settings as people give them: by name, as numbers of any kind, or as single keywords of a solve."""

import numpy as np
import pytest
import torch

from ndecore.adjoints.checkpointed import Checkpointed
from ndecore.controllers.proportional_integral import PIController
from ndecore.errors import InputError, SolveFailed
from ndecore.integrate import SolveSettings
from ndecore.solvers import SDE_SOLVERS, SOLVERS
from ndecore.solvers.dopri5 import Dopri5
from ndecore.solvers.milstein import Milstein
from ndecore.solvers.sosri2 import SOSRI2
from ndecore.solving import solve, solve_sde
from ndecore.status import Status

ONE = torch.ones(1, dtype=torch.float64)


def test_equal_settings_are_equal() -> None:
    assert SolveSettings() == SolveSettings()
    assert hash(SolveSettings()) == hash(SolveSettings())
    assert SolveSettings(Dopri5()) != SolveSettings()
    assert SolveSettings(rtol=1e-3) != SolveSettings()
    assert Milstein() == Milstein() != Milstein(gradient_free=True)


def test_methods_are_taken_by_name() -> None:
    named = SolveSettings("dopri5", "pi", Checkpointed())
    assert named == SolveSettings(Dopri5(), PIController(), Checkpointed())
    assert SolveSettings("sosri2").solver == SOSRI2()
    for family in (SOLVERS, SDE_SOLVERS):
        for name, kind in family.items():
            if kind.error_order is not None:
                assert SolveSettings(name).solver == kind()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"solver": "tsit6"}, "unknown solver: got 'tsit6', allowed: .*tsit5"),
        ({"controller": "constant"}, r"controller: got 'constant', which takes arguments, allowed: a ConstantStep"),
        ({"rtol": torch.tensor(-1.0)}, "rtol: got .* allowed: a finite number >= 0"),
        ({"max_steps": 0}, "max_steps: got 0"),
    ],
)
def test_wrong_setting_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SolveSettings(**given)


def test_numbers_may_be_of_any_type() -> None:
    given = SolveSettings(rtol=torch.tensor(0.5), atol=np.float32(0.25), max_steps=np.int64(100))
    assert given == SolveSettings(rtol=0.5, atol=0.25, max_steps=100)
    assert type(given.rtol) is type(given.atol) is float
    assert type(given.max_steps) is int


def test_fields_of_the_settings_are_keywords_of_a_solve() -> None:
    settings = SolveSettings(rtol=1e-3, max_steps=77)
    own = solve(lambda t, y: -y, ONE, 0.0, 1.0, settings=settings, rtol=1e-9, atol=1e-9, solver="dopri5")
    same = SolveSettings(Dopri5(), rtol=1e-9, atol=1e-9)
    assert torch.equal(own.y1, solve(lambda t, y: -y, ONE, 0.0, 1.0, settings=same).y1)
    checkpointed = solve(lambda t, y: -y, ONE, 0.0, 1.0, adjoint="checkpointed", parameters=[])
    assert torch.equal(checkpointed.y1, solve(lambda t, y: -y, ONE, 0.0, 1.0).y1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'rtoll'"):
        solve(lambda t, y: -y, ONE, 0.0, 1.0, rtoll=1e-3)


def test_stochastic_solve_takes_a_seed_of_any_integer_type_and_the_same_keywords() -> None:
    def solved(path: object, **more: object) -> torch.Tensor:
        return solve_sde(lambda t, y: -y, lambda t, y: 0.1 * y, ONE, 0.0, 1.0, path=path, **more).y1

    assert torch.equal(solved(3), solved(np.int64(3)))
    assert torch.equal(solved(2**63 - 1), solved(np.int64(2**63 - 1)))
    assert torch.equal(solved(3), solved(torch.tensor(3)))
    settings = SolveSettings(SOSRI2(), rtol=0.1, atol=0.1)
    assert torch.equal(solved(3, settings=settings), solved(3, solver="sosri2", rtol=0.1, atol=0.1))


def test_failed_solve_raises_unless_told_otherwise() -> None:
    with pytest.raises(SolveFailed, match="MAX_STEPS"):
        solve(lambda t, y: -y, ONE, 0.0, 1.0, max_steps=1)
    assert solve(lambda t, y: -y, ONE, 0.0, 1.0, max_steps=1, throw=False).status is Status.MAX_STEPS
    with pytest.raises(SolveFailed, match="MAX_STEPS"):
        solve_sde(lambda t, y: -y, lambda t, y: 0.1 * y, ONE, 0.0, 1.0, path=1, max_steps=1)
