"""Run a benchmark and write its report. Close other programs first: it times things."""

import argparse
import tempfile
from importlib import import_module
from pathlib import Path

from ndecore.errors import InputError
from studies.benchmarks import BENCHMARKS

EXAMPLES = """  nde-study bench solvers
  nde-study bench regularizers --tasks digits_node --presets er-code,steer --seeds 3 --epochs 20 -o /tmp"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: one sub-parser per benchmark."""
    choices = parser.add_subparsers(dest="benchmark", metavar="BENCHMARK", required=True)
    for name, text in BENCHMARKS.items():
        # A benchmark brings torch with it, so it is loaded only with `bench`, as a subcommand is.
        module = import_module(f"studies.benchmarks.{name}")
        own = choices.add_parser(name, help=text, description=module.__doc__)
        own.add_argument(
            "-o",
            "--output",
            type=Path,
            default=Path("reports/benchmarks"),
            metavar="DIR",
            help="default: reports/benchmarks",
        )
        module.configure(own)
        own.set_defaults(benchmark_main=module.main)


def main(args: argparse.Namespace) -> int:
    """Run the one chosen."""
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=args.output).close()
    except OSError as error:  # before minutes of measuring
        raise InputError(f"--output: {args.output} cannot be written: {error.strerror}; name another folder") from error
    code: int = args.benchmark_main(args)
    return code
