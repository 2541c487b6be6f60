"""What a study knows after a crash, and who may write it."""

import errno
import os
import subprocess
import sys
import time
import timeit
from dataclasses import replace

import pytest
from test_search import made_ledger, measured, search

from ndecore.errors import InputError
from reports.records import TrialStatus
from studies.event_log import LedgerUnwritable
from studies.events import Ended, Placement, Rerun
from studies.ledger import Ledger, Origin, study_names
from studies.locks import StudyBusy
from studies.search import propose
from studies.trial_files import write_whole

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


SUMS = """
space:
  regularizer: {choice: [steer+error, error]}
  agg: {choice: [mean, sum]}
  spread: {float: [0.1, 0.5], when: {regularizer: steer+error}}
  schedule: {choice: [constant, exponential]}
  weight: {log_float: [1, 1000]}
  weight_end: {log_float: [1, 1000], when: {schedule: exponential}}
  rtol: {log_float: [1e-6, 1e-2]}
"""


def test_a_study_of_sums_of_regularizers_is_opened_again_as_it_was(tmp_path):
    ledger = made_ledger(tmp_path / "a", "random", more=SUMS)
    search(ledger, 8)
    assert any("error.agg" in trial.config for trial in ledger.record().trials)
    assert any("agg" in trial.config for trial in ledger.record().trials)
    with Ledger(ledger.folder).writing() as again:
        assert not again.record().repairs
        assert len(again.proposals.get_trials()) == 8


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
        constraints = {"diverged": 0.0, "solver_gap": -0.009}
        ledger._append(Ended(proposal.number, TrialStatus.COMPLETE, constraints=constraints))
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
            assert trials[trial.number].constraints == ledger.history.constraints[trial.number]


def begun(ledger, n_epochs, checkpoints):
    """A trial that has trained so many epochs, with checkpoints after some of them."""
    proposal = propose(ledger)
    attempt = ledger.started(proposal.number, proposal.label, proposal.config)
    for epoch in range(1, n_epochs + 1):
        name = f"{attempt.folder.name}/epoch-{epoch}.pt" if epoch in checkpoints else ""
        if name:
            write_whole(ledger.trial_folder(proposal.number) / name, b"state")
        ledger.epoch(proposal.number, replace(measured(proposal.config), epoch=epoch, is_last=False), name, 0.5)
    return proposal, attempt


@pytest.mark.parametrize("ending", ["by hand", "killed"])
def test_an_unfinished_trial_goes_on_from_its_last_checkpoint_in_a_folder_of_its_own(ending, tmp_path):
    ledger = made_ledger(tmp_path / "a")
    with ledger.writing():
        proposal, first = begun(ledger, 5, {2, 4})
        if ending == "by hand":
            ledger.interrupted(proposal.number, "by hand")
    again = Ledger(ledger.folder)
    with again.writing():
        assert [trial.number for trial in again.unfinished()] == [proposal.number]
        assert again.proposals.get_trials()[proposal.number].state.name == "RUNNING"
        second = again.started(proposal.number, proposal.label, proposal.config)
        assert second.checkpoint == first.folder / "epoch-4.pt"
        assert second.folder != first.folder
        assert second.worker_s == 2.5
        assert [epoch.epoch for epoch in again.trial(proposal.number).epochs] == [1, 2, 3, 4]
        again.epoch(proposal.number, replace(measured(proposal.config), epoch=5))
        again.ended(proposal.number, TrialStatus.COMPLETE)
    assert Ledger(ledger.folder).unfinished() == ()
    assert not list(ledger.trial_folder(proposal.number).glob("attempt-*"))


def test_a_checkpoint_that_is_gone_is_passed_over(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    with ledger.writing():
        proposal, first = begun(ledger, 5, {2, 4})
        (first.folder / "epoch-4.pt").unlink()
        ledger.interrupted(proposal.number, "by hand")
        assert ledger.started(proposal.number, "", proposal.config).checkpoint == first.folder / "epoch-2.pt"


def test_a_trial_whose_last_epoch_had_come_is_complete(tmp_path):
    """Its driver was killed between that and the word that it had ended."""
    ledger = made_ledger(tmp_path / "a")
    with ledger.writing():
        proposal, attempt = begun(ledger, 1, {})
        write_whole(attempt.folder / "weights.pt", b"weights")
        ledger.epoch(proposal.number, replace(measured(proposal.config), epoch=2))
    with ledger.writing():
        assert ledger.trial(proposal.number).status is TrialStatus.COMPLETE
        assert ledger.proposals.get_trials()[proposal.number].state.name == "COMPLETE"
    assert ledger.weights_path(proposal.number).read_bytes() == b"weights"


def test_a_full_disk_leaves_the_log_whole(tmp_path, monkeypatch):
    ledger = made_ledger(tmp_path / "a")
    with ledger.writing():
        proposal = propose(ledger)
        before = (ledger.folder / "events.jsonl").read_bytes()
        whole = os.write
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda file, line: full(whole, file, line))
            with pytest.raises(LedgerUnwritable, match=r"No space left.*nde-study resume"):
                ledger.started(proposal.number, proposal.label, proposal.config)
        assert (ledger.folder / "events.jsonl").read_bytes() == before
        ledger.started(proposal.number, proposal.label, proposal.config)


def full(write, file, line):
    write(file, line[:10])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_longer_run_of_a_trial_is_a_new_trial_with_a_parent(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    search(ledger, 4)
    with ledger.writing():
        ledger.rerun(2, {"epochs": 200})
    with Ledger(ledger.folder).writing() as again:
        proposal = propose(again)
        again.started(proposal.number, proposal.label, proposal.config, proposal.parent)
    parent = ledger.trial(2)
    assert (proposal.number, proposal.parent) == (4, 2)
    assert proposal.config == {**parent.config, "epochs": 200}
    assert Ledger(ledger.folder).trial(4).parent == 2
    assert Ledger(ledger.folder).n_trials == ledger.spec.trials + 1


def test_a_rerun_that_a_killed_driver_had_not_entered_yet_is_run_all_the_same(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    search(ledger, 4)
    with ledger.writing():
        ledger._append(Rerun(2, {"epochs": 9}))
    with ledger.writing():
        assert propose(ledger).parent == 2


def test_trials_that_share_a_device_at_some_time_are_packed(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    with ledger.writing():
        proposals = []
        for device, since in (("n/0", 1.0), ("n/1", 1.0), ("n/0", 2.0)):
            proposals.append(propose(ledger))
            ledger.started(proposals[-1].number, "", proposals[-1].config)
            ledger.placed(proposals[-1].number, Placement("n", device, since, 0.1))
    assert [ledger.trial(p.number).packed for p in proposals] == [True, False, True]
    assert Ledger(ledger.folder).record() == ledger.record()


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
        Ledger.create(ledger.folder, ledger.spec, Origin())
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
        assert min(timeit.repeat(ledger.record, number=1, repeat=10)) < 0.01
