"""The Ray worker's few lines: a trial is a training run, an iteration is an epoch."""

import io
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from ndecore.errors import NDEError
from ndecore.evaluation import estimated_gap
from ndecore.metrics import EpochRecord
from ndecore.training import TrainState, train
from reports.records import Cause, SweptPoint
from studies.build import build
from studies.calibration import calibrate
from studies.deadline import TimedOut, deadline
from studies.divergence import DIVERGING, divergence
from studies.events import Placement
from studies.messages import MESSAGE, ORDER, Diverged, EpochDone, Message, Order, Unwritable
from studies.silence import PATIENCE_S, told_if_silent
from studies.sweeping import deployments, swept_points
from studies.trial_files import WEIGHTS, checkpoint_name, digest

_KEPT = 2  # checkpoints of an attempt: the last may be of an epoch that the driver never heard of
_calibrations: dict[tuple[int, str], float] = {}  # of this process, s


class TrialTrainable(tune.Trainable):
    """Trains one flat config. A worker process is reused for the next: importing torch again would cost seconds.

    The Ray config holds an `Order`, each result a `Message`.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Nothing but remembering the trial: Ray may set up an actor for a trial that has already ended elsewhere."""
        self._order: Order = config[ORDER]
        self._records: Iterator[EpochRecord] | None = None
        self._state: TrainState | None = None
        self._saved: list[Path] = []
        self._spent_s = self._order.spent_s

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Go on with another trial in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch; a diverging run is a result with its reason, not an exception."""
        began = time.perf_counter()
        placement = self._placement() if self._state is None else None
        news = self._epoch()
        worker_s = time.perf_counter() - began
        self._spent_s += worker_s
        message = Message(self._order.number, news, worker_s, placement)
        return {"done": message.ends_attempt, MESSAGE: message}

    def _epoch(self) -> EpochDone | Diverged | Unwritable:
        limit = self._order.timeout_s
        try:
            left = None if limit is None else limit - self._spent_s
            with told_if_silent(self._order.folder, PATIENCE_S, self._order.files), deadline(left):
                record = next(self._records or self._begin())
                if record.epoch in self._order.gap_epochs:
                    record = replace(record, solver_gap=self._gap())
                points = self._swept() if record.is_last and self._order.solvers else ()
                if limit is not None and self._spent_s > limit:
                    raise TimedOut
        except SystemExit as error:  # Ray would take it for a lost worker,
            if hasattr(error, "ray_terminate_msg"):  # which this one is: somebody else has asked it to end
                raise
            raise NDEError(f"its code asked to end the process: SystemExit: {error}") from error
        except DIVERGING as error:
            found = divergence(error, limit, self._state.step if self._state else 0)
            if found.cause is Cause.MEMORY:
                self._drop()
            return Diverged(found.reason, found.cause)
        return self._save(record, points)

    def _begin(self) -> Iterator[EpochRecord]:
        order = self._order
        self._plan = plan = build(order.task, order.config, self._device, folder=order.files.code(order.study))
        self._state = TrainState(plan)
        if order.checkpoint:
            content = io.BytesIO(order.files.read(order.checkpoint))
            saved = torch.load(content, weights_only=True, map_location=self._device)
            self._state.load_state_dict(saved)
        self._records = train(plan, self._state)
        return self._records

    def _gap(self) -> float:
        """About the solver gap of the model as it is now; of several seeds that of the first."""
        assert self._state is not None
        task, size = self._plan.task, self._plan.hyperparameters.eval_batch_size
        held_out = task.source(task.splits().validation, self._plan.device)
        return estimated_gap(task, self._state.model, held_out, self._plan.settings, size)

    def _swept(self) -> tuple[SweptPoint, ...]:
        """The trained model solved in other ways, at the cost of an evaluation each."""
        assert self._state is not None
        wanted = deployments(self._plan, self._order.solvers, self._order.rtols)
        return tuple(swept_points(self._plan, self._state.model, self._order.number, wanted))

    @property
    def _device(self) -> str:
        return "cuda" if self._order.gpu and torch.cuda.is_available() else "cpu"

    def _placement(self) -> Placement:
        """Where the trial runs, and how fast that is: measured once in each process."""
        since, threads = time.time(), int(self._order.config["threads"])
        key = threads, self._device
        if key not in _calibrations:
            _calibrations[key] = calibrate(*key)
        node = f"{os.uname().nodename}-{ray.get_runtime_context().get_node_id()[:8]}"
        gpus = ",".join(str(each) for each in ray.get_gpu_ids()) if self._order.gpu else "cpu"
        return Placement(node, f"{node}/{gpus}", since, _calibrations[key])

    def _save(self, record: EpochRecord, points: tuple[SweptPoint, ...]) -> EpochDone | Unwritable:
        """Files first: what the driver hears of is there."""
        assert self._state is not None
        name, weights, folder, files = "", None, self._order.folder, self._order.files
        try:
            if record.is_last:
                content = _bytes(self._state.model.state_dict())
                files.write(folder / WEIGHTS, content)
                weights = digest(content)
            elif record.epoch % self._order.checkpoint_every == 0:
                name = checkpoint_name(folder, record.epoch)
                content = _bytes(self._state.state_dict())
                files.write(folder.parent / name, content)
                if self._order.keeps_epochs:
                    weights = digest(content)
                else:
                    self._saved.append(folder.parent / name)
                    for old in self._saved[:-_KEPT]:
                        files.remove(old)
                    self._saved = self._saved[-_KEPT:]
        except OSError as error:
            return Unwritable(f"{folder}: cannot be written: {error.strerror or error}")
        return EpochDone(record, name, points, weights)

    def _drop(self) -> None:
        """Let go of what fills the memory, for the next trial in this process."""
        self._records = self._state = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _bytes(state: dict[str, Any]) -> bytes:
    # Through memory: torch tells a full disk from a broken one by a sentence, a file by its errno.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
