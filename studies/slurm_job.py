"""A batch script for Slurm that starts Ray on the nodes of its job and runs a study there."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from studies.filling import filled
from studies.nodes import Nodes, trials_at_once
from studies.spec import StudySpec

_GRACE_S = 120  # s before the end of the job's time, in which the study ends as at Ctrl-C
_PATIENCE_S = 180  # s that Ray's head may take to start


def slurm_script(
    spec: StudySpec, run: Sequence[str], nodes: Nodes, options: Mapping[str, str], setup: Sequence[str]
) -> str:
    """The script.

    Args:
        spec: of the study.
        run: the command that runs it, without what the nodes decide.
        nodes: of the job.
        options: of `sbatch`, by their long names, such as {"time": "04:00:00"}.
        setup: lines of the shell before all else.

    Raises:
        InputError: a node does not hold a trial.
    """
    asked = dict(options)
    if nodes.gpus:
        asked["gpus-per-node"] = str(nodes.gpus)
    words = {
        "STUDY": spec.name,
        "JOB": f"nde-{spec.name}",
        "NODES": str(nodes.number),
        "CPUS": str(nodes.cpus),
        "GPUS": str(nodes.gpus),
        "RESOURCES": "\n".join(f"#SBATCH --{name}={value}" for name, value in asked.items()),
        "OUTPUT": f"nde-{spec.name}-%j.out",
        "GRACE_S": str(_GRACE_S),
        "PATIENCE_S": str(_PATIENCE_S),
        "COMMAND": shlex.join([*run, "--workers", str(trials_at_once(spec, nodes))]),
        "SETUP": "\n".join(setup),
    }
    return filled("slurm.sh.txt", words)


def path_of(environment: Path) -> str:
    """A line that makes the commands of a Python environment known, on nodes that see its folder."""
    return f'export PATH={shlex.quote(str(environment))}:"$PATH"'
