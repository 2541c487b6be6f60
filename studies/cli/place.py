"""Where a study runs: the options that `run` and `resume` share."""

import argparse
import os
from typing import NamedTuple

from studies.addresses import default_uri
from studies.arguments import matching, whole_number
from studies.asked import Where
from studies.cli.options import add_root, add_tracking_uri
from studies.spec import NAME_PATTERN, StudySpec

study_name = matching(NAME_PATTERN, str(StudySpec.model_fields["name"].description))  # an argparse type
_STORAGE_VARIABLE = "NDE_STUDY_STORAGE"


class Trials(NamedTuple):
    """What `--trials` asks for: a total, or some more."""

    total: int | None
    added: int


def trials(text: str) -> Trials:
    """An argparse type: `N` or `+N`."""
    number = whole_number(1)(text.removeprefix("+"))
    return Trials(None, number) if text.startswith("+") else Trials(number, 0)


def added_trials(text: str) -> int:
    """An argparse type: `+N` alone."""
    found = trials(text)
    if not found.added:
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed: +N, with N trials to add")
    return found.added


def add_place(parser: argparse.ArgumentParser) -> None:
    """--workers, --address, --storage, --root, --tracking-uri."""
    parser.add_argument("--workers", type=whole_number(1), metavar="N", help="trials at once, instead of the spec's")
    parser.add_argument("--address", metavar="HOST:PORT", help="a Ray cluster to join; default: this machine")
    parser.add_argument(
        "--storage",
        default=os.environ.get(_STORAGE_VARIABLE),
        metavar="URL",
        help=f"a database for the proposals; its password is not kept (default: ${_STORAGE_VARIABLE}, or files)",
    )
    add_root(parser)
    add_tracking_uri(parser)


def place_of(args: argparse.Namespace, tracking_uri: str | None) -> Where:
    """What the options say, else the spec, else the default."""
    uri = args.tracking_uri or tracking_uri or default_uri(args.root)
    return Where(args.root, uri, args.address, args.workers, args.storage)
