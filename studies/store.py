"""The embedded MLflow store, an SQLite file: made whole or not at all, known as damaged, set aside and moved along."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from ndecore.errors import InputError, NDEError
from studies.addresses import SQLITE
from studies.locks import folder_locked

_FAILURES = (MlflowException, OSError, sqlite3.Error)


class TrackingError(NDEError):
    """The tracking server or store cannot be used."""


def ensure_store(uri: str, name: str) -> None:
    """Make the store at an SQLite address if there is none; a half-made one without runs is set aside.

    It is made in a file beside its place, under a lock of the folder, and moved there when it is whole: a process that
    is killed leaves no half of it, and several at once make one.

    Args:
        uri: of the store.
        name: of the study that needs it, for the remedy.

    Raises:
        TrackingError: what is there is damaged.
        InputError: the folder cannot be written.
    """
    path = Path(uri.removeprefix(SQLITE))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with folder_locked(path.parent):
            problem = _problem(path) if path.exists() else "is missing"
            if problem and path.exists() and _may_have_runs(path):
                remedy = f"`nde-study sync {name} --rebuild` makes it anew from the ledger and keeps this file beside"
                raise TrackingError(f"the MLflow store {path} {problem}; {remedy}")
            if problem:
                set_aside(path)
                _make(path)
    except OSError as error:
        told = f"{error.filename or path}: cannot be written: {error.strerror or error}"
        raise InputError(f"{told}; name another folder with --root, or another store with --tracking-uri") from None


def set_aside(path: Path) -> Path | None:
    """Rename a store, so that another can take its place; what it is called now, None where there was none."""
    n = 1
    while (kept := path.with_name(f"{path.name}.{n}")).exists():
        n += 1
    if not path.exists():
        return None
    for file, kept_file in zip(_files(path), _files(kept), strict=True):
        with suppress(FileNotFoundError):
            file.rename(kept_file)
    return kept


def move_artifacts(uri: str, name: str, artifacts: str) -> None:
    """Where a root was copied or moved with its store, the files of a study's runs are below the new root.

    Args:
        uri: of the store.
        name: of the experiment.
        artifacts: the address of its files now.
    """
    path = Path(uri.removeprefix(SQLITE))
    with closing(sqlite3.connect(path)) as store, store:
        found = store.execute("select experiment_id, artifact_location from experiments where name = ?", (name,))
        for number, before in found.fetchall():
            if before == artifacts:
                continue
            store.execute("update experiments set artifact_location = ? where experiment_id = ?", (artifacts, number))
            moved = "update runs set artifact_uri = ? || substr(artifact_uri, ?) where experiment_id = ?"
            is_below = "substr(artifact_uri, 1, ?) = ?"
            length = len(before)
            store.execute(f"{moved} and {is_below}", (artifacts, length + 1, number, length, before))


def _problem(path: Path) -> str:
    """What is wrong with a store; empty where MLflow can open it."""
    try:
        with closing(_connected(path)) as store:
            tables = {name for (name,) in store.execute("select name from sqlite_master where type = 'table'")}
            if any(name.startswith("_alembic_tmp_") for name in tables) or not {"runs", "experiments"} <= tables:
                return "is half-made"
        _opened(path)
    except _FAILURES as error:
        return f"is damaged: {str(error).strip().splitlines()[0]}"
    return ""


def _may_have_runs(path: Path) -> bool:
    """Whether something could be lost with a store: it has runs, or nobody can tell."""
    try:
        with closing(_connected(path)) as store:
            tables = {name for (name,) in store.execute("select name from sqlite_master where type = 'table'")}
            return "runs" in tables and store.execute("select count(*) from runs").fetchone()[0] > 0
    except sqlite3.Error:
        return True


def _files(path: Path) -> list[Path]:
    """What SQLite keeps beside a file of its own, and would take for what belongs to another there; the file last."""
    return [path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal", "")]


def _connected(path: Path) -> sqlite3.Connection:
    """To a file that is there. Not read-only: what a process has left that was killed is rolled back first."""
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)


def _make(path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    files = _files(partial)
    for left in files:  # of a process that was killed: the folder is locked
        left.unlink(missing_ok=True)
    _opened(partial)
    for side in files[:-1]:
        side.unlink(missing_ok=True)
    partial.rename(path)


def _opened(path: Path) -> None:
    """Let MLflow open a store once, which makes its tables if there are none."""
    store = SqlAlchemyStore(f"{SQLITE}{path}", (path.parent / "artifacts").as_uri())
    store.engine.dispose()
