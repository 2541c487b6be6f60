"""Write a batch script for Slurm: it starts Ray on the nodes of its job by srun, and runs the study there.

Two minutes before its time is up the study ends as at Ctrl-C; the same script submitted again goes on. All nodes must
see the root folder, the spec and the files that it names, since any of them may be the one on which the driver runs.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from studies.arguments import matching, whole_number
from studies.cli.job_options import add_job, loaded, run_command, write
from studies.cli.options import add_root
from studies.earlier import front_configs
from studies.nodes import Nodes
from studies.slurm_job import path_of, slurm_script

EXAMPLES = """  nde-study slurm my_study.yaml --nodes 4 --cpus 16 --time 8:00:00 --root /shared/nde-runs -o my_study.sh
  nde-study slurm my_study.yaml --nodes 2 --cpus 16 --gpus 4 --time 1-0 --partition gpu --account project7
  nde-study slurm my_study.yaml --nodes 2 --cpus 8 --time 60 --setup 'module load x' --setup '. env/bin/activate'"""

_TIME = r"(\d+-)?\d+(:\d{1,2}){0,2}"
_WORD = r"[\w.:/+-]+"
_OPTIONS = ("time", "mem", "partition", "account", "qos")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_job(parser)
    add_root(parser)
    parser.add_argument("--nodes", type=whole_number(1), required=True, metavar="N", help="of the job")
    parser.add_argument("--cpus", type=whole_number(1), required=True, metavar="C", help="of each node")
    parser.add_argument("--gpus", type=whole_number(0), default=0, metavar="G", help="of each node (default: 0)")
    time = matching(_TIME, "minutes, H:M:S, or D-H:M:S")
    parser.add_argument("--time", type=time, required=True, metavar="TIME", help="of the job: minutes, H:M:S, D-H:M:S")
    word = matching(_WORD, "letters, digits and . : / + - _")
    parser.add_argument("--mem", type=word, metavar="SIZE", help="memory of each node, such as 32G")
    for name in _OPTIONS[2:]:
        parser.add_argument(f"--{name}", type=word, metavar="NAME", help="as of sbatch")
    parser.add_argument(
        "--setup",
        action="append",
        type=matching(r"[^\n]+", "one line"),
        default=[],
        metavar="LINE",
        help="of the shell, before all else; may be given again (default: the commands of this environment)",
    )


def main(args: argparse.Namespace) -> int:
    """Write the script."""
    spec, path = loaded(args, partial(front_configs, args.root))
    options = {name: getattr(args, name) for name in _OPTIONS if getattr(args, name)}
    setup = args.setup or [path_of(Path(sys.executable).parent)]
    run = run_command(args, path, args.root.resolve())
    script = slurm_script(spec, run, Nodes(args.nodes, args.cpus, args.gpus), options, setup)
    return write(script, args.output, "sbatch")
