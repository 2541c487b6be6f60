"""Show a study's Pareto front: what each member reached and costs, and its ratios to the unregularized baseline."""

import argparse
import json

from ndecore.metrics import counts_epochs
from reports.anytime import anytime_front
from reports.pareto import front
from reports.tables import study_summary
from studies.cli.anytime_table import anytime_data, print_anytime
from studies.cli.front_plot import front_plot
from studies.cli.front_table import print_study
from studies.cli.options import add_root, add_tracking_uri, find_study, print_json
from studies.cli.terminal import terminal

EXAMPLES = """  nde-study show quickstart
  nde-study show quickstart --json | jq .knee
  nde-study show quickstart --anytime          each epoch of a training is a cheaper one"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    parser.add_argument("--json", action="store_true", help="print JSON, every number with all its digits")
    parser.add_argument("--anytime", action="store_true", help="the front over every epoch of every trial instead")
    add_root(parser)
    add_tracking_uri(parser)


def main(args: argparse.Namespace) -> int:
    """Print the front."""
    study = find_study(args.study, args.root, args.tracking_uri)
    if args.anytime and args.json:
        print_json(anytime_data(study))
    elif args.anytime:
        print_anytime(study, terminal())
    elif args.json:
        print(json.dumps(study_summary(study), indent=2))
    else:
        console = terminal()
        print_study(study, console)
        if counts_epochs(study.objectives) and front(study):
            found = anytime_front(study)
            gain = f"hypervolume x {found.hypervolume / found.of_whole:.2f}"
            told = f"Every epoch as a model of its own: {gain} (nde-study show {study.name} --anytime)."
            console.print(told, highlight=False)
        console.print(front_plot(study, console.width), markup=False, end="")
    return 0
