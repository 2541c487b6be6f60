"""What cannot go together, and what is missing, told by name."""

import subprocess
import sys
import time
from dataclasses import MISSING, fields
from itertools import product

import pytest
import torch

from ndecore.adjoints import ADJOINTS, SDE_ADJOINTS, TORCHSDE_ITO_METHODS, TORCHSDE_METHODS
from ndecore.controllers import CONTROLLERS
from ndecore.declarations import attribute_in_source
from ndecore.errors import InputError, NDEError
from ndecore.integrate import SolveSettings
from ndecore.models import SDES
from ndecore.regularizers import REGULARIZERS, SCHEDULES
from ndecore.solvers import SDE_SOLVERS, SOLVERS
from ndecore.solvers.sosri import SOSRI
from ndecore.solving import solve_sde
from search_spaces.consistency import clashes, missing_parameters, solver_problems, space_problems
from search_spaces.document import parse_document
from search_spaces.parameters import FAMILIES, OWN
from search_spaces.parse import read_space
from search_spaces.shipped import load_space, shipped_spaces
from studies.build import build

SUMS = ("error+stiffness", "steer+predicted_steps", "local_error+error", "local_stiffness+local_error+rnode")
SAMPLING = {
    "sampling": (None, "unbiased", "biased"),
    "full_derivative": (None, False, True),
    "adjoint": (None, *ADJOINTS),
    "method": (None, "dopri5", "rk4", "scipy_solver"),  # adaptive, of constant steps, foreign
}
GIVEN = {"weight": 1.0, "step_size": 0.1}
ITO = [name for name in SDE_SOLVERS if SDE_SOLVERS.facts(name).calculus == "ito"]
STOCHASTIC = {"solver": ITO, "controller": [None, *CONTROLLERS], "adjoint": [None, *SDE_ADJOINTS, "interpolating"]}


def needed_by(cls):
    return {f.name for f in fields(cls) if f.default is MISSING}


def missing(config, present=()):
    return [key for key, _ in missing_parameters(config, present)]


def is_built(config, task="digits_node"):
    try:
        build(task, config)
    except InputError:
        return False
    return True


FACTS = [(registry, name) for registry in (*FAMILIES.values(), SDES) for name in registry.own]


@pytest.mark.parametrize(("registry", "name"), FACTS, ids=[f"{registry.family} {name}" for registry, name in FACTS])
def test_facts_read_off_the_source_are_those_of_the_class(registry, name):
    module, _, attribute = registry.own[name].partition(":")
    for fact in fields(registry.facts(name)):
        assert attribute_in_source(module, attribute, fact.name) == getattr(registry[name], fact.name)


def test_facts_and_keys_load_without_torch():
    program = (
        "import sys\nfrom search_spaces.parameters import FAMILIES\n"
        "for registry in FAMILIES.values():\n    [(registry.facts(n), registry.keys_of(n)) for n in registry.own]\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("solver", [None, *SOLVERS])
@pytest.mark.parametrize("regularizer", [None, *REGULARIZERS, *SUMS])
def test_a_config_is_refused_by_name_exactly_where_building_it_is(regularizer, solver):
    for controller, adjoint in product([None, *CONTROLLERS], [None, *ADJOINTS]):
        named = {"regularizer": regularizer, "solver": solver, "controller": controller, "adjoint": adjoint}
        config = {key: value for key, value in named.items() if value is not None} | GIVEN
        assert not missing(config, config)
        assert is_built(config) != bool(list(clashes(config, "digits_node"))), config


@pytest.mark.parametrize("regularizer", [None, *REGULARIZERS, "error+stiffness"])
def test_a_stochastic_config_is_refused_by_name_exactly_where_building_it_is(regularizer):
    for solver, controller, adjoint in product(*STOCHASTIC.values()):
        named = {"regularizer": regularizer, "solver": solver, "controller": controller, "adjoint": adjoint}
        config = {key: value for key, value in named.items() if value is not None} | GIVEN
        assert is_built(config, "digits_nsde") != bool(list(clashes(config, "digits_nsde"))), config


@pytest.mark.parametrize("method", [None, *TORCHSDE_METHODS])
@pytest.mark.parametrize("adjoint", SDE_ADJOINTS)
def test_a_method_of_torchsde_is_refused_by_name_exactly_where_building_it_is(adjoint, method):
    for sampling, regularizer in product(("unbiased", "biased"), ("none", "local_error")):
        named = {"regularizer": regularizer, "adjoint": adjoint, "method": method, "sampling": sampling}
        config = {key: value for key, value in named.items() if value is not None} | GIVEN | {"solver": "sosri"}
        assert is_built(config, "digits_nsde") != bool(list(clashes(config, "digits_nsde"))), config


def test_methods_of_torchsde_for_ito_equations_are_those_that_solve_one():
    solved = []
    for method in TORCHSDE_METHODS:
        settings = SolveSettings(SOSRI(), adjoint=SDE_ADJOINTS["torchsde"](method, 0.5), rtol=0.1, atol=0.1)
        try:
            solve_sde(lambda t, y: -y, lambda t, y: 0.1 * y, torch.ones(2, 3), 0.0, 1.0, path=0, settings=settings)
        except (NDEError, ValueError):
            continue
        solved.append(method)
    assert tuple(solved) == TORCHSDE_ITO_METHODS


@pytest.mark.parametrize(
    ("task", "solvers", "wrong"),
    [
        ("digits_nsde", "[sosri, tsit5, euler_heun]", "tsit5, euler_heun"),
        ("digits_node", "[tsit5, sosri2]", "sosri2"),
        ("spiral_sde", "[sosri, sosri2, milstein, euler_maruyama]", None),
    ],
)
def test_solvers_of_the_wrong_kind_are_told_in_one_line(task, solvers, wrong):
    space = read_space(parse_document(f"solver: {{choice: {solvers}}}", "s.yaml").root, [])
    told = solver_problems(space, task, parse_document("{}", "s.yaml").root)
    assert [problem.got for problem in told] == ([f"solver {wrong} for {task}"] if wrong else [])
    assert all("\n" not in str(problem) for problem in told)


@pytest.mark.parametrize("qualified", [False, True], ids=["of all", "of one summand"])
@pytest.mark.parametrize("regularizer", [*REGULARIZERS, *SUMS])
def test_a_sampling_is_refused_by_name_exactly_where_building_it_is(regularizer, qualified):
    prefix = "local_error." if qualified else ""
    for sampling, full_derivative, adjoint, method in product(*SAMPLING.values()):
        own = {f"{prefix}sampling": sampling, f"{prefix}full_derivative": full_derivative}
        named = {"regularizer": regularizer, "adjoint": adjoint, "method": method} | own
        config = {key: value for key, value in named.items() if value is not None} | GIVEN
        assert is_built(config) != bool(list(clashes(config, "digits_node"))), config


def test_a_constant_step_wants_its_size_and_no_other_controller_does():
    needs = {name: missing({"controller": name}) for name in CONTROLLERS}
    assert {name for name, keys in needs.items() if keys == ["step_size"]} == {"constant"}
    assert all(not keys for name, keys in needs.items() if name != "constant")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_a_penalty_wants_what_its_schedule_has_no_default_for(regularizer, schedule):
    needed = set() if regularizer in ("none", "steer") else needed_by(SCHEDULES[schedule])
    config = {"regularizer": regularizer, "schedule": schedule}
    assert set(missing(config)) == needed
    assert not missing(config, needed)
    assert not missing(config, {f"{regularizer}.{key}" for key in needed})
    assert is_built(config) == (not needed)


@pytest.mark.parametrize(
    ("config", "present", "keys"),
    [
        ({}, (), ["error.weight", "stiffness.weight"]),
        ({}, ("weight",), []),
        ({}, ("error.weight",), ["stiffness.weight"]),
        ({}, ("error.weight", "stiffness.weight"), []),
        ({}, ("steer.weight",), ["error.weight", "stiffness.weight"]),
        ({"schedule": "linear"}, ("weight", "error.weight_end"), ["stiffness.weight_end"]),
        ({"stiffness.schedule": "dual_ascent"}, ("weight",), ["stiffness.budget"]),
        ({"schedule": "dual_ascent", "error.schedule": "constant"}, ("weight", "budget"), []),
        ({"steer.schedule": "exponential"}, ("weight",), []),
    ],
)
def test_a_sum_wants_a_weight_of_each_summand_but_steer(config, present, keys):
    summed = {"regularizer": "steer+error+stiffness"} | config
    assert missing(summed, present) == keys
    assert is_built(summed | dict.fromkeys(present, 1.0)) == (not keys)


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_shipped_space_has_nothing_missing_and_nothing_that_clashes(name):
    assert space_problems(load_space(name), parse_document("{}", name).root) == []


def test_a_space_is_told_all_that_clashes_in_any_of_its_configs():
    choices = {
        "regularizer": ("none", "error", "stiffness", "local_error+steer"),
        "adjoint": ("tape", "interpolating", "torchdiffeq"),
        "method": ("dopri5", "rk4"),
        "solver": ("tsit5", "bosh3", "euler"),
        "controller": ("pi", "constant"),
        "local_error.sampling": ("unbiased", "biased"),
        "full_derivative": (True, False),
    }
    text = "".join(f"{key}: {{choice: [{', '.join(map(str, choices[key]))}]}}\n" for key in choices)
    problems = []
    space = read_space(parse_document(text + "weight: 1\nstep_size: 0.1", "s.yaml").root, problems)
    assert not problems
    configs = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
    told = space_problems(space, parse_document("{}", "s.yaml").root)
    assert {problem.got for problem in told} == {f"{c.key} {c.got}" for config in configs for c in clashes(config)}


def test_a_space_of_every_choice_is_checked_in_a_moment():
    keys = ("regularizer", "adjoint", "method", "solver", "controller", "schedule", "sampling")
    # 375 thousand combinations, which are not tried one by one.
    text = "".join(f"{key}: {{choice: [{', '.join(OWN.parameters[key].names)}]}}\n" for key in keys)
    space = read_space(parse_document(text + "full_derivative: {choice: [true, false]}", "s.yaml").root, [])
    start = time.process_time()
    assert space_problems(space, parse_document("{}", "s.yaml").root)
    assert time.process_time() - start < 3.0  # a third of a second where no shapes are checked
