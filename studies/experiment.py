"""The experiment of a study in an MLflow store or server: found, or created before any worker starts."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from ndecore.errors import NDEError
from reports.vocabulary import Tag
from studies.secret import has_password, redacted

_EXPERIMENT_KIND = "mlflow.experimentKind"  # without it the page opens in MLflow's view for language models
_TRAINING = "custom_model_development"
_SQLITE = "sqlite:///"


class TrackingError(NDEError):
    """The tracking server or store cannot be used."""


@dataclass(frozen=True)
class Experiment:
    """Where a study is tracked."""

    uri: str  # without a password: MLflow takes that from MLFLOW_TRACKING_PASSWORD
    experiment_id: str


def default_uri(root: Path) -> str:
    """The embedded store beside the artifacts: an SQLite file under `root`."""
    return f"{_SQLITE}{root.resolve()}/mlflow.db"


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


def open_experiment(uri: str, root: Path, name: str, study_id: str | None = None) -> Experiment:
    """Create the experiment of a new study, and an SQLite store if it is missing.

    Before any worker starts, since creating a store is not safe in parallel.

    Args:
        uri: of the store or server. The artifacts of an SQLite store go to `root`.
        root: the folder of all studies.
        name: of the study.
        study_id: of a study that may be there already, in part.

    Raises:
        TrackingError: the store does not answer, or has runs of another study of this name.
    """
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it tells of each table that it creates
    uri = without_credentials(uri)
    is_local = uri.startswith(_SQLITE)
    artifacts = (root / "artifacts" / name).as_uri() if is_local else None
    if is_local:
        # MLflow would try for minutes to open a file in a folder that is not there.
        Path(uri.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    with answering(uri):
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(name)
        if found is None:
            tags = {_EXPERIMENT_KIND: _TRAINING}
            return Experiment(uri, client.create_experiment(name, artifact_location=artifacts, tags=tags))
        is_usable = found.lifecycle_stage == "active" and _is_free(client, found.experiment_id, study_id)
    if not is_usable:
        # Its runs may be a colleague's, and an experiment that was deleted in MLflow keeps its name.
        raise TrackingError(
            f"{redacted(uri)} has an experiment {name!r} already; give the study another name with --name"
        )
    return Experiment(uri, found.experiment_id)


def _is_free(client: MlflowClient, experiment_id: str, study_id: str | None) -> bool:
    """Whether an experiment has no runs, or those of this study."""
    own = client.search_runs([experiment_id], f"tags.`{Tag.STUDY_ID}` = '{study_id}'", max_results=1)
    return bool(study_id and own) or not client.search_runs([experiment_id], max_results=1)


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Raise `TrackingError` where the store at `uri` does not answer; from here on MLflow is quick to say so."""
    # A server that is down should be told of in seconds, not after MLflow's two minutes of retries.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for each run that ends
    try:
        yield
    except MlflowException as error:
        said = f"tracking store {redacted(uri)} does not answer: {first_line(error)}"
        raise TrackingError(f"{said}; start it, or name another with --tracking-uri") from None


def first_line(error: Exception) -> str:
    """What an error says, without a password, in one line."""
    text = redacted(str(error).strip())
    return text.splitlines()[0] if text else type(error).__name__
