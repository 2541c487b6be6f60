"""Studies that earlier versions left: they open, say the same, and go on. Their files are never written anew."""

import json
import shutil
from enum import Enum
from pathlib import Path

import pytest

from reports.records import Stop, StopRule
from reports.tables import study_summary
from studies.cli.options import _plain
from studies.ledger import Ledger
from studies.search import propose

OLD = Path(__file__).parent / "old_studies"


def as_json(record):
    return json.loads(json.dumps(_plain(record), default=lambda each: each.value if isinstance(each, Enum) else each))


@pytest.fixture(params=["old", "made"])
def folder(request, tmp_path):
    return Path(shutil.copytree(OLD / "format_1" / request.param, tmp_path / request.param))


def as_before(found, expected):
    """What was found, with the keys that are expected alone: later versions record more."""
    if isinstance(expected, dict):
        return {key: as_before(found[key], expected[key]) for key in expected}
    if isinstance(expected, list):
        assert len(found) == len(expected)
        return [as_before(*pair) for pair in zip(found, expected, strict=True)]
    return found


def test_a_study_of_format_1_says_what_it_said(folder):
    expected = json.loads((folder / "record.json").read_text())
    record = Ledger(folder).record()
    assert str(record.stopped or "") == expected.pop("stopped")
    assert as_before(as_json(record), expected) == expected


def test_the_front_of_a_study_of_format_1_is_what_it_was(folder):
    expected = json.loads((folder / "summary.json").read_text())
    found = json.loads(json.dumps(study_summary(Ledger(folder).record())))
    assert as_before(found, expected) == expected


def test_only_the_last_epoch_of_a_trial_is_its_last(folder):
    for trial in Ledger(folder).record().trials:
        assert [each.is_last for each in trial.epochs] == [each.solver_gap is not None for each in trial.epochs]


def test_why_a_study_of_format_1_stopped_is_a_value():
    record = Ledger(OLD / "format_1" / "made").record()
    assert record.stopped == Stop(StopRule.SAME_ERROR, 5, "RuntimeError: no luck")


def test_a_study_of_format_1_goes_on_in_this_format(folder):
    before = (folder / "events.jsonl").read_bytes()
    record = Ledger(folder).record()
    with Ledger(folder).writing() as ledger:
        assert ledger.record().trials == record.trials
        assert not ledger.record().repairs  # Optuna's journal agrees
        ledger.extended(1)
        proposal = propose(ledger)
        ledger.started(proposal.number, proposal.label, proposal.config)
    after = (folder / "events.jsonl").read_bytes()
    assert after.startswith(before)
    assert all(b'"crc": ' in line for line in after[len(before) :].splitlines())
    again = Ledger(folder)
    assert again.history.created.format == 2
    assert again.record().n_trials == record.n_trials + 1
