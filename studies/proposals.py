"""Where Optuna keeps what was proposed: a journal in the study's folder, or a database."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import SQLAlchemyError

from ndecore.errors import NDEError
from studies.history import History
from studies.replay import disagreement, replay
from studies.secret import redacted
from studies.spec import StudySpec

JOURNAL = "proposals.log"
# What Optuna raises at a journal that is not as it was written.
_DAMAGED = (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError, OSError)
_POSTGRES = ("postgresql://", "postgres://")
_LOGGERS = ("optuna.study.study", "optuna.storages.journal._storage", "optuna.storages._rdb.storage")


class StorageError(NDEError):
    """The database of a study cannot be used."""


@contextmanager
def open_proposals(folder: Path, spec: StudySpec, storage: str | None, study_id: str) -> Iterator[optuna.Study]:
    """The Optuna study, made if it is not there; its connections are closed with the block.

    Args:
        folder: of the study, which holds the journal where no database is named.
        spec: of the study.
        storage: the database's URL, its password included.
        study_id: keeps apart studies of one name in one database.

    Raises:
        StorageError: the database cannot be used.
    """
    _quieten()
    with answering(storage), _opened(folder, storage) as opened:
        yield optuna.create_study(
            storage=opened,
            study_name=_study_name(spec, study_id) if storage else spec.name,
            directions=[metric.direction.value for metric in spec.objective_metrics],
            load_if_exists=True,
        )


@contextmanager
def agreeing_proposals(
    folder: Path, spec: StudySpec, storage: str | None, history: History
) -> Iterator[tuple[optuna.Study, str]]:
    """The Optuna study as the ledger has it, and why it had to be made anew; nothing if it had not.

    What Optuna has is a projection, too: where its journal is gone, cut or damaged, or knows other trials than the
    ledger, it is made from the events. A journal that was there is kept beside.

    Raises:
        StorageError: the database cannot be used.
    """
    with ExitStack() as stack:
        study_id = history.created.study_id
        try:
            study = stack.enter_context(open_proposals(folder, spec, storage, study_id))
            why = disagreement(study, spec, history)
        except _DAMAGED as error:
            if storage is not None:
                raise
            why = f"its journal was damaged: {type(error).__name__}: {error}"
        if why:
            stack.close()
            _set_aside(folder, spec, storage, study_id)
            study = stack.enter_context(open_proposals(folder, spec, storage, study_id))
            replay(study, spec, history, folder)
        yield study, why


def _set_aside(folder: Path, spec: StudySpec, storage: str | None, study_id: str) -> None:
    if storage is not None:
        drop_proposals(spec, study_id, storage)
        return
    journal, n = folder / JOURNAL, 1
    while (kept := journal.with_name(f"{JOURNAL}.{n}")).exists():
        n += 1
    if journal.exists():
        journal.rename(kept)


def drop_proposals(spec: StudySpec, study_id: str, storage: str) -> None:
    """Take a study out of the database again, if that can be reached."""
    with suppress(StorageError, KeyError), answering(storage), _opened(Path(), storage) as opened:
        optuna.delete_study(study_name=_study_name(spec, study_id), storage=opened)


def _quieten() -> None:
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell that a study was made, opened, deleted


@contextmanager
def answering(storage: str | None) -> Iterator[None]:
    """Turn what a database says into one line, without its password."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, ImportError) as error:
        cause = error.__cause__ or error
        said = next((line for line in str(getattr(cause, "orig", cause)).splitlines() if line.strip()), "nothing")
        remedy = "start it, or check the URL, its password and `pip install 'nde-study[postgres]'`"
        raise StorageError(f"storage {redacted(storage or '')} cannot be used: {redacted(said)}; {remedy}") from None


def rename_proposals(folder: Path, before: StudySpec, after: StudySpec, study_id: str) -> None:
    """Give the Optuna study of a spec the name that it has by another one; nothing where it has that name.

    A journal that is damaged stays as it is: what Optuna has is made from the log when the study goes on.

    Raises:
        StorageError: the database cannot be used.
    """
    storage = before.storage
    old, new = (_study_name(spec, study_id) if storage else spec.name for spec in (before, after))
    if old == new:
        return
    _quieten()
    (folder / f"{JOURNAL}.lock").unlink(missing_ok=True)  # Optuna would wait 30 s for a killed writer's
    try:
        with answering(storage), _opened(folder, storage) as opened:
            names = optuna.get_all_study_names(opened)
            if old in names:
                if new in names:  # the half that a killed process has left
                    optuna.delete_study(study_name=new, storage=opened)
                optuna.copy_study(from_study_name=old, from_storage=opened, to_storage=opened, to_study_name=new)
                optuna.delete_study(study_name=old, storage=opened)
    except _DAMAGED:
        if storage is not None:
            raise


def _study_name(spec: StudySpec, study_id: str) -> str:
    return f"{spec.name}-{study_id}"


@contextmanager
def _opened(folder: Path, storage: str | None) -> Iterator[BaseStorage]:
    if storage is None:
        yield JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
        return
    for prefix in _POSTGRES:  # SQLAlchemy would take these for an older driver
        if storage.startswith(prefix):
            storage = f"postgresql+psycopg://{storage.removeprefix(prefix)}"
    database = RDBStorage(storage, engine_kwargs={"pool_pre_ping": True})  # a connection may have died since its use
    try:
        yield database
    finally:
        database.remove_session()
        database.engine.dispose()
