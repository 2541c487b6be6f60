"""One trained model solved by several methods at several tolerances, without training."""

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import nn

from ndecore.errors import SolveFailed
from ndecore.evaluation import measure, reference_evaluation
from ndecore.training import TrainPlan
from reports.records import Deployment, SweptPoint
from studies.build import deployed

_REPEATS = 4  # predictions: one to warm up, three for the median of the seconds
_NOT_MEASURED = dict.fromkeys(("nfe", "accepted", "rejected", "predict_s", "solver_gap"), float("nan"))
_MEASURED = ("scores", *_NOT_MEASURED)


def deployments(plan: TrainPlan, solvers: Sequence[str], rtols: Sequence[float]) -> tuple[Deployment, ...]:
    """Each method at each tolerance; the absolute tolerance keeps its ratio to the relative one.

    Raises:
        InputError: a method is not known, or has no tolerance.
    """
    ratio = plan.settings.atol / plan.settings.rtol
    found = tuple(Deployment(solver, rtol, rtol * ratio) for solver, rtol in product(solvers, rtols))
    for each in found:
        deployed(plan.settings, each)
    return found


def swept_points(plan: TrainPlan, model: nn.Module, trial: int, wanted: Sequence[Deployment]) -> Iterator[SweptPoint]:
    """Measure a trained model on the validation split in each way.

    The solver gap is to a tight solve of the same weights, the same for all points; it is made once.

    Args:
        plan: of the training.
        model: trained, on the plan's device.
        trial: its number.
        wanted: how to solve.

    Raises:
        SolveFailed: the tight solve ended early.
    """
    torch.set_num_threads(plan.threads)
    data = plan.task.source(plan.task.splits().validation, plan.device)
    size = plan.hyperparameters.eval_batch_size
    reference = reference_evaluation(plan.task, model, data, plan.settings, size)
    for each in wanted:
        settings = deployed(plan.settings, each)
        try:
            found = measure(plan.task, model, data, settings, size, reference=reference, repeats=_REPEATS)
        except SolveFailed as failure:
            yield SweptPoint(trial, each, {}, **_NOT_MEASURED, reason=str(failure))
            continue
        measured = {name: value for name, value in vars(found).items() if name in _MEASURED}
        yield SweptPoint(trial, each, **measured)
