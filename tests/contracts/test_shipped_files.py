"""Every YAML file that comes with the package is right: spaces, studies and presets."""

import pytest

from search_spaces.document import parse_document
from search_spaces.parameters import PARAMETERS
from search_spaces.presets import load_presets
from search_spaces.shipped import load_space, shipped_spaces
from studies.spec import load_spec, read_spec, shipped_studies

ELSE = "learning_rate: 0.1, rtol: 1.0e-6, solver: tsit5, controller: i, adjoint: tape"
# Sections A.2 to A.6 of the methods reference: what P1 and P2 print, and what their code does.
PUBLISHED = {
    "vanilla": {"regularizer": "none"},
    "er-code": {"regularizer": "error", "agg": "mean", "weight": 100, "weight_end": 10, "schedule": "exponential"},
    "er-paper": {"regularizer": "error", "agg": "sum", "weight": 100, "weight_end": 10, "schedule": "exponential"},
    "sr-code": {"regularizer": "stiffness", "agg": "max", "weight": 0.1, "schedule": "constant"},
    "sr-paper": {"regularizer": "stiffness", "agg": "sum", "weight": 0.0285, "schedule": "constant"},
    "local-unbiased": {"regularizer": "local_unbiased", "weight": 2.5, "weight_end": 1.0, "schedule": "exponential"},
}


def test_the_shipped_names_are_listed_and_presets_are_no_space():
    assert "regularized_ode" in shipped_spaces()
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
    assert load_presets().keys() == PUBLISHED.keys()


@pytest.mark.parametrize("name", load_presets())
def test_every_preset_lies_within_the_vocabulary(name):
    assert all(PARAMETERS[key].check(value) == value for key, value in load_presets()[name].items())


@pytest.mark.parametrize("name", load_presets())
def test_every_preset_resolves_in_the_shipped_space_to_what_was_published(name):
    text = f"name: s\ntask: digits_node\nspace: regularized_ode\nstart_from: [{{preset: {name}, {ELSE}}}]"
    (start,) = read_spec(parse_document(text, "s.yaml")).start
    assert start.config.items() >= PUBLISHED[name].items()
    assert start.config.items() >= load_presets()[name].items()
