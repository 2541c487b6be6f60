"""Nodes of one kind that somebody asks a cluster for, and what of a study they hold."""

from dataclasses import dataclass

from ndecore.errors import InputError
from studies.spec import StudySpec


@dataclass(frozen=True)
class Nodes:
    """So many nodes, or pods, of one size."""

    number: int
    cpus: int  # of each
    gpus: int  # of each


def trials_at_once(spec: StudySpec, nodes: Nodes) -> int:
    """How many trials of a study run on the nodes at once.

    Raises:
        InputError: a node holds none, or has GPUs that no trial asks for.
    """
    cpu, gpu = spec.cpus, spec.resources.gpu
    if nodes.gpus and not gpu:
        raise InputError(
            f"--gpus: got {nodes.gpus}, allowed: 0, since a trial of {spec.name!r} takes none; or ask for some in its "
            "spec, as resources: {gpu: 1}"
        )
    held = nodes.cpus // cpu
    if gpu:  # part of one stays on one
        held = min(held, nodes.gpus * int(1 / gpu + 1e-9) if gpu < 1 else int(nodes.gpus // gpu))
    if not held:
        needs, has = f"cpu {cpu}, gpu {gpu:g}", f"cpu {nodes.cpus}, gpu {nodes.gpus}"
        raise InputError(f"--cpus, --gpus: got nodes of {has}, allowed: at least what a trial takes, {needs}")
    return nodes.number * held
