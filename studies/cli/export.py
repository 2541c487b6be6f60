"""Take Pareto-optimal configs out of a study: as YAML that `nde-study train` trains anywhere, or with their models.

A path ending in .yaml gets the configs alone. A folder gets the trained weights too, with a card, an MLflow model, and
what it promises: `nde-study verify` checks it. Where a study was confirmed, the choice is from the confirmed front.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from ndecore.errors import InputError
from ndecore.metrics import METRICS
from reports.config_files import SUFFIXES, write_yaml
from reports.confirmed import front_sentence
from reports.export import CHEAPEST, ExportedConfig, choose
from studies.cli.options import add_root, add_tracking_uri, find_study

EXAMPLES = """  nde-study export quickstart --top knee -o knee.yaml
  nde-study export quickstart --min-accuracy 0.97 -o cheap.yaml
  nde-study export quickstart --top knee -o knee --register
  nde-study export quickstart --best accuracy --deploy bosh3:1e-2 -o fast
  nde-study export quickstart --all -o front"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    rule = parser.add_mutually_exclusive_group()
    rule.add_argument("--top", choices=["knee"], help="the best compromise (default)")
    names = ", ".join(METRICS)
    rule.add_argument("--best", choices=list(METRICS), metavar="METRIC", help=f"the best in one of {names}")
    rule.add_argument("--min-accuracy", type=float, metavar="X", help="fewest NFE with this accuracy, 0 to 1")
    rule.add_argument("--max-nfe", type=float, metavar="N", help="best score with at most so many NFE")
    rule.add_argument("--all", action="store_true", help="every member of the front")
    parser.add_argument(
        "--deploy",
        metavar="SOLVER:RTOL",
        help=f"solve what was trained like this, as `nde-study sweep` measured it, or {CHEAPEST!r}",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PATH", help="a .yaml file, or a folder")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier export left there")
    parser.add_argument("--register", action="store_true", help="also put the models into MLflow's model registry")
    add_root(parser)
    add_tracking_uri(parser)


def main(args: argparse.Namespace) -> int:
    """Choose and write."""
    if args.min_accuracy is not None and not 0 <= args.min_accuracy <= 1:
        raise InputError(f"--min-accuracy: got {args.min_accuracy:g}, allowed: a fraction from 0 to 1")
    is_text = args.output.suffix in SUFFIXES and not args.output.is_dir()
    if args.output.suffix and not is_text and not args.output.is_dir():
        raise InputError(f"--output: got {args.output}, allowed: a file ending in .yaml, or a folder")
    if args.register and is_text:
        raise InputError(f"--register: got {args.output}, allowed: a folder, which has the trained model too")
    study = find_study(args.study, args.root, args.tracking_uri)
    rules = {name: getattr(args, name) for name in ("top", "best", "min_accuracy", "max_nfe", "all", "deploy")}
    configs = choose(study, **rules)
    if is_text:
        _write_text(args.output, configs, args.overwrite)
    else:
        _write_models(args, configs)
    told = front_sentence(study)
    if told:
        print(told, file=sys.stderr)
    return 0


def _write_text(path: Path, configs: tuple[ExportedConfig, ...], overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise InputError(f"--output: {path} exists; allowed: another path, or --overwrite")
    write_yaml(path, configs)
    print(path)


def _write_models(args: argparse.Namespace, configs: tuple[ExportedConfig, ...]) -> None:
    """One model is the folder itself, of several each has one in it. Torch is imported here: YAML needs none."""
    models = import_module("studies.models")
    ledger = import_module("studies.ledger").open_ledger(args.study, args.root)
    folders = {c.trial: args.output / f"trial-{c.trial:04d}" if args.all else args.output for c in configs}
    for folder in folders.values():
        models.check_free(folder, args.overwrite)
    for config in configs:
        models.export_model(ledger, config, folders[config.trial])
        print(folders[config.trial])
    for address in (
        import_module("studies.registry").register(ledger.record(), configs, folders) if args.register else ()
    ):
        print(f"registered: {address}", file=sys.stderr)
