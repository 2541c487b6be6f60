"""Check a spec without running it: every problem with its place, one line each. Creates nothing."""

import argparse
from collections.abc import Sequence
from importlib import import_module

from search_spaces.start import StartConfig
from studies.cli.options import add_root
from studies.spec import load_spec

EXAMPLES = """  nde-study validate quickstart
  nde-study validate my_study.yaml"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("spec", help="a YAML file, or the name of a shipped study")
    add_root(parser)


def main(args: argparse.Namespace) -> int:
    """Say what the spec asks for; a wrong one raises with every problem."""

    def front(study: str) -> Sequence[StartConfig]:
        # Looked up only here: a ledger needs optuna, which takes a second to import, and few specs name a front.
        found: Sequence[StartConfig] = import_module("studies.earlier").front_configs(args.root, study)
        return found

    spec = load_spec(args.spec, fronts=front)
    searched = [d for d in spec.space.dimensions if d.only is None]
    print(
        f"{args.spec}: valid. Study {spec.name!r}: {spec.trials} trials of {spec.task} by {spec.sampler}, "
        f"{len(spec.start)} of them given."
    )
    print(f"objectives: {', '.join(f'{m.name} ({m.direction.value})' for m in spec.objective_metrics)}")
    for dimension in searched:
        when = " and ".join(condition.describe() for condition in dimension.when)
        print(f"  {dimension.key:14}{dimension.domain.describe()}{f', when {when}' if when else ''}")
    hidden = [key for key in spec.fixed if key in spec.declared_space.keys]
    if hidden:
        print(f"fixed, so not searched though the space has it: {', '.join(hidden)}")
    return 0
