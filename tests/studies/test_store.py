"""The embedded MLflow store and the experiment of a study: made once, known by more than a number, moved along."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from test_progress import study
from test_tracking import DONE

from reports.report import study_report
from reports.vocabulary import Tag
from studies.addresses import default_uri
from studies.experiment import Experiment, TrackingError, experiment_of, open_experiment
from studies.store import ensure_store, move_artifacts, set_aside
from studies.tracking import Tracker

MAKE = "import sys; from studies.store import ensure_store; ensure_store('sqlite:///' + sys.argv[1], 's')"


def client_of(root):
    return mlflow.MlflowClient(tracking_uri=default_uri(root))


def test_a_kill_while_the_store_is_made_leaves_no_half_of_it(tmp_path):
    path = tmp_path / "mlflow.db"
    with subprocess.Popen([sys.executable, "-c", MAKE, str(path)]) as maker:
        partial = path.with_name(".mlflow.db.partial")
        while not (partial.exists() and partial.stat().st_size):
            assert maker.poll() is None
            time.sleep(0.01)
        os.kill(maker.pid, signal.SIGKILL)
    assert not path.exists()
    assert open_experiment(default_uri(tmp_path), tmp_path, "s").experiment_id
    assert [each.name for each in tmp_path.iterdir()] == ["mlflow.db"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store that is made once: it takes MLflow seconds."""
    path = tmp_path_factory.mktemp("made") / "mlflow.db"
    ensure_store(f"sqlite:///{path}", "s")
    return path


@pytest.fixture
def root(made, tmp_path):
    """A root with a store that has nothing in it yet."""
    shutil.copy(made, tmp_path)
    return tmp_path


@pytest.mark.parametrize("tables", [("experiments", "runs", "_alembic_tmp_endpoints"), ()])
def test_a_half_made_store_without_runs_is_set_aside(tables, tmp_path):
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        for name in tables:
            store.execute(f"create table {name} (a)")
        store.commit()
    assert open_experiment(default_uri(tmp_path), tmp_path, "s").experiment_id
    assert (tmp_path / "mlflow.db.1").exists()


def test_a_damaged_store_is_named_in_one_line_with_what_to_do(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"SQLite format 3\0" + b"junk" * 1000)
    with pytest.raises(TrackingError, match=r"mlflow.db is damaged: .*`nde-study sync s --rebuild`") as told:
        open_experiment(default_uri(tmp_path), tmp_path, "s")
    assert "\n" not in str(told.value)


KILLED_WRITER = """
import os, signal, sqlite3, sys
store = sqlite3.connect(sys.argv[1])
store.execute("pragma cache_size = 5")  # so that it writes into the file before it is done
store.execute("begin")
store.execute("create table half (x)")
store.executemany("insert into half values (?)", [(b"x" * 4000,)] * 200)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_rolled_back(root):
    path, journal = root / "mlflow.db", root / "mlflow.db-journal"
    before = path.read_bytes()
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(path)], check=False)
    assert journal.stat().st_size > 0
    assert path.read_bytes() != before
    ensure_store(f"sqlite:///{path}", "s")
    with closing(sqlite3.connect(path)) as store:
        assert not store.execute("select name from sqlite_master where name = 'half'").fetchall()
    assert [each.name for each in root.iterdir()] == ["mlflow.db"]


def test_a_store_is_set_aside_with_its_journal_which_would_spoil_the_next_one(root):
    path = root / "mlflow.db"
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(path)], check=False)
    assert set_aside(path) == root / "mlflow.db.1"
    assert {each.name for each in root.iterdir()} == {"mlflow.db.1", "mlflow.db.1-journal"}


def test_several_at_once_in_a_fresh_root_make_one_store(tmp_path):
    found, failed = {}, []

    def open_one(name):
        try:
            found[name] = open_experiment(default_uri(tmp_path), tmp_path, name, f"id of {name}")
        except (TrackingError, MlflowException, OSError) as error:
            failed.append(error)

    threads = [threading.Thread(target=open_one, args=(name,)) for name in "abca"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len({each.experiment_id for each in found.values()}) == 3


def ended_study(name, study_id, **where):
    record = study(DONE)
    return record.__class__(**{**vars(record), "name": name, "study_id": study_id, **where})


def send(root, record):
    known = Experiment(record.tracking_uri, record.experiment_id)
    experiment = experiment_of(known, root, record.name, record.study_id)
    tracker = Tracker(experiment, record)
    tracker.close(study_report(record), finished=True)
    assert not tracker.failure
    return experiment


def test_runs_go_into_the_studys_own_experiment_though_its_number_is_anothers_now(root):
    uri = default_uri(root)
    second = open_experiment(uri, root, "bb", "id of bb")
    aa = ended_study("aa", "id of aa", tracking_uri=uri, experiment_id=second.experiment_id)
    again = send(root, aa)
    assert again.experiment_id != second.experiment_id
    client = client_of(root)
    assert client.search_runs([second.experiment_id]) == []
    assert len(client.search_runs([again.experiment_id], f"tags.`{Tag.STUDY_ID}` = 'id of aa'")) == 1


def test_a_copied_root_writes_into_its_own_store_and_artifacts(made, tmp_path):
    root, copy = tmp_path / "root", tmp_path / "copy"
    root.mkdir()
    shutil.copy(made, root)
    uri = default_uri(root)
    first = open_experiment(uri, root, "aa", "id of aa")
    send(root, ended_study("aa", "id of aa", tracking_uri=uri, experiment_id=first.experiment_id))
    shutil.copytree(root, copy)
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    stamp = (root / "mlflow.db").read_bytes()
    send(copy, ended_study("aa", "id of aa", tracking_uri=default_uri(copy), experiment_id=first.experiment_id))
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before
    assert (root / "mlflow.db").read_bytes() == stamp
    for run in client_of(copy).search_runs([first.experiment_id]):
        assert run.info.artifact_uri.startswith((copy / "artifacts" / "aa").as_uri())


def test_artifacts_that_lie_where_they_should_are_left_alone(root):
    uri = default_uri(root)
    ensure_store(uri, "s")
    open_experiment(uri, root, "s", "id")
    stamp = (root / "mlflow.db").read_bytes()
    move_artifacts(uri, "s", (root / "artifacts" / "s").as_uri())
    assert (root / "mlflow.db").read_bytes() == stamp


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("mysql://nobody@127.0.0.1:1/x", "does not answer"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/x", "does not answer"),
        ("http://127.0.0.1:1", "does not answer"),
        ("http://[bad", "does not answer"),
        ("postgresql://[bad", "does not answer"),
        ("ftp://host/x", "allowed: sqlite:///FILE"),
        ("nonsense", "allowed: sqlite:///FILE"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_in_one_line_within_seconds(uri, told, tmp_path):
    began = time.monotonic()
    with pytest.raises(TrackingError, match=told) as error:
        open_experiment(uri, tmp_path, "s")
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
    assert time.monotonic() - began < 30
    assert list(Path(tmp_path).iterdir()) == []
