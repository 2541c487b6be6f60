"""Ray on this machine, or a cluster that is there: started or joined, checked before the first trial."""

import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import ray
from ray._private import ray_constants

import ndecore
import reports
import search_spaces
import studies
from ndecore.errors import InputError, NDEError
from studies.secret import redacted
from studies.spec import StudySpec
from studies.watchdog import watched

_OBJECT_STORE_BYTES = 80 * 1024 * 1024  # trials exchange a few numbers; Ray's smallest store is enough
_CONNECT_S = 10.0
FOLDER = "nde-ray-"  # and the process
_MAX_BASE = 24  # characters of the path of the folder for temporary files
_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "NDE_STUDY_STORAGE")  # which no worker needs
_ROOMS: tuple[ModuleType, ...] = (ndecore, search_spaces, reports, studies)


@contextmanager
def started_ray(spec: StudySpec, address: str | None) -> Iterator[None]:
    """Ray for a study: on this machine and on loopback alone, or the cluster at `address`.

    Our own code travels with the job to a cluster; its nodes need what pyproject.toml lists, and nothing is installed.

    Raises:
        NDEError: the cluster does not answer.
        InputError: no node of it can hold a trial.
    """
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # the ledger and MLflow hold what these would write
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # a task's relative paths mean the same in a worker as in `check`
    os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] = "0"  # each is told of once, with its trial
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the new one prints a banner even at verbose=0
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S"] = "3600"  # a cluster may be full for a while
    logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # that trials failed stands in the ledger
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with ExitStack() as stack:
        if address:
            _check_answers(address)
            code = {"py_modules": [str(Path(str(room.__file__)).parent) for room in _ROOMS]}
            options: dict[str, Any] = {"address": address, "runtime_env": code}
        else:
            options = _local(spec, stack.enter_context(_private_folder()))
        stack.callback(ray.shutdown)
        try:
            with _hidden(_SECRETS):
                ray.init(**quiet, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            said = redacted(str(error).strip().split("\n")[0])
            raise NDEError(f"Ray at {address or 'this machine'} cannot be used: {said}; see `ray status`") from None
        _check_room(spec)
        yield


def _local(spec: StudySpec, folder: Path) -> dict[str, Any]:
    """What Ray on this machine is started with: loopback alone, a token that nobody else has, a folder of one's own."""
    # Ray takes the host's own address in the place of loopback, except where clusters are switched off; it has read the
    # variable when it was imported, and its processes read it when they are.
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    # Ray asks for a token by default, and keeps it in a file that everybody may read unless it is given one.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    return {
        "address": "local",
        "num_cpus": spec.workers * spec.cpus,
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": str(folder),
    }


@contextmanager
def _private_folder() -> Iterator[Path]:
    """For Ray's sockets and logs: nobody else may look into it, and it is gone with the study.

    What killed drivers have left is removed first.
    """
    base = Path(tempfile.gettempdir())
    if len(str(base)) > _MAX_BASE:  # a socket's path has at most 107 characters
        base = Path("/tmp")
    for left in base.glob(f"{FOLDER}*"):
        pid = left.name.removeprefix(FOLDER).partition("-")[0]
        with suppress(FileNotFoundError):  # another study may be removing it
            if left.stat().st_uid == os.getuid() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-", dir=base))
    with watched(folder):
        try:
            yield folder / "ray"  # which Ray opens to everybody, inside one that is closed
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _hidden(names: Sequence[str]) -> Iterator[None]:
    """Without some variables of the environment: the processes that Ray starts inherit the rest."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def _check_answers(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        if address != "auto":
            raise InputError(f"--address: got {address!r}, allowed: HOST:PORT of a Ray cluster, or auto")
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise NDEError(f"Ray at {address} cannot be used: {error}; see `ray status` there") from None


def _check_room(spec: StudySpec) -> None:
    """A trial that fits no node would wait for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    needs = {"CPU": float(spec.cpus), "GPU": spec.resources.gpu}
    if not any(all(node.get(name, 0.0) >= amount for name, amount in needs.items()) for node in nodes):
        most = ", ".join(f"{name.lower()} {max(n.get(name, 0.0) for n in nodes):g}" for name in needs)
        got = ", ".join(f"{name.lower()} {amount:g}" for name, amount in needs.items())
        raise InputError(f"resources: got {got}, allowed: at most what a node has, {most}")
