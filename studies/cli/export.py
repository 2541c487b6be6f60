"""Take Pareto-optimal configs out of a study: as YAML that `nde-study train` trains anywhere, or with their models.

A path ending in .yaml gets the configs alone. A folder gets the trained weights too, with a card, an MLflow model, and
what it promises: `nde-study verify` checks it. Where a study was confirmed, the choice is from the confirmed front.
"""

import argparse
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from ndecore.errors import InputError
from ndecore.metrics import COSTS
from reports.anytime import candidate, exported_candidate
from reports.choice import Rule
from reports.config_files import SUFFIXES, write_yaml
from reports.confirmed import front_sentence
from reports.export import CHEAPEST, ExportedConfig, choose
from reports.manifest import manifest_digest
from reports.records import StudyRecord, Threshold
from studies.cli.options import add_root, add_tracking_uri, find_study
from studies.code_files import names_in, send
from studies.thresholds import bounds_allowed, read_thresholds

EXAMPLES = """  nde-study export quickstart --top knee -o knee.yaml
  nde-study export quickstart --bound 'accuracy >= 0.97' -o cheap.yaml
  nde-study export quickstart --top knee -o knee --register
  nde-study export quickstart --best accuracy --deploy bosh3:1e-2 -o fast
  nde-study export quickstart --at 12@5 -o short         see `nde-study show quickstart --anytime`
  nde-study export quickstart --all -o front"""


_RULES = (
    "knee (the best compromise that is not worse than the baseline in the first objective), "
    "ideal (the best compromise, whatever it loses), trade (least costs against the baseline's), "
    "contribution (most hypervolume of its own)"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    rule = parser.add_mutually_exclusive_group()
    rule.add_argument(
        "--top", choices=[each.value for each in Rule], metavar="RULE", help=f"one of {_RULES} (default: knee)"
    )
    costs = ", ".join(COSTS)
    rule.add_argument("--best", metavar="METRIC", help=f"the best in a score of the task, or one of {costs}")
    rule.add_argument("--bound", metavar="BOUND", help='fewest NFE within a bound such as "accuracy >= 0.97"')
    rule.add_argument("--max-nfe", type=float, metavar="N", help="best score with at most so many NFE")
    rule.add_argument("--all", action="store_true", help="every member of the front")
    rule.add_argument("--at", metavar="TRIAL@EPOCH", help="a trial as it was after an epoch, such as 12@5")
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
    is_text = args.output.suffix in SUFFIXES and not args.output.is_dir()
    if args.output.suffix and not is_text and not args.output.is_dir():
        raise InputError(f"--output: got {args.output}, allowed: a file ending in .yaml, or a folder")
    if args.register and is_text:
        raise InputError(f"--register: got {args.output}, allowed: a folder, which has the trained model too")
    study = find_study(args.study, args.root, args.tracking_uri)
    rules = {name: getattr(args, name) for name in ("top", "best", "max_nfe", "all", "deploy")}
    if args.at:
        configs = _at(args, study)
    else:
        configs = choose(study, **rules, bound=_bound(args.bound, study) if args.bound else None)
    if is_text:
        _write_text(args, configs)
    else:
        _write_models(args, configs)
    for told in (front_sentence(study), *(config.comparison for config in configs)):
        if told:
            print(told, file=sys.stderr)
    return 0


def _at(args: argparse.Namespace, study: StudyRecord) -> tuple[ExportedConfig, ...]:
    if args.deploy:
        raise InputError("--at: got --deploy too, allowed: one of them")
    try:
        return (exported_candidate(study, candidate(study, args.at)),)
    except InputError as error:
        raise InputError(f"--at: {error}") from None


def _bound(text: str, study: StudyRecord) -> Threshold:
    try:
        (found,) = read_thresholds((text,), study.by_name)
    except ValueError:
        raise InputError(f"--bound: got {text!r}, allowed: {bounds_allowed(study.by_name)}") from None
    return found


def _write_text(args: argparse.Namespace, configs: tuple[ExportedConfig, ...]) -> None:
    """The configs, and beside them the user's files that they name."""
    path: Path = args.output
    if path.exists() and not args.overwrite:
        raise InputError(f"--output: {path} exists; allowed: another path, or --overwrite")
    if any(names_in([config.task, config.config]) for config in configs):
        code = f"{path.stem}.code"
        sent = [send([c.task, dict(c.config)], args.root / args.study, path.parent, code) for c in configs]
        configs = tuple(replace(c, task=task, config=config) for c, (task, config) in zip(configs, sent, strict=True))
        print(path.parent / code)
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
        print(f"sha256: {manifest_digest(folders[config.trial])}    for `nde-study verify --sha256`", file=sys.stderr)
    for address in (
        import_module("studies.registry").register(ledger.record(), configs, folders) if args.register else ()
    ):
        print(f"registered: {address}", file=sys.stderr)
