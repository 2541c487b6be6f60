"""What cannot go together, told by name: the same as the classes say of themselves."""

from itertools import product

import pytest

from ndecore.adjoints import ADJOINTS
from ndecore.controllers import CONTROLLERS
from ndecore.errors import InputError
from ndecore.regularizers import REGULARIZERS
from ndecore.solvers import SOLVERS
from search_spaces.penalty import BLIND, DISCRETE, RECORDING, UNCONTROLLED, UNESTIMATED, clashes, missing_parameters
from studies.build import build


def test_the_names_are_those_of_the_classes_that_have_the_property():
    assert [name for name in REGULARIZERS if REGULARIZERS[name].needs_differentiable_records] == list(RECORDING)
    assert [name for name in ADJOINTS if ADJOINTS[name].differentiates_records] == list(DISCRETE)
    assert {name for name in SOLVERS if SOLVERS[name].error_order is None} == set(UNESTIMATED)
    assert {name for name in CONTROLLERS if not CONTROLLERS[name].needs_error} == set(UNCONTROLLED)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_a_regularizer_is_blind_with_the_solvers_that_its_class_refuses(name):
    refused = set()
    for solver in SOLVERS:
        try:
            REGULARIZERS[name]().check_solver(SOLVERS[solver]())
        except InputError:
            refused.add(solver)
    assert refused == set(BLIND.get(name, ()))


@pytest.mark.parametrize("solver", [None, *SOLVERS])
@pytest.mark.parametrize("regularizer", [None, *REGULARIZERS])
def test_a_config_is_refused_by_name_exactly_where_building_it_is(regularizer, solver):
    for controller, adjoint in product([None, *CONTROLLERS], [None, *ADJOINTS]):
        named = {"regularizer": regularizer, "solver": solver, "controller": controller, "adjoint": adjoint}
        config = {key: value for key, value in named.items() if value is not None} | {"weight": 1.0, "step_size": 0.1}
        assert not list(missing_parameters(config, config))
        if list(clashes(config)):
            with pytest.raises(InputError):
                build("digits_node", config)
        else:
            build("digits_node", config)


def test_a_constant_step_wants_its_size_and_no_other_controller_does():
    needs = {name: [key for key, _ in missing_parameters({"controller": name}, ())] for name in CONTROLLERS}
    assert {name for name, keys in needs.items() if keys == ["step_size"]} == {"constant"}
    assert all(not keys for name, keys in needs.items() if name != "constant")
