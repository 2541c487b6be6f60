"""Studies in simulated time, on curves that are made up."""

import gzip
import json
import math

import numpy as np
import pytest

from ndecore.errors import InputError
from ndecore.metrics import ACCURACY, METRICS
from reports.pareto import front
from reports.records import Cause, TrialStatus
from search_spaces.document import parse_document
from studies.benchmarks.search_report import Found, Run, epochs_to
from studies.cli import main
from studies.simulation.course import Scale, course
from studies.simulation.features import Features
from studies.simulation.recorded import read_table
from studies.simulation.run import simulate
from studies.simulation.worlds import Forest, Nearest, Shuffled
from studies.spec import read_spec

N_EPOCHS = 6
SPEC = """
name: simulated
task: digits_node
objectives: [accuracy, nfe, train_work]
sampler: {sampler}
trials: {trials}
early_stopping: {rule}
space:
  rtol: {{log_float: [1e-6, 1e-2]}}
  learning_rate: {{log_float: [0.02, 0.5]}}
fixed: {{regularizer: none, epochs: 6}}
"""


def row(rng, i):
    """NFE falls with rtol, accuracy grows at the learning rate's pace; the one of the largest rate diverges."""
    rtol, rate = 10 ** rng.uniform(-6, -2), 10 ** rng.uniform(math.log10(0.02), math.log10(0.5))
    n = 2 if i == 7 else N_EPOCHS
    nfe = 10.0 * rtol**-0.15
    curve = [
        [e, 1 - math.exp(-8 * rate * e), 0.1, 0.0, 0.0, nfe * (1 + e / 10), nfe, 0.1 * e, nfe * e * 10, 0.5 * e]
        for e in range(1, n + 1)
    ]
    config = {"rtol": rtol, "learning_rate": rate, "regularizer": "none", "epochs": N_EPOCHS, "seed": 0}
    status = "complete" if n == N_EPOCHS else "diverged"
    return {
        "task": "digits_node",
        "config": config,
        "status": status,
        "curve": curve,
        "gaps": {"1": rtol, "4": 4 * rtol},
    }


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("curves") / "made.jsonl.gz"
    with gzip.open(path, "wt") as lines:
        lines.writelines(json.dumps(row(rng, i)) + "\n" for i in range(60))
    return path


@pytest.fixture(scope="module")
def curves(table):
    return read_table(table, "digits_node")


def spec_of(sampler="random", trials=12, rule="none"):
    return read_spec(parse_document(SPEC.format(sampler=sampler, trials=trials, rule=rule), "made.yaml"))


def test_a_table_is_read_with_solver_gaps_between_those_measured(curves):
    first = curves[0]
    assert len(curves) == 60
    assert [each.status for each in curves].count(TrialStatus.DIVERGED) == 1
    gaps = [each.solver_gap for each in first.epochs]
    np.testing.assert_allclose(gaps, [first.config["rtol"] * min(e, 4) for e in range(1, 7)])
    assert first.epoch_s == pytest.approx([0.5] * 6)
    assert [each.is_last for each in first.epochs] == [False] * 5 + [True]
    assert first.config["optimizer"] == "sgd"  # complete


@pytest.mark.parametrize("content", [b"no json\n", b'{"config": {}}\n', b"\xff\xfe", b""])
def test_what_is_no_table_is_refused_in_one_line(content, tmp_path):
    (tmp_path / "bad.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=r"^--curves: .*allowed: a ") as caught:
        read_table(tmp_path / "bad.jsonl", "digits_node")
    assert "\n" not in str(caught.value)


def test_configs_are_near_by_the_logarithms_of_wide_ranges_and_by_their_names():
    configs = [
        {"a": 10.0**-i, "name": name, **beyond}
        for i, name, beyond in ((1, "x", {}), (3, "y", {"b": 1.0}), (5, "x", {"b": 2}))
    ]
    points = Features([*configs])(configs)
    assert Features(configs).keys == ("a", "name", "b")
    np.testing.assert_allclose(points[:, 0], [1.0, 0.5, 0.0])
    assert np.abs(points[0, 1:3] - points[1, 1:3]).sum() == 1.0
    np.testing.assert_allclose(points[:, 3], [-1.0, 0.0, 1.0])


def test_the_nearest_curve_of_a_recorded_config_is_its_own(curves):
    world = Nearest(curves)
    assert all(world.curve(each.config, 0) is each for each in curves)


def test_a_forest_predicts_costs_it_has_not_seen_and_tells_its_error(curves):
    world = Forest(curves, spec_of().scores)
    assert world.errors["nfe"] > 0.9
    assert world.errors["solver_gap"] > 0.9
    found = world.curve(curves[0].config | {"rtol": 1e-4}, 3)
    assert found.epochs[-1].nfe == pytest.approx(16 * 1e-4**-0.15, rel=0.25)
    assert found == world.curve(curves[0].config | {"rtol": 1e-4}, 3)
    assert found != world.curve(curves[0].config | {"rtol": 1e-4}, 4)
    assert all(a.train_work < b.train_work for a, b in zip(found.epochs, found.epochs[1:], strict=False))
    assert all(0 < each.scores["accuracy"] <= 1 for each in found.epochs)


def test_a_forest_needs_curves(curves):
    with pytest.raises(InputError, match="--curves: got 7 complete ones of 6 epochs, allowed for a forest: 20"):
        Forest(curves[:8], spec_of().scores)


def test_simulated_time_is_that_of_the_recorded_epochs(curves, tmp_path):
    world = Nearest([each for each in curves if each.status is TrialStatus.COMPLETE])
    alone = simulate(spec_of(), world, tmp_path / "a", 1) if (tmp_path / "a").mkdir() is None else None
    assert (alone.epochs, alone.seconds) == (72, pytest.approx(36.0))
    assert alone.idle == pytest.approx(0.0)
    (tmp_path / "b").mkdir()
    many = simulate(spec_of(), world, tmp_path / "b", 5)
    assert many.seconds == pytest.approx(9.0)  # 12 trials of 3 s by 5 workers: the last 2 by 2 of them
    assert many.idle == pytest.approx(1 - 36 / 45)
    assert [t.config for t in many.study.trials] == [t.config for t in alone.study.trials]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_simulated_study_is_the_same_each_time(sampler, curves, tmp_path):
    world, found = Forest(curves, spec_of().scores), []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        found.append(simulate(spec_of(sampler, 20, "rate"), world, tmp_path / name, 3).study.trials)
    assert found[0] == found[1]
    assert {trial.status for trial in found[0]} >= {TrialStatus.COMPLETE, TrialStatus.STOPPED}


def test_a_config_near_one_that_diverged_diverges(curves, tmp_path):
    (own,) = (each for each in curves if each.status is TrialStatus.DIVERGED)
    study = simulate(spec_of(trials=2), Nearest([own]), tmp_path, 1).study
    assert [(t.status, t.cause, len(t.epochs)) for t in study.trials] == [
        (TrialStatus.DIVERGED, Cause.STEP_LIMIT, 2)
    ] * 2


def test_no_trial_begins_after_the_epochs_that_were_asked_for(curves, tmp_path):
    found = simulate(spec_of(trials=50), Nearest(curves[:5]), tmp_path, 2, max_epochs=20)
    assert 20 <= found.epochs <= 30
    assert len(found.study.trials) < 8


def test_curves_of_another_length_are_refused(curves, tmp_path):
    spec = read_spec(
        parse_document(SPEC.format(sampler="random", trials=2, rule="none").replace("6}", "9}"), "made.yaml")
    )
    with pytest.raises(InputError, match="epochs: got 9 in the spec, allowed: 6, as the curves have"):
        simulate(spec, Nearest(curves[:5]), tmp_path, 1)


def test_the_course_is_the_hypervolume_against_epochs_and_seconds(curves, tmp_path):
    found = simulate(spec_of(trials=30), Nearest(curves), tmp_path, 2)
    scale = Scale.of(np.array([t.values(found.study.objectives) for t in front(found.study)]), found.study.objectives)
    own = course(found.study, scale, 1.0)
    assert (np.diff(own.shares) > 0).all()
    assert own.shares[-1] == pytest.approx(
        scale.share(np.array([t.values(found.study.objectives) for t in front(found.study)]))
    )
    assert own.epochs_to(2.0) == math.inf
    assert own.at_epochs([0, own.epochs[0], 1e9]) == pytest.approx([0.0, own.shares[0], own.shares[-1]])
    assert own.seconds[0] == pytest.approx(own.epochs[0] / 2 * 0.5)


def test_the_box_has_costs_by_their_logarithms():
    scale = Scale.of(np.array([[0.5, 10.0], [0.9, 1000.0]]), (ACCURACY, METRICS["nfe"]))
    np.testing.assert_allclose(scale(np.array([[0.7, 100.0]])), [[0.5, 0.5]])
    assert scale.share(np.array([[0.9, 10.0]])) == pytest.approx(1.0)


def test_the_command_prints_a_row_for_each_study(table, tmp_path, capsys):
    (tmp_path / "made.yaml").write_text(SPEC.format(sampler="random", trials=10, rule="none"))
    asked = ["simulate", str(tmp_path / "made.yaml"), "--curves", str(table), "--root", str(tmp_path)]
    assert main([*asked, "--workers", "1,4", "--seeds", "2", "--rule", "median"]) == 0
    out = capsys.readouterr().out
    assert "random, median, 60 recorded curves of digits_node" in out
    assert "R^2" in out
    assert main([*asked, "--json", "--world", "nearest"]) == 0
    (study,) = json.loads(capsys.readouterr().out)["studies"]
    assert (study["epochs"], study["trials"]) == (60, {"complete": 10})
    assert main([*asked[:3], "nothing", "--root", str(tmp_path)]) == 2
    assert "--curves: got 'nothing', allowed: a .jsonl" in capsys.readouterr().err


def test_a_world_of_shuffled_curves_has_each_once(curves):
    world = Shuffled(curves, 3)
    found = [world.curve({}, number) for number in range(len(curves))]
    assert found != list(curves)
    assert sorted(map(id, found)) == sorted(map(id, curves))


def test_the_benchmark_measures_rules_on_recorded_curves_and_keeps_what_it_had(tmp_path):
    asked = ["bench", "search", "-o", str(tmp_path), "--seeds", "2", "--settings", "4", "--worlds", "recorded"]
    assert main([*asked, "--rules", "none"]) == 0
    assert main([*asked, "--rules", "rate"]) == 0
    whole, stopped = (Found.of(each) for each in json.loads((tmp_path / "search.json").read_text()))
    assert (whole.key, stopped.rule) == (("spiral, gap 1e-4", "recorded", "random", "none"), "rate")
    assert [(run.trials, run.stopped, run.members_stopped, run.kept) for run in whole.runs] == [(61, 0, 0, 1.0)] * 2
    assert all(run.stopped > 20 and run.trials > 60 and 0.8 < run.kept <= 1 for run in stopped.runs)
    text = (tmp_path / "search.md").read_text()
    assert "| random, rate | 0." in text
    assert (tmp_path / "search.png").stat().st_size > 1000


def test_a_mean_curve_reaches_a_share_where_it_does():
    runs = [Run(1, 0, 600, 1.0, 1, 0, 1.0, ((30.0, 0.2), (60.0, share))) for share in (0.4, 0.8)]
    assert epochs_to(runs, 0.6, 600.0) == pytest.approx(0.1)
    assert epochs_to(runs, 0.2, 600.0) == pytest.approx(0.05)
    assert epochs_to(runs, 0.61, 600.0) == math.inf
