"""Trials that a rule stops: the contract suite of every rule, on ledgers with curves that are made up."""

import io
import math

import numpy as np
import pytest
from optuna.trial import TrialState
from rich.console import Console
from test_search import HEAD, PLAIN_SPACE, measured

from ndecore.metrics import ACCURACY, COSTS, METRICS
from reports.dominated_region import DominatedRegion
from reports.pareto import front, hypervolume
from reports.records import StoppedBy, TrialStatus
from reports.report_tables import apart_table
from reports.standing import Standing, standings
from reports.vocabulary import metric_names, trial_from_run, trial_tags
from search_spaces.document import parse_document
from search_spaces.problems import SpecError
from studies.bookkeeping import Bookkeeper
from studies.cli.front_table import print_study
from studies.early_stopping import RULES
from studies.early_stopping.base import StoppingRule, rungs
from studies.early_stopping.bound import Bound
from studies.early_stopping.curves import Aims, Curves
from studies.early_stopping.median import Median
from studies.early_stopping.rate import Rate
from studies.early_stopping.successive_halving import SuccessiveHalving
from studies.ledger import Ledger, Origin
from studies.messages import EpochDone, Message
from studies.search import LedgerSearcher
from studies.spec import read_spec

N_EPOCHS = 10
STOPPING = [name for name in RULES if name != "none"]


def spec_with(rule, more=""):
    text = HEAD.format(sampler="random", seed=3) + f"early_stopping: {rule}\nfixed: {{epochs: {N_EPOCHS}}}\n"
    return read_spec(parse_document(text + more + PLAIN_SPACE, "made.yaml"))


def ledger_with(folder, rule, more=""):
    folder.mkdir()
    return Ledger.create(folder / "made", spec_with(rule, more), Origin())


def curve(config, epoch):
    """It learns at the pace of its learning rate, and its NFE grows; where rtol is loose the solver gap is large."""
    end = measured(config)
    part = epoch / N_EPOCHS
    return epoch_of(end, epoch, part, config)


def epoch_of(end, epoch, part, config):
    changes = {
        "epoch": epoch,
        "scores": {"accuracy": 1.0 - 0.9 * math.exp(-20 * config["learning_rate"] * part), "loss": 0.1},
        "nfe": 30.0 * config["rtol"] ** -0.1 * (1 + part),
        "train_work": 1000.0 * epoch * config["rtol"] ** -0.1,
        "solver_gap": 0.5 * config["rtol"] if config else None,
        "is_last": epoch == N_EPOCHS,
    }
    return type(end)(**{**vars(end), **changes})


def run(ledger, n, *, until=math.inf):
    """Run n trials, two at a time, an epoch of each in turn; no more than `until` epochs, and then as if killed."""
    with ledger.writing():
        searcher, books = LedgerSearcher(ledger, lambda: 0.0), Bookkeeper(ledger)
        running, n_done, begun = {}, 0, len(ledger.history.trials)
        while n_done < until:
            while len(running) < 2 and (ledger.history.waiting or begun < n):
                order = searcher.suggest("a")["order"]
                begun = len(ledger.history.trials)
                done = len(ledger.trial(order.number).epochs)
                running[order.number] = iter([curve(order.config, e) for e in range(done + 1, N_EPOCHS + 1)])
            if not running:
                return
            for number in list(running):
                folder = ledger.trial_folder(number)
                record = next(running[number])
                name = f"attempt-1/epoch-{record.epoch:06d}.pt"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).touch()
                n_done += 1
                if books.note(Message(number, EpochDone(record, name), 1.0)):
                    del running[number]


def stops(ledger):
    return {trial.number: trial.stopped_by for trial in ledger.record().trials if trial.stopped_by}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_a_value_with_its_facts(name):
    assert issubclass(RULES[name], StoppingRule)
    assert RULES[name]() == RULES[name]()
    assert RULES.facts(name).needs_gap in (True, False)
    epochs = RULES[name]().looks_at(30)
    assert all(0 < epoch < 30 for epoch in epochs)
    assert all(key.doc for key in RULES.keys_of(name).values())


@pytest.mark.parametrize("name", STOPPING)
def test_a_rule_stops_some_trials_and_none_of_the_front_of_those_that_go_on(name, tmp_path):
    ledger = ledger_with(tmp_path / "a", name)
    run(ledger, 24)
    found = ledger.record()
    ends = [trial.status for trial in found.trials]
    assert 0 < ends.count(TrialStatus.STOPPED) < 24
    assert ends.count(TrialStatus.COMPLETE) == 24 - ends.count(TrialStatus.STOPPED)
    assert all(trial.stopped_by.rule == name for trial in found.trials if trial.status is TrialStatus.STOPPED)
    assert {trial.status for trial in front(found)} == {TrialStatus.COMPLETE}


def test_without_a_rule_every_trial_is_trained_to_its_end(tmp_path):
    ledger = ledger_with(tmp_path / "a", "none")
    run(ledger, 8)
    assert {trial.status for trial in ledger.record().trials} == {TrialStatus.COMPLETE}


@pytest.mark.parametrize(("name", "until"), [*((name, 77) for name in STOPPING), ("rate", 30)])
def test_a_study_that_was_killed_comes_to_the_same_decisions(name, until, tmp_path):
    whole, halves = (ledger_with(tmp_path / each, name) for each in ("whole", "halves"))
    run(whole, 16)
    run(halves, 16, until=until)
    again = Ledger(halves.folder)
    run(again, 16)
    assert stops(again) == stops(whole)
    assert stops(whole)
    assert Ledger(again.folder).record() == again.record()


def test_a_stopped_trial_is_told_to_the_sampler_as_failed_and_shown_apart(tmp_path):
    ledger = ledger_with(tmp_path / "a", "rate")
    run(ledger, 24)
    study, stopped = ledger.record(), set(stops(ledger))
    with ledger.writing():
        told = {t.number for t in ledger.proposals.get_trials() if t.state is TrialState.FAIL}
    assert told == stopped == {n for n, place in standings(study).items() if place is Standing.STOPPED}
    output = io.StringIO()
    print_study(study, Console(file=output, width=200))
    assert "stopped by rate after epoch 1: " in output.getvalue()
    assert "of 30 trials" in output.getvalue()
    reasons = [row[-1].text for row in apart_table(study).rows]
    assert any(text.startswith("rate after epoch 1: hypervolume gain per epoch left") for text in reasons)


def test_what_stopped_a_trial_survives_the_way_to_mlflow_and_back(tmp_path):
    ledger = ledger_with(tmp_path / "a", "median")
    run(ledger, 20)
    number, by = next(iter(stops(ledger).items()))
    trial = ledger.trial(number)
    again = trial_from_run(trial_tags(trial, "digits_node"), metric_names(trial.epochs[-1]))
    assert (again.stopped_by, again.status) == (by, TrialStatus.STOPPED)
    assert isinstance(by, StoppedBy)


def test_a_stopped_trial_is_taken_up_again_from_its_checkpoint_and_not_stopped_twice(tmp_path):
    ledger = ledger_with(tmp_path / "a", "rate")
    run(ledger, 24)
    before = stops(ledger)
    number = next(iter(before))
    epochs = ledger.trial(number).epochs
    with ledger.writing([number]):
        searcher = LedgerSearcher(ledger, lambda: 0.0)
        order = searcher.suggest("a")["order"]
        assert (order.number, order.checkpoint.name) == (number, f"epoch-{len(epochs):06d}.pt")
    run(ledger, 24)
    trial = ledger.trial(number)
    assert (trial.status, trial.stopped_by, trial.epochs[: len(epochs)]) == (TrialStatus.COMPLETE, None, epochs)
    assert stops(ledger).keys() == before.keys() - {number}
    assert not ledger.record().repairs
    with ledger.writing():
        assert ledger.proposals.get_trials()[number].state is TrialState.COMPLETE
    assert Ledger(ledger.folder).record() == ledger.record()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("ratee", "early_stopping: got 'ratee', allowed: a rule, none, rate, .*did you mean 'rate'"),
        ("{rule: rate, share: -1}", "early_stopping.share: got -1, allowed: a finite number >= 0"),
        (
            "{rule: rate, sharee: 1}",
            "early_stopping.sharee: got the unknown key 'sharee', allowed: rule, share, ",
        ),
        ("{share: 1}", "early_stopping: got .*, allowed: a rule, none"),
        ("3", "early_stopping: got 3, allowed: a rule, none"),
    ],
)
def test_a_rule_that_is_none_is_refused_in_one_line(rule, message):
    with pytest.raises(SpecError, match=message) as caught:
        spec_with(rule)
    assert len(caught.value.problems) == 1


def test_a_rule_of_the_user_s_own_file_is_read_and_written_out(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\nfrom typing import Annotated\n"
        "from studies.early_stopping.base import StoppingRule, Verdict\n\n\n"
        "@dataclass(frozen=True)\nclass Mine(StoppingRule):\n"
        '    after: Annotated[int, "An epoch."] = 3\n    needs_gap = False\n    figure = "nothing"\n\n'
        "    def looks_at(self, n_epochs):\n        return (self.after,)\n\n"
        "    def judge(self, curves, number, epoch):\n        return Verdict(0.0, 1.0) if number % 2 else None\n"
    )
    ledger = ledger_with(tmp_path / "a", f"{{rule: {tmp_path / 'mine.py'}, after: 4}}")
    assert ledger.spec.early_stopping.rule == "code/mine.py"
    run(ledger, 6)
    assert {number: by.epoch for number, by in stops(ledger).items()} == {1: 4, 3: 4, 5: 4}


def test_the_solver_gap_is_estimated_where_the_rule_looks_or_after_every_epoch(tmp_path):
    asked = {"rate": (1, 3, 5), "none": (), "median": ()}
    for i, (more, rule) in enumerate([*(("", rule) for rule in asked), ("epoch_gaps: true\n", "none")]):
        ledger = ledger_with(tmp_path / str(i), rule, more)
        with ledger.writing():
            order = LedgerSearcher(ledger, lambda: 0.0).suggest("a")["order"]
        assert order.gap_epochs == (tuple(range(1, N_EPOCHS)) if more else asked[rule])


def test_a_spec_with_a_rule_is_written_out_and_read_as_the_same():
    spec = spec_with("{rule: bound, share: 0.2}")
    assert read_spec(parse_document(spec.to_yaml(), "made.yaml")).early_stopping == spec.early_stopping
    assert spec.to_data()["early_stopping"] == {"rule": "bound", "share": 0.2}
    assert spec_with("none").to_data()["early_stopping"] == {"rule": "none"}


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_gains_over_a_region_are_differences_of_hypervolumes(m):
    generator = np.random.default_rng(m)
    points, others, reference = generator.random((12, m)), generator.random((20, m)) * 1.2, np.full(m, 1.1)
    region = DominatedRegion(points, reference)
    whole = hypervolume(points, reference)
    assert region.volume == pytest.approx(whole)
    expected = [hypervolume(np.vstack([points, other]), reference) - whole for other in others]
    np.testing.assert_allclose(region.gains(others), expected, atol=1e-12)
    np.testing.assert_allclose(
        DominatedRegion(points[:0], reference).gains(others[:1]), np.prod(np.maximum(1.1 - others[:1], 0), axis=1)
    )


AIMS = Aims((ACCURACY, METRICS["nfe"]), 1e-2)


def made_curves(ends, now, gap=1e-3):
    """Complete trials with (accuracy, nfe) at epochs 1 and 10, and one more, 99, that stands at `now` after epoch 1."""
    curves = Curves(AIMS)
    for number, (first, last) in enumerate(ends):
        curves.begin(number, N_EPOCHS)
        curves.add(number, record(1, *first, gap))
        curves.add(number, record(N_EPOCHS, *last, gap))
        curves.complete(number)
    curves.begin(99, N_EPOCHS)
    curves.add(99, record(1, *now, gap))
    return curves


def record(epoch, accuracy, nfe, gap=1e-3):
    end = measured({"rtol": 1e-3, "regularizer": "none"})
    changes = {"epoch": epoch, "scores": {"accuracy": accuracy}, "nfe": nfe, "solver_gap": gap}
    return type(end)(**{**vars(end), **changes})


# Every trial gains 0.2 in accuracy and a factor of 2 in NFE.
ENDS = [((0.5, 10.0 * 2**i), (0.7, 20.0 * 2**i)) for i in range(5)]


def test_the_rate_is_the_predicted_gain_in_hypervolume_per_epoch_left():
    curves = made_curves(ENDS, (0.6, 10.0))
    # The complete ones reach from NFE 20 to 320, all of accuracy 0.7, and it ends at 0.8 and 20: the box
    # is from there to the worst, and a tenth beyond; of its height in accuracy the others have the last tenth.
    found = Rate().judge(curves, 99, 1)
    assert found.figure == pytest.approx(1.0 * 1.1 / 9)
    assert found.bound == pytest.approx(0.5 * 1.0 * 1.1 / 6 / 10)  # the five complete ones promise nothing new
    assert not found.stops
    curves.begin(98, N_EPOCHS)
    curves.add(98, record(1, 0.5, 41.0))
    assert Rate().judge(curves, 98, 1).figure == 0.0
    assert Rate().judge(curves, 98, 1).stops


def test_a_trial_that_is_predicted_to_miss_a_bound_gains_nothing():
    curves = made_curves(ENDS, (0.6, 10.0))
    curves.add(99, record(1, 0.6, 10.0, gap=0.02))
    assert Rate().judge(curves, 99, 1).figure == 0.0
    assert Bound().judge(curves, 99, 1).figure == 0.0


def test_the_bound_is_the_share_of_predicted_ends_that_nothing_dominates():
    ends = [*ENDS[:4], ((0.5, 10.0), (0.9, 40.0))]
    assert Bound().judge(made_curves(ends, (0.5, 10.1)), 99, 1).figure == 0.0
    assert Bound().judge(made_curves(ends, (0.52, 9.9)), 99, 1).figure == 1.0
    # 0.7 + 0.15 at NFE 40 is dominated by 0.9 at 40, and 1 (not 1.05) at 80 is not.
    assert Bound().judge(made_curves(ends, (0.65, 20.1)), 99, 1).figure == pytest.approx(1 / 5)


def test_no_rule_stops_before_it_has_something_to_compare_with():
    curves = made_curves(ENDS[:1], (0.1, 1000.0), gap=1.0)
    for name in STOPPING:
        assert RULES[name]().judge(curves, 99, 1) is None


def test_the_median_rule_stops_what_is_worse_in_every_objective():
    assert Median().judge(made_curves(ENDS, (0.4, 50.0)), 99, 1).stops
    assert not Median().judge(made_curves(ENDS, (0.4, 30.0)), 99, 1).stops
    assert not Median().judge(made_curves(ENDS, (0.6, 500.0)), 99, 1).stops


def test_successive_halving_prefers_feasible_trials_and_then_ranks():
    spread = [((0.5 + 0.05 * i, 10.0 * 2**i), (0.7, 20.0)) for i in range(5)]
    halving = SuccessiveHalving()
    assert not halving.judge(made_curves(spread, (0.9, 5.0)), 99, 1).stops
    assert halving.judge(made_curves(spread, (0.1, 500.0)), 99, 1).stops
    infeasible = made_curves(spread, (0.9, 5.0))
    infeasible.add(99, record(1, 0.9, 5.0, gap=0.1))
    assert halving.judge(infeasible, 99, 1).figure == pytest.approx(2 / 6)


def test_rungs_are_whole_epochs_before_the_last():
    assert rungs(30, (0.1, 0.3, 0.5)) == (3, 9, 15)
    assert rungs(2, (0.1, 0.3, 0.5)) == (1,)
    assert rungs(1, (0.1, 0.5)) == ()
    assert SuccessiveHalving().looks_at(30) == (3, 9, 27)


def test_costs_count_by_their_logarithm_and_what_may_be_negative_does_not():
    curves = made_curves(ENDS, (0.6, 10.0))
    assert {"nfe"} <= set(COSTS)
    np.testing.assert_allclose(curves.at([99], 1), [[-0.6, math.log(10.0), math.log(1e-3)]])
