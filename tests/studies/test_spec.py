import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from ndecore.metrics import METRICS, Direction
from search_spaces.document import parse_document
from search_spaces.domains import Fixed
from search_spaces.problems import SpecError
from search_spaces.start import StartConfig
from studies.spec import StudySpec, load_spec, read_spec

HEAD = "name: s\ntask: digits_node\n"
# What the shipped space leaves open whatever the regularizer.
FREE = "learning_rate: 0.1, rtol: 1e-5, solver: tsit5, controller: i, adjoint: tape"

# Spec as written; then line, key, got and allowed of its one problem, by how each begins.
MALFORMED = {
    "no mapping": ("- a", 1, "", '["a"]', "a mapping of keys"),
    "empty file": ("", 1, "", "nothing", "a mapping of keys"),
    "bad YAML": (HEAD + "trials: [1", 3, "", "text that cannot be read", "plain YAML"),
    "duplicate key": (HEAD + "name: t", 3, "name", "the key again, after line 1", "each key once"),
    "no name": ("task: digits_node", 1, "name", "nothing", "up to 64 of a-z"),
    "no task": ("name: s", 1, "task", "nothing", "cities_flow"),
    "wrong key": (HEAD + "trails: 3", 3, "trails", "the unknown key 'trails'", "name, task, objectives, trials"),
    "a field that is no key": (HEAD + "declared_space: {}", 3, "declared_space", "the unknown key", "name, task"),
    "capitals in the name": ("task: digits_node\nname: Mine", 2, "name", "'Mine'", "up to 64 of a-z"),
    "name that is a path": ("task: digits_node\nname: a/b", 2, "name", "'a/b'", "up to 64 of a-z"),
    "name with a line end": ('task: digits_node\nname: "a\\n"', 2, "name", "'a\\n'", "up to 64 of a-z"),
    "name too long": (f"task: digits_node\nname: {'a' * 65}", 2, "name", "'aaa", "up to 64 of a-z"),
    "unknown task": ("name: s\ntask: digit_node", 2, "task", "'digit_node'", "cities_flow"),
    "task that is no text": ("name: s\ntask: [digits_node]", 2, "task", '["digits_node"]', "cities_flow"),
    "unknown objective": (
        HEAD + "objectives:\n- nfe\n- acuracy",
        5,
        "objectives[1]",
        "'acuracy'",
        "one that digits_node has: accuracy",
    ),
    "objective twice": (HEAD + "objectives: [nfe, nfe]", 3, "objectives", '["nfe", "nfe"]', "a list with one or more"),
    "no objective": (HEAD + "objectives: []", 3, "objectives", "[]", "a list with one or more metrics"),
    "objective that is no list": (HEAD + "objectives: nfe", 3, "objectives", "'nfe'", "a list with one or more"),
    "no trials": (HEAD + "trials: 0", 3, "trials", "0", "a whole number >= 1"),
    "trials as a flag": (HEAD + "trials: true", 3, "trials", "true", "a whole number >= 1"),
    "trials as text": (HEAD + "trials: '24'", 3, "trials", "'24'", "a whole number >= 1"),
    "half a trial": (HEAD + "trials: 1.5", 3, "trials", "1.5", "a whole number >= 1"),
    "negative seed": (HEAD + "seed: -1", 3, "seed", "-1", "a whole number from 0 to 4294967295"),
    "seed too large": (HEAD + "seed: 4294967296", 3, "seed", "4294967296", "a whole number from 0 to 4294967295"),
    "unknown sampler": (HEAD + "sampler: nsga2", 3, "sampler", "'nsga2'", "tpe, nsgaii, nsgaiii, qmc, random, grid"),
    "no workers": (HEAD + "workers: 0", 3, "workers", "0", "a whole number >= 1"),
    "gap of 0": (HEAD + "max_solver_gap: 0", 3, "max_solver_gap", "0", "a finite number > 0"),
    "gap of infinity": (HEAD + "max_solver_gap: .inf", 3, "max_solver_gap", "Infinity", "a finite number > 0"),
    "threshold the wrong way round": (
        HEAD + "thresholds: [nfe >= 100]",
        3,
        "thresholds",
        '["nfe >= 100"]',
        "a list of bounds such as accuracy >= 0.95",
    ),
    "threshold twice": (HEAD + "thresholds: [nfe <= 1, nfe <= 2]", 3, "thresholds", '["nfe', "a list of bounds"),
    "threshold on what is no metric": (HEAD + "thresholds: [f1 >= 1]", 3, "thresholds", '["f1', "a list of bounds"),
    "unknown end": (HEAD + "stop:\n  hour: 1", 4, "stop.hour", "the unknown key 'hour'", "hours, device_hours"),
    "end before the beginning": (HEAD + "stop: {hours: -1}", 3, "stop.hours", "-1", "a finite number > 0"),
    "end that is no mapping": (HEAD + "stop: 1", 3, "stop", "1", "a mapping of hours"),
    "one and a half GPUs": (HEAD + "resources: {gpu: 1.5}", 3, "resources.gpu", "1.5", "0, a part of one"),
    "no core": (HEAD + "resources: {cpu: 0}", 3, "resources.cpu", "0", "a whole number >= 1"),
    "no time": (HEAD + "timeout_s: 0", 3, "timeout_s", "0", "a finite number > 0"),
    "no checkpoints": (HEAD + "checkpoint_every: 0", 3, "checkpoint_every", "0", "a whole number >= 1"),
    "storage that is no URL": (HEAD + "storage: here", 3, "storage", "'here'", "a text, the URL of a database"),
    "grid that has no end": (
        HEAD + "sampler: grid\ngrid_points: 9",
        3,
        "sampler",
        "'grid' over more",
        "a smaller grid",
    ),
    "more trials than the grid has": (
        HEAD + "sampler: grid\ntrials: 4\nspace: {rtol: {log_float: [1e-6, 1e-2]}}",
        4,
        "trials",
        "4",
        "at most 3, the grid's configs",
    ),
    "front of a study that is not there": (
        HEAD + "start_from: [{front_of: other}]",
        3,
        "start_from[0].front_of",
        "'other'",
        "the name of a study that was run",
    ),
    "front with another key": (
        HEAD + "start_from: [{front_of: a, rtol: 1}]",
        3,
        "start_from[0]",
        "{",
        "{front_of: STUDY}",
    ),
    "store that is no text": (HEAD + "tracking_uri: 5000", 3, "tracking_uri", "5000", "a text"),
    "unknown space": (
        HEAD + "space: regular_ode",
        3,
        "space",
        "'regular_ode'",
        "error_penalties, regularized_ode, regularized_sde, a path",
    ),
    "space in no file": (HEAD + "space: none.yaml", 3, "space", "none.yaml, which is no file", "the path of a YAML"),
    "space that is no mapping": (
        HEAD + "space: 3",
        3,
        "space",
        "3",
        "error_penalties, regularized_ode, regularized_sde, a path ending in .yaml",
    ),
    "no space": (
        HEAD + "space:",
        3,
        "space",
        "nothing",
        "error_penalties, regularized_ode, regularized_sde, a path ending in .yaml",
    ),
    "rtol of 0": (HEAD + "space:\n  rtol: 0", 4, "space.rtol", "0", "a finite number > 0"),
    "weight below zero": (
        HEAD + "space:\n  weight:\n    log_float: [-1, 1]",
        5,
        "space.weight.log_float",
        "-1",
        "two numbers 0 < low < high",
    ),
    "empty domain": (HEAD + "space:\n  agg: {choice: []}", 4, "space.agg.choice", "no value", "at least one value"),
    "conflicting condition": (HEAD + "space:\n  rtol: [1, 2]", 4, "space.rtol", "conflicting", "domains of which one"),
    "cyclic when": (
        HEAD + "space:\n  agg: {fixed: sum, when: {scaled: true}}\n  scaled: {fixed: true, when: {agg: sum}}",
        4,
        "space.agg",
        "conditions in a cycle, agg -> scaled -> agg",
        "conditions on keys",
    ),
    "unreachable when": (
        HEAD + "space:\n  agg: sum\n  scaled: {fixed: true, when: {agg: max}}",
        5,
        "space.scaled.when.agg",
        "'max'",
        "what agg can be: sum",
    ),
    "penalty without a weight": (
        HEAD + "space:\n  regularizer: {choice: [none, error]}",
        3,
        "space",
        "no weight where regularizer is error",
        "a space or a fixed value that gives weight there",
    ),
    "sum of which one lacks a weight": (
        HEAD + "space:\n  regularizer: {choice: [none, steer+error+stiffness]}\n  error.weight: 1",
        3,
        "space",
        "no stiffness.weight where regularizer is steer+error+stiffness",
        "a space or a fixed value that gives stiffness.weight there",
    ),
    "schedule of one summand without an end": (
        HEAD + "space: {regularizer: error+stiffness, weight: 1, error.schedule: linear}",
        3,
        "space",
        "no error.weight_end where regularizer is error+stiffness and schedule is linear",
        "a space or a fixed value that gives error.weight_end there",
    ),
    "schedule without a budget": (
        HEAD + "space: {regularizer: error, weight: 1, schedule: dual_ascent}",
        3,
        "space",
        "no budget where regularizer is error and schedule is dual_ascent",
        "a space or a fixed value that gives budget there",
    ),
    "biased times of a method that does not tell its steps": (
        HEAD + "space: {regularizer: local_error, weight: 1, sampling: biased, adjoint: torchdiffeq, method: "
        "{choice: [dopri5, rk4]}}",
        3,
        "space",
        "sampling biased where adjoint is torchdiffeq with rk4",
        "sampling: another sampling, or the method dopri5, dopri8, bosh3, fehlberg2, adaptive_heun",
    ),
    "biased states that are not kept": (
        HEAD + "space: {regularizer: steer+local_error, weight: 1, local_error.sampling: biased, "
        "local_error.full_derivative: true, adjoint: checkpointed}",
        3,
        "space",
        "adjoint checkpointed",
        "adjoint: tape, torchdiffeq (one that does",
    ),
    "start with a sum and one weight": (
        HEAD + "space: {rtol: {float: [0.1, 1]}}\nstart_from: [{rtol: 0.5, regularizer: error+rnode, rnode.weight: 1}]",
        4,
        "start_from[0].error.weight",
        "nothing",
        "a value where regularizer is error+rnode",
    ),
    "key of another task": (
        HEAD + "fixed: {n_hidden: 3}",
        3,
        "fixed.n_hidden",
        "the unknown key 'n_hidden'",
        "solver, ",
    ),
    "key of another task in a space of the study": (
        HEAD + "space:\n  rtol: 1e-3\n  sde: milstein",
        5,
        "space.sde",
        "the unknown key 'sde'",
        "solver, ",
    ),
    "longest training beyond the shortest schedules": (
        HEAD + "space: {rtol: 1e-3, epochs: {int: [5, 20]}, stop_after: {choice: [2, 12]}}",
        3,
        "space",
        "stop_after 12 where epochs is 5",
        "stop_after: at most epochs",
    ),
    "start beyond the end of its schedules": (
        HEAD + "fixed: {epochs: 10}\nspace: {rtol: {float: [0.1, 1]}}\nstart_from: [{rtol: 0.5, stop_after: 12}]",
        5,
        "start_from[0].stop_after",
        "12 where epochs is 10",
        "at most epochs",
    ),
    "schedule without an end": (
        HEAD + "space:\n  regularizer: error\n  weight: 1\n  schedule: {choice: [constant, exponential]}",
        3,
        "space",
        "no weight_end where regularizer is error and schedule is exponential",
        "a space or a fixed value that gives weight_end there",
    ),
    "penalty on steps that the adjoint does not differentiate": (
        HEAD + "fixed: {weight: 1}\nspace:\n  regularizer: {choice: [none, error]}\n  adjoint: interpolating",
        4,
        "space",
        "adjoint interpolating where regularizer is error",
        "adjoint: tape, checkpointed (one that differentiates them; or a local penalty",
    ),
    "penalty on an error that the solver does not estimate": (
        HEAD + "space: {regularizer: error, weight: 1, solver: rk4, controller: constant, step_size: 0.1}",
        3,
        "space",
        "solver rk4 where regularizer is error",
        "solver: heun, bosh3, tsit5, dopri5, dop853, rodas5p (one that estimates the error",
    ),
    "penalty on a stiffness that the solver does not estimate": (
        HEAD + "space: {regularizer: stiffness, weight: 1, solver: {choice: [tsit5, bosh3]}}",
        3,
        "space",
        "solver bosh3 where regularizer is stiffness",
        "solver: rk4, heun, tsit5, dopri5, dop853, rodas5p (one that estimates the stiffness",
    ),
    "adaptive steps without an error estimate": (
        HEAD + "space: {solver: {choice: [tsit5, midpoint]}, controller: pi}",
        3,
        "space",
        "controller pi where solver is midpoint",
        "controller: constant (one that needs none",
    ),
    "no controller without an error estimate": (
        HEAD + "space: {rtol: 1e-3}\nfixed: {solver: euler}",
        3,
        "space",
        "controller i where solver is euler",
        "controller: constant (one that needs none",
    ),
    "constant steps of no size": (
        HEAD + "space: {controller: {choice: [i, constant]}}",
        3,
        "space",
        "no step_size where controller is constant",
        "a space or a fixed value that gives step_size there",
    ),
    "start with constant steps of no size": (
        HEAD + "space: {rtol: {float: [0.1, 1]}}\nstart_from: [{rtol: 0.5, controller: constant}]",
        4,
        "start_from[0].step_size",
        "nothing",
        "a value where controller is constant",
    ),
    "fixed that is no mapping": (HEAD + "fixed: [1]", 3, "fixed", "[1]", "a mapping of parameters to values"),
    "fixed to what is not allowed": (HEAD + "fixed:\n  rtol: 0", 4, "fixed.rtol", "0", "a finite number > 0"),
    "unknown fixed key": (HEAD + "fixed:\n  tol: 1", 4, "fixed.tol", "the unknown key 'tol'", "solver, controller"),
    "start that is no list": (HEAD + "start_from: vanilla", 3, "start_from", "'vanilla'", "a list of configs"),
    "start that is no config": (HEAD + "start_from: [vanilla]", 3, "start_from[0]", "'vanilla'", "a mapping"),
    "unknown preset": (
        HEAD + "start_from: [{preset: vanila}]",
        3,
        "start_from[0].preset",
        "'vanila'",
        "vanilla, er-code",
    ),
    "label that is no text": (HEAD + "start_from: [{label: 1}]", 3, "start_from[0].label", "1", "a text"),
    "unknown start key": (
        HEAD + "start_from:\n- {lr: 1}",
        4,
        "start_from[0].lr",
        "the unknown key 'lr'",
        "preset, label",
    ),
    "missing start value": (
        HEAD + "start_from:\n  - {preset: vanilla, learning_rate: 0.1, solver: tsit5, controller: i, adjoint: tape}",
        4,
        "start_from[0].rtol",
        "nothing",
        "a number from 1e-06 to 0.01",
    ),
    "start value outside its domain": (
        HEAD
        + f"start_from:\n- {{preset: vanilla, {FREE}}}\n- preset: er-code\n  {FREE.replace(', ', chr(10) + '  ')}\n"
        "  weight: 0.5",
        11,
        "start_from[1].weight",
        "0.5",
        "a number from 1 to 1000",
    ),
    "start value against a fixed one": (
        HEAD + f"fixed: {{epochs: 20}}\nstart_from: [{{preset: vanilla, {FREE}, epochs: 5}}]",
        4,
        "start_from[0].epochs",
        "5",
        "20, which is fixed",
    ),
    "inactive start value": (
        HEAD + f"start_from: [{{preset: vanilla, {FREE}, weight: 1}}]",
        3,
        "start_from[0].weight",
        "1",
        "no value unless regularizer=predicted_steps or",
    ),
    "start with a penalty and no weight": (
        HEAD + "space: {rtol: {float: [0.1, 1]}}\nstart_from: [{rtol: 0.5, regularizer: error}]",
        4,
        "start_from[0].weight",
        "nothing",
        "a value where regularizer is error",
    ),
    "more start configs than trials": (
        HEAD + f"trials: 1\nstart_from: [{{preset: vanilla, {FREE}}}, {{preset: er-code, {FREE}}}]",
        4,
        "start_from",
        "2 configs",
        "at most 1, the study's trials",
    ),
}


def spec_of(text):
    return read_spec(parse_document(text, "study.yaml"))


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_spec_gives_one_line_with_place_got_and_allowed(case):
    text, line, key, got, allowed = MALFORMED[case]
    with pytest.raises(SpecError) as caught:
        spec_of(text)
    (problem,) = caught.value.problems
    assert (problem.path, problem.line, problem.key) == ("study.yaml", line, key)
    assert problem.got.startswith(got)
    assert problem.allowed.startswith(allowed)
    message = str(caught.value)
    assert message.startswith(": ".join(filter(None, (f"study.yaml:{line}", key, f"got {got}"))))
    assert "\n" not in message


def test_all_problems_of_a_spec_are_reported_at_once_in_the_order_of_its_lines():
    text = "name: S\ntask: x\ntrials: 0\nspace: {rtol: 0}\nfixed: {epochs: 0}\nstart_from: [{weight: -1}]\nfoo: 1\n"
    with pytest.raises(SpecError) as caught:
        spec_of(text)
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["name", "task", "trials", "space.rtol", "fixed.epochs", "start_from[0].weight", "foo"]
    assert len(str(caught.value).splitlines()) == len(keys)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (HEAD + "trails: 3", "did you mean 'trials'?"),
        ("name: s\ntask: digit_node", "did you mean 'digits_node'?"),
        (HEAD + "objectives: [acuracy]", "did you mean 'accuracy'?"),
        (HEAD + "sampler: nsga", "did you mean 'nsgaii'?"),
        (HEAD + "space: regularised_ode", "did you mean 'regularized_ode'?"),
        (HEAD + "start_from: [{preset: ercode}]", "did you mean 'er-code'?"),
        (HEAD + "objectives: nfe", ""),
    ],
)
def test_a_misspelt_name_is_answered_with_the_closest_one(text, remedy):
    with pytest.raises(SpecError) as caught:
        spec_of(text)
    assert caught.value.problems[0].remedy == remedy


def test_a_spec_of_a_name_and_a_task_is_complete():
    spec = spec_of(HEAD)
    assert (spec.trials, spec.seed, spec.sampler, spec.workers, spec.max_solver_gap) == (24, 0, "tpe", 2, 0.01)
    assert (spec.tracking_uri, spec.fixed, spec.start) == (None, {}, ())
    assert "regularizer" in spec.space.keys


def test_objectives_come_with_their_unit_and_direction():
    spec = spec_of(HEAD + "objectives: [train_s, accuracy]")
    assert spec.objective_metrics == (METRICS["train_s"], METRICS["accuracy"])
    assert spec.objective_metrics[1].direction is Direction.MAXIMIZE


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        spec_of(HEAD).trials = 3


def test_a_fixed_value_takes_the_place_of_a_domain():
    space = spec_of(HEAD + "fixed: {rtol: 1e-4, epochs: 3}").space
    assert {d.key: d.domain for d in space.dimensions if d.key in ("rtol", "epochs")} == {
        "rtol": Fixed(1e-4),
        "epochs": Fixed(3),
    }


def test_a_fixed_weight_serves_a_penalty_of_the_space():
    spec = spec_of(HEAD + "space: {regularizer: error}\nfixed: {weight: 1}")
    assert spec.space.settle({}) == {"regularizer": "error", "weight": 1.0}


@pytest.mark.parametrize(
    "space",
    [
        "{solver: rk4, controller: constant, step_size: 0.1}",
        "{solver: [{fixed: tsit5, when: {controller: pi}}, {fixed: euler, when: {controller: constant}}], "
        "controller: {choice: [pi, constant]}, step_size: {fixed: 0.1, when: {controller: constant}}}",
        "{regularizer: stiffness, weight: 1, solver: rk4, controller: constant, step_size: 0.1, adjoint: checkpointed}",
        "{regularizer: local_error, weight: 1, solver: euler, controller: constant, step_size: 0.1}",
        "{regularizer: local_error, weight: 1, adjoint: torchdiffeq, method: rk4, step_size: 0.1}",
        "{regularizer: {choice: [none, steer]}, schedule: {choice: [constant, linear, dual_ascent]}}",
        "{regularizer: steer+error+stiffness, error.weight: 1, stiffness.weight: {log_float: [0.1, 1]}}",
        "{regularizer: error+stiffness, weight: 1, stiffness.schedule: linear, stiffness.weight_end: 2}",
    ],
)
def test_a_space_of_what_works_together_is_let_through(space):
    assert spec_of(HEAD + f"space: {space}").space.dimensions


def test_a_start_config_is_the_preset_under_the_entrys_own_keys_and_what_is_fixed():
    spec = spec_of(HEAD + f"fixed: {{epochs: 3}}\nstart_from: [{{preset: er-code, {FREE}, weight: 50, momentum: 0.5}}]")
    (start,) = spec.start
    assert start.label == "er-code"
    assert start.config == {
        "regularizer": "error", "agg": "mean", "weight_by_dt": True, "scaled": True,
        "schedule": "exponential", "weight": 50.0, "weight_end": 10.0,
        "learning_rate": 0.1, "rtol": 1e-5, "controller": "i", "solver": "tsit5", "adjoint": "tape",
        "epochs": 3, "momentum": 0.5,
    }  # fmt: skip


def test_a_label_goes_before_the_presets_name_and_may_be_left_out():
    text = f"start_from: [{{preset: vanilla, label: mine, {FREE}}}, {{regularizer: none, {FREE}}}]"
    assert [start.label for start in spec_of(HEAD + text).start] == ["mine", ""]


def test_keys_of_a_preset_that_the_entry_made_inactive_are_dropped():
    (start,) = spec_of(HEAD + f"start_from: [{{preset: sr-code, regularizer: none, {FREE}}}]").start
    assert start.config.keys().isdisjoint({"agg", "schedule", "weight"})


def test_a_space_is_found_relative_to_the_specs_own_folder(tmp_path):
    (tmp_path / "study.yaml").write_text(HEAD + "space: spaces/mine.yaml")
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "mine.yaml").write_text("rtol: {log_float: [1e-7, 1e-3]}")
    assert load_spec(tmp_path / "study.yaml").space.keys == {"rtol"}


def test_a_problem_in_a_space_of_its_own_file_names_that_file(tmp_path):
    (tmp_path / "study.yaml").write_text(HEAD + "space: mine.yaml\ntrials: 0")
    (tmp_path / "mine.yaml").write_text("epochs: 1\nrtol: 0")
    with pytest.raises(SpecError) as caught:
        load_spec(str(tmp_path / "study.yaml"))
    mine, own = caught.value.problems
    assert (mine.path, mine.line, mine.key) == (str(tmp_path / "mine.yaml"), 2, "rtol")
    assert (own.path, own.line, own.key) == (str(tmp_path / "study.yaml"), 4, "trials")


@pytest.mark.parametrize("write", [StudySpec.to_yaml, lambda spec: json.dumps(spec.to_data())])
@pytest.mark.parametrize("case", ["quickstart", "own"])
def test_a_spec_written_out_whole_reads_as_an_equal_spec(tmp_path, write, case):
    own = HEAD + "objectives: [nfe]\nfixed: {schedule: constant, weight: 5, scaled: true}\ntracking_uri: http://x\n"
    own += f"start_from: [{{preset: er-code, weight: 5, schedule: constant, {FREE}}}]"
    spec = load_spec("quickstart") if case == "quickstart" else spec_of(own)
    (tmp_path / "copy.yaml").write_text(write(spec))
    copy = load_spec(tmp_path / "copy.yaml")
    assert copy == spec
    assert copy.space == spec.space
    assert copy.to_data() == spec.to_data()


def test_the_front_of_an_earlier_study_is_started_from_where_the_space_has_it():
    front = [
        StartConfig("old 3", {"rtol": 1e-5, "epochs": 30, "momentum": 0.5}),
        StartConfig("old 4", {"rtol": 0.5, "epochs": 30, "momentum": 0.5}),
    ]
    text = HEAD + "space: {rtol: {log_float: [1e-6, 1e-2]}}\nfixed: {epochs: 3}\nstart_from: [{front_of: old}]"
    spec = read_spec(parse_document(text, "study.yaml"), {"old": front}.__getitem__)
    assert spec.start == (StartConfig("old 3", {"rtol": 1e-5, "epochs": 3, "momentum": 0.5}),)


def test_a_threshold_on_the_solver_gap_is_its_bound():
    spec = spec_of(HEAD + "thresholds: [solver_gap <= 0.001, accuracy >= 0.95]")
    assert spec.solver_gap_bound == 0.001
    assert [str(each) for each in spec.metric_thresholds] == ["accuracy >= 0.95"]


def test_passwords_are_not_written_down():
    spec = spec_of(HEAD + "storage: postgresql://me:secret@host/db\ntracking_uri: https://me:secret@host:5000")
    assert "secret" not in spec.without_passwords().to_yaml()
    assert spec.without_passwords().storage == "postgresql://me@host/db"


def test_an_unknown_study_is_answered_with_those_there_are():
    with pytest.raises(
        SpecError, match=r"^quikstart: got no study of this name, allowed: .*did you mean 'quickstart'\?$"
    ):
        load_spec("quikstart")


def test_a_spec_is_checked_without_importing_torch_ray_optuna_or_mlflow():
    code = (
        "import sys; from studies.spec import load_spec; load_spec('quickstart');"
        "print(sorted({'torch', 'ray', 'optuna', 'mlflow', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
