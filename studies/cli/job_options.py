"""What `slurm` and `kubernetes` share: a spec, checked here, and the command that runs it there."""

import argparse
from pathlib import Path

from ndecore.errors import InputError
from search_spaces.shipped import YAML_SUFFIXES
from studies.cli.options import add_tracking_uri
from studies.cli.place import study_name
from studies.secret import has_password
from studies.spec import StudySpec, load_spec
from studies.spec_search import Fronts


def add_job(parser: argparse.ArgumentParser) -> None:
    """The spec, --name, --tracking-uri, -o."""
    parser.add_argument("spec", help="a YAML file, or the name of a shipped study")
    parser.add_argument("--name", type=study_name, help="run it under another name")
    add_tracking_uri(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write it there (default: print it)")


def loaded(args: argparse.Namespace, fronts: Fronts) -> tuple[StudySpec, Path | None]:
    """The spec, and its file where it is one.

    Raises:
        SpecError: with all that is wrong.
        InputError: a password would be written down.
    """
    if args.tracking_uri and has_password(args.tracking_uri):
        raise InputError(
            "--tracking-uri: got one with a password, which would be written down; allowed: one without, and "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment of the job"
        )
    spec = load_spec(args.spec, {"name": args.name} if args.name else {}, fronts)
    return spec, Path(args.spec).resolve() if args.spec.endswith(YAML_SUFFIXES) else None


def run_command(args: argparse.Namespace, path: Path | None, root: Path) -> list[str]:
    """The command that runs the study where `path` and `root` are seen, without what its nodes decide."""
    command = ["nde-study", "run", str(path or args.spec), "--root", str(root)]
    for option, value in (("--name", args.name), ("--tracking-uri", args.tracking_uri)):
        command += [option, value] if value else []
    return command


def write(text: str, output: Path | None, command: str) -> int:
    """Write or print a text, and tell which command takes it; return the exit code."""
    if output is None:
        print(text, end="")
        return 0
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"-o: got {output}, which exists; allowed: another name, or remove it first") from None
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}") from None
    print(f"wrote {output}; to run it: {command} {output}")
    return 0
