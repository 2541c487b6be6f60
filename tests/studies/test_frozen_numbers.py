"""The numbers of the four tasks stay what they are: two epochs of each, by every kind of penalty, against a file.

Counts are compared exactly, the rest to rounding: a change in the order of the draws, in a penalty or in a count shows.
In float64, where the rounding of one processor's instructions beside another's changes no count.
Run `python tests/studies/test_frozen_numbers.py` to write the file anew, after a change that is meant.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from ndecore.datasets.base import Part, Splits
from ndecore.tasks.base import Task
from ndecore.training import train
from studies.build import build

FILE = Path(__file__).with_name("frozen_numbers.json")
EXACT = ("epoch", "nfe", "accepted", "rejected", "nfe_train", "accepted_train", "rejected_train", "train_work")
CLOSE = ("train_loss", "penalty", "weight", "nfe_diffusion", "solver_gap")
ROUNDING = 1e-5  # after a score of updates

CASES: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "digits": ("digits_node", {}),
    "digits error": ("digits_node", {"regularizer": "error", "weight": 100.0, "rtol": 1e-4}),
    "digits stiffness": ("digits_node", {"regularizer": "stiffness", "weight": 0.1, "rtol": 1e-4}),
    "digits local": ("digits_node", {"regularizer": "local_error", "weight": 10.0, "rtol": 1e-4, "seed": 3}),
    "digits biased": (
        "digits_node",
        {"regularizer": "local_error", "sampling": "biased", "n_times": 2, "weight": 10.0, "rtol": 1e-4},
    ),
    "digits steer": ("digits_node", {"regularizer": "steer", "rtol": 1e-4}),
    "digits taynode": ("digits_node", {"regularizer": "taynode", "weight": 1e-3, "rtol": 1e-4}),
    "digits sum": (
        "digits_node",
        {"regularizer": "steer+error+rnode", "error.weight": 10.0, "rnode.weight": 1e-2, "rtol": 1e-4},
    ),
    "digits checkpointed": ("digits_node", {"regularizer": "error", "weight": 9.0, "adjoint": "checkpointed"}),
    "digits interpolating": ("digits_node", {"adjoint": "interpolating", "rtol": 1e-4}),
    "digits sde": ("digits_nsde", {}),
    "digits sde error": ("digits_nsde", {"regularizer": "error", "weight": 10.0}),
    "digits sde local": ("digits_nsde", {"regularizer": "local_error", "weight": 10.0, "sde": "langevin"}),
    "spiral": ("spiral_ode", {"rtol": 1e-4}),
    "spiral error": ("spiral_ode", {"regularizer": "error", "weight": 1.0, "rtol": 1e-4}),
    "spiral steer": ("spiral_ode", {"regularizer": "steer", "spread": 0.4, "rtol": 1e-4}),
    "spiral local": ("spiral_ode", {"regularizer": "local_error", "weight": 1.0, "rtol": 1e-4}),
    "spiral taynode": ("spiral_ode", {"regularizer": "taynode", "weight": 1e-4, "rtol": 1e-4}),
    "spiral adamax": ("spiral_ode", {"optimizer": "adamax", "rtol": 1e-4, "eval_batch_size": 20}),
    "spiral sde": ("spiral_sde", {}),
    "spiral sde local": ("spiral_sde", {"regularizer": "local_error", "weight": 1.0}),
    "spiral sde steer": ("spiral_sde", {"regularizer": "steer", "spread": 0.4}),
}


def double(part: Part) -> Part:
    assert isinstance(part, Mapping)
    return {name: value.double() if value.is_floating_point() else value for name, value in part.items()}


def in_float64(task: Task) -> Task:
    """The task with its data and its model in float64."""

    class Double(type(task)):  # type: ignore[misc]
        def splits(self) -> Splits:
            splits = super().splits()
            return Splits(double(splits.train), double(splits.validation), double(splits.test))

        def model(self, generator: torch.Generator) -> nn.Module:
            return super().model(generator).double()

    return Double(**vars(task))


def measured(name: str) -> list[dict[str, object]]:
    """What each epoch measured, without the seconds."""
    task, config = CASES[name]
    plan = build(task, {**config, "epochs": 2})
    records = map(asdict, train(replace(plan, task=in_float64(plan.task))))
    return [{key: record[key] for key in (*EXACT, *CLOSE, "scores", "score_gaps")} for record in records]


QUICK = ("digits local", "digits sum", "digits sde error", "spiral steer", "spiral local", "spiral sde local")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in CASES]
)
def test_numbers_are_those_that_were_written_down(name: str) -> None:
    frozen, found = json.loads(FILE.read_text())[name], measured(name)
    assert len(found) == len(frozen) == 2
    for record, expected in zip(found, frozen, strict=True):
        assert {key: record[key] for key in EXACT} == {key: expected[key] for key in EXACT}
        for key in CLOSE:
            allowed = 1e-3 if key == "solver_gap" else ROUNDING  # a difference of nearly equal outputs
            if expected[key] is None:
                assert record[key] is None, key
            else:
                assert record[key] == pytest.approx(expected[key], rel=allowed), key
        assert record["scores"] == pytest.approx(expected["scores"], rel=ROUNDING)
        assert record["score_gaps"] == pytest.approx(expected["score_gaps"], abs=ROUNDING)


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: measured(name) for name in CASES}, indent=1) + "\n")
