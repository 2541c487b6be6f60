import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.parameters import PARAMETERS

PASS_AND_FAIL = {
    "solver": ("tsit5", "rk45"),
    "controller": ("pi", "pid9"),
    "adjoint": ("checkpointed", "backsolve"),
    "method": ("dopri8", "tsit5"),
    "step_size": (0.1, 0),
    "rtol": (1e-6, 0),
    "atol": (1, -1e-9),
    "max_steps": (1, 0),
    "regularizer": ("none", None),
    "agg": ("mean", "median"),
    "weight_by_dt": (False, 0),
    "scaled": (True, "true"),
    "schedule": ("exponential", "linear"),
    "weight": (0, -0.1),
    "weight_end": (0.1, 0),
    "learning_rate": (0.1, 0.0),
    "momentum": (0, 1),
    "batch_size": (128, 128.0),
    "epochs": (1, True),
    "seed": (0, -1),
    "threads": (2, 0),
    "eval_batch_size": (512, "512"),
}


def test_the_vocabulary_is_what_this_table_has():
    assert list(PARAMETERS) == list(PASS_AND_FAIL)


@pytest.mark.parametrize("name", PASS_AND_FAIL)
def test_a_parameter_passes_what_it_allows_and_refuses_the_rest(name):
    passes, fails = PASS_AND_FAIL[name]
    assert PARAMETERS[name].check(passes) == passes
    assert type(PARAMETERS[name].check(passes)) is PARAMETERS[name].type
    assert PARAMETERS[name].check(fails) is None


@pytest.mark.parametrize("name", PASS_AND_FAIL)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, None, [], {}, "", [1], b"x"])
def test_no_parameter_is_nan_infinite_empty_or_a_container(name, value):
    if not (PARAMETERS[name].type is int and value == 10**400):
        assert PARAMETERS[name].check(value) is None


@pytest.mark.parametrize("name", PASS_AND_FAIL)
def test_a_parameter_says_what_it_allows_and_what_it_means(name):
    assert PARAMETERS[name].allowed
    assert PARAMETERS[name].doc.endswith(".")


@given(st.sampled_from(list(PARAMETERS)), st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_what_passes_has_the_parameters_type_and_passes_again(name, value):
    checked = PARAMETERS[name].check(value)
    if checked is not None:
        assert checked == value
        assert type(checked) is PARAMETERS[name].type
        assert PARAMETERS[name].check(checked) == checked
