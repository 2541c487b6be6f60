"""A rule in a real study: Ray's workers are told to stop, and a trial is taken up again."""

import json

import pytest
from command_line import nde_study

from reports.records import TrialStatus
from studies.ledger import Ledger

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STUDY = """
name: halved
task: digits_node
objectives: [accuracy, nfe, train_work]
trials: 12
workers: 2
sampler: random
early_stopping: {rule: successive_halving, eta: 2}
space:
  regularizer: none
  rtol: {log_float: [1e-5, 1e-2]}
  learning_rate: {log_float: [0.02, 0.5]}
fixed: {epochs: 5, batch_size: 512, threads: 1, seed: 0}
"""


def test_a_rule_stops_trials_of_a_real_study_and_they_can_be_taken_up_again(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    ran = nde_study("run", "study.yaml", cwd=tmp_path)
    assert ran.code == 0, ran.err
    folder = tmp_path / "nde-runs" / "halved"
    study = Ledger(folder).record()
    stopped = [trial for trial in study.trials if trial.status is TrialStatus.STOPPED]
    assert len(stopped) >= 3
    assert {trial.status for trial in study.trials} == {TrialStatus.STOPPED, TrialStatus.COMPLETE}
    for trial in stopped:
        assert len(trial.epochs) == trial.stopped_by.epoch < 5
        assert trial.epochs[-1].solver_gap is not None
    assert f"{len(stopped)} trials stopped early" in ran.out
    wrong = nde_study("resume", "halved", "--take-up", "99", cwd=tmp_path)
    assert (wrong.code, "--take-up: got 99, allowed: trials that a rule stopped: " in wrong.err) == (2, True)
    again = nde_study("resume", "halved", "--take-up", stopped[0].number, cwd=tmp_path)
    assert again.code == 0, again.err
    now = Ledger(folder).record()
    assert now.trials[stopped[0].number].status is TrialStatus.COMPLETE
    assert now.trials[stopped[0].number].epochs[: len(stopped[0].epochs)] == stopped[0].epochs
    assert sum(trial.status is TrialStatus.STOPPED for trial in now.trials) == len(stopped) - 1
    shown = json.loads(nde_study("show", "halved", "--json", cwd=tmp_path).out)
    assert shown["trials"] == {"complete": 12 - len(stopped) + 1, "stopped": len(stopped) - 1}
