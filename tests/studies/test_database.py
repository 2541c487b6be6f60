"""A study whose proposals are in a real PostgreSQL."""

import signal

import pytest
from command_line import SMALL, Ended, nde_study, of_kind, start, until
from postgres import PASSWORD, postgres, postgres_server
from test_search import HEAD, START, made_ledger, search

from ndecore.errors import InputError
from search_spaces.document import parse_document
from studies.ledger import Ledger, Origin
from studies.proposals import StorageError
from studies.renaming import rename_study
from studies.search import propose
from studies.spec import read_spec

DEAD = "postgresql://me:s3cret@127.0.0.1:9/postgres"


@pytest.fixture(scope="module")
def database(tmp_path_factory, free_port):
    with postgres(tmp_path_factory.mktemp("postgres") / "server", free_port) as url:
        yield url


def database_ledger(folder, storage, seed=0):
    text = HEAD.format(sampler="tpe", seed=seed) + f"storage: {storage}\n" + START
    folder.mkdir()
    return Ledger.create(folder / "made", read_spec(parse_document(text, "made.yaml")), Origin())


def test_a_study_in_a_database_proposes_what_one_in_files_does_and_goes_on(database, tmp_path):
    whole = search(made_ledger(tmp_path / "files"), 20)
    halves = search(database_ledger(tmp_path / "database", database), 11)
    again = Ledger(tmp_path / "database" / "made", database)
    halves += search(again, 9)
    assert halves == whole
    assert not (again.folder / "proposals.log").exists()


def test_a_study_in_a_database_that_is_renamed_goes_on_as_if_it_had_not_been(database, tmp_path, monkeypatch):
    whole = search(made_ledger(tmp_path / "files"), 16)
    halves = search(database_ledger(tmp_path / "database", database), 11)
    with pytest.raises(StorageError, match="check the URL, its password"):
        rename_study("made", "better", tmp_path / "database")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    renamed = rename_study("made", "better", tmp_path / "database")
    halves += search(renamed, 5)
    assert halves == whole
    assert renamed.record().repairs == ()


def test_two_studies_of_one_name_in_one_database_are_two(database, tmp_path):
    first = search(database_ledger(tmp_path / "a", database), 5)
    second = search(database_ledger(tmp_path / "b", database), 5)
    assert [proposal.number for proposal in second] == [0, 1, 2, 3, 4]
    assert first == second


def test_the_password_is_in_no_file_of_the_study(database, tmp_path):
    ledger = database_ledger(tmp_path / "a", database)
    search(ledger, 2)
    for path in ledger.folder.rglob("*"):
        assert path.is_dir() or PASSWORD not in path.read_text()


def test_without_its_password_a_study_is_refused_in_one_line(database, tmp_path):
    folder = database_ledger(tmp_path / "a", database).folder
    with pytest.raises(StorageError, match=r"storage postgresql://me@127.0.0.1:\d+/postgres cannot be used") as caught:
        search(Ledger(folder), 1)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"--storage: got postgresql://me@elsewhere/x, allowed: postgresql://me@127"):
        Ledger(folder, "postgresql://me:x@elsewhere/x")


def test_a_database_that_is_down_is_told_of_in_one_line_and_nothing_is_created(tmp_path):
    with pytest.raises(StorageError, match="start it, or check the URL") as caught:
        database_ledger(tmp_path / "a", DEAD)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert not list((tmp_path / "a").iterdir())


def test_a_proposal_lost_in_a_database_is_taken_up(database, tmp_path):
    ledger = database_ledger(tmp_path / "a", database)
    with ledger.writing():
        lost = propose(ledger)
    with Ledger(ledger.folder, database).writing() as again:
        assert propose(again) == lost


@pytest.mark.slow
@pytest.mark.cluster
def test_a_study_runs_with_its_proposals_in_a_database(database, tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    ended = nde_study("run", "small.yaml", "--storage", database, cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert PASSWORD not in ended.out
    added = nde_study("resume", "small", "--trials", "+1", cwd=tmp_path, NDE_STUDY_STORAGE=database)
    assert (added.code, added.err) == (0, "")
    assert len(Ledger(tmp_path / "nde-runs" / "small").record().trials) == 7


@pytest.mark.slow
@pytest.mark.cluster
def test_a_database_that_dies_in_mid_study_costs_nothing_that_was_finished(tmp_path, port):
    (tmp_path / "small.yaml").write_text(SMALL)
    folder = tmp_path / "nde-runs" / "small"
    with postgres_server(tmp_path / "server", port) as server:
        driver = start("run", "small.yaml", "--storage", server.url, cwd=tmp_path)
        until(lambda: of_kind(folder, "ended"), driver)
        server.stop(signal.SIGQUIT)
        ended = Ended(driver)
        assert ended.code == 1
        assert ended.err.count("\n") == 1, ended.err
        assert "cannot be used" in ended.err
        assert PASSWORD not in ended.err
        finished = {event["number"] for event in of_kind(folder, "ended")}
        server.start()
        resumed = nde_study("resume", "small", "--storage", server.url, cwd=tmp_path)
        assert (resumed.code, resumed.err) == (0, "")
    numbers = [event["number"] for event in of_kind(folder, "ended")]
    assert sorted(numbers) == list(range(6))
    assert finished <= set(numbers)
