"""Every YAML file that comes with the package is right: spaces, studies and presets."""

import pytest

from search_spaces.consistency import clashes, missing_parameters
from search_spaces.document import parse_document
from search_spaces.parameters import OWN
from search_spaces.presets import load_presets
from search_spaces.problems import SpecError
from search_spaces.shipped import load_space, shipped_spaces
from studies.spec import load_spec, read_spec, shipped_studies

ELSE = "learning_rate: 0.1, rtol: 1.0e-6, solver: tsit5, controller: i, adjoint: tape"
# Sections A.2 to A.7 of the methods reference: what P1 and P2 print, and what their code does; all that each one says.
ER = {"agg": "mean", "weight_by_dt": True, "scaled": True, "schedule": "exponential", "weight": 100, "weight_end": 10}
SR = {"agg": "max", "weight_by_dt": False, "scaled": True, "schedule": "constant", "weight": 0.1}
LOCAL = {"n_times": 1, "schedule": "exponential", "pace": "step", "weight": 2.5, "weight_end": 1.0}
MEAN = {"agg": "mean", "weight_by_dt": True, "scaled": True, "schedule": "constant"}
LOCAL_SDE = {"n_times": 1, "schedule": "constant", "weight": 1000}
HALF = {"spread": 0.5, "distribution": "uniform"}
PUBLISHED = {
    "vanilla": {"regularizer": "none"},
    "er-code": {"regularizer": "error"} | ER,
    "er-paper": {"regularizer": "error"} | ER | {"agg": "sum", "scaled": False},
    "er-squared": {"regularizer": "error", "agg": "sum", "power": 2, "weight_by_dt": False, "scaled": True}
    | {"schedule": "constant", "weight": 100},
    "sr-code": {"regularizer": "stiffness"} | SR,
    "sr-paper": {"regularizer": "stiffness", "agg": "sum", "weight_by_dt": True, "scaled": False}
    | {"schedule": "constant", "weight": 0.0285},
    # 10 (EEst dt + 0.1 S / 3.5068)
    "er-sr-code": {"regularizer": "error+stiffness", "agg": "mean", "scaled": True, "schedule": "constant"}
    | {"error.weight_by_dt": True, "error.weight": 10, "stiffness.weight_by_dt": False, "stiffness.weight": 1},
    "local-unbiased": {"regularizer": "local_error", "sampling": "unbiased"} | LOCAL,
    "local-biased": {"regularizer": "local_error", "sampling": "biased"} | LOCAL,
    "local-stiffness": {"regularizer": "local_stiffness", "sampling": "unbiased", "n_times": 1}
    | {"schedule": "constant", "weight": 0.1},
    "er-nsde": {"regularizer": "error"} | MEAN | {"weight": 10},
    "sr-nsde": {"regularizer": "stiffness"} | MEAN | {"weight_by_dt": False, "weight": 0.1},
    "er-spiral-sde": {"regularizer": "error"} | MEAN | {"agg": "sum", "weight": 0.2},
    "local-nsde-unbiased": {"regularizer": "local_error", "sampling": "unbiased"} | LOCAL_SDE,
    "local-nsde-biased": {"regularizer": "local_error", "sampling": "biased"} | LOCAL_SDE,
    "steer": {"regularizer": "steer"} | HALF,
    "steer-er": {"regularizer": "steer+error"} | HALF | ER,
    "steer-sr": {"regularizer": "steer+stiffness"} | HALF | SR,
    "taynode": {"regularizer": "taynode", "taylor_order": 3, "schedule": "constant", "weight": 3.02e-3},
    "taynode-2": {"regularizer": "taynode", "taylor_order": 2, "schedule": "constant", "weight": 0.01},
    "rnode": {"regularizer": "rnode", "kinetic": 1, "jacobian": 1, "schedule": "constant", "weight": 0.01},
}
STABLE = "learning_rate: 0.01, rtol: 0.14, sde: geometric, controller: i, adjoint: tape, solver: sosri2"
OF_SDES = {
    name for name, config in PUBLISHED.items() if config["regularizer"] in ("none", "error", "stiffness", "local_error")
}
# What a space offers, and the presets that it does not.
ELSEWHERE = {
    "regularized_ode": {"er-spiral-sde"},
    "error_penalties": {
        "er-spiral-sde",
        "er-sr-code",
        "local-stiffness",
        "steer",
        "steer-er",
        "steer-sr",
        "taynode",
        "taynode-2",
        "rnode",
    },
    "regularized_sde": PUBLISHED.keys() - OF_SDES,
}


def test_the_shipped_names_are_listed_and_presets_are_no_space():
    assert set(shipped_spaces()) == ELSEWHERE.keys()
    assert "presets" not in shipped_spaces()
    assert "quickstart" in shipped_studies()


@pytest.mark.parametrize("name", shipped_spaces())
def test_every_shipped_space_validates(name):
    space = load_space(name)
    assert len({dimension.name for dimension in space.dimensions}) == len(space.dimensions)


@pytest.mark.parametrize("name", shipped_studies())
def test_every_shipped_study_validates_under_its_own_name(name):
    assert load_spec(name).name == name


@pytest.mark.parametrize("name", shipped_studies())
def test_every_start_config_of_a_shipped_study_is_in_its_space_and_labelled(name):
    spec = load_spec(name)
    assert all(spec.space.contains(start.config) for start in spec.start)
    labels = [start.label for start in spec.start]
    assert all(labels)
    assert len(set(labels)) == len(labels)


def test_the_presets_are_the_published_settings():
    assert load_presets() == PUBLISHED


@pytest.mark.parametrize("name", load_presets())
def test_every_preset_lies_within_the_vocabulary_and_wants_nothing(name):
    preset = load_presets()[name]
    for key, value in preset.items():
        parameter = OWN.find(key)
        assert parameter is not None
        assert parameter.check(value) == value
    assert not list(missing_parameters(preset, preset))
    assert not list(clashes(preset))


@pytest.mark.parametrize("space", ELSEWHERE)
@pytest.mark.parametrize("name", load_presets())
def test_every_preset_resolves_in_a_shipped_space_to_what_was_published(name, space):
    task, rest = ("digits_nsde", STABLE) if space == "regularized_sde" else ("digits_node", ELSE)
    text = f"name: s\ntask: {task}\nspace: {space}\nstart_from: [{{preset: {name}, {rest}}}]"
    document = parse_document(text, "s.yaml")
    if name in ELSEWHERE[space]:
        with pytest.raises(SpecError, match=r"start_from\[0\].(regularizer|weight): got "):
            read_spec(document)
    else:
        (start,) = read_spec(document).start
        assert start.config.items() >= PUBLISHED[name].items()
