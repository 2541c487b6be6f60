"""Check an exported model: that its files are whole, and that its weights measure here what it promises.

Accuracy, NFE and solver gap are measured on the validation split, as the study had measured them. A file that was
changed, cut off, added or lost is refused. Nothing in the folder is unpickled; code in it, of a task of somebody's own,
is run with --run-code alone.

Checksums are no signature: who can change the folder can list it anew. Ask whoever exported it for the SHA-256 that
`nde-study export` told, and name it with --sha256.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ndecore.errors import InputError, NDEError
from reports.manifest import check_manifest, manifest_digest
from studies.cli.options import add_run_code, print_json
from studies.models import Promise, exports_in, verify_model

EXAMPLES = """  nde-study export quickstart --top knee -o knee && nde-study verify knee
  nde-study verify knee --sha256 5f2c...                      as `nde-study export` told it
  nde-study verify front --json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", type=Path, help="from `nde-study export`; or a folder of such folders")
    parser.add_argument("--sha256", metavar="DIGEST", help="of its manifest, as `nde-study export` told it")
    add_run_code(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, every number with all its digits")


def main(args: argparse.Namespace) -> int:
    """Check and say; exit code 1 where a promise is broken, 2 where a folder is refused."""
    if not args.folder.is_dir():
        raise InputError(f"{args.folder}: is no folder; allowed is one from `nde-study export`")
    if args.sha256 is not None:
        _check_digest(args.folder, args.sha256)
    found = {str(folder): verify_model(folder, args.run_code) for folder in exports_in(args.folder)}
    broken = [folder for folder, promises in found.items() if not all(each.is_kept for each in promises)]
    if args.json:
        print_json({f: [asdict(each) | {"is_kept": each.is_kept} for each in told] for f, told in found.items()})
    else:
        for folder, promises in found.items():
            _print(folder, promises, Console())
    if broken:
        raise NDEError(f"{', '.join(broken)}: does not hold what it promises")
    return 0


def _check_digest(folder: Path, expected: str) -> None:
    if exports_in(folder) != (folder,):
        raise InputError(f"--sha256: got a folder of exports, {folder}, allowed: the folder of one")
    check_manifest(folder)
    if (got := manifest_digest(folder)) != expected.strip().lower():
        raise InputError(f"{folder}: got the digest {got}, allowed: {expected}: it is not what was exported")


def _print(folder: str, promises: tuple[Promise, ...], console: Console) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False, title=folder, title_justify="left")
    for head in ("promised", "value", "tolerance", "measured here", ""):
        table.add_column(head, justify="left" if head in ("promised", "") else "right")
    for each in promises:
        verdict = "same" if each.got == each.expected else "kept" if each.is_kept else "BROKEN"
        table.add_row(each.name, f"{each.expected:.6g}", f"{each.tolerance:.2g}", f"{each.got:.6g}", verdict)
    console.print(table)
    if all(each.is_kept for each in promises):
        console.print("whole, and holds what it promises")
