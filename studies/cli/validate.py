"""Check a spec without running it: every problem with its place, one line each. Creates nothing."""

import argparse

from studies.spec import load_spec

EXAMPLES = """  nde-study validate quickstart
  nde-study validate my_study.yaml"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("spec", help="a YAML file, or the name of a shipped study")


def main(args: argparse.Namespace) -> int:
    """Say what the spec asks for; a wrong one raises with every problem."""
    spec = load_spec(args.spec)
    searched = [d for d in spec.space.dimensions if d.only is None]
    print(
        f"{args.spec}: valid. Study {spec.name!r}: {spec.trials} trials of {spec.task} by {spec.sampler}, "
        f"{len(spec.start)} of them given."
    )
    print(f"objectives: {', '.join(f'{m.name} ({m.direction.value})' for m in spec.objective_metrics)}")
    for dimension in searched:
        when = " and ".join(condition.describe() for condition in dimension.when)
        print(f"  {dimension.key:14}{dimension.domain.describe()}{f', when {when}' if when else ''}")
    return 0
