"""Write Pareto-optimal configs as YAML that `nde-study train` trains anywhere."""

import argparse
from pathlib import Path

from ndecore.errors import InputError
from ndecore.metrics import METRICS
from reports.config_files import write_yaml
from reports.export import choose
from studies.cli.options import add_root, add_tracking_uri, find_study

EXAMPLES = """  nde-study export quickstart --top knee -o node.yaml
  nde-study export quickstart --best accuracy -o accurate.yaml
  nde-study export quickstart --min-accuracy 0.97 -o cheap.yaml
  nde-study export quickstart --all -o front/"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    rule = parser.add_mutually_exclusive_group()
    rule.add_argument("--top", choices=["knee"], help="the best compromise (default)")
    names = ", ".join(METRICS)
    rule.add_argument("--best", choices=list(METRICS), metavar="METRIC", help=f"the best in one of {names}")
    rule.add_argument("--min-accuracy", type=float, metavar="X", help="fewest NFE with this accuracy, 0 to 1")
    rule.add_argument("--all", action="store_true", help="every member of the front")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PATH", help="a .yaml file, or a folder")
    add_root(parser)
    add_tracking_uri(parser)


def main(args: argparse.Namespace) -> int:
    """Choose and write."""
    if args.min_accuracy is not None and not 0 <= args.min_accuracy <= 1:
        raise InputError(f"--min-accuracy: got {args.min_accuracy:g}, allowed: a fraction from 0 to 1")
    if args.output.suffix and args.output.suffix not in (".yaml", ".yml") and not args.output.is_dir():
        raise InputError(f"--output: got {args.output}, allowed: a file ending in .yaml, or a folder")
    study = find_study(args.study, args.root, args.tracking_uri)
    configs = choose(study, top=args.top, best=args.best, min_accuracy=args.min_accuracy, all=args.all)
    written = write_yaml(args.output, configs)
    for path in written:
        print(path)
    return 0
