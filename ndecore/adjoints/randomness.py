"""Fields that draw random numbers, and adjoints that evaluate them again."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ndecore.errors import InputError
from ndecore.integrate import Adjoint, Problem
from ndecore.terms import SDETerm


@contextmanager
def refusing_random_fields(problem: Problem, adjoint: Adjoint) -> Iterator[None]:
    """Raise `InputError` after a solve whose field drew random numbers, where its gradient would need the same again.

    Another dropout mask on the way back makes another gradient: 7 to 9 % off in a small network. Seen is torch's global
    generator of the state's device.
    """
    if adjoint.tapes_states or not torch.is_grad_enabled():
        yield
        return
    device = problem.y0.device
    before = _generator_state(device)
    yield
    # Somebody else may have drawn meanwhile, in another thread: the field itself is asked before it is blamed.
    if not torch.equal(before, _generator_state(device)) and _draws(problem):
        raise InputError(
            f"vector field: got one that draws random numbers (dropout?) with {type(adjoint).__name__}, which "
            "evaluates it again for the gradient, allowed: the adjoint tape; or a field that draws none: eval(), or "
            "a mask that is drawn before the solve"
        )


def _draws(problem: Problem) -> bool:
    term, y0 = problem.term.fresh(), problem.y0.detach()
    before = _generator_state(y0.device)
    with torch.no_grad():
        term(problem.t0, y0)
        if isinstance(term, SDETerm):
            term.diffusion(problem.t0, y0)
    return not torch.equal(before, _generator_state(y0.device))


def _generator_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
