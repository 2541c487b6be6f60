"""What a study knows after a crash, and who may write it."""

import os
import subprocess
import sys
import time

import pytest
from test_search import made_ledger, measured, search

from ndecore.errors import InputError
from reports.records import TrialStatus
from studies.ledger import Ledger, StudyBusy, study_names
from studies.search import propose

HOLD = """
import sys, time
from pathlib import Path
from studies.ledger import Ledger
with Ledger(Path(sys.argv[1])).writing():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_ledger_read_again_says_the_same(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    search(ledger, 12)
    assert Ledger(ledger.folder).record() == ledger.record()
    assert [t.status for t in ledger.record().trials].count(TrialStatus.COMPLETE) == 10


def test_half_a_line_at_the_end_of_a_log_is_dropped(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    search(ledger, 3)
    before = ledger.record()
    for name in ("events.jsonl", "proposals.log"):
        with (ledger.folder / name).open("a") as log:
            log.write('{"half": ')
    assert Ledger(ledger.folder).record() == before
    search(ledger, 1)
    assert len(Ledger(ledger.folder).record().trials) == 4


def test_a_lock_that_optuna_left_in_a_killed_process_is_not_waited_for(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    (ledger.folder / "proposals.log.lock").symlink_to(ledger.folder / "proposals.log")
    began = time.monotonic()
    search(ledger, 1)
    assert time.monotonic() - began < 5


def test_optuna_is_told_later_what_a_killed_process_did_not_tell_it(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    with ledger.writing():
        proposal = propose(ledger)
        ledger.started(proposal.number, proposal.label, proposal.config)
        ledger.epoch(proposal.number, measured(proposal.config))
        ledger._append({"event": "ended", "number": proposal.number, "status": "complete", "reason": ""})
    with ledger.writing():
        (trial,) = (t for t in ledger.proposals.get_trials() if t.number == proposal.number)
    assert trial.state.name == "COMPLETE"
    assert trial.values == list(ledger.trial(proposal.number).values(ledger.spec.objective_metrics))


def test_a_solver_gap_beyond_the_bound_is_a_violated_constraint(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    search(ledger, 20)
    with ledger.writing():
        trials = ledger.proposals.get_trials(deepcopy=False)
    for trial in ledger.record().trials:
        if trial.status is TrialStatus.COMPLETE:
            violated = trials[trial.number].constraints["solver_gap"] > 0
            assert violated is not trial.is_feasible(ledger.spec.max_solver_gap)


def test_an_interrupted_trial_stays_open_and_begins_again_without_its_epochs(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    with ledger.writing():
        proposal = propose(ledger)
        ledger.started(proposal.number, proposal.label, proposal.config)
        ledger.epoch(proposal.number, measured(proposal.config))
        ledger.ended(proposal.number, TrialStatus.INTERRUPTED, "by hand")
        assert [trial.number for trial in ledger.unfinished()] == [proposal.number]
        ledger.started(proposal.number, proposal.label, proposal.config)
        assert ledger.trial(proposal.number).epochs == ()
        ledger.epoch(proposal.number, measured(proposal.config))
        ledger.ended(proposal.number, TrialStatus.COMPLETE)
    assert Ledger(ledger.folder).unfinished() == ()


def test_a_second_writer_is_refused_with_the_name_of_the_first(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    command = [sys.executable, "-c", HOLD, str(ledger.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(StudyBusy, match=rf"'made' is being run by process {holder.pid} on {os.uname().nodename}"):
            search(ledger, 1)
        holder.kill()
    search(ledger, 1)


def test_a_study_that_is_there_is_not_begun_again(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    with pytest.raises(OSError, match="not empty"):
        Ledger.create(ledger.folder, ledger.spec, {})
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["made"]
    assert study_names(tmp_path / "a") == ("made",)


def test_a_study_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    made_ledger(tmp_path / "a")
    with pytest.raises(InputError, match=r"no study 'mode' under .*, there are: made"):
        Ledger(tmp_path / "a" / "mode")


def test_a_long_study_is_recorded_as_fast_as_a_short_one(tmp_path):
    """The record of 1000 trials is made at each epoch: it must cost milliseconds."""
    ledger = made_ledger(tmp_path / "a")
    config = {"rtol": 1e-3, "regularizer": "none"}
    with ledger.writing():
        for number in range(1000):
            ledger.started(number, "", config)
            ledger.epoch(number, measured(config))
        began = time.perf_counter()
        for _ in range(10):
            ledger.record()
        assert (time.perf_counter() - began) / 10 < 0.01
