import pytest

from search_spaces.document import parse_document
from search_spaces.parse import read_space

REGULARIZER = "regularizer: {choice: [none, error, stiffness]}\n"

# Space as written; then line, key, got and allowed of its one problem, by how each begins.
MALFORMED = {
    "no mapping": ("[rtol]", 1, "", '["rtol"]', "a mapping of parameters"),
    "nothing": ("", 1, "", "nothing", "a mapping of parameters"),
    "unknown key": ("wieght: 1", 1, "wieght", "the unknown key 'wieght'", "solver, controller, adjoint"),
    "a task is no parameter": ("task: digits_node", 1, "task", "the unknown key 'task'", "solver, controller"),
    "wrong type": ("epochs: twenty", 1, "epochs", "'twenty'", "a whole number >= 1"),
    "a flag as a number": ("scaled: 1", 1, "scaled", "1", "true or false"),
    "sum of what is no penalty": ("regularizer: error+stifness", 1, "regularizer", "'error+stifness'", "none, error"),
    "sum of one twice": ("regularizer: error+error", 1, "regularizer", "'error+error'", "none, error"),
    "sum with nothing": (
        "regularizer: {choice: [steer+none]}",
        1,
        "regularizer.choice[0]",
        "'steer+none'",
        "none, error",
    ),
    "key of an unknown summand": ("eror.weight: 1", 1, "eror.weight", "the unknown key 'eror.weight'", "solver, con"),
    "key of a summand that is no penalty's": (
        "error.rtol: 1",
        1,
        "error.rtol",
        "the unknown key 'error.rtol'",
        "solver",
    ),
    "wrong value of a summand": ("error.weight: -1", 1, "error.weight", "-1", "a finite number >= 0"),
    "no value": ("rtol:", 1, "rtol", "nothing", "a finite number > 0"),
    "rtol of 0": ("rtol: 0", 1, "rtol", "0", "a finite number > 0"),
    "unknown solver": ("solver: tsit6", 1, "solver", "'tsit6'", "euler"),
    "weight below zero": ("weight: {float: [-1, 1]}", 1, "weight.float[0]", "-1", "a finite number >= 0"),
    "bound of infinity": ("weight: {float: [1, .inf]}", 1, "weight.float[1]", "Infinity", "a finite number >= 0"),
    "bound of nan": ("weight: {float: [1, .nan]}", 1, "weight.float", "1 and nan", "two numbers low < high"),
    "logarithm of zero": ("weight: {log_float: [0, 1]}", 1, "weight.log_float", "0", "two numbers 0 < low < high"),
    "logarithm below zero": ("weight: {log_float: [-1, 1]}", 1, "weight.log_float", "-1", "two numbers 0 < low < high"),
    "huge bound": (f"weight: {{float: [1, {'9' * 400}]}}", 1, "weight.float[1]", "999", "a finite number >= 0"),
    "empty range": ("rtol:\n  float: [0.1, 0.1]", 2, "rtol.float", "0.1 and 0.1", "two numbers low < high"),
    "range backwards": ("epochs: {int: [3, 2]}", 1, "epochs.int", "3 and 2", "two numbers low < high"),
    "three bounds": ("rtol: {float: [1, 2, 3]}", 1, "rtol.float", "[1, 2, 3]", "two numbers low < high"),
    "bounds of text": ("rtol: {float: [a, b]}", 1, "rtol.float", '["a", "b"]', "two numbers low < high"),
    "bounds that are flags": ("epochs: {int: [false, true]}", 1, "epochs.int", "[false, true]", "two whole numbers"),
    "fraction of an epoch": ("epochs: {int: [1, 2.5]}", 1, "epochs.int", "[1, 2.5]", "two whole numbers low < high"),
    "reals where integers are": ("epochs: {float: [1, 2]}", 1, "epochs.float", "the domain 'float'", "int, log_int,"),
    "integers where reals are": ("rtol: {int: [1, 2]}", 1, "rtol.int", "the domain 'int'", "float, log_float,"),
    "range of names": ("solver: {float: [1, 2]}", 1, "solver.float", "the domain 'float'", "choice, fixed"),
    "unknown domain": (
        "rtol: {loguniform: [1, 2]}",
        1,
        "rtol.loguniform",
        "the domain 'loguniform'",
        "float, log_float",
    ),
    "no domain": ("rtol: {}", 1, "rtol", "no domain", "one of float, log_float, choice, fixed"),
    "two domains": ("rtol: {fixed: 1, choice: [1]}", 1, "rtol", "fixed and choice", "one of float, log_float"),
    "empty choice": ("agg: {choice: []}", 1, "agg.choice", "no value", "at least one value"),
    "value twice": ("agg: {choice: [sum, max, sum]}", 1, "agg.choice", "sum twice", "each value once"),
    "choice that is no list": ("agg: {choice: sum}", 1, "agg.choice", "'sum'", "a list of values, each sum, mean, max"),
    "choice of what is not allowed": (
        "agg:\n  choice:\n  - sum\n  - avg",
        4,
        "agg.choice[1]",
        "'avg'",
        "sum, mean, max",
    ),
    "fixed to what is not allowed": ("rtol: {fixed: 0}", 1, "rtol.fixed", "0", "a finite number > 0"),
    "no variants": ("rtol: []", 1, "rtol", "[]", "a value, a domain, or a list"),
    "when that is no mapping": (
        "agg: {choice: [sum], when: error}",
        1,
        "agg.when",
        "'error'",
        "a mapping of other keys",
    ),
    "when on an absent key": (
        REGULARIZER + "agg: {choice: [sum], when: {regularizr: error}}",
        2,
        "agg.when.regularizr",
        "the key 'regularizr', which this space does not have",
        "another key of this space",
    ),
    "when on itself": (
        REGULARIZER + "agg: {choice: [sum], when: {agg: sum}}",
        2,
        "agg.when.agg",
        "the key itself",
        "another key",
    ),
    "when without another key": (
        "agg: {choice: [sum], when: {scaled: true}}",
        1,
        "agg.when.scaled",
        "the key",
        "nothing",
    ),
    "when on a value that cannot be": (
        REGULARIZER + "agg:\n  choice: [sum]\n  when:\n    regularizer: [error, local_error]",
        5,
        "agg.when.regularizer[1]",
        "'local_error'",
        "what regularizer can be: none, error, stiffness",
    ),
    "when on a value of another type": (
        "scaled: true\nagg: {choice: [sum], when: {scaled: 1}}",
        2,
        "agg.when.scaled",
        "1",
        "what scaled can be: true",
    ),
    "when on no value": (
        REGULARIZER + "agg: {fixed: sum, when: {regularizer: []}}",
        2,
        "agg.when.regularizer",
        "[]",
        "at",
    ),
    "when on a value twice": (
        REGULARIZER + "agg: {fixed: sum, when: {regularizer: [error, error]}}",
        2,
        "agg.when.regularizer",
        '["error", "error"]',
        "each value once",
    ),
    "when on a range": (
        "weight: {float: [1, 2]}\nagg: {fixed: sum, when: {weight: 1}}",
        2,
        "agg.when.weight",
        "a condition on weight, which is a range",
        "a key with a choice",
    ),
    "conditions in a cycle": (
        "rtol: 1\nagg: {fixed: sum, when: {scaled: true}}\nscaled: {fixed: true, when: {schedule: constant}}\n"
        "schedule: {fixed: constant, when: {agg: sum}}",
        2,
        "agg",
        "conditions in a cycle, agg -> scaled -> schedule -> agg",
        "conditions on keys that do not depend",
    ),
    "conditions that exclude each other": (
        REGULARIZER + "schedule: {choice: [constant, exponential], when: {regularizer: error}}\n"
        "weight_end: {float: [1, 2], when: {regularizer: stiffness, schedule: exponential}}",
        3,
        "weight_end",
        "a condition that never holds, regularizer=stiffness and schedule=exponential",
        "conditions that",
    ),
    "two domains at once": (
        REGULARIZER + "weight:\n"
        "  - {float: [1, 2], when: {regularizer: [error, stiffness]}}\n"
        "  - {float: [2, 3], when: {regularizer: stiffness}}",
        2,
        "weight",
        "conflicting conditions, two domains at once where regularizer=stiffness",
        "domains of which one",
    ),
    "two domains always": (
        "rtol: [1, 2]",
        1,
        "rtol",
        "conflicting conditions, two domains at once always",
        "domains of",
    ),
}


def problems_of(text):
    problems = []
    assert read_space(parse_document(text, "space.yaml").root, problems) is None
    return problems


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_space_gives_one_line_with_place_got_and_allowed(case):
    text, line, key, got, allowed = MALFORMED[case]
    (problem,) = problems_of(text)
    assert (problem.path, problem.line, problem.key) == ("space.yaml", line, key)
    assert problem.got.startswith(got)
    assert problem.allowed.startswith(allowed)
    assert str(problem).startswith(": ".join(filter(None, (f"space.yaml:{line}", key, f"got {got}"))))
    assert "\n" not in str(problem)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("wieght: 1", "did you mean 'weight'?"),
        ("agg: men", "did you mean 'mean'?"),
        ("rtol: {logfloat: [1, 2]}", "did you mean 'log_float'?"),
        ("agg: {fixed: sum, when: {regularizr: error}}\n" + REGULARIZER, "did you mean 'regularizer'?"),
        ("agg: {fixed: sum, when: {regularizer: eror}}\n" + REGULARIZER, "did you mean 'error'?"),
        ("momentum: qqq", ""),
    ],
)
def test_a_misspelt_name_is_answered_with_the_closest_one(text, remedy):
    assert problems_of(text)[0].remedy == remedy


def test_every_problem_is_reported_and_none_that_only_follows_from_another():
    text = REGULARIZER.replace("error", "eror") + "agg: {fixed: sum, when: {regularizer: error}}\nrtol: 0\nepochs: {}\n"
    assert [problem.key for problem in problems_of(text)] == ["regularizer.choice[1]", "rtol", "epochs"]


def test_integers_are_taken_as_reals_where_reals_are_meant():
    space = read_space(parse_document("rtol: {float: [1, 2]}\nweight: 3", "space.yaml").root, [])
    assert space is not None
    assert [type(v) for v in (space.dimensions[0].domain.low, space.dimensions[1].domain.value)] == [float, float]
