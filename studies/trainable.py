"""The Ray worker's few lines: a trial is a training run, an iteration is an epoch."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ray import tune

from ndecore.errors import SolveFailed, TrainingDiverged
from ndecore.metrics import EpochRecord
from ndecore.training import TrainState, train
from reports.records import TrialStatus
from studies.build import build


class TrialTrainable(tune.Trainable):
    """Trains one flat config. A worker process is reused for the next: importing torch again would cost seconds.

    The Ray config holds `task`, `config` (the flat one) and `weights` (where the trained weights go).
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Nothing but remembering the trial: Ray may set up an actor for a trial that has already ended elsewhere."""
        self._trial = config
        self._records: Iterator[EpochRecord] | None = None
        self._state: TrainState | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Go on with another trial in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch; a diverging run is a result with its reason, not an exception."""
        if self._records is None:
            self._begin()
        assert self._records is not None
        assert self._state is not None
        try:
            record = next(self._records)
        except (SolveFailed, TrainingDiverged) as error:
            return {"done": True, "status": TrialStatus.DIVERGED.value, "reason": str(error)}
        is_last = record.solver_gap is not None
        if is_last:
            _save_weights(self._state, Path(self._trial["weights"]))
        status = TrialStatus.COMPLETE if is_last else TrialStatus.RUNNING
        return {"done": is_last, "status": status.value, "reason": "", "record": asdict(record)}

    def _begin(self) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        plan = build(self._trial["task"], self._trial["config"], device)
        self._state = TrainState(plan)
        self._records = train(plan, self._state)


def _save_weights(state: TrainState, path: Path) -> None:
    # Under another name first: a file with this name is always whole.
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state.model.state_dict(), partial)
    partial.replace(path)
