"""A flat config becomes objects, and written out whole it becomes the same ones."""

import pytest

from ndecore.adjoints import ADJOINTS, SDE_ADJOINTS
from ndecore.adjoints.torchdiffeq import Torchdiffeq, TorchdiffeqAdjoint
from ndecore.controllers import CONTROLLERS
from ndecore.controllers.constant import ConstantStep
from ndecore.errors import InputError
from ndecore.integrate import Tape
from ndecore.models import SDES
from ndecore.regularizers import REGULARIZERS, SCHEDULES
from ndecore.regularizers.error import GlobalError
from ndecore.regularizers.schedules import Constant, Linear
from ndecore.regularizers.steer import STEER
from ndecore.regularizers.stiffness import GlobalStiffness
from ndecore.regularizers.weighted import Weighted
from ndecore.solvers import SDE_SOLVERS, SOLVERS
from ndecore.solvers.euler import Euler
from ndecore.tasks import TASKS
from search_spaces.parameters import OWN
from search_spaces.presets import load_presets
from studies.build import build, complete

STOCHASTIC_TASKS = [name for name in TASKS if TASKS.facts(name).calculus is not None]
ITO = [name for name in SDE_SOLVERS if SDE_SOLVERS.facts(name).calculus == "ito"]
SCHEDULED = {"weight": 8.0, "weight_end": 2.0, "warmup": 0.5, "budget": 60.0, "gain": 0.1, "damping": 1.0}
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
    **{f"schedule {name}": SCHEDULED | {"regularizer": "error", "schedule": name} for name in SCHEDULES},
    **{f"regularizer {name}": {"regularizer": name, "weight": 1.0} for name in REGULARIZERS},
    **{f"optimizer {name}": {"optimizer": name} for name in OWN.parameters["optimizer"].names},
    "sum with one weight": {"regularizer": "error+local_error", "weight": 1.0},
    "sum with keys of its own": {
        "regularizer": "stiffness+steer+error",
        "weight": 1.0,
        "agg": "sum",
        "stiffness.agg": "max",
        "steer.spread": 0.25,
        "error.weight": 2.0,
        "error.schedule": "linear",
        "error.weight_end": 0.1,
        "error.pace": "step",
    },
    "summand alone": {"regularizer": "error", "weight": 1.0, "error.weight": 2.0, "stiffness.weight": 3.0},
    "what is open": {"regularizer": None, "schedule": None, "error.weight": None, "epochs": None},
}


STOCHASTIC = {
    "nothing": {},
    **{f"solver {name}": EULER | {"solver": name} for name in ITO},
    **{f"sde {name}": {"sde": name} for name in SDES},
    **{f"adjoint {name}": {"adjoint": name} for name in SDE_ADJOINTS},
    "stiffness": {"regularizer": "stiffness", "solver": "sosri2", "weight": 1.0, "rtol": 0.01},
    "local": {"regularizer": "steer+local_error", "weight": 1.0, "controller": "pi"},
}


def same(left, right):
    """Whether two plans say the same; solvers and tasks are equal if they are of one class."""
    alike = [(type(p.task), type(p.settings.solver)) for p in (left, right)]
    facts = [
        (
            p.settings.controller, p.settings.adjoint, p.settings.rtol, p.settings.atol, p.settings.max_steps,
            p.hyperparameters, p.penalties, p.seed, p.threads, p.device,
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
    assert all(OWN.find(key).check(value) == value for key, value in whole.items())


@pytest.mark.parametrize("task", STOCHASTIC_TASKS)
@pytest.mark.parametrize("case", STOCHASTIC)
def test_a_stochastic_config_written_out_whole_builds_the_same_and_is_whole(case, task):
    config = STOCHASTIC[case]
    whole = complete(task, config)
    assert same(build(task, whole), build(task, config))
    assert build(task, whole).task == build(task, config).task
    assert complete(task, whole) == whole
    assert all(OWN.find(key).check(value) == value for key, value in whole.items())
    assert whole["sde"] == config.get("sde", "naive")


def test_an_equation_is_of_no_effect_where_the_task_has_none():
    assert complete("digits_node", {"sde": "geometric"}) == complete("digits_node", {})


WRONG_KIND = {
    "ordinary solver": (
        "digits_nsde",
        {"solver": "tsit5"},
        "^solver: got tsit5 for digits_nsde.* Ito .*allowed: sosri, sosri2, milstein, euler_maruyama",
    ),
    "other calculus": ("spiral_sde", EULER | {"solver": "euler_heun"}, "^solver: got euler_heun for spiral_sde"),
    "stochastic solver": (
        "digits_node",
        {"solver": "sosri"},
        "^solver: got sosri for digits_node.*ordinary.*: euler, midpoint",
    ),
    "ordinary adjoint": (
        "digits_nsde",
        {"adjoint": "interpolating"},
        "^adjoint: got interpolating.*allowed: tape, checkpointed",
    ),
    "stochastic adjoint": ("digits_node", {"adjoint": "torchsde"}, "^adjoint: got torchsde where task is digits_node"),
    "method of other calculus": (
        "digits_nsde",
        {"adjoint": "torchsde", "method": "heun"},
        "^method: got heun of torchsde for Ito",
    ),
    "integral along the solution": (
        "spiral_sde",
        {"regularizer": "rnode", "weight": 1.0},
        "^regularizer: got rnode where solver is sosri",
    ),
    "no estimate": (
        "spiral_sde",
        {"regularizer": "stiffness", "weight": 1.0},
        "^solver: got sosri where regularizer is stiffness, .* no stiffness estimate, allowed: sosri2",
    ),
    "unknown equation": ("spiral_sde", {"sde": "heston"}, "^sde: got 'heston', allowed: naive, langevin, linear_noise"),
}


@pytest.mark.parametrize("case", WRONG_KIND)
def test_what_is_not_for_the_equations_of_the_task_is_refused_in_one_line(case):
    task, config, message = WRONG_KIND[case]
    with pytest.raises(InputError, match=message) as caught:
        build(task, config)
    assert "\n" not in str(caught.value)


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


def test_a_sum_is_built_in_its_order_each_with_what_is_its_own():
    assert build("digits_node", CONFIGS["sum with keys of its own"]).penalties == (
        Weighted(GlobalStiffness("max"), Constant(1.0)),
        Weighted(STEER(0.25), Constant(0.0)),
        Weighted(GlobalError("sum"), Linear(2.0, 0.1, "step")),
    )


def test_a_sum_is_written_out_with_every_key_named_by_its_summand_and_a_penalty_alone_without():
    whole = complete("digits_node", {"regularizer": "steer+error", "weight": 1.0, "spread": 0.25})
    assert {key: value for key, value in whole.items() if "." in key} == {
        "steer.spread": 0.25, "steer.distribution": "uniform",
        "error.agg": "mean", "error.power": 1, "error.weight_by_dt": True, "error.scaled": True,
        "error.schedule": "constant", "error.weight": 1.0,
    }  # fmt: skip
    assert whole.keys().isdisjoint({"spread", "weight", "schedule"})
    alone = complete("digits_node", CONFIGS["summand alone"])
    assert alone["weight"] == 2.0
    assert not [key for key in alone if "." in key]


def test_steer_has_neither_weight_nor_schedule():
    whole = complete("digits_node", {"regularizer": "steer", "schedule": "dual_ascent"})
    assert whole.keys().isdisjoint({"weight", "schedule", "budget"})


REFUSED = {
    "constant step of no size": (
        {"controller": "constant"},
        r"^step_size: got nothing where controller is constant, allowed: a value; add it to the config$",
    ),
    "penalty of no weight": (
        {"regularizer": "error", "schedule": "exponential"},
        r"^weight: got nothing where regularizer is error and schedule is exponential, allowed: a value;",
    ),
    "sum of which one has no weight": (
        {"regularizer": "steer+error+rnode", "rnode.weight": 1.0},
        r"^error.weight: got nothing where regularizer is steer\+error\+rnode, allowed: a value;",
    ),
    "dual ascent to no budget": (
        {"regularizer": "error", "schedule": "dual_ascent", "weight": 1.0},
        r"^budget: got nothing where regularizer is error and schedule is dual_ascent, allowed: a value;",
    ),
    "unknown summand": ({"regularizer": "error+x"}, r"^regularizer: got 'error\+x', allowed: none, .* joined by \+$"),
    "summand twice": ({"regularizer": "error+error"}, r"^regularizer: got 'error\+error', allowed: none, "),
    "sum with nothing": ({"regularizer": "none+error"}, r"^regularizer: got 'none\+error', allowed: none, "),
    "biased times of a closed box": (
        {"regularizer": "local_error", "weight": 1.0, "sampling": "biased", "adjoint": "torchdiffeq", "method": "rk4"},
        "^sampling: got biased where adjoint is torchdiffeq with rk4.*allowed: another sampling",
    ),
    "gradient through states that are not kept": (
        {"regularizer": "local_error", "weight": 1.0, "sampling": "biased", "full_derivative": True}
        | {"adjoint": "checkpointed"},
        "^adjoint: got checkpointed, which keeps no tape.*full_derivative true, allowed: tape, torchdiffeq ",
    ),
    "unknown task": (None, r"^unknown task: got 'digit_node', allowed: .*digits_node"),
    "unknown optimizer": ({"optimizer": "lbfgs"}, r"^optimizer: got 'lbfgs', allowed: adadelta, adafactor, adagrad"),
    "unknown schedule": ({"schedule": "cosine"}, r"^schedule: got 'cosine', allowed: constant, exponential"),
    "unknown solver": ({"solver": ["tsit5"]}, r'^solver: got \["tsit5"\], allowed: euler, '),
    "unknown controller": ({"controller": "h"}, r"^controller: got 'h', allowed: i, pi"),
    "value of one summand": ({"error.agg": "median"}, r"^error.agg: got 'median', allowed: sum, mean, max$"),
    "no epochs": ({"epochs": 0}, r"^epochs: got 0, allowed: a whole number >= 1$"),
    "no samples": ({"batch_size": 0}, r"^batch_size: got 0, allowed: a whole number >= 1$"),
    "no thread": ({"threads": 0}, r"^threads: got 0, allowed: a whole number >= 1$"),
    "tolerance of a line end": ({"rtol": "a\nb"}, r"^rtol: got 'a\\nb', allowed: a finite number > 0$"),
    "adaptive steps without an error estimate": (
        {"solver": "euler"},
        "^controller: got i where solver is euler, .*error estimate, allowed: constant ",
    ),
    "penalty on the error of a continuous adjoint": (
        {"regularizer": "error", "weight": 1.0, "adjoint": "interpolating"},
        r"^adjoint: got interpolating where regularizer is error, .*allowed: tape, checkpointed ",
    ),
    "penalty on the stiffness of a closed box": (
        {"regularizer": "stiffness", "weight": 1.0, "adjoint": "torchdiffeq"},
        "^adjoint: got torchdiffeq where regularizer is stiffness, ",
    ),
    "penalty on an error that is not estimated": (
        EULER | {"regularizer": "error", "weight": 1.0},
        "^solver: got euler where regularizer is error, and it has no error estimate, allowed: heun, bosh3, tsit5",
    ),
    "penalty on a stiffness that is not estimated": (
        {"regularizer": "stiffness", "weight": 1.0, "solver": "bosh3"},
        "^solver: got bosh3 where regularizer is stiffness, and it has no stiffness estimate, allowed: rk4, heun",
    ),
    "unknown adjoint": ({"adjoint": "backsolve"}, "^adjoint: got 'backsolve', allowed: tape, checkpointed"),
    "unknown method": ({"adjoint": "torchdiffeq", "method": "tsit5"}, "method: got 'tsit5', allowed: dopri5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_work_is_refused_in_one_line(case):
    config, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        build("digits_node" if config is not None else "digit_node", config or {})
    assert "\n" not in str(caught.value)
