"""The front once more with new seeds: what is trained, what is kept, and what a second call leaves alone."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from command_line import kill, nde_study, of_kind, start, until
from trained_study import trained_ledger

from ndecore.errors import InputError, TrainingDiverged
from ndecore.evaluation import evaluate
from ndecore.training import TrainState, train
from reports.confirmed import confirmed_seeds, confirmed_study, published_study
from reports.pareto import front
from reports.records import Cause, Deployment, TrialStatus
from studies.build import build
from studies.cli import main
from studies.confirmation import confirm, new_seeds, trials_that_matter
from studies.events import Closed, Confirming, Created, Definition, Entry, Swept
from studies.history import History
from studies.ledger import Ledger
from studies.run import sync_study


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    return trained_ledger(tmp_path_factory.mktemp("searched"))


@pytest.fixture
def ledger(searched, tmp_path):
    shutil.copytree(searched.folder, tmp_path / "made")
    return Ledger(tmp_path / "made")


def confirmed(ledger, n_seeds):
    told = []
    with ledger.writing():
        confirm(ledger, n_seeds, told.append)
    return told


@pytest.fixture(scope="module")
def once(searched, tmp_path_factory):
    """The study confirmed with one seed, and what was told on the way."""
    before = torch.get_num_threads()
    folder = tmp_path_factory.mktemp("confirmed") / "made"
    shutil.copytree(searched.folder, folder)
    ledger = Ledger(folder)
    told = confirmed(ledger, 1)
    torch.set_num_threads(before)
    return ledger, told


def test_the_front_and_the_baseline_are_trained_with_seeds_that_the_search_had_not(searched, once):
    ledger, told = once
    wanted = [trial.number for trial in trials_that_matter(searched.record())]
    assert 0 in wanted  # vanilla, on the front or not
    assert [(e["found"]["trial"], e["found"]["seed"]) for e in of_kind(ledger.folder, "confirmed")] == [
        (n, 1) for n in wanted
    ]
    assert new_seeds(searched.record(), 2) == (1, 2)
    assert [each.n_done for each in told if each.found] == list(range(1, len(wanted) + 1))
    assert Ledger(ledger.folder).record() == ledger.record()


def test_what_a_seed_says_is_measured_on_the_test_split(once, threads_restored):
    ledger, _ = once
    found = next(c for c in ledger.record().confirmations if c.trial == 0)
    plan = build("digits_node", {**ledger.trial(0).config, "seed": 1})
    state = TrainState(plan)
    (*_, record) = train(plan, state)
    test = evaluate(plan.task, state.model, plan.task.source(plan.task.splits().test), plan.settings, 360)
    assert found.test.scores == test.scores
    assert (found.test.nfe, found.test.train_work) == (test.nfe, record.train_work)
    assert found.validation["accuracy"] == record.scores["accuracy"]
    assert found.test.scores != record.scores
    assert found.calibration_s > 0


class Enough(Exception):
    """The call is over."""


def test_a_second_call_goes_on_where_the_first_stopped(ledger, threads_restored):
    def stop(standing):
        if standing.n_done == 1 and standing.epoch:
            raise Enough

    with pytest.raises(Enough), ledger.writing():
        confirm(ledger, 1, stop)
    n = len(ledger.history.confirming)
    assert len(ledger.history.confirmations) == 1
    assert confirmed_study(ledger.record()) is None
    assert published_study(ledger.record()) == ledger.record()
    told = confirmed(Ledger(ledger.folder), 1)
    assert len([each for each in told if each.found]) == n - 1
    assert told[0].n_done == 1
    again = Ledger(ledger.folder)
    assert confirmed_seeds(again.record()) == (1,)
    assert confirmed(again, 1) == []
    assert len(of_kind(ledger.folder, "confirmed")) == n
    assert len(of_kind(ledger.folder, "confirming")) == 1


def test_a_seed_with_which_training_diverges_is_told_as_such(ledger, monkeypatch, threads_restored):
    def diverge(plan, state):
        raise TrainingDiverged("loss nan in epoch 1: not finite")
        yield

    monkeypatch.setattr("studies.confirmation.train", diverge)
    confirmed(ledger, 1)
    (first, *_) = ledger.record().confirmations
    assert (first.status, first.cause, first.test) == (TrialStatus.DIVERGED, Cause.NOT_FINITE, None)
    assert {t.status for t in confirmed_study(ledger.record()).trials} == {TrialStatus.DIVERGED}


def test_a_trial_is_judged_as_it_is_deployed(ledger, threads_restored):
    def stop(standing):
        if standing.found:
            raise Enough

    number = trials_that_matter(ledger.record())[0].number
    with ledger.writing():
        way = Deployment("bosh3", 1e-1, 1e-1)
        ledger.history.trials[number] = replace(ledger.trial(number), deployment=way)
        with pytest.raises(Enough):
            confirm(ledger, 1, stop)
    (found,) = ledger.record().confirmations
    assert found.trial == number
    assert found.test.nfe == 2 + 3 * (found.test.accepted + found.test.rejected)  # bosh3 takes three a step


def test_what_comes_after_the_search_takes_none_of_its_hours():
    history = History()
    study = Definition("made", "digits_node", (), (), (), 0.01, 1)
    for time_s, event in (
        (100.0, Created("an id", study)),
        (160.0, Closed()),
        (9000.0, Confirming((1,))),
        (9900.0, Swept(1, ())),
    ):
        history.apply(Entry(time_s, event))
    assert history.elapsed_s == 60.0


def test_a_study_without_a_front_is_not_confirmed(ledger):
    with ledger.writing():
        ledger.history.trials.clear()
        with pytest.raises(InputError, match="has no front"):
            confirm(ledger, 1, lambda _: None)


@pytest.mark.parametrize("command", ["confirm", "sweep"])
@pytest.mark.parametrize("name", ["mode", "../made", ".", "/"])
def test_a_name_is_looked_up_and_never_a_path(command, name, ledger, capsys):
    assert main([command, name, "--root", str(ledger.folder.parent)]) == 2
    assert f"no study {name!r}" in capsys.readouterr().err


def test_a_study_that_is_being_run_is_not_confirmed(ledger, capsys):
    with ledger.writing():
        assert main(["confirm", "made", "--root", str(ledger.folder.parent)]) == 1
    assert "is being run by process" in capsys.readouterr().err


@pytest.mark.cluster
def test_the_command_tells_means_with_intervals_and_publishes_them(small_copy, capsys, threads_restored):
    sync_study("small", small_copy, f"sqlite:///{small_copy}/mlflow.db")
    args = ["confirm", "small", "--seeds", "2", "--root", str(small_copy)]
    assert main(args) == 0
    out = capsys.readouterr().out
    study = Ledger(small_copy / "small").record()
    assert f" of {len(study.confirming)} trials, with 2 new seeds each, on the test split." in out
    assert ("◆ knee" in out) is bool(front(confirmed_study(study)))
    assert "±" in out
    assert main([*args, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["trial"] for row in rows} == set(study.confirming)
    assert all(row["intervals"]["nfe"]["n"] == 2 for row in rows)
    assert Ledger(small_copy / "small").is_tracked


@pytest.mark.slow
def test_a_confirmation_that_is_killed_halfway_loses_one_training(ledger):
    root = ledger.folder.parent
    process = start("confirm", "made", "--seeds", "3", "--root", root, cwd=root)
    until(lambda: len(of_kind(ledger.folder, "confirmed")) >= 2, process)
    kill(process)
    process.communicate()
    before = of_kind(ledger.folder, "confirmed")
    ended = nde_study("confirm", "made", "--seeds", "3", "--root", root, cwd=root)
    after = of_kind(ledger.folder, "confirmed")
    assert after[: len(before)] == before
    n = 3 * len(Ledger(ledger.folder).history.confirming)
    assert len(after) == n
    assert len({(event["found"]["trial"], event["found"]["seed"]) for event in after}) == n
    assert f"[{len(before) + 1}/{n}]" in ended.out
    assert f"[{len(before)}/{n}]" not in ended.out
    config = {**ledger.trial(0).config, "seed": 3}
    torch.set_num_threads(1)
    (*_, record) = train(build("digits_node", config))
    told = next(event for event in after if (event["found"]["trial"], event["found"]["seed"]) == (0, 3))
    assert told["found"]["validation"]["nfe"] == record.nfe
