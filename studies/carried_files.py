"""The files of a study on a cluster: an actor on the driver's node reads and writes them for the workers.

So nodes need no folder in common, and what a worker has written is with the driver before the driver hears of it.
"""

import errno
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray._private import worker
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from studies.code_files import copies
from studies.trial_files import write_whole

_ACTOR = "files of the study"  # its name in the job of the driver
_AT_ONCE = 16  # calls of the actor: each waits for the disk
_ATTEMPTS = 3  # the actor begins again where its process was killed

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Carried:
    """On a node of a cluster, through the actor that `carrier` starts."""

    def code(self, study_folder: Path) -> Path:
        """A copy, made once in each process."""
        return _code(study_folder)

    def read(self, path: Path) -> bytes:
        """From the driver's node."""
        content: bytes = _answer("read", path)
        return content

    def write(self, path: Path, content: bytes) -> None:
        """To the driver's node, and wait until it is there."""
        _answer("write", path, content)

    def remove(self, path: Path) -> None:
        """From the driver's node."""
        _answer("remove", path)


@contextmanager
def carrier() -> Iterator[None]:
    """The actor that `Carried` asks, on this process's node of the cluster, for as long as the block takes."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options: dict[str, Any] = {"max_restarts": _ATTEMPTS, "max_task_retries": _ATTEMPTS, "max_concurrency": _AT_ONCE}
    actor: Any = ray.remote(_Files).options(name=_ACTOR, num_cpus=0, scheduling_strategy=here, **options).remote()
    try:
        yield
    finally:
        with suppress(RayError):  # the cluster may be gone
            ray.kill(actor)


class _Files:
    """Answers with values: Ray would wrap an error in its own, without its number."""

    def read(self, path: Path) -> bytes | OSError:
        return _tried(path.read_bytes)

    def write(self, path: Path, content: bytes) -> OSError | None:
        return _tried(lambda: write_whole(path, content))

    def remove(self, path: Path) -> OSError | None:
        return _tried(lambda: path.unlink(missing_ok=True))

    def code(self, study_folder: Path) -> dict[Path, bytes] | OSError:
        return _tried(lambda: {name: (study_folder / name).read_bytes() for name in copies(study_folder)})


def _tried(do: Callable[[], _Found]) -> _Found | OSError:
    try:
        return do()
    except OSError as error:
        return error


def _answer(method: str, path: Path, *arguments: bytes) -> Any:
    try:
        found = ray.get(getattr(ray.get_actor(_ACTOR), method).remote(path, *arguments))
    except (RayError, ValueError) as error:  # the latter where no such actor is left
        said = str(error).splitlines()[0]
        raise OSError(errno.EIO, f"the driver's node does not answer: {said}", str(path)) from None
    if isinstance(found, OSError):
        raise found
    return found


@cache
def _code(study_folder: Path) -> Path:
    node: Any = worker._global_node
    # Beside what Ray keeps of its session, and gone with it.
    here = Path(tempfile.mkdtemp(prefix="nde-code-", dir=node.get_session_dir_path()))
    for name, content in _answer("code", study_folder).items():
        write_whole(here / name, content)
    return here
