"""Weights of epochs on the anytime front: kept by real workers, exported, and let go of."""

import shutil

import pytest

from ndecore.errors import InputError
from reports.anytime import anytime_front, candidate, exported_candidate
from reports.records import StoppedBy
from search_spaces.document import parse_document
from studies.bookkeeping import Bookkeeper
from studies.ledger import Ledger, Origin
from studies.messages import ORDER, Message
from studies.models import export_model, verify_model
from studies.search import LedgerSearcher
from studies.spec import read_spec
from studies.trainable import TrialTrainable

SPEC = """
name: made
task: digits_node
trials: 5
sampler: random
objectives: [accuracy, nfe, train_work]
space: {rtol: {log_float: [1e-5, 1e-1]}, learning_rate: {log_float: [0.01, 0.3]}}
fixed: {regularizer: none, epochs: 4, batch_size: 512, threads: 1, seed: 0}
"""


def begun(root, text=SPEC):
    root.mkdir(exist_ok=True)
    return Ledger.create(root / "made", read_spec(parse_document(text, "made.yaml")), Origin(versions={}))


def trained(ledger, searcher, n_epochs=4):
    """The next trial, by a worker without Ray; its number."""
    order = searcher.suggest("")[ORDER]
    worker, books = TrialTrainable.__new__(TrialTrainable), Bookkeeper(ledger)
    worker.setup({ORDER: order})
    for _ in range(n_epochs):
        books.note(Message(order.number, worker._epoch(), 0.1))
    return order.number


def searched(ledger, n_trials):
    with ledger.writing():
        searcher = LedgerSearcher(ledger, lambda: 0.0)
        for _ in range(n_trials):
            trained(ledger, searcher)
    return ledger


def kept(folder):
    return {(int(path.parent.name), int(path.stem[-6:])) for path in folder.glob("trials/*/epoch-*.pt")}


def on_front(ledger):
    """The members that ended before their trials did."""
    return {(each.trial.number, each.epoch) for each in anytime_front(ledger.record()).members if each.epoch < 4}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return searched(begun(tmp_path_factory.mktemp("epochs") / "runs"), 5)


@pytest.fixture
def ledger(whole, tmp_path):
    return Ledger(shutil.copytree(whole.folder, tmp_path / "made"))


def test_the_weights_of_epochs_on_the_front_are_kept_and_no_others(whole, threads_restored):
    assert kept(whole.folder) == on_front(whole)
    assert 0 < len(kept(whole.folder)) < 15
    everything = {path.name for path in whole.folder.glob("trials/*/*")}
    assert everything == {"weights.pt", *(f"epoch-{epoch:06d}.pt" for _, epoch in kept(whole.folder))}


def test_an_epoch_is_exported_with_its_weights_which_hold_what_it_promises(whole, tmp_path, threads_restored):
    number, epoch = min(kept(whole.folder))
    study = whole.record()
    export_model(whole, exported_candidate(study, candidate(study, f"{number}@{epoch}")), tmp_path / "short")
    promises = verify_model(tmp_path / "short")
    assert {"accuracy", "nfe"} <= {each.name for each in promises}
    assert all(each.got == each.expected for each in promises if each.name != "solver_gap")


def test_what_is_not_kept_or_was_damaged_is_refused_with_the_way_to_train_it(ledger):
    number, epoch = min(kept(ledger.folder))
    ledger.folder.joinpath(f"trials/{number:04d}/epoch-{epoch:06d}.pt").write_bytes(b"x" * 10**6)
    with pytest.raises(InputError, match="was changed since its trial ended"):
        ledger.epoch_weights(number, epoch)
    gone = next((n, e) for n in range(5) for e in range(1, 4) if (n, e) not in on_front(ledger))
    with pytest.raises(InputError, match=r"not kept, .*`nde-study resume made --rerun {}@{}`".format(*gone)):
        ledger.epoch_weights(*gone)


def test_after_a_kill_before_the_files_were_sifted_the_same_are_kept(whole, tmp_path, monkeypatch, threads_restored):
    ledger = begun(tmp_path / "runs")
    searched(ledger, 4)
    with monkeypatch.context() as killed:
        killed.setattr(Ledger, "_settle", lambda *_: None)
        searched(ledger, 1)
    assert list(ledger.folder.glob("trials/*/attempt-*"))
    with Ledger(ledger.folder).writing():
        pass
    assert not list(ledger.folder.glob("trials/*/attempt-*"))
    assert kept(ledger.folder) == kept(whole.folder)


def test_of_a_trial_that_a_rule_stopped_the_last_checkpoints_are_kept_too(tmp_path, threads_restored):
    ledger = begun(tmp_path / "runs", SPEC + "epoch_gaps: true\n")
    with ledger.writing():
        searcher = LedgerSearcher(ledger, lambda: 0.0)
        number = trained(ledger, searcher, 3)
        ledger.stopped_early(number, StoppedBy("median", 3, "gain", 0.1, 0.2))
        left = {int(path.stem[-6:]) for path in ledger.trial_folder(number).glob("attempt-1/*.pt")}
        front = {epoch for each, epoch in on_front(ledger) if each == number}
        assert left == front | {2, 3}
        assert ledger.epoch_weights(number, min(front)).exists()
        for _ in range(3):
            trained(ledger, searcher)
        assert kept(ledger.folder) == {each for each in on_front(ledger) if each[0] != number}


def test_where_it_is_not_asked_for_no_epoch_is_kept(tmp_path, threads_restored):
    ledger = searched(begun(tmp_path / "runs", SPEC + "epoch_weights: false\n"), 1)
    assert [path.name for path in ledger.folder.glob("trials/*/*")] == ["weights.pt"]
    cheap = SPEC.replace(", train_work]", "]")
    assert not read_spec(parse_document(cheap, "a.yaml")).keeps_epochs
    assert read_spec(parse_document(cheap + "epoch_weights: true\n", "a.yaml")).keeps_epochs
