"""When a study ends before all its trials are run; on ledgers that are made up."""

import time
from dataclasses import replace

import numpy as np
import pytest
from test_search import PLAIN_SPACE, made_ledger, measured

from reports.records import Cause, Stop, StopRule, TrialStatus
from studies.events import Closed, Entry, Opened
from studies.search import LedgerSearcher, propose
from studies.stopping import fixed_reference, stop_reason


def ended(ledger, status=TrialStatus.COMPLETE, reason="", worker_s=0.0, cause=Cause.NONE, **values):
    proposal = propose(ledger)
    ledger.started(proposal.number, proposal.label, proposal.config)
    if status is TrialStatus.COMPLETE:
        ledger.epoch(proposal.number, replace(measured(proposal.config), solver_gap=1e-4, **values))
    ledger.ended(proposal.number, status, reason, cause, worker_s)
    return proposal.number


def reason(ledger):
    stop = stop_reason(ledger.spec, ledger.history, ledger.record())
    return "" if stop is None else str(stop)


def ledger_with(folder, stop):
    return made_ledger(folder, "random", more=f"stop: {stop}\n{PLAIN_SPACE}")


def test_trials_that_fail_in_a_row_with_one_error_end_the_study_with_it_in_front(tmp_path):
    ledger = ledger_with(tmp_path / "a", "{same_error: 3}")
    with ledger.writing():
        for error in ("E: other", "E: no file", "E: no file"):
            ended(ledger, TrialStatus.FAILED, error)
        assert reason(ledger) == ""
        ended(ledger, TrialStatus.FAILED, "E: no file")
        assert reason(ledger) == "E: no file (3 trials failed in a row)"
        ledger.opened()  # it was mended
        ended(ledger, TrialStatus.FAILED, "E: no file")
        assert reason(ledger) == ""


def test_trials_that_diverge_in_a_row_do_not_end_a_study(tmp_path):
    ledger = ledger_with(tmp_path / "a", "{same_error: 2}")
    with ledger.writing():
        for _ in range(6):
            ended(ledger, TrialStatus.DIVERGED, "NON_FINITE: the same")
        assert reason(ledger) == ""


def test_three_trials_that_are_not_finite_before_their_first_update_end_a_study(tmp_path):
    ledger = ledger_with(tmp_path / "a", "{same_error: 5}")
    with ledger.writing():
        numbers = [ended(ledger, TrialStatus.DIVERGED, f"loss nan: {w}", cause=Cause.FIRST_STEP) for w in "abb"]
        assert reason(ledger) == ""
        numbers.append(ended(ledger, TrialStatus.DIVERGED, "loss nan: b", cause=Cause.FIRST_STEP))
        assert reason(ledger) == "loss nan: b (3 trials failed in a row)"
        assert ledger.failed == tuple(numbers)


def test_a_study_ends_by_the_hours_of_its_sessions_alone(tmp_path):
    ledger = ledger_with(tmp_path / "a", "{hours: 1}")
    history, begin = ledger.history, time.time()
    for event, hour in ((Opened(), 1.0), (Closed(), 1.5), (Opened(), 20.0), (Closed(), 20.4)):
        history.apply(Entry(begin + 3600 * hour, event))
    assert history.elapsed_s == pytest.approx(0.9 * 3600, abs=5)
    assert reason(ledger) == ""
    history.apply(Entry(begin + 3600 * 30, Opened()))
    history.apply(Entry(begin + 3600 * 30.2, Closed()))
    assert reason(ledger) == "it has run for 1 hours"


def test_a_study_ends_by_the_hours_of_its_devices(tmp_path):
    ledger = ledger_with(tmp_path / "a", "{device_hours: 1}\nresources: {cpu: 2}")
    with ledger.writing():
        ended(ledger, worker_s=1700.0)
        assert reason(ledger) == ""
        ended(ledger, worker_s=100.0)
        assert reason(ledger) == "its trials have taken 1 device-hours"


def test_a_study_ends_when_its_hypervolume_has_been_flat(tmp_path):
    ledger = ledger_with(tmp_path / "a", "{flat_trials: 5}")
    with ledger.writing():
        for i in range(9):
            ended(ledger, nfe=100.0 - i, scores={"accuracy": 0.5 + 0.01 * i})
        for _ in range(4):
            ended(ledger, nfe=200.0, scores={"accuracy": 0.1})
        assert reason(ledger) == ""
        ended(ledger, TrialStatus.DIVERGED)
        assert reason(ledger) == "the hypervolume has been flat for 5 trials"
        ended(ledger, nfe=10.0, scores={"accuracy": 0.9})
        assert reason(ledger) == ""


def test_the_reference_is_beyond_the_worst_in_every_objective():
    costs = np.array([[1.0, 5.0, 0.0], [3.0, 5.0, 0.0]])
    assert (fixed_reference(costs) > costs.max(axis=0)).all()
    assert fixed_reference(costs)[0] == pytest.approx(3.2)


def test_nothing_more_is_handed_out_once_the_study_should_end_and_what_runs_is_waited_for(tmp_path):
    ledger = ledger_with(tmp_path / "a", "{same_error: 2}")
    with ledger.writing():
        searcher = LedgerSearcher(ledger, lambda: 0.0)
        first = searcher.suggest("a")
        for _ in range(2):
            number = searcher.suggest("b")["order"].number
            ledger.ended(number, TrialStatus.FAILED, "E: bug", Cause.ERROR)
        assert searcher.suggest("c") is None
        assert ledger.record().stopped == Stop(StopRule.SAME_ERROR, 2, "E: bug")
        ledger.ended(first["order"].number, TrialStatus.FAILED, "E: bug", Cause.ERROR)
        assert searcher.suggest("c") == searcher.FINISHED
        assert ledger.is_finished


def test_a_trial_that_comes_back_is_handed_out_before_a_new_one(tmp_path):
    ledger = ledger_with(tmp_path / "a", "{hours: 1}")
    with ledger.writing():
        searcher = LedgerSearcher(ledger, lambda: 0.0)
        first, second = searcher.suggest("a"), searcher.suggest("b")
        ledger.interrupted(first["order"].number, "its worker died", lost=True)
        again = searcher.suggest("c")
        assert again["order"].number == first["order"].number
        assert again["order"].folder != first["order"].folder
        assert searcher.suggest("d")["order"].number == second["order"].number + 1
