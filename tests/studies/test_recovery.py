"""What a study comes back from: kills between two steps, lost journals, damaged lines, a lock that was deleted."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from test_ledger import HOLD, begun
from test_search import made_ledger, measured, search

from ndecore.errors import InputError
from reports.records import TrialStatus
from studies.addresses import address_in
from studies.cli import main
from studies.event_log import LedgerDamaged, LedgerUnwritable, sealed
from studies.events import Ended, Tracking
from studies.experiment import Experiment
from studies.ledger import Ledger
from studies.locks import StudyBusy
from studies.repair import examine, repair
from studies.run import _create
from studies.search import propose
from studies.trial_files import check_whole, digest, write_whole

EVENTS = "events.jsonl"


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    ledger = made_ledger(tmp_path_factory.mktemp("searched") / "a", "random")
    search(ledger, 7)
    return ledger.folder


@pytest.fixture
def folder(searched, tmp_path):
    return shutil.copytree(searched, tmp_path / "made")


def states(ledger):
    return [frozen.state.name for frozen in ledger.proposals.get_trials(deepcopy=False)]


def proposal_after(folder):
    with Ledger(folder).writing() as ledger:
        return propose(ledger).config


def test_weights_that_a_killed_driver_had_not_moved_are_there_after_resuming(folder):
    """The kill came between Optuna's `tell` and the settling of the files."""
    ledger = Ledger(folder)
    with ledger.writing():
        proposal, attempt = begun(ledger, 1, {1})
        write_whole(attempt.folder / "weights.pt", b"weights")
        ledger.epoch(proposal.number, measured(proposal.config), weights=digest(b"weights"))
        ledger._append(Ended(proposal.number, TrialStatus.COMPLETE))
        ledger._tell(proposal.number)
    with Ledger(folder).writing():
        pass
    assert ledger.whole_weights(proposal.number).read_bytes() == b"weights"
    assert not list(ledger.trial_folder(proposal.number).glob("attempt-*"))


@pytest.mark.parametrize("how", ["gone", "empty", "half", "damaged", "another study's"])
def test_optunas_journal_is_made_from_the_log_again(how, folder, searched, tmp_path):
    expected = proposal_after(shutil.copytree(searched, tmp_path / "untouched" / "made"))
    journal = folder / "proposals.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    if how == "gone":
        journal.unlink()
    elif how == "another study's":
        journal.write_bytes(journal.read_bytes().replace(b'"made"', b'"else"'))
    else:
        kept = {"empty": [], "half": lines[: len(lines) // 2], "damaged": [*lines[:9], b"junk\n", *lines[9:]]}
        journal.write_bytes(b"".join(kept[how]))
    with Ledger(folder).writing() as ledger:
        assert states(ledger) == ["COMPLETE"] * 7
        assert "made from the log again" in ledger.record().repairs[0]
        assert propose(ledger).config == expected
    with Ledger(folder).writing() as again:
        assert len(again.record().repairs) == 1  # and once is enough


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
def test_a_search_whose_journal_was_lost_goes_on_as_if_it_had_not_been(sampler, tmp_path):
    ledger = made_ledger(tmp_path / "a", sampler)
    search(ledger, 10)
    (tmp_path / "b").mkdir()
    copy = shutil.copytree(ledger.folder, tmp_path / "b" / "made")
    (copy / "proposals.log").unlink()
    with Ledger(copy).writing() as again, Ledger(ledger.folder).writing() as before:
        one, other = (each.proposals.get_trials(deepcopy=False)[:10] for each in (again, before))
        told = [[(f.params, f.values, f.constraints) for f in each] for each in (one, other)]
        assert told[0] == told[1]
        counted = [[key for key in f.system_attrs if "generation" in key] for f in one]
        assert all(counted) == (sampler == "nsgaii")
        if sampler == "tpe":
            assert propose(again).config == propose(before).config


@pytest.mark.parametrize("n_lost", [1, 2, 3, 10])
def test_a_study_whose_last_events_are_lost_goes_on(n_lost, folder):
    lines = lines_of(folder)
    (folder / EVENTS).write_bytes(b"".join(lines[:-n_lost]) + lines[-n_lost][:20])
    ledger = Ledger(folder)
    with ledger.writing():
        assert states(ledger)[: len(ledger.history.ended)] == ["COMPLETE"] * len(ledger.history.ended)
        proposal = propose(ledger)
        assert proposal.number not in ledger.history.constraints


def lines_of(folder):
    return (folder / EVENTS).read_bytes().splitlines(keepends=True)


DAMAGES = {
    "cut": lambda lines: [*lines[:5], lines[5][:30] + b"\n", *lines[6:]],
    "not UTF-8": lambda lines: [*lines[:5], b"\xff\xfe" + lines[5], *lines[6:]],
    "NUL": lambda lines: [*lines[:5], b"\0" * 80 + b"\n", *lines[6:]],
    "a list": lambda lines: [*lines[:5], b"[1, 2]\n", *lines[6:]],
    "a changed digit": lambda lines: [*lines[:5], lines[5].replace(b"0", b"9", 1), *lines[6:]],
    "doubled": lambda lines: [*lines[:6], lines[5], *lines[6:]],
    "deleted": lambda lines: [*lines[:5], *lines[6:]],
    "swapped": lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]],
    "no checksum": lambda lines: [*lines[:5], b'{"time": 1.0, "event": "closed"}\n', *lines[6:]],
    "deep": lambda lines: [*lines[:5], b"[" * 100_000 + b"\n", *lines[6:]],
    "a key missing": lambda lines: [*lines[:5], sealed({"time": 1.0, "event": "epoch", "number": 0}, 6), *lines[6:]],
    "not begun": lambda lines: [
        *lines[:5],
        sealed({"time": 1.0, "event": "interrupted", "number": 99, "reason": ""}, 6),
        *lines[6:],
    ],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_line_is_told_with_its_place_and_can_be_repaired(damage, folder):
    damaged = DAMAGES[damage](lines_of(folder))
    assert damaged != lines_of(folder)
    (folder / EVENTS).write_bytes(b"".join(damaged))
    with pytest.raises(LedgerDamaged, match=r"events\.jsonl, line [67]: .*`nde-study repair made`") as told:
        Ledger(folder)
    assert "\n" not in str(told.value)
    found = examine(folder / EVENTS)
    assert not found.is_whole
    assert len(found.kept) >= len(damaged) - 5
    old = repair(found, "made")
    assert old.read_bytes() == b"".join(damaged)
    with Ledger(folder).writing() as ledger:
        assert "the log was repaired" in ledger.record().repairs[0]
        propose(ledger)


def test_a_study_that_is_whole_has_nothing_to_repair(folder, capsys):
    assert main(["repair", "made", "--root", str(folder.parent)]) == 0
    assert "nothing to repair" in capsys.readouterr().out


def test_a_trial_whose_last_epoch_is_lost_is_trained_again(folder):
    lines = lines_of(folder)
    last = next(i for i, line in enumerate(lines) if b'"event": "epoch"' in line)
    (folder / EVENTS).write_bytes(b"".join([*lines[:last], b"junk\n", *lines[last + 1 :]]))
    repair(examine(folder / EVENTS), "made")
    with Ledger(folder).writing() as ledger:
        assert [trial.number for trial in ledger.unfinished()] == [0]
        assert states(ledger)[0] == "RUNNING"


def test_without_its_first_event_a_study_is_refused_in_one_line(folder):
    (folder / EVENTS).write_bytes(b"".join(lines_of(folder)[1:]))
    with pytest.raises(LedgerDamaged, match="line 1: was line 2 when it was written"):
        Ledger(folder)
    with pytest.raises(InputError, match="no event that created the study"):
        repair(examine(folder / EVENTS), "made")


def test_a_damaged_study_hides_no_other(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "other")
    (folder / EVENTS).write_bytes(b"junk\n")
    assert main(["ls", "--root", str(tmp_path), "--json"]) == 1
    out, err = capsys.readouterr()
    assert [row["study"] for row in json.loads(out)] == ["made"]
    assert err.startswith("nde-study: ")
    assert "line 1: " in err


@pytest.mark.parametrize("name", [EVENTS, "lock", "spec.yaml"])
def test_a_folder_in_place_of_a_file_takes_one_line(name, folder, capsys):
    (folder / name).unlink()
    (folder / name).mkdir()
    assert main(["show", "made", "--root", str(folder.parent)]) == (1 if name == EVENTS else 0)
    assert capsys.readouterr().err.count("\n") <= 1
    assert main(["sweep", "made", "--root", str(folder.parent)]) in (1, 2)
    assert capsys.readouterr().err.count("\n") == 1


def test_a_deleted_lock_file_lets_no_second_driver_in(folder):
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        (folder / "lock").unlink()
        with pytest.raises(StudyBusy, match="is being run by an unknown process"), Ledger(folder).writing():
            pass
        holder.kill()


def test_a_log_that_was_replaced_while_it_is_written_is_written_no_more(folder):
    with Ledger(folder).writing() as ledger:
        shutil.copy(folder / EVENTS, folder / "copy")
        os.replace(folder / "copy", folder / EVENTS)
        before = (folder / EVENTS).read_bytes()
        with pytest.raises(LedgerUnwritable, match="was moved or replaced"):
            ledger.extended(1)
    assert (folder / EVENTS).read_bytes() == before


def test_another_name_in_the_spec_is_refused(folder):
    spec = folder / "spec.yaml"
    spec.write_text(spec.read_text().replace("name: made", "name: renamed"))
    with pytest.raises(InputError, match="got the name 'renamed', allowed: 'made'"), Ledger(folder).writing():
        pass


def test_a_study_of_a_later_format_is_refused_in_one_line(folder):
    first = json.loads(lines_of(folder)[0]) | {"format": 3}
    del first["n"], first["crc"]
    (folder / EVENTS).write_bytes(sealed(first, 1))
    with pytest.raises(LedgerDamaged, match="format 3 of a later nde-study, allowed: up to 2"):
        Ledger(folder)


def test_weights_that_were_cut_off_or_changed_are_told_apart(tmp_path):
    path = tmp_path / "weights.pt"
    expected = digest(b"whole weights")
    path.write_bytes(b"whole weights")
    check_whole(path, expected)
    path.write_bytes(b"whole")
    with pytest.raises(InputError, match="was cut off: got 5 bytes, allowed: 13"):
        check_whole(path, expected)
    path.write_bytes(b"whole weightS")
    with pytest.raises(InputError, match="its checksum is another one"):
        check_whole(path, expected)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        check_whole(path, expected)


def test_a_removed_study_is_gone(folder):
    assert main(["rm", "made", "--root", str(folder.parent)]) == 2
    assert folder.exists()
    assert main(["rm", "made", "--yes", "--root", str(folder.parent)]) == 0
    assert list(folder.parent.iterdir()) == []


def test_escapes_in_an_error_do_not_reach_the_terminal(folder, capsys):
    with Ledger(folder).writing() as ledger:
        proposal = propose(ledger)
        ledger.started(proposal.number, proposal.label, proposal.config)
        ledger.ended(proposal.number, TrialStatus.FAILED, "E: \x1b]0;owned\x07 \x1b[2J")
    assert main(["show", "made", "--root", str(folder.parent)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\x1b]0;owned" in out


def test_what_was_made_anew_is_told_with_the_study(folder, capsys):
    (folder / "proposals.log").unlink()
    with Ledger(folder).writing():
        pass
    assert main(["show", "made", "--root", str(folder.parent)]) == 0
    assert "repaired: what Optuna has was made from the log again" in capsys.readouterr().out


def test_a_store_that_is_not_there_is_told_before_a_server_starts(folder, capsys):
    with Ledger(folder).writing() as ledger:
        ledger.moved(Tracking(f"sqlite:///{folder.parent}/mlflow.db", "1"))
    assert b"root:mlflow.db" in (folder / EVENTS).read_bytes()
    assert main(["ui", "made", "--root", str(folder.parent)]) == 2
    assert "`nde-study sync made` makes it from the ledger" in capsys.readouterr().err


def test_a_moved_root_is_tracked_where_it_lies_now(folder, tmp_path):
    with Ledger(folder).writing() as ledger:
        ledger.moved(Tracking(f"sqlite:///{folder.parent}/mlflow.db", "1"))
    (tmp_path / "elsewhere").mkdir()
    moved = folder.rename(tmp_path / "elsewhere" / "made")
    assert Ledger(moved).tracking.uri == f"sqlite:///{tmp_path}/elsewhere/mlflow.db"


def test_an_old_absolute_address_of_a_root_that_is_gone_is_the_store_beside(folder, tmp_path):
    (tmp_path / "mlflow.db").touch()
    assert address_in("sqlite:////nowhere/nde-runs/mlflow.db", folder) == f"sqlite:///{tmp_path}/mlflow.db"
    assert address_in("http://host:5000", folder) == "http://host:5000"


def test_a_spec_that_is_a_pipe_is_not_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "spec.yaml")
    assert main(["validate", str(tmp_path / "spec.yaml")]) == 2
    assert "got a pipe" in capsys.readouterr().err


def test_a_folder_that_may_not_be_written_takes_one_line(folder, capsys, monkeypatch):
    def refused(*_):
        raise PermissionError(30, "Read-only file system", str(folder / EVENTS))

    monkeypatch.setattr("studies.locks.os.open", refused)
    assert main(["sync", "made", "--root", str(folder.parent)]) == 1
    assert capsys.readouterr().err == f"nde-study: {folder / EVENTS}: cannot be written: Read-only file system\n"


def test_of_two_that_begin_one_study_the_slower_finds_it_there(folder, monkeypatch):
    monkeypatch.setattr("studies.run.open_experiment", lambda *_: Experiment("sqlite:////tmp/none.db", "1"))
    before = (folder / EVENTS).read_bytes()
    assert _create(Ledger(folder).spec, folder.parent, "sqlite:////tmp/none.db") is None
    assert (folder / EVENTS).read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["made"]
