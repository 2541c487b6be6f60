"""Observe the solves inside any model: three lines in any training loop."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from ndecore.errors import InputError
from ndecore.observing import SettingsRule, observed_by
from ndecore.regularizers.base import Regularizer
from ndecore.regularizers.recorded import RecordedPenalty
from ndecore.regularizers.schedules import Constant
from ndecore.regularizers.weighted import Weighted
from ndecore.solution import Solution
from ndecore.solves import Solves
from ndecore.types import Scalar


@contextmanager
def observe(
    *,
    settings: SettingsRule | None = None,
    penalties: Iterable[Regularizer | Weighted] = (),
    generator: torch.Generator | None = None,
    path_seed: int | None = None,
    differentiable: bool = False,
) -> Iterator[Solves]:
    """Observe every solve by ndecore that is made inside, in whatever model.

        with ndecore.observe(differentiable=True) as solves:
            output = model(x)
        loss = task_loss(output) + 100.0 * solves.penalty(ndecore.GlobalError())
        print(solves.nfe, solves.n_steps, solves.stiffness.max())

    A schedule or a budget works in any loop; its memory is in the `Weighted`, which is made once:

        budget = ndecore.Weighted(ndecore.GlobalError(), ndecore.DualAscent(weight=1.0, budget=32))
        ...
        with ndecore.observe(penalties=[budget]) as solves:
            loss = task_loss(model(x))
        (loss + solves.weighted_penalty()).backward()

    A solve inside a vector field is a part of that field's evaluation, and is not observed. Of nested observers each
    sees the solves inside; settings and paths are decided by the innermost that says something about them, and only one
    of them may have penalties. Another thread (`nn.DataParallel`) is not observed.

    Args:
        settings: for solves and blocks inside that have none of their own; or a function that makes the settings of a
            solve from its own, or from the default ones, for all of them; None leaves them as they are.
        penalties: regularizers that have to be known before the solve (local ones, STEER, TayNODE, RNODE), or any,
            maybe `Weighted`. STEER moves the times at which a model reads the solution; nothing else changes what the
            model sees.
        generator: of the penalties' random times; torch's default one if None.
        path_seed: of random paths that nobody else decides on: the first drawn inside is the path of this seed, the
            others are derived from it; if None they are drawn from torch's default generator.
        differentiable: whether error and stiffness of every solve carry gradients.

    Yields:
        The solves, which grow as they are made.

    Raises:
        InputError: a solve inside cannot give what is wanted of it.
    """
    weighted = [each if isinstance(each, Weighted) else Weighted(each, Constant(1.0)) for each in penalties]
    solves = Solves(settings, weighted, generator or torch.default_generator, path_seed, differentiable)
    with observed_by(solves):
        yield solves


def penalty(solves: Solves | Solution, regularizer: Regularizer) -> Scalar:
    """R summed over the solves, dimensionless: see `Solves.penalty`; or a global penalty of one solution."""
    if isinstance(solves, Solves):
        return solves.penalty(regularizer)
    if not isinstance(regularizer, RecordedPenalty):
        raise InputError(
            f"penalty: got {type(regularizer).__name__} of a solution, allowed: a global penalty, read off its "
            "records; others need observe(penalties=[...])"
        )
    return regularizer.penalty(solves)
