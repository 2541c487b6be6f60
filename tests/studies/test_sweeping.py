"""A trained model solved by other methods and at other tolerances, and what becomes of that in a study."""

import argparse
import json
import math
from dataclasses import replace

import pytest
import torch
from command_line import nde_study, of_kind
from test_search import made_ledger, measured

from ndecore.errors import InputError
from ndecore.evaluation import evaluate, reference_evaluation, relative_difference
from ndecore.training import TrainState, train
from reports.deployments import points_of
from reports.pareto import front
from reports.records import Deployment, SweptPoint, TrialStatus
from search_spaces.document import parse_document
from search_spaces.problems import SpecError
from studies.arguments import tolerances
from studies.build import build, deployed
from studies.cli import main
from studies.ledger import Ledger
from studies.run import sync_study
from studies.search import propose
from studies.spec import read_spec
from studies.sweeping import deployments, swept_points

CONFIG = {"rtol": 1e-4, "atol": 1e-5, "epochs": 2, "batch_size": 512}


@pytest.fixture(scope="module")
def trained():
    before = torch.get_num_threads()
    plan = build("digits_node", CONFIG)
    state = TrainState(plan)
    (*_, record) = train(plan, state)
    torch.set_num_threads(before)
    return plan, state.model, record


def test_solved_as_it_was_trained_a_model_measures_the_same(trained):
    plan, model, record = trained
    (point,) = swept_points(plan, model, 3, [Deployment("tsit5", 1e-4, 1e-5)])
    assert (point.scores, point.nfe, point.accepted) == (record.scores, record.nfe, record.accepted)
    assert point.solver_gap == record.solver_gap


def test_each_point_is_measured_against_one_tight_solve(trained):
    plan, model, _ = trained
    wanted = deployments(plan, ("dopri5", "bosh3"), (1e-6, 1e-2))
    assert [(each.rtol, each.atol) for each in wanted[:2]] == [(1e-6, pytest.approx(1e-7)), (1e-2, pytest.approx(1e-3))]
    points = list(swept_points(plan, model, 3, wanted))
    data = plan.task.source(plan.task.splits().validation)
    reference = reference_evaluation(plan.task, model, data, plan.settings, 360)
    for point, each in zip(points, wanted, strict=True):
        found = evaluate(plan.task, model, data, deployed(plan.settings, each), 360, keeps_outputs=True)
        gap = relative_difference(found.outputs, reference.outputs)
        assert point.solver_gap == pytest.approx(gap, rel=1e-12)
        assert (point.nfe, point.deployment) == (found.nfe, each)
    assert points[0].solver_gap < points[1].solver_gap
    assert points[0].nfe > points[1].nfe


def test_a_solve_that_ends_early_is_a_point_without_scores(trained):
    plan, model, _ = trained
    few = replace(plan, settings=replace(plan.settings, max_steps=8))
    tight, loose = swept_points(few, model, 3, deployments(few, ("bosh3",), (1e-8, 1e-1)))
    assert tight.scores == {}
    assert math.isnan(tight.nfe)
    assert tight.reason.startswith("MAX_STEPS: ")
    assert loose.scores


@pytest.mark.parametrize(("solver", "message"), [("euler", "no error estimate, allowed: .*bosh3"), ("tsit", "unknown")])
def test_what_has_no_tolerance_is_refused(solver, message, trained):
    with pytest.raises(InputError, match=message):
        deployments(trained[0], (solver,), (1e-3,))


def test_a_deployed_model_takes_a_controller_that_adapts(trained):
    fixed = build("digits_node", {"solver": "euler", "controller": "constant", "step_size": 0.1})
    settings = deployed(fixed.settings, Deployment("bosh3", 1e-2, 1e-3))
    assert settings.controller.needs_error
    pi = build("digits_node", {"controller": "pi"})
    assert deployed(pi.settings, Deployment("bosh3", 1e-2, 1e-3)).controller == pi.settings.controller


def point(number, solver, rtol, nfe, gap):
    deployment = Deployment(solver, rtol, rtol)
    return SweptPoint(number, deployment, {"accuracy": 0.9, "loss": 0.1}, nfe, 2.0, 0.0, 0.5, gap)


def test_a_trial_stands_in_its_study_as_its_cheapest_feasible_deployment(tmp_path):
    ledger = made_ledger(
        tmp_path / "a", more="max_solver_gap: 0.01\nspace: error_penalties\nfixed: {learning_rate: 0.1}\n"
    )
    with ledger.writing():
        proposal = propose(ledger)
        ledger.started(proposal.number, "", proposal.config)
        record = replace(measured(proposal.config), nfe=44.0, solver_gap=1e-4)
        points = [
            point(0, "tsit5", 1e-1, 8.0, 0.5),
            point(0, "bosh3", 1e-2, 11.0, 1e-3),
            point(0, "tsit5", 1e-2, 14.0, 0.0),
        ]
        ledger.epoch(0, record, points=points)
        ledger.ended(0, TrialStatus.COMPLETE)
    again = Ledger(ledger.folder).record()
    trial = again.trials[0]
    assert (trial.epochs[-1].nfe, trial.epochs[-1].solver_gap, trial.deployment) == (11.0, 1e-3, points[1].deployment)
    assert again.swept == tuple(points)
    with ledger.writing():
        assert ledger.proposals.get_trials()[0].values == list(trial.values(again.objectives))


def test_a_trial_without_a_feasible_deployment_stands_as_it_was_trained(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    with ledger.writing():
        proposal = propose(ledger)
        ledger.started(proposal.number, "", proposal.config)
        record = replace(measured(proposal.config), solver_gap=0.5)
        ledger.epoch(0, record, points=[point(0, "tsit5", 1e-1, 8.0, 0.5)])
        ledger.ended(0, TrialStatus.COMPLETE)
    trial = Ledger(ledger.folder).record().trials[0]
    assert (trial.epochs[-1], trial.deployment) == (record, None)


HEAD = "name: made\ntask: digits_node\nspace: error_penalties\nfixed: {learning_rate: 0.1}\n"


@pytest.mark.parametrize("rtol", ["1e-4..1e-1", "[1e-4, 1e-3, 1e-2, 1e-1]"])
def test_tolerances_are_written_as_decades_or_one_by_one(rtol):
    spec = read_spec(parse_document(f"{HEAD}evaluate_tolerances: {{solver: [bosh3], rtol: {rtol}}}\n", "made.yaml"))
    assert spec.evaluate_tolerances.rtol == (1e-4, 1e-3, 1e-2, 1e-1)
    assert read_spec(parse_document(spec.to_yaml(), "again.yaml")) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{rtol: [0.1], solver: [bosh]}", r"evaluate_tolerances.solver: .*allowed: a list of some of euler"),
        ("{rtol: 1e-1..1e-4}", r"evaluate_tolerances.rtol: .*allowed: a list of numbers > 0"),
        ("{rtol: [0.0]}", r"evaluate_tolerances.rtol.*allowed: "),
        ("{solver: [bosh3]}", r"evaluate_tolerances.rtol"),
        ("{rtol: [0.1], tolerance: 1}", r"evaluate_tolerances.*tolerance"),
        ("yes", r"evaluate_tolerances: .*allowed: a mapping of solver and rtol"),
    ],
)
def test_tolerances_that_are_none_are_refused_with_their_place(text, message):
    with pytest.raises(SpecError, match=message):
        read_spec(parse_document(f"{HEAD}evaluate_tolerances: {text}\n", "made.yaml"))


@pytest.mark.cluster
@pytest.mark.slow
def test_the_command_sweeps_the_front_and_the_baseline_once(small_copy, capsys, threads_restored):
    sync_study("small", small_copy, f"sqlite:///{small_copy}/mlflow.db")
    args = ["sweep", "small", "--rtol", "1e-3..1e-1", "--solver", "tsit5,bosh3", "--root", str(small_copy)]
    assert main(args) == 0
    assert "--deploy cheapest" in capsys.readouterr().out
    before = of_kind(small_copy / "small", "swept")
    study = Ledger(small_copy / "small").record()
    assert {event["number"] for event in before} >= {trial.number for trial in front(study)}
    assert all(len(event["points"]) == 6 for event in before)
    assert main([*args, "--json"]) == 0
    points = json.loads(capsys.readouterr().out)
    assert len(points) == 6 * len(before)
    assert of_kind(small_copy / "small", "swept") == before
    assert main([*args[:2], "--rtol", "1e-2,1e-4", "--trial", "0", "--root", str(small_copy)]) == 0
    assert len(points_of(Ledger(small_copy / "small").record(), 0)) >= 6


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--trial", "2"], "--trial: got 2, allowed: the number of a trial that completed"),
        (["--solver", "euler"], "solver: got 'euler', which has no error estimate"),
        (["--solver", "x"], "unknown solver: got 'x'"),
    ],
)
def test_a_sweep_of_what_is_not_there_is_refused(args, message, small_copy, capsys, threads_restored):
    assert main(["sweep", "small", *args, "--root", str(small_copy)]) == 2
    assert message in capsys.readouterr().err
    assert not of_kind(small_copy / "small", "swept")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-8..1e-1", [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]),
        ("2e-4..1e-2", [2e-4, 2e-3, 1e-2]),
        ("1e-3", [1e-3]),
        ("1e-3,0.5,1e-3", [1e-3, 0.5]),
    ],
)
def test_tolerances_on_the_command_line(text, expected):
    assert list(tolerances(text)) == expected


@pytest.mark.parametrize("text", ["", "1e-1..1e-8", "0..1", "-1", "1e-3,", "nan", "a..b", "1..2..3", "inf"])
def test_tolerances_on_the_command_line_that_are_none_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="allowed: numbers > 0 with commas"):
        tolerances(text)


STUDY = """
name: swept
task: digits_node
objectives: [accuracy, nfe]
max_solver_gap: 1.0e-2
trials: 2
workers: 2
space: {regularizer: none, rtol: {log_float: [1e-6, 1e-5]}}
fixed: {epochs: 2, learning_rate: 0.2, threads: 1, seed: 0}
evaluate_tolerances: {solver: [bosh3], rtol: 1e-5..1e-1}
"""


@pytest.mark.cluster
@pytest.mark.slow
def test_a_study_that_evaluates_tolerances_sees_the_best_deployment_of_each_trial(tmp_path, capsys, threads_restored):
    (tmp_path / "swept.yaml").write_text(STUDY)
    ended = nde_study("run", "swept.yaml", cwd=tmp_path)
    assert ended.code == 0, ended.err
    study = Ledger(tmp_path / "nde-runs" / "swept").record()
    for trial in study.trials:
        points = points_of(study, trial.number)
        assert len(points) == 5
        best = min((p for p in points if p.solver_gap <= 1e-2), key=lambda p: p.nfe)
        assert (trial.epochs[-1].nfe, trial.deployment) == (best.nfe, best.deployment)
        assert trial.epochs[-2].nfe > best.nfe
    root = ["--root", str(tmp_path / "nde-runs")]
    assert main(["export", "swept", "-o", str(tmp_path / "knee"), *root]) == 0
    assert main(["verify", str(tmp_path / "knee")]) == 0
    assert main(["train", str(tmp_path / "knee")]) == 0
    assert "the same to the last digit" in capsys.readouterr().out
