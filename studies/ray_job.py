"""A manifest for Kubernetes: a RayJob of KubeRay, which starts a Ray cluster, runs a study there and takes it down.

The fields are those of `ray.io/v1` as KubeRay 1.5.1 and later have them.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import yaml

from studies.nodes import Nodes, trials_at_once
from studies.spec import StudySpec

_LONGEST = 47  # characters of a RayJob's name
_HEAD_CPUS = 2  # for the driver and MLflow; no trial runs there
_VOLUME = "studies"
_RETRIES = 2  # each with a new cluster; the study goes on


@dataclass(frozen=True)
class Pods:
    """What the pods have."""

    image: str
    memory: str  # of each: a quantity such as 8Gi
    claim: str  # of the volume that the head mounts: the driver alone writes
    mount: str  # where


def ray_job(spec: StudySpec, run: Sequence[str], workers: Nodes, pods: Pods) -> str:
    """The manifest as YAML.

    Args:
        spec: of the study.
        run: the command that runs it in a pod, without what the workers decide.
        workers: pods that trials run in.
        pods: what they and the head have.

    Raises:
        InputError: a worker does not hold a trial.
    """
    command = [*run, "--address", "auto", "--workers", str(trials_at_once(spec, workers))]
    worker = {
        "groupName": "workers",
        "replicas": workers.number,
        "minReplicas": workers.number,
        "maxReplicas": workers.number,
        "rayStartParams": {},
        "template": _template("ray-worker", pods, workers.cpus, workers.gpus),
    }
    cluster = {
        "rayVersion": version("ray"),
        "authOptions": {"mode": "token"},  # whoever reaches Ray's ports can run code
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0"},
            "template": _template("ray-head", pods, _HEAD_CPUS, 0, mounts=True),
        },
        "workerGroupSpecs": [worker],
    }
    manifest = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": _name(spec.name), "labels": {"app.kubernetes.io/part-of": "nde-study"}},
        "spec": {
            "entrypoint": shlex.join(command),
            "shutdownAfterJobFinishes": True,
            "backoffLimit": _RETRIES,
            "rayClusterSpec": cluster,
        },
    }
    return yaml.safe_dump(manifest, sort_keys=False, width=120)


def _name(study: str) -> str:
    """Letters, digits and "-" alone, a letter first, no "-" last."""
    return f"nde-{study.replace('_', '-')}"[:_LONGEST].rstrip("-")


def _template(name: str, pods: Pods, cpus: int, gpus: int, *, mounts: bool = False) -> dict[str, Any]:
    amounts: dict[str, Any] = {"cpu": str(cpus), "memory": pods.memory}
    if gpus:
        amounts["nvidia.com/gpu"] = str(gpus)
    container: dict[str, Any] = {
        "name": name,
        "image": pods.image,
        "resources": {"requests": amounts, "limits": dict(amounts)},
    }
    pod: dict[str, Any] = {"containers": [container]}
    if mounts:
        container["volumeMounts"] = [{"name": _VOLUME, "mountPath": pods.mount}]
        pod["volumes"] = [{"name": _VOLUME, "persistentVolumeClaim": {"claimName": pods.claim}}]
    return {"spec": pod}
