"""Exported models into MLflow's model registry."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from ndecore.errors import NDEError
from reports.choice import knee_trial
from reports.confirmed import published_study
from reports.export import ExportedConfig
from reports.records import StudyRecord
from reports.vocabulary import Kind, Tag
from studies.models import MODEL
from studies.secret import redacted

KNEE = "pareto-knee"


def register(study: StudyRecord, configs: Sequence[ExportedConfig], folders: Mapping[int, Path]) -> tuple[str, ...]:
    """Make each model a version of the registered model that bears the study's name.

    The files go below `models/` of the study's run. The version of the knee gets the alias `pareto-knee`, which an
    earlier one loses.

    Args:
        study: tracked.
        configs: what was exported.
        folders: of each, by trial.

    Returns:
        The address of each version, as `mlflow models serve -m` takes it.

    Raises:
        NDEError: MLflow does not answer, or does not have the study.
    """
    uri, knee = study.tracking_uri, knee_trial(published_study(study)).number
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        runs = client.search_runs([study.experiment_id], f"tags.`{Tag.KIND}` = '{Kind.STUDY}'", max_results=1)
        if not runs:
            raise NDEError(
                f"{redacted(uri)} has no run of study {study.name!r}; `nde-study sync {study.name}` sends it"
            )
        if not client.search_registered_models(f"name = '{study.name}'"):
            client.create_registered_model(study.name, description=f"Models of the study {study.name}")
        addresses = []
        for config in configs:
            path = f"models/trial-{config.trial:04d}"
            client.log_artifacts(runs[0].info.run_id, str(folders[config.trial]), path)
            version = client.create_model_version(
                study.name,
                f"{runs[0].info.artifact_uri}/{path}/{MODEL}",
                runs[0].info.run_id,
                tags={Tag.TRIAL.value: str(config.trial), "role": config.role},
                description=f"Trial {config.trial} of {study.name}: {config.role}",
            ).version
            if config.trial == knee:
                client.set_registered_model_alias(study.name, KNEE, version)
            addresses.append(f"models:/{study.name}" + (f"@{KNEE}" if config.trial == knee else f"/{version}"))
    except MlflowException as error:
        raise NDEError(f"{redacted(uri)}: cannot register: {str(error).splitlines()[0]}") from error
    return tuple(addresses)
