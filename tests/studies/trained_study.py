"""A small study with really trained models, made in this process: the ledger of a search without Ray."""

from pathlib import Path

import torch

from ndecore.training import TrainState, train
from reports.records import TrialStatus
from search_spaces.document import parse_document
from studies.build import build
from studies.ledger import Ledger, Origin
from studies.search import propose
from studies.spec import read_spec
from studies.trainable import _bytes
from studies.trial_files import WEIGHTS, digest, write_whole

SPEC = """
name: made
task: digits_node
trials: 3
objectives: [accuracy, nfe]
space: {regularizer: {choice: [none, error]}, rtol: {log_float: [1e-5, 1e-2]}}
fixed: {epochs: 1, batch_size: 512, learning_rate: 0.3, schedule: constant, weight: 30, threads: 1, seed: 0}
start_from:
  - {label: vanilla, regularizer: none, rtol: 1e-5}
  - {label: loose, regularizer: none, rtol: 1e-3}
  - {label: damped, regularizer: error, rtol: 1e-3}
"""


def trained_ledger(root: Path) -> Ledger:
    """Three trials that are complete, with their weights."""
    root.mkdir(exist_ok=True)
    before = torch.get_num_threads()
    ledger = Ledger.create(root / "made", read_spec(parse_document(SPEC, "made.yaml")), Origin(versions={"torch": "2"}))
    with ledger.writing():
        for _ in range(3):
            proposal = propose(ledger)
            attempt = ledger.started(proposal.number, proposal.label, proposal.config)
            plan = build(ledger.spec.task, proposal.config)
            state = TrainState(plan)
            for record in train(plan, state):
                weights = None
                if record.is_last:
                    content = _bytes(state.model.state_dict())
                    write_whole(attempt.folder / WEIGHTS, content)
                    weights = digest(content)
                ledger.epoch(proposal.number, record, weights=weights)
            ledger.ended(proposal.number, TrialStatus.COMPLETE)
    torch.set_num_threads(before)
    return ledger
