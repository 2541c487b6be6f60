import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.member_names import summands
from search_spaces.parameters import OWN, own_parameters

PARAMETERS = OWN.parameters

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
    "power": (2, 3),
    "weight_by_dt": (False, 0),
    "scaled": (True, "true"),
    "sampling": ("biased", "uniform"),
    "n_times": (4, 0),
    "full_derivative": (True, 1),
    "in_float64": (False, 0),
    "spread": (0.5, 1),
    "distribution": ("gaussian", "normal"),
    "taylor_order": (3, 4),
    "kinetic": (0, -1),
    "jacobian": (0.1, -0.1),
    "degree": (2, -1),
    "n_points": (5, 1),
    "schedule": ("dual_ascent", "cosine"),
    "pace": ("step", "batch"),
    "weight": (0, -0.1),
    "weight_end": (0.1, 0),
    "warmup": (1, 0),
    "budget": (100, 0),
    "budget_of": ("penalty", "accuracy"),
    "gain": (0.05, 0),
    "damping": (0, -1),
    "optimizer": ("adamax", "lbfgs"),
    "learning_rate": (0.1, 0.0),
    "momentum": (0, 1),
    "batch_size": (128, 128.0),
    "epochs": (1, True),
    "seed": (0, -1),
    "threads": (2, 0),
    "eval_batch_size": (512, "512"),
    "sde": ("geometric", "heston"),
    "n_seeds": (3, 0),
    "n_hidden": (16, 0),
    "weight_decay": (0, -1),
    "lr_schedule": ("cosine", "cyclic"),
    "lr_warmup": (0.1, 1),
    "lr_end": (0, -1),
    "lr_step": (5, 0),
    "lr_factor": (0.5, 0),
    "clip_norm": (1, 0),
    "stop_after": (5, 0),
    "independent_samples": (True, 1),
}


def test_the_vocabulary_is_what_this_table_has():
    assert PARAMETERS.keys() == PASS_AND_FAIL.keys()


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


@pytest.mark.parametrize("several", ["error+stiffness", "stiffness+error", "steer+taynode+rnode"])
def test_a_sum_keeps_the_order_in_which_it_is_written(several):
    assert PARAMETERS["regularizer"].check(several) == several
    assert summands(several) == several.split("+")


@pytest.mark.parametrize(
    "several",
    [
        "error+error",
        "error+stiffness+error",
        "error+none",
        "none+error",
        "error+",
        "+error",
        "error + stiffness",
        "error+x",
    ],
)
def test_a_sum_is_of_different_penalties_that_there_are(several):
    assert PARAMETERS["regularizer"].check(several) is None


@pytest.mark.parametrize("key", ["error.weight", "local_error.sampling", "steer.spread", "stiffness.schedule"])
def test_a_key_of_one_summand_is_that_of_every_penalty(key):
    assert OWN.find(key) is PARAMETERS[key.rpartition(".")[2]]


@pytest.mark.parametrize(
    "key",
    [
        "eror.weight",
        "none.weight",
        "error.wieght",
        "error.rtol",
        "error.regularizer",
        "error.",
        ".weight",
        "a.error.agg",
    ],
)
def test_a_key_of_no_penalty_or_that_is_no_penaltys_means_nothing(key):
    assert OWN.find(key) is None


def test_what_a_summand_has_for_itself_goes_over_what_all_have():
    config = {"weight": 1.0, "error.weight": 2.0, "local_error.agg": "sum", "error.schedule": "linear", "rtol": 0.1}
    assert own_parameters("error", config) == {"weight": 2.0, "schedule": "linear", "rtol": 0.1}
    assert own_parameters("stiffness", config) == {"weight": 1.0, "rtol": 0.1}
