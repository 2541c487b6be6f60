"""Write a study's report: one HTML page that needs no internet, Markdown, and its tables as CSV and LaTeX.

The same files are among the artifacts of the study's run in MLflow; `nde-study sync` brings them up to date there.
"""

import argparse
import json
from pathlib import Path

from reports.report import study_report
from reports.report_files import report_summary, write_report
from studies.cli.options import add_root, add_tracking_uri, find_study
from studies.ledger import Ledger, study_names
from studies.profiles import solver_profiles

EXAMPLES = """  nde-study report quickstart
  nde-study report quickstart -o paper/
  nde-study report quickstart --json | jq .importance"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="a folder (default: NAME-report)")
    parser.add_argument("--json", action="store_true", help="print what scripts read, and write nothing")
    add_root(parser)
    add_tracking_uri(parser)


def main(args: argparse.Namespace) -> int:
    """Compute and write."""
    study = find_study(args.study, args.root, args.tracking_uri)
    is_here = args.study in study_names(args.root)
    report = study_report(study, solver_profiles(Ledger(args.root / args.study)) if is_here else ())
    if args.json:
        print(json.dumps(report_summary(report), indent=2))
        return 0
    page, *_ = write_report(args.output or Path(f"{args.study}-report"), report)
    print(page)
    return 0
