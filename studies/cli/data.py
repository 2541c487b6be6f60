"""List the data sets that we know: which are here, where, and what brings the others. With names: check their sums.

A data set is looked for in $NDE_DATA/NAME, ~/.cache/nde-study/data/NAME, what comes with ndecore, and the installed
package that has it. Nothing is fetched without --fetch.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from ndecore.datasets.catalogue import DATA_SETS, DataSet, data_set
from ndecore.datasets.fetching import FetchFailed, fetch
from ndecore.datasets.places import CheckedFile, FileState, check, find, how_to_get, places
from studies.cli.terminal import table_of, terminal

EXAMPLES = """  nde-study data                         list them
  nde-study data mnist                   check the sums of its files
  nde-study data mnist --fetch           bring it here, if it is not, and check it
  nde-study data --fetch                 the same of all that packages have"""

_HEADS = ("data set", "here", "what", "licence")


@dataclass(frozen=True)
class _Standing:
    """What is known of a data set on this machine; `files` is empty where they were not checked."""

    data: DataSet
    folder: Path | None
    files: tuple[CheckedFile, ...] = ()
    failure: str = ""

    @property
    def is_wrong(self) -> bool:
        return bool(self.failure) or any(file.state is FileState.WRONG for file in self.files)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets to check or fetch (default: all)")
    parser.add_argument("--fetch", action="store_true", help="fetch what is missing from the packages that have it")
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """List, or fetch and check; 1 if something is wrong, could not be fetched, or was named and is not here."""
    named = [data_set(name) for name in args.names]
    is_listed = not (named or args.fetch)
    standings = []
    for each in named or DATA_SETS.values():
        standing = _Standing(each, find(each)) if is_listed else _checked(each, args.fetch)
        standings.append(standing)
        if not (is_listed or args.json):
            _say(standing)
    if args.json:
        print(json.dumps([_row(standing) for standing in standings], indent=2))
    elif is_listed:
        _list(standings)
    is_missing = any(standing.folder is None for standing in standings) if named else False
    return 1 if is_missing or any(standing.is_wrong for standing in standings) else 0


def _checked(wanted: DataSet, may_fetch: bool) -> _Standing:
    """Fetch a data set if it is nowhere and that is asked for; then check its files."""
    folder = find(wanted)
    if folder is None and may_fetch and wanted.package is not None:
        try:
            folder = fetch(wanted)
        except FetchFailed as error:
            return _Standing(wanted, None, failure=str(error))
    if folder is None:
        return _Standing(wanted, None)
    return _Standing(wanted, folder, tuple(check(folder, file) for file in wanted.files))


def _say(standing: _Standing) -> None:
    if standing.folder is None:
        print(f"{standing.data.name}: not here: {standing.failure or how_to_get(standing.data)}")
        return
    print(f"{standing.data.name}: in {standing.folder}; {standing.data.licence}")
    for file in standing.files:
        print(f"  {file.path.name}: {file.state.value}{f': {file.reason}' if file.reason else ''}")


def _list(standings: list[_Standing]) -> None:
    table = table_of(_HEADS)
    for each in standings:
        table.add_row(each.data.name, "no" if each.folder is None else "yes", each.data.about, each.data.licence)
    terminal().print(table)
    for each in standings:
        print(f"{each.data.name}: {how_to_get(each.data) if each.folder is None else f'in {each.folder}'}")


def _row(standing: _Standing) -> dict[str, object]:
    wanted = standing.data
    row: dict[str, object] = {
        "name": wanted.name,
        "about": wanted.about,
        "licence": wanted.licence,
        "reference": wanted.reference,
        "folder": None if standing.folder is None else str(standing.folder),
        "places": [str(place) for place in places(wanted)],
        "how_to_get": how_to_get(wanted),
    }
    if standing.failure:
        row["failure"] = standing.failure
    if standing.files:
        row["files"] = {file.path.name: file.state.value for file in standing.files}
    return row
