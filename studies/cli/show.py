"""Show a study's Pareto front: what each member reached and costs, and its ratios to the unregularized baseline."""

import argparse
import json

from reports.tables import study_summary
from studies.cli.front_plot import front_plot
from studies.cli.front_table import print_study
from studies.cli.options import add_root, add_tracking_uri, find_study
from studies.cli.terminal import terminal

EXAMPLES = """  nde-study show quickstart
  nde-study show quickstart --json | jq .knee"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    parser.add_argument("--json", action="store_true", help="print JSON, every number with all its digits")
    add_root(parser)
    add_tracking_uri(parser)


def main(args: argparse.Namespace) -> int:
    """Print the front."""
    study = find_study(args.study, args.root, args.tracking_uri)
    if args.json:
        print(json.dumps(study_summary(study), indent=2))
    else:
        console = terminal()
        print_study(study, console)
        console.print(front_plot(study, console.width), markup=False, end="")
    return 0
