import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import conditions
from search_spaces.document import parse_document
from search_spaces.domains import Fixed, Float, Int
from search_spaces.parse import read_space, space_data
from search_spaces.problems import SpecError

SPACE = """
weight_end: {log_float: [0.1, 1000], when: {schedule: exponential}}
regularizer: {choice: [none, error, stiffness]}
schedule: {choice: [constant, exponential], when: {regularizer: [stiffness, error]}}
weight:
  - {log_float: [1, 1000], when: {regularizer: error}}
  - {log_float: [0.001, 1], when: {regularizer: stiffness}}
epochs: {int: [1, 9]}
solver: {choice: [tsit5]}
batch_size: 128
"""


def space_of(text):
    problems = []
    space = read_space(parse_document(text, "space.yaml").root, problems)
    if space is None:
        raise SpecError(problems)
    return space


def drawn(draw, dimension):
    domain = dimension.domain
    if isinstance(domain, Float):
        return draw(st.floats(domain.low, domain.high))
    return draw(st.integers(domain.low, domain.high) if isinstance(domain, Int) else st.sampled_from(domain.options))


@given(st.data())
def test_every_config_that_suggestions_resolve_to_is_in_the_space(data):
    space = space_of(SPACE)
    config = space.resolve(lambda dimension: drawn(data.draw, dimension))
    assert space.problems(config) == ()
    assert space.settle(config) == config


@given(st.data())
def test_a_key_is_there_exactly_where_its_conditions_hold(data):
    config = space_of(SPACE).resolve(lambda dimension: drawn(data.draw, dimension))
    assert ("schedule" in config) == ("weight" in config) == (config["regularizer"] != "none")
    assert ("weight_end" in config) == (config.get("schedule") == "exponential")
    assert config["batch_size"] == 128


@given(st.data())
def test_a_config_without_one_of_its_searched_keys_is_not_in_the_space(data):
    space = space_of(SPACE)
    asked = []
    config = space.resolve(lambda dimension: asked.append(dimension) or drawn(data.draw, dimension))
    key = data.draw(st.sampled_from([dimension.key for dimension in asked]))
    (missing, *_) = space.problems({other: value for other, value in config.items() if other != key})
    assert (missing.key, missing.got) == (key, "nothing")


def test_nothing_is_asked_where_there_is_no_choice():
    asked = []
    space_of("solver: {choice: [tsit5]}\nbatch_size: 128\nrtol: {float: [0.1, 1]}").resolve(
        lambda dimension: asked.append(dimension.key) or 0.5
    )
    assert asked == ["rtol"]


def test_parents_come_before_children_and_the_rest_stays_in_the_files_order():
    keys = list(dict.fromkeys(dimension.key for dimension in space_of(SPACE).dimensions))
    assert keys == ["regularizer", "schedule", "weight_end", "weight", "epochs", "solver", "batch_size"]


def test_a_dimension_is_named_by_its_key_or_by_its_key_and_sorted_conditions():
    names = [dimension.name for dimension in space_of(SPACE).dimensions]
    assert names[2:5] == ["weight_end", "weight|regularizer=error", "weight|regularizer=stiffness"]


def test_names_do_not_depend_on_the_order_in_which_conditions_are_written():
    head = "regularizer: {choice: [none, error, stiffness]}\nagg: {choice: [sum, max]}\n"
    one = "weight: [{fixed: 1, when: {regularizer: [error, stiffness], agg: sum}}, {fixed: 2, when: {agg: max}}]"
    other = "weight: [{fixed: 3, when: {agg: [sum], regularizer: [stiffness, error]}}, {fixed: 2, when: {agg: max}}]"
    names = [[dimension.name for dimension in space_of(head + text).dimensions] for text in (one, other)]
    assert names[0] == names[1]
    assert names[0][2] == "weight|agg=sum&regularizer=error,stiffness"


def test_a_value_outside_its_domain_is_named_with_what_is_allowed():
    config = {"regularizer": "error", "schedule": "constant", "weight": 0.5, "epochs": 1}
    (wrong,) = space_of(SPACE).problems(config)
    assert (wrong.key, wrong.got, wrong.allowed) == ("weight", "0.5", "a number from 1 to 1000")


def test_a_value_for_an_inactive_key_is_named_with_what_would_make_it_active():
    (wrong,) = space_of(SPACE).problems({"regularizer": "none", "epochs": 1, "weight": 2.0})
    assert wrong.key == "weight"
    assert wrong.allowed == "no value unless regularizer=error or regularizer=stiffness"


def test_a_wrong_parent_is_reported_without_its_children():
    wrong = space_of(SPACE).problems({"regularizer": "eror", "schedule": "constant", "weight": 2.0, "epochs": 1})
    assert [mismatch.key for mismatch in wrong] == ["regularizer"]


def test_a_key_that_the_space_does_not_know_is_not_judged():
    assert space_of("epochs: 3").contains({"epochs": 3, "momentum": 0.9})


def test_a_fixed_key_keeps_its_conditions_and_its_names():
    space = space_of(SPACE)
    fixed = space.fix({"weight": 5.0, "seed": 3})
    assert [d.name for d in fixed.dimensions] == [*(d.name for d in space.dimensions), "seed"]
    assert fixed.settle({"regularizer": "none"}).keys() == {"regularizer", "solver", "batch_size", "seed"}
    assert fixed.settle({"regularizer": "stiffness"})["weight"] == 5.0
    assert {d.domain for d in fixed.dimensions if d.key == "weight"} == {Fixed(5.0)}


def test_fixing_a_parent_may_leave_a_dimension_that_is_never_active():
    space = space_of(SPACE).fix({"schedule": "constant"})
    assert "weight_end" not in space.settle({"regularizer": "error", "weight_end": 1.0})


def test_a_space_written_out_reads_as_an_equal_space():
    space = space_of(SPACE)
    problems = []
    document = parse_document(str(space_data(space)).replace("True", "true"), "copy.yaml")
    assert read_space(document.root, problems) == space


def test_variants_may_share_values_of_one_parent_if_another_parent_sets_them_apart():
    space = space_of(
        "regularizer: {choice: [none, error, stiffness]}\n"
        "agg: {choice: [sum, max], when: {regularizer: [error, stiffness]}}\n"
        "weight:\n"
        "  - {float: [1, 2], when: {agg: sum, regularizer: error}}\n"
        "  - {float: [2, 3], when: {agg: [sum, max], regularizer: stiffness}}\n"
    )
    assert len(space.dimensions) == 4


def test_variants_are_set_apart_by_the_conditions_of_their_parents_too():
    space = space_of(
        "regularizer: {choice: [error, stiffness]}\n"
        "agg: {choice: [sum, max], when: {regularizer: error}}\n"
        "schedule: {choice: [constant, exponential], when: {regularizer: stiffness}}\n"
        "weight: [{float: [1, 2], when: {agg: sum}}, {float: [2, 3], when: {schedule: constant}}]\n"
    )
    assert {d.key for d in space.dimensions} == {"regularizer", "agg", "schedule", "weight"}


def test_variants_whose_parents_have_nothing_to_do_with_each_other_conflict():
    with pytest.raises(SpecError, match="conflicting conditions, two domains at once where agg=sum, schedule=constant"):
        space_of(
            "agg: {choice: [sum, max]}\nschedule: {choice: [constant, exponential]}\n"
            "weight: [{float: [1, 2], when: {agg: sum}}, {float: [2, 3], when: {schedule: constant}}]\n"
        )


def test_more_combinations_than_can_be_checked_are_refused(monkeypatch):
    monkeypatch.setattr("search_spaces.parse.MAX_OUTLINES", 4)
    with pytest.raises(SpecError, match="at most 4 combinations"):
        space_of(SPACE)
    assert conditions.count_bound(space_of("epochs: 3").dimensions) == 1
