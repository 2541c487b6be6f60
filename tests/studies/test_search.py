"""What is proposed: a function of the seed, the number and the ledger; the contract suite of every sampler."""

import itertools
import math
from collections import Counter

import pytest
from optuna.samplers import BaseSampler

from ndecore.metrics import EpochRecord
from reports.pareto import front
from reports.records import Cause, TrialStatus
from search_spaces.document import parse_document
from studies.grid import grid_size
from studies.ledger import Ledger, Origin
from studies.search import propose
from studies.spec import read_spec
from studies.spec_search import SAMPLERS

HEAD = """
name: made
task: digits_node
trials: 30
objectives: [accuracy, nfe, train_work]
sampler: {sampler}
seed: {seed}
"""
START = """
space: error_penalties
start_from:
  - {preset: vanilla, learning_rate: 0.1, rtol: 1e-4, solver: bosh3, controller: pi, adjoint: interpolating}
  - {preset: er-code, learning_rate: 0.1, rtol: 1e-4, solver: tsit5, controller: i, adjoint: tape, momentum: 0.5}
"""
PLAIN_SPACE = """
space:
  regularizer: none
  rtol: {log_float: [1e-6, 1e-2]}
  learning_rate: {log_float: [0.02, 0.5]}
"""

# Conditional, and of 45 configs: 3 x 3 without a penalty, four times that with one.
GRID_SPACE = """
space:
  regularizer: {choice: [none, error]}
  schedule: {choice: [constant, exponential], when: {regularizer: error}}
  weight: {log_float: [1, 1000], when: {regularizer: error}}
  weight_end: {fixed: 1, when: {schedule: exponential}}
  rtol: {log_float: [1e-6, 1e-2]}
  learning_rate: {log_float: [0.02, 0.5]}
"""


def made_ledger(folder, sampler="tpe", seed=0, more=None):
    folder.mkdir()
    more = more or (GRID_SPACE if sampler == "grid" else START)
    text = HEAD.format(sampler=sampler, seed=seed) + more
    return Ledger.create(folder / "made", read_spec(parse_document(text, "made.yaml")), Origin())


def measured(config):
    """An objective made up from the config: loose and penalised is cheap, tight is accurate."""
    cost = -(config["rtol"] ** 0.1) + 1.0 + 0.1 * (config["regularizer"] == "none")
    work = dict.fromkeys(("accepted", "rejected", "nfe_train", "accepted_train", "rejected_train"), 1.0)
    return EpochRecord(
        epoch=30,
        scores={"accuracy": 1.0 - config["rtol"], "loss": 0.1},
        train_loss=0.1,
        penalty=0.0,
        weight=0.0,
        nfe=cost,
        train_s=1.0,
        predict_s=1.0,
        train_work=1000 * cost,
        solver_gap=10 * config["rtol"],
        is_last=True,
        **work,
    )


def search(ledger, n):
    """Propose and measure n trials, one after another; every seventh diverges, every ninth fails."""
    proposals = []
    with ledger.writing():
        for _ in range(n):
            proposal = propose(ledger)
            ledger.started(proposal.number, proposal.label, proposal.config)
            if proposal.number % 7 == 6:
                ledger.ended(proposal.number, TrialStatus.DIVERGED, "made to")
            elif proposal.number % 9 == 8:
                ledger.ended(proposal.number, TrialStatus.FAILED, "made to")
            else:
                ledger.epoch(proposal.number, measured(proposal.config))
                ledger.ended(proposal.number, TrialStatus.COMPLETE)
            proposals.append(proposal)
    return proposals


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_is_made_from_its_seed_alone(name):
    spec = read_spec(parse_document(HEAD.format(sampler=name, seed=0) + GRID_SPACE, "made.yaml"))
    assert isinstance(SAMPLERS[name](7, spec), BaseSampler)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_proposes_configs_of_a_conditional_space(name, tmp_path):
    ledger = made_ledger(tmp_path / "a", name)
    proposals = search(ledger, 24)
    space = ledger.spec.space
    for proposal in proposals:
        assert space.contains({key: value for key, value in proposal.config.items() if key in space.keys})
    assert len({str(proposal.config) for proposal in proposals}) > 20
    assert len({proposal.config["regularizer"] for proposal in proposals}) >= (2 if name == "grid" else 4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_same_seed_proposes_the_same_and_another_does_not(name, tmp_path):
    first, again, other = (search(made_ledger(tmp_path / str(i), name, seed), 20) for i, seed in enumerate((0, 0, 1)))
    assert first == again
    pairs = itertools.islice(zip(first, other, strict=True), 2, None)
    assert sum(a.config == b.config for a, b in pairs) <= (3 if name == "grid" else 0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(name, tmp_path):
    whole = search(made_ledger(tmp_path / "whole", name), 20)
    halves = search(made_ledger(tmp_path / "halves", name), 11)
    halves += search(Ledger(tmp_path / "halves" / "made"), 9)
    assert halves == whole
    assert [proposal.number for proposal in halves] == list(range(20))


def test_start_configs_are_proposed_first_whole_and_labelled(tmp_path):
    first, second, third = search(made_ledger(tmp_path / "a"), 3)
    assert (first.label, second.label, third.label) == ("vanilla", "er-code", "")
    assert (first.config["regularizer"], first.config["controller"]) == ("none", "pi")
    assert (second.config["weight"], second.config["weight_end"]) == (100.0, 10.0)
    assert (second.config["momentum"], third.config["momentum"]) == (0.5, 0.9)


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
def test_proposals_avoid_where_trials_diverged(sampler, tmp_path):
    """Half of the space diverges; of the last 40 of 100 proposals at most a quarter fall there."""
    ledger = made_ledger(tmp_path / "a", sampler, more=PLAIN_SPACE)
    with ledger.writing():
        for _ in range(100):
            proposal = propose(ledger)
            ledger.started(proposal.number, proposal.label, proposal.config)
            if proposal.config["learning_rate"] > 0.1:
                ledger.ended(proposal.number, TrialStatus.DIVERGED, "made to", Cause.NOT_FINITE)
            else:
                ledger.epoch(proposal.number, measured(proposal.config))
                ledger.ended(proposal.number, TrialStatus.COMPLETE)
    last = ledger.record().trials[-40:]
    assert sum(trial.status is TrialStatus.DIVERGED for trial in last) <= 10


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
def test_thresholds_reach_the_sampler(sampler, tmp_path):
    """Without one, cheap configs with an accuracy below 0.999 are half of what is proposed, or more."""
    within = []
    for i, thresholds in enumerate(("", "thresholds: [accuracy >= 0.9995]\n")):
        ledger = made_ledger(tmp_path / str(i), sampler, more=thresholds + "max_solver_gap: 1\n" + PLAIN_SPACE)
        search(ledger, 60)
        complete = [trial for trial in ledger.record().trials[-40:] if trial.status is TrialStatus.COMPLETE]
        within.append(sum(t.epochs[-1].scores["accuracy"] >= 0.9995 for t in complete) / len(complete))
    assert within[1] > max(0.6, within[0])
    assert all(t.epochs[-1].scores["accuracy"] >= 0.9995 for t in front(ledger.record()))


def test_the_grid_is_gone_through_once_and_conditions_hold(tmp_path):
    ledger = made_ledger(tmp_path / "a", "grid")
    size = grid_size(ledger.spec.space, ledger.spec.grid_points, 1000)
    configs = {str(proposal.config) for proposal in search(ledger, size)}
    assert size == 9 + 9 * 3 * 2
    assert len(configs) == size


def test_quasi_random_points_fill_each_range_evenly(tmp_path):
    rates = [p.config["learning_rate"] for p in search(made_ledger(tmp_path / "a", "qmc", more=PLAIN_SPACE), 32)]
    cells = Counter(int(8 * math.log(rate / 0.02) / math.log(0.5 / 0.02)) for rate in rates)
    assert all(cells[cell] == 4 for cell in range(8))


def test_a_trial_lost_between_asking_and_the_ledger_is_taken_up_under_its_number(tmp_path):
    ledger = made_ledger(tmp_path / "a")
    search(ledger, 5)
    with ledger.writing():
        lost = propose(ledger)
    with Ledger(ledger.folder).writing() as again:
        assert propose(again) == lost
        again.started(lost.number, lost.label, lost.config)
        assert propose(again).number == lost.number + 1
