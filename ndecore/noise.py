"""What a diffusion promises of its noise, checked before a solve."""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ndecore.errors import InputError
from ndecore.terms import SDETerm
from ndecore.types import State

_SEED = 0  # of the probe's signs
_TOLERANCE = 1e-4  # relative, of two derivatives that are equal but for rounding; float32 has 6e-8
# The diffusions that kept their promise once, by name and noise: weights do not change what is mixed.
_PROBED: WeakKeyDictionary[object, set[tuple[str, str]]] = WeakKeyDictionary()


def check_noise(term: SDETerm, t0: float, y0: State) -> None:
    """Raise `InputError` unless path and diffusion are what the noise of the term promises; probes a diffusion once.

    The probe costs one evaluation of the diffusion and two products with its Jacobian.
    """
    _check_path(term, y0)
    if term.noise in ("diagonal", "additive") and not term.is_mixing:
        # A method's object: the method itself is new at each look.
        owner, name = getattr(term.diffuse, "__self__", term.diffuse), getattr(term.diffuse, "__name__", "")
        if (name, term.noise) not in _PROBED.get(owner, ()):
            _probe(term, t0, y0)
            _PROBED.setdefault(owner, set()).add((name, term.noise))


def _check_path(term: SDETerm, y0: State) -> None:
    path, noise = term.path, term.noise
    if (path.dtype, path.device) != (y0.dtype, y0.device):
        raise InputError(
            f"path: got one of {path.dtype} on {path.device}, allowed: {y0.dtype} on {y0.device}, like y0; make it "
            "with that dtype and device"
        )
    if noise == "diagonal":
        is_right, wanted = path.shape == y0.shape, f"{tuple(y0.shape)}, like y0"
    else:
        is_right = y0.dim() >= 1 and path.shape[:-1] == y0.shape[:-1] and len(path.shape) == y0.dim()
        wanted = f"{(*y0.shape[:-1], 'm')}, m motions for each state of the batch"
        if noise == "scalar":
            is_right = is_right and path.shape[-1] == 1
            wanted = f"{(*y0.shape[:-1], 1)}, one motion for each state of the batch"
    if not is_right:
        raise InputError(f"path: got shape {path.shape} for {noise} noise, allowed: {wanted}")


def _probe(term: SDETerm, t0: float, y0: State) -> None:
    """Two products u^T dg/dy, with u of random signs: u_i (u^T dg/dy)_i is dg_i/dy_i for both if g is diagonal, and 0
    if g does not depend on y; if it mixes states, both hold by chance alone.
    """
    draw = torch.Generator().manual_seed(_SEED)
    probed = term.fresh()
    with torch.enable_grad():
        state = y0.detach().requires_grad_()
        g = probed.diffusion(t0, state)
        if not g.requires_grad:
            return
        derivatives = [_signed_product(g, state, draw) for _ in range(2)]
    first, second = derivatives
    size = max(first.abs().max().item(), second.abs().max().item())
    if term.noise == "additive" and size > 0:
        raise InputError(
            "noise: got 'additive' with a diffusion that depends on the state, allowed: diagonal, scalar or general; "
            "methods would lose their order"
        )
    if term.noise == "diagonal" and (first - second).abs().max().item() > _TOLERANCE * size:
        raise InputError(
            "noise: got 'diagonal' with a diffusion of which an element depends on other elements of the state, "
            "allowed: g_i(t, y_i) alone, or noise='general' with a matrix [*state, m]; methods of higher order lose "
            "theirs silently. To solve it all the same, as P1 and P2 do: is_mixing=True"
        )


def _signed_product(g: Tensor, state: State, draw: torch.Generator) -> Tensor:
    signs = (2 * torch.randint(2, g.shape, generator=draw) - 1).to(g)
    (product,) = torch.autograd.grad(g, state, signs, retain_graph=True, materialize_grads=True)
    return product * signs if g.shape == state.shape else product
