"""The comparison of precisions as Markdown: computes medians of what was measured, and nothing else."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from studies.benchmarks.machine import machine_lines

LEAST_COSINE = 0.9  # below which a penalty is to warn


@dataclass(frozen=True)
class Agreement:
    """A penalty in float32 beside itself in float64, on the same steps with the same draws."""

    problem: str
    tolerance: float  # rtol = atol
    penalty: str  # names of presets, or of a penalty
    n_steps: int  # of the solve
    value: float  # ratio
    cosine: float  # of the gradients to the parameters
    norm: float  # ratio of their norms
    warned: bool


def markdown(found: Sequence[Agreement]) -> str:
    """The report."""
    low = [each for each in found if each.cosine < LEAST_COSINE]
    silent = [each for each in low if not each.warned]
    needless = [each for each in found if each.warned and each.cosine >= LEAST_COSINE]
    lines = [
        "# Penalties in float32 against float64",
        "",
        "Same weights, inputs, steps (those of an adaptive Tsit5 solve in float32) and draws. Each entry: ratio of the",
        "values / cosine of the gradients to the parameters / ratio of their norms; medians over the draws of a random",
        "penalty. `!`: the cosine is below 0.9. `w`: a `RoundingWarning` was given (in any draw).",
        "",
        *machine_lines("numpy"),
        f"- {len(found)} comparisons; cosine below {LEAST_COSINE} in {len(low)}, of which {len(silent)} without a "
        f"warning; {len(needless)} warnings at a higher cosine",
        "",
    ]
    for problem in dict.fromkeys(each.problem for each in found):
        lines += _problem_lines([each for each in found if each.problem == problem])
    return "\n".join(lines)


def _problem_lines(found: Sequence[Agreement]) -> Iterator[str]:
    tolerances = list(dict.fromkeys(each.tolerance for each in found))
    steps = [next(each.n_steps for each in found if each.tolerance == tolerance) for tolerance in tolerances]
    yield from (f"## {found[0].problem}", "")
    yield "| penalty | " + " | ".join(f"{t:g} ({n} steps)" for t, n in zip(tolerances, steps, strict=True)) + " |"
    yield "|---" * (len(tolerances) + 1) + "|"
    for penalty in dict.fromkeys(each.penalty for each in found):
        own = [[x for x in found if x.penalty == penalty and x.tolerance == t] for t in tolerances]
        yield f"| {penalty} | " + " | ".join(map(_cell, own)) + " |"
    yield ""


def _cell(found: Sequence[Agreement]) -> str:
    if not found:
        return "-"
    value, cosine, norm = (statistics.median(getattr(x, part) for x in found) for part in ("value", "cosine", "norm"))
    marks = "!" * (cosine < LEAST_COSINE) + "w" * any(x.warned for x in found)
    return f"{value:.3g} / {cosine:.3f} / {norm:.3g}" + f" {marks}" * bool(marks)
