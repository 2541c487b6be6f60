"""The experiment of a study in an MLflow store or server: found, or created before any worker starts."""

import http.client
import logging
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import sqlalchemy
from mlflow import entities
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from reports.vocabulary import Kind, Tag
from studies.addresses import SQLITE
from studies.events import Tracking
from studies.secret import has_password, redacted
from studies.store import TrackingError, ensure_store, move_artifacts

_EXPERIMENT_KIND = "mlflow.experimentKind"  # without it the page opens in MLflow's view for language models
_TRAINING = "custom_model_development"
_DATABASES = ("postgresql", "postgres", "mysql", "mssql")
_ANSWER_S = 10.0


@dataclass(frozen=True)
class Renaming:
    """A study's name before and after."""

    before: str
    after: str


@dataclass(frozen=True)
class Experiment:
    """Where a study is tracked."""

    uri: str  # without a password: MLflow takes that from MLFLOW_TRACKING_PASSWORD
    experiment_id: str


def without_credentials(uri: str) -> str:
    """Hand the password of a server to MLflow through the environment, so that it stands in no address."""
    if has_password(uri) and uri.startswith("http"):
        scheme, _, rest = uri.partition("://")
        user, _, host = rest.rpartition("@")
        name, _, password = user.partition(":")
        os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = (
            unquote(name),
            unquote(password),
        )
        return f"{scheme}://{host}"
    return uri


def open_experiment(uri: str, root: Path, name: str, study_id: str = "") -> Experiment:
    """Create the experiment of a new study, and an SQLite store if it is missing.

    Before any worker starts, since creating a store is not safe in parallel.

    Args:
        uri: of the store or server. The artifacts of an SQLite store go to `root`.
        root: the folder of all studies.
        name: of the study.
        study_id: of the study, which may be there already, in part.

    Raises:
        TrackingError: the store does not answer, or has runs of another study of this name.
    """
    uri = _reachable(uri, root, name)
    artifacts = (root / "artifacts" / name).as_uri() if uri.startswith(SQLITE) else None
    with answering(uri):
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                tags = {_EXPERIMENT_KIND: _TRAINING, Tag.STUDY_ID.value: study_id}
                return Experiment(uri, client.create_experiment(name, artifact_location=artifacts, tags=tags))
            except MlflowException as error:
                if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                    raise
                found = client.get_experiment_by_name(name)  # another process was faster
        if found is None or found.name != name:
            raise TrackingError(f"{redacted(uri)} answers, but not as an MLflow server does; check the address")
        is_usable = found.lifecycle_stage == "active" and _is_free(client, found, study_id)
        if is_usable:
            client.set_experiment_tag(found.experiment_id, Tag.STUDY_ID.value, study_id)
    if not is_usable:
        # Its runs may be a colleague's, and an experiment that was deleted in MLflow keeps its name.
        taken = f"{redacted(uri)} has an experiment {name!r} already"
        raise TrackingError(f"{taken}; give the study another name with --name")
    return Experiment(uri, found.experiment_id)


def experiment_of(known: Experiment, root: Path, name: str, study_id: str) -> Experiment:
    """The experiment of a study that is tracked already: the known one, or another where that is not the study's.

    A number alone tells little: a store that was made anew gives it to the next study. The name and the study's id must
    be there too; else the study's experiment is looked for by its name, or made.

    Raises:
        TrackingError: the store does not answer, or has runs of another study of this name.
    """
    uri = _reachable(known.uri, root, name)
    with answering(uri):
        client = MlflowClient(tracking_uri=uri)
        try:
            found = client.get_experiment(known.experiment_id)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            found = None
        if found is not None and (found.name, found.lifecycle_stage) != (name, "active"):
            found = None
        if found is not None and _is_free(client, found, study_id):
            return Experiment(uri, found.experiment_id)
    return open_experiment(uri, root, name, study_id)


def drop_experiment(tracking: Tracking, name: str, study_id: str) -> None:
    """Delete a study's experiment, where there is one that is the study's own. Its name is free again.

    Raises:
        TrackingError: the store does not answer.
    """
    uri = without_credentials(tracking.uri)
    if not tracking.experiment_id or (uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists()):
        return
    with answering(uri):
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active" or not _is_free(client, found, study_id):
            return
        # MLflow keeps the names of experiments that were deleted.
        client.rename_experiment(found.experiment_id, f"{name} (removed {study_id[:8]})")
        client.delete_experiment(found.experiment_id)


def rename_experiment(tracking: Tracking, root: Path, names: Renaming, study_id: str) -> None:
    """Give a study's experiment and its runs another name, and its files another folder; nothing where there are none.

    Args:
        tracking: where the study is tracked.
        root: the folder of all studies.
        names: of the study.
        study_id: of the study.

    Raises:
        TrackingError: the store does not answer, or the name is another experiment's; nothing was changed.
    """
    uri = tracking.uri
    if not tracking.experiment_id or (uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists()):
        return
    uri = _reachable(uri, root, names.before)
    with answering(uri):
        client = MlflowClient(tracking_uri=uri)
        own = _renamed(client, names, study_id)
        if own is None:
            return
        if uri.startswith(SQLITE):
            before, after = (root / "artifacts" / name for name in (names.before, names.after))
            if before.is_dir() and not after.exists():
                before.rename(after)
            move_artifacts(uri, names.after, after.as_uri())
        for run in _runs(client, own.experiment_id):
            client.set_tag(run.info.run_id, Tag.STUDY.value, names.after)


def _renamed(client: MlflowClient, names: Renaming, study_id: str) -> entities.Experiment | None:
    """The study's own experiment, which bears the new name now; None if it has none."""
    there = client.get_experiment_by_name(names.after)
    if there is not None:
        if there.tags.get(Tag.STUDY_ID.value) != study_id or there.lifecycle_stage != "active":
            taken = f"{redacted(client.tracking_uri)} has an experiment {names.after!r} already"
            raise TrackingError(f"{taken}; give the study another name")
        return there  # since a renaming that was killed
    found = client.get_experiment_by_name(names.before)
    if found is None or found.lifecycle_stage != "active" or not _is_free(client, found, study_id):
        return None
    client.set_experiment_tag(found.experiment_id, Tag.STUDY_ID.value, study_id)
    client.rename_experiment(found.experiment_id, names.after)
    return found


def _runs(client: MlflowClient, experiment_id: str) -> Iterator[entities.Run]:
    token = None
    while True:
        page = client.search_runs([experiment_id], page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _is_free(client: MlflowClient, found: entities.Experiment, study_id: str) -> bool:
    """Whether an experiment is of this study, or has no runs."""
    marked = found.tags.get(Tag.STUDY_ID.value)
    if marked and marked == study_id:
        return True
    of_a_study = f"tags.`{Tag.KIND}` = '{Kind.STUDY}'"
    own = client.search_runs([found.experiment_id], of_a_study, max_results=1)
    if own:
        return bool(study_id) and own[0].data.tags.get(Tag.STUDY_ID) == study_id
    return not client.search_runs([found.experiment_id], max_results=1)


def _reachable(uri: str, root: Path, name: str) -> str:
    """The address without a password, of a store that answers; an SQLite one is made if it is missing.

    Raises:
        TrackingError: it does not, told of in seconds: MLflow itself would try for minutes.
    """
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it tells of each table that it creates
    uri = without_credentials(uri)
    scheme = uri.partition(":")[0]
    if uri.startswith(SQLITE):
        with answering(uri):
            ensure_store(uri, name)
            if Path(uri.removeprefix(SQLITE)).is_relative_to(root):
                move_artifacts(uri, name, (root / "artifacts" / name).as_uri())
    elif scheme in ("http", "https"):
        _check_server(uri)
    elif scheme.partition("+")[0] in _DATABASES:
        _check_database(uri)
    else:
        allowed = "sqlite:///FILE, http(s)://HOST:PORT, or postgresql://, mysql:// or mssql:// of a database"
        raise TrackingError(f"--tracking-uri: got {redacted(uri)!r}, allowed: {allowed}")
    return uri


def _check_server(uri: str) -> None:
    asked = f"{uri.rstrip('/')}/health"
    try:
        with urllib.request.urlopen(asked, timeout=_ANSWER_S):
            return
    except urllib.error.HTTPError:
        return  # an answer: what it says MLflow will tell
    except (OSError, ValueError, http.client.HTTPException) as error:
        said = redacted(str(getattr(error, "reason", error)))
        remedy = "start it, or name another with --tracking-uri"
        raise TrackingError(f"tracking store {redacted(uri)} does not answer: {said}; {remedy}") from None


def _check_database(uri: str) -> None:
    """One attempt, where MLflow makes fifteen."""
    with answering(uri):
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
        engine.connect().close()


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Raise `TrackingError` where the store at `uri` does not answer; from here on MLflow is quick to say so."""
    # A server that is down should be told of in seconds, not after MLflow's two minutes of retries.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for each run that ends
    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, ImportError) as error:
        said = f"tracking store {redacted(uri)} does not answer: {first_line(error)}"
        raise TrackingError(f"{said}; start it, or name another with --tracking-uri") from None


def first_line(error: Exception) -> str:
    """What an error says, without a password, in one line."""
    text = redacted(str(error).strip())
    return text.splitlines()[0] if text else type(error).__name__
