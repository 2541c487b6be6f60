"""The command line: `nde-study COMMAND`. One subcommand, one file.

A subcommand's module is imported only when it is called, since importing torch, ray and mlflow takes seconds:
`nde-study --help` and `validate` answer at once. Each module has a docstring (its description), `EXAMPLES`,
`configure(parser)`, `main(args)`.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from typing import NoReturn

from ndecore.errors import InputError, NDEError
from reports.wording import printable
from studies.secret import redacted

COMMANDS = {
    "new": "write a task of your own, and its study, to start from",
    "check": "try a task of your own, and say what is wrong",
    "keys": "list the keys of a config for a task",
    "run": "run a study, or what is left of it",
    "resume": "go on with a study, or add trials to it",
    "attach": "follow a study that is running",
    "stop": "end a study that is running, and keep what it has",
    "slurm": "write a batch script that runs a study on Slurm's nodes",
    "kubernetes": "write a manifest that runs a study with KubeRay",
    "simulate": "run a study on recorded curves, in simulated time",
    "sync": "bring MLflow up to date with a study",
    "ls": "list the studies that were run",
    "show": "show a study's Pareto front",
    "confirm": "train the front again with new seeds",
    "sweep": "solve trained models at other tolerances",
    "repair": "tell what of a damaged study can be kept, and keep it",
    "mv": "rename a study",
    "rm": "remove a study",
    "diff": "compare two studies, trials or configs",
    "report": "write a study's report: HTML, Markdown, CSV, LaTeX",
    "export": "write Pareto-optimal configs as YAML",
    "verify": "check that an exported model holds what it promises",
    "train": "train an exported config and compare with the study",
    "ui": "browse a study in MLflow",
    "validate": "check a spec without running it",
    "data": "list data sets, check them, fetch them",
    "bench": "run a benchmark and write its report",
    "completion": "print a shell's completion of these commands",
}
USER_MISTAKE, FAILURE, INTERRUPTED = 2, 1, 130

_EXAMPLES = """examples:
  nde-study run quickstart                                run the shipped quickstart study
  nde-study ui quickstart                                 browse it in MLflow
  nde-study export quickstart --top knee -o knee.yaml     take the knee of its front
  nde-study train knee.yaml                               train that config again

`nde-study COMMAND --help` has the options of a command, with examples. Where a command takes --json, scripts read that.
exit codes: 0 done, 1 failed, 2 asked for wrongly (nothing was done), 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0, 1 for a failure, 2 for a user's mistake, 130 for Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if args else USER_MISTAKE
    if args[0] == "--version":
        print(f"nde-study {version('nde-study')}")
        return 0
    if args[0] not in COMMANDS:
        return _complain(f"unknown command: got {args[0]!r}, allowed: {', '.join(COMMANDS)}{_suggestion(args[0])}")
    return _call(args[0], args[1:])


class _Parser(argparse.ArgumentParser):
    """Complains like the rest of the commands: in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise `InputError`."""
        raise InputError(f"{message}; `{self.prog} --help` tells what is allowed")


def _call(command: str, rest: list[str]) -> int:
    module = import_module(f"studies.cli.{command}")
    parser = _Parser(
        prog=f"nde-study {command}",
        description=module.__doc__,
        epilog=f"examples:\n{module.EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.configure(parser)
    try:
        code: int = module.main(parser.parse_args(rest, argparse.Namespace(words=tuple(rest))))
        sys.stdout.flush()
    except InputError as error:
        return _complain(str(error))
    except NDEError as error:
        return _complain(str(error), FAILURE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, `head` say, has seen enough; nothing more is to be flushed to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    return code


def _complain(message: str, code: int = USER_MISTAKE) -> int:
    print("\n".join(f"nde-study: {line}" for line in printable(redacted(message)).split("\n")), file=sys.stderr)
    return code


def _suggestion(command: str) -> str:
    close = get_close_matches(command, COMMANDS, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _help() -> str:
    about = "Multi-objective studies of regularized neural differential equations."
    commands = [f"  {name:12}{text}" for name, text in COMMANDS.items()]
    return "\n".join(["usage: nde-study COMMAND ...", "", about, "", "commands:", *commands, "", _EXAMPLES])
