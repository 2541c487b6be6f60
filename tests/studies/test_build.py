"""A flat config becomes objects, and written out whole it becomes the same ones."""

import pytest

from ndecore.adjoints import ADJOINTS
from ndecore.adjoints.torchdiffeq import Torchdiffeq, TorchdiffeqAdjoint
from ndecore.controllers import CONTROLLERS
from ndecore.controllers.constant import ConstantStep
from ndecore.errors import InputError
from ndecore.integrate import Tape
from ndecore.solvers import SOLVERS
from ndecore.solvers.euler import Euler
from search_spaces.parameters import PARAMETERS
from search_spaces.presets import load_presets
from studies.build import build, complete

EULER = {"solver": "euler", "controller": "constant", "step_size": 0.1}
CONFIGS = {
    "nothing": {},
    **{f"preset {name}": load_presets()[name] for name in load_presets()},
    **{f"adjoint {name}": {"adjoint": name} for name in ADJOINTS},
    **{f"controller {name}": {"controller": name, "step_size": 0.05} for name in CONTROLLERS},
    **{f"solver {name}": EULER | {"solver": name} for name in SOLVERS},
    "method": {"adjoint": "torchdiffeq", "method": "dopri8"},
    "method of fixed steps": {"adjoint": "torchdiffeq_adjoint", "method": "rk4", "step_size": 0.1},
    "step of both": EULER | {"adjoint": "torchdiffeq", "method": "midpoint"},
    "method that nobody takes": {"adjoint": "tape", "method": "rk4", "step_size": 0.1},
}


def same(left, right):
    """Whether two plans say the same; solvers and tasks are equal if they are of one class."""
    alike = [(type(p.task), type(p.settings.solver)) for p in (left, right)]
    facts = [
        (
            p.settings.controller, p.settings.adjoint, p.settings.rtol, p.settings.atol, p.settings.max_steps,
            p.hyperparameters, p.regularizer, p.schedule, p.seed, p.threads, p.device,
        )
        for p in (left, right)
    ]  # fmt: skip
    return alike[0] == alike[1] and facts[0] == facts[1]


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_written_out_whole_builds_the_same_and_is_whole(case):
    config = CONFIGS[case]
    whole = complete("digits_node", config)
    assert same(build("digits_node", whole), build("digits_node", config))
    assert complete("digits_node", whole) == whole
    assert all(PARAMETERS[key].check(value) == value for key, value in whole.items())


def test_the_adjoint_is_the_tape_if_nothing_is_said():
    assert build("digits_node", {}).settings.adjoint == Tape()
    whole = complete("digits_node", {})
    assert whole["adjoint"] == "tape"
    assert whole.keys().isdisjoint({"method", "step_size"})


def test_method_and_step_size_reach_what_takes_them():
    fixed = {"method": "rk4", "step_size": 0.1}
    assert build("digits_node", {"adjoint": "torchdiffeq"} | fixed).settings.adjoint == Torchdiffeq("rk4", 0.1)
    adjoint = build("digits_node", {"adjoint": "torchdiffeq_adjoint", "method": "dopri8"}).settings.adjoint
    assert adjoint == TorchdiffeqAdjoint("dopri8", None)
    settings = build("digits_node", EULER).settings
    assert settings.controller == ConstantStep(0.1)
    assert isinstance(settings.solver, Euler)


def test_what_nobody_takes_is_not_written_out():
    assert complete("digits_node", CONFIGS["method that nobody takes"]) == complete("digits_node", {})
    assert "method" not in complete("digits_node", EULER | {"method": "rk4"})


REFUSED = {
    "constant step of no size": (
        {"controller": "constant"},
        r"^controller 'constant': got no step_size, allowed: a number; add it to the config$",
    ),
    "penalty of no weight": (
        {"regularizer": "error", "schedule": "exponential"},
        r"^regularizer 'error' with a exponential schedule: got no weight and no weight_end, allowed: a number;",
    ),
    "adaptive steps without an error estimate": ({"solver": "euler"}, "controller: got IController for Euler, .*error"),
    "penalty on the error of a continuous adjoint": (
        {"regularizer": "error", "weight": 1.0, "adjoint": "interpolating"},
        r"regularizer: got GlobalError with Interpolating, .*allowed: a discrete adjoint \(tape, checkpointed\), ",
    ),
    "penalty on the stiffness of a closed box": (
        {"regularizer": "stiffness", "weight": 1.0, "adjoint": "torchdiffeq"},
        "regularizer: got GlobalStiffness with Torchdiffeq, ",
    ),
    "penalty on an error that is not estimated": (
        EULER | {"regularizer": "error", "weight": 1.0},
        "regularizer: got GlobalError with Euler, which has no error estimate, allowed: a solver that has one",
    ),
    "penalty on a stiffness that is not estimated": (
        {"regularizer": "stiffness", "weight": 1.0, "solver": "bosh3"},
        "regularizer: got GlobalStiffness with Bosh3, which has no stiffness estimate, allowed: a solver that has one",
    ),
    "unknown adjoint": ({"adjoint": "backsolve"}, "unknown adjoint: got 'backsolve', allowed: tape, checkpointed"),
    "unknown method": ({"adjoint": "torchdiffeq", "method": "tsit5"}, "method: got 'tsit5', allowed: dopri5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_work_is_refused_in_one_line(case):
    config, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        build("digits_node", config)
    assert "\n" not in str(caught.value)
