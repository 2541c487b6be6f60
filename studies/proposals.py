"""Where Optuna keeps what was proposed: a journal in the study's folder, or a database."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from ndecore.errors import NDEError
from ndecore.metrics import Direction, Metric
from reports.records import TrialRecord, TrialStatus
from studies.constraints import WORST
from studies.secret import redacted
from studies.spec import StudySpec

JOURNAL = "proposals.log"
_POSTGRES = ("postgresql://", "postgres://")
_LOGGERS = ("optuna.study.study", "optuna.storages.journal._storage", "optuna.storages._rdb.storage")


class StorageError(NDEError):
    """The database of a study cannot be used."""


@contextmanager
def open_proposals(folder: Path, spec: StudySpec, storage: str | None, study_id: str | None) -> Iterator[optuna.Study]:
    """The Optuna study, made if it is not there; its connections are closed with the block.

    Args:
        folder: of the study, which holds the journal where no database is named.
        spec: of the study.
        storage: the database's URL, its password included.
        study_id: keeps apart studies of one name in one database.

    Raises:
        StorageError: the database cannot be used.
    """
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell that the study was opened
    with answering(storage), _opened(folder, storage) as opened:
        yield optuna.create_study(
            storage=opened,
            study_name=_study_name(spec, study_id) if storage else spec.name,
            directions=[metric.direction.value for metric in spec.objective_metrics],
            load_if_exists=True,
        )


def drop_proposals(spec: StudySpec, study_id: str) -> None:
    """Take a study that could not be begun out of the database again, if that can be reached."""
    with suppress(StorageError, KeyError), answering(spec.storage), _opened(Path(), spec.storage) as opened:
        optuna.delete_study(study_name=_study_name(spec, study_id), storage=opened)


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


def _study_name(spec: StudySpec, study_id: str | None) -> str:
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


def tell(
    study: optuna.Study, trial: TrialRecord, constraints: Mapping[str, float], objectives: tuple[Metric, ...]
) -> None:
    """Tell Optuna how a trial ended.

    One that diverged is COMPLETE with a violated constraint: FAIL teaches the samplers nothing, and they go back.
    """
    if trial.status is TrialStatus.FAILED:
        study.tell(trial.number, state=TrialState.FAIL)
        return
    frozen = study.get_trials(deepcopy=False)[trial.number]
    open_trial = optuna.Trial(study, frozen._trial_id)  # there is no public way to one asked for before
    for name, excess in constraints.items():
        open_trial.set_constraint(name, excess)
    worst = [WORST if metric.direction is Direction.MINIMIZE else -WORST for metric in objectives]
    study.tell(trial.number, trial.values(objectives) or worst)


def dimension_values(spec: StudySpec, config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a flat config under the names of the space's dimensions, as the sampler knows them."""
    return {
        dimension.name: config[dimension.key]
        for dimension in spec.space.dimensions
        if dimension.only is None and dimension.is_active(config)
    }
