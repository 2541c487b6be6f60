"""A task tried on a few examples: what is wrong with it, in words, before a study spends hours on it."""

import copy
import io
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ndecore.datasets.base import Batch, Part, Splits
from ndecore.findings import Found, Wrong
from ndecore.integrate import SolveSettings
from ndecore.observation import observe
from ndecore.regularizers.schedules import Moment
from ndecore.solves import Solves
from ndecore.states import tensors_of
from ndecore.tasks.base import Task, fresh_model
from ndecore.training import TrainPlan, TrainState, train

_N_EXAMPLES, _MOST_EXAMPLES = 8, 32  # of a batch that is tried, and that is trained on
_N_STEPS = 2  # of the training that is tried
_ORDER_SLACK = 100.0  # tolerances by which an output may move with its neighbours: they share their steps
_PARTS = ("train", "validation", "test")


def check_task(plan: TrainPlan) -> Iterator[Found]:
    """Try a task: data, model, gradients, two steps of training, an evaluation, a checkpoint and its reload.

    Args:
        plan: of the task, with the settings to try it with.

    Yields:
        What was found, part by part; the data is read once.

    Raises:
        Wrong: what has to be changed; later parts are not looked at.
        NDEError: a solve failed, or training diverged.
        Exception: whatever the task's own code raises.
    """
    task, settings = plan.task, plan.settings
    yield _declared(task)
    splits = task.splits()
    yield from _data(task, splits)
    size = min(plan.hyperparameters.batch_size, _MOST_EXAMPLES)
    few = _few(task, splits, size)
    plan = replace(plan, task=few, hyperparameters=replace(plan.hyperparameters, epochs=1, batch_size=size))
    batch = next(few.source(few.splits().train, plan.device).in_order(_N_EXAMPLES))
    model = fresh_model(task, plan.seed).to(plan.device)
    yield _drawn(task, model, plan)
    yield from _gradients(few, model, batch, settings)
    yield from _outputs(few, model.eval(), batch, settings)
    yield from _training(plan)


def _declared(task: Task) -> Found:
    names = [metric.name for metric in task.metrics]
    if not names or len(set(names)) < len(names):
        raise Wrong(f"metrics: got {names or 'none'}, allowed: at least one, each with a name of its own")
    objective = task.metrics[0]
    return Found("metrics", f"{', '.join(names)}; the first objective is {objective.name}, {objective.direction.value}")


def _data(task: Task, splits: Splits) -> Iterator[Found]:
    shapes = []
    for name in _PARTS:
        part: Part = getattr(splits, name)
        source = task.source(part)
        batch = next(source.in_order(min(_N_EXAMPLES, len(source))))
        missing = [key for key in task.inputs if key not in batch]
        if missing:
            raise Wrong(f"inputs: got {', '.join(missing)}, allowed: the names of a batch: {', '.join(batch)}")
        if isinstance(part, Mapping):
            _check_finite(name, part)
        shapes.append((name, len(source), _shapes(batch)))
    if len({shape for _, _, shape in shapes}) > 1:
        told = "; ".join(f"{name} {shape}" for name, _, shape in shapes)
        yield Found("data", f"the parts differ in shape: {told}", is_doubtful=True)
    counts = ", ".join(f"{name} {n}" for name, n, _ in shapes)
    yield Found("data", f"{counts} examples of {shapes[0][2]}")
    for name, n, _ in shapes[1:]:
        if n < 2 * len(shapes):
            yield Found("data", f"{name} has {n} examples: a score of so few says little", is_doubtful=True)


def _check_finite(part: str, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        bad = int((~torch.isfinite(tensor)).sum()) if tensor.is_floating_point() else 0
        if bad:
            raise Wrong(
                f"{part}: got {bad} values of {name!r} that are NaN or infinite, allowed: finite numbers; fill what is "
                "missing and say so in a mask"
            )


def _shapes(batch: Batch) -> str:
    return ", ".join(
        f"{name} {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape[1:])}" for name, tensor in batch.items()
    )


def _drawn(task: Task, model: nn.Module, plan: TrainPlan) -> Found:
    again = fresh_model(task, plan.seed).to(plan.device)
    pairs = zip(model.state_dict().items(), again.state_dict().values(), strict=True)
    odd = [name for (name, one), other in pairs if not torch.equal(one, other)]
    if odd:
        raise Wrong(
            f"model: got other parameters ({odd[0]}) for the same seed, allowed: the same; draw from the generator "
            "that `model` is given, or from torch's own random numbers"
        )
    n = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if not n:
        raise Wrong("model: got no parameter that is trained, allowed: at least one")
    return Found("model", f"{n} parameters, the same for the same seed")


def _forward(task: Task, model: nn.Module, batch: Batch, settings: SolveSettings) -> tuple[Any, Solves]:
    with observe(settings=settings, path_seed=0) as solves:
        output = task.forward(model, batch)
    return output, solves


def _gradients(task: Task, model: nn.Module, batch: Batch, settings: SolveSettings) -> Iterator[Found]:
    model.train()
    output, solves = _forward(task, model, batch, settings)
    if not len(solves):
        raise Wrong(
            "model: got a forward pass without a solve, allowed: at least one; put an `ndecore.NeuralODE` in it, or "
            "call `ndecore.solve` or `ndecore.odeint`"
        )
    yield Found("solves", f"{len(solves)} in a forward pass, {solves.nfe} evaluations, {solves.n_steps} steps")
    made = task.loss(output, batch, Moment(0, 1, 0, 1))
    parts = made if isinstance(made, Mapping) else {"loss": made}
    for name, part in parts.items():
        if not isinstance(part, Tensor) or part.shape != () or not part.requires_grad:
            got = f"shape {list(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
            got += " without a gradient" if isinstance(part, Tensor) and not part.requires_grad else ""
            raise Wrong(f"loss: got {name} of {got}, allowed: a 0-d tensor with a gradient; take a mean over the batch")
        if not math.isfinite(part.item()):
            raise Wrong(f"loss: got {name} = {part.item()} of fresh parameters, allowed: a finite number")
    torch.stack(list(parts.values())).sum().backward()
    told = ", ".join(f"{name} {part.item():.4g}" for name, part in parts.items())
    yield Found("loss", f"{told} before any training")
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    without = [name for name, parameter in trained.items() if parameter.grad is None]
    if without:
        yield Found("gradients", f"none reaches {', '.join(without)}: the loss does not depend on it", is_doubtful=True)
    else:
        yield Found("gradients", "reach every parameter")


def _outputs(task: Task, model: nn.Module, batch: Batch, settings: SolveSettings) -> Iterator[Found]:
    with torch.no_grad():
        once, _ = _forward(task, model, batch, settings)
        again, _ = _forward(task, model, batch, settings)
        n = len(next(iter(batch.values())))
        flipped = {name: tensor.flip(0) for name, tensor in batch.items()}
        turned, _ = _forward(task, model, flipped, settings)
    if not all(torch.equal(a, b) for a, b in zip(tensors_of(once), tensors_of(again), strict=True)):
        raise Wrong(
            "model: got another output for the same batch in evaluation mode, allowed: the same; a field that draws "
            "random numbers (dropout in training mode, noise) is not a function of t and y"
        )
    shapes = [list(tensor.shape) for tensor in tensors_of(once)]
    if any(shape[:1] != [n] for shape in shapes):
        raise Wrong(
            f"model: got outputs of shape {', '.join(map(str, shapes))} for {n} examples, allowed: the examples along "
            "the first axis; `movedim` moves times to the second"
        )
    yield Found("output", f"{', '.join(str(['batch', *shape[1:]]) for shape in shapes)}, the same every time")
    if task.calculus is None:  # random paths belong to the places in a batch
        yield from _order(once, turned, settings)


def _order(once: Any, turned: Any, settings: SolveSettings) -> Iterator[Found]:
    slack = _ORDER_SLACK * max(float(torch.as_tensor(settings.rtol).max()), 1e-6)
    for one, other in zip(tensors_of(once), tensors_of(turned), strict=True):
        scale = one.abs().max().clamp_min(1e-12)
        if not ((one - other.flip(0)).abs().max() / scale).item() <= slack:
            yield Found(
                "output",
                "depends on the order of the batch: an example's output must be a function of that example; look for a "
                "reshape that mixes axes, or for statistics over the batch",
                is_doubtful=True,
            )
            return


def _training(plan: TrainPlan) -> Iterator[Found]:
    state = TrainState(plan)
    began = time.perf_counter()
    (record,) = train(plan, state)
    names, expected = list(record.scores), [metric.name for metric in plan.task.metrics]
    if sorted(names) != sorted(expected):
        raise Wrong(f"scores: got {', '.join(names)}, allowed: those of `metrics`: {', '.join(expected)}")
    scores = ", ".join(f"{name} {value:.4g}" for name, value in record.scores.items())
    yield Found("training", f"{state.step} steps in {time.perf_counter() - began:.1f} s, {record.nfe_train:g} NFE each")
    yield Found("evaluation", f"{scores}; NFE {record.nfe:g}, solver gap {record.solver_gap:.1g}")
    yield _reloaded(plan, state)


def _reloaded(plan: TrainPlan, state: TrainState) -> Found:
    file = io.BytesIO()
    torch.save(state.state_dict(), file)
    file.seek(0)
    again = TrainState(plan).load_state_dict(torch.load(file, weights_only=True))
    pairs = zip(state.model.state_dict().items(), again.model.state_dict().values(), strict=True)
    odd = [name for (name, one), other in pairs if not torch.equal(one, other)]
    if odd:
        raise Wrong(f"model: got {odd[0]} changed by a checkpoint and its reload, allowed: all of it in the state dict")
    return Found("checkpoint", f"{len(file.getvalue()) / 2**10:.0f} KiB, reloaded as it was")


def _few(task: Task, splits: Splits, n: int) -> Task:
    """The task with the first examples of each part, as many as a training of `_N_STEPS` steps of n takes."""
    sizes = (_N_STEPS * n, n, n)
    first = [next(task.source(getattr(splits, part)).in_order(size)) for part, size in zip(_PARTS, sizes, strict=True)]
    few = copy.copy(task)
    object.__setattr__(few, "splits", lambda: Splits(*first))  # of a frozen dataclass too
    return few
