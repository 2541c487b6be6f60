"""The Ray worker's few lines: a trial is a training run, an iteration is an epoch."""

import io
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from ndecore.metrics import EpochRecord
from ndecore.training import TrainState, train
from reports.records import Cause, TrialStatus
from studies.build import build
from studies.calibration import calibrate
from studies.deadline import TimedOut, deadline
from studies.divergence import DIVERGING, divergence
from studies.sweeping import deployments, swept_points
from studies.trial_files import WEIGHTS, checkpoint_name, write_whole

_KEPT = 2  # checkpoints of an attempt: the last may be of an epoch that the driver never heard of
_calibrations: dict[tuple[int, str], float] = {}  # of this process, s


class TrialTrainable(tune.Trainable):
    """Trains one flat config. A worker process is reused for the next: importing torch again would cost seconds.

    The Ray config holds `number`, `task`, `config` (the flat one), `folder` (of this attempt: all files go there),
    `checkpoint` (to go on from, or None), `checkpoint_every` (epochs), `timeout_s` (left, or None), `gpu` (share),
    `evaluate` (the solvers and tolerances of `evaluate_tolerances`, or None).
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Nothing but remembering the trial: Ray may set up an actor for a trial that has already ended elsewhere."""
        self._trial = config
        self._records: Iterator[EpochRecord] | None = None
        self._state: TrainState | None = None
        self._saved: list[Path] = []
        self._spent_s = 0.0  # of this attempt

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Go on with another trial in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch; a diverging run is a result with its reason, not an exception."""
        began = time.perf_counter()
        result = {"placement": self._placement()} if self._state is None else {}
        result |= self._epoch()
        worker_s = time.perf_counter() - began
        self._spent_s += worker_s
        return {"done": result["status"] != TrialStatus.RUNNING.value, "worker_s": worker_s} | result

    def _epoch(self) -> dict[str, Any]:
        limit = self._trial["timeout_s"]
        try:
            with deadline(None if limit is None else limit - self._spent_s):
                record = next(self._records or self._begin())
                points = self._swept() if record.solver_gap is not None and self._trial["evaluate"] else []
                if limit is not None and self._spent_s > limit:
                    raise TimedOut
        except DIVERGING as error:
            found = divergence(error, self._trial["timeout_of_s"])
            if found.cause is Cause.MEMORY:
                self._drop()
            return {"status": TrialStatus.DIVERGED.value, "reason": found.reason, "cause": found.cause.value}
        return {"points": points} | self._save(record)

    def _begin(self) -> Iterator[EpochRecord]:
        self._plan = plan = build(self._trial["task"], self._trial["config"], self._device)
        self._state = TrainState(plan)
        if self._trial["checkpoint"]:
            saved = torch.load(self._trial["checkpoint"], weights_only=True, map_location=self._device)
            self._state.load_state_dict(saved)
        self._records = train(plan, self._state)
        return self._records

    def _swept(self) -> list[dict[str, Any]]:
        """The trained model solved in other ways, at the cost of an evaluation each."""
        assert self._state is not None
        wanted = deployments(self._plan, self._trial["evaluate"]["solver"], self._trial["evaluate"]["rtol"])
        return list(map(asdict, swept_points(self._plan, self._state.model, self._trial["number"], wanted)))

    @property
    def _device(self) -> str:
        return "cuda" if self._trial["gpu"] and torch.cuda.is_available() else "cpu"

    def _placement(self) -> dict[str, Any]:
        """Where the trial runs, and how fast that is: measured once in each process."""
        since, threads = time.time(), int(self._trial["config"]["threads"])
        key = threads, self._device
        if key not in _calibrations:
            _calibrations[key] = calibrate(*key)
        node = f"{os.uname().nodename}-{ray.get_runtime_context().get_node_id()[:8]}"
        gpus = ",".join(str(each) for each in ray.get_gpu_ids()) if self._trial["gpu"] else "cpu"
        return {"node": node, "device": f"{node}/{gpus}", "since": since, "calibration_s": _calibrations[key]}

    def _save(self, record: EpochRecord) -> dict[str, Any]:
        """Files first: what the driver hears of is there."""
        assert self._state is not None
        is_last, name, folder = record.solver_gap is not None, "", Path(self._trial["folder"])
        try:
            if is_last:
                write_whole(folder / WEIGHTS, _bytes(self._state.model.state_dict()))
            elif record.epoch % self._trial["checkpoint_every"] == 0:
                name = checkpoint_name(folder, record.epoch)
                self._saved.append(folder.parent / name)
                write_whole(self._saved[-1], _bytes(self._state.state_dict()))
                for old in self._saved[:-_KEPT]:
                    old.unlink(missing_ok=True)
                self._saved = self._saved[-_KEPT:]
        except OSError as error:
            reason = f"{folder}: cannot be written: {error.strerror or error}"
            return {"status": TrialStatus.INTERRUPTED.value, "reason": reason, "cause": ""}
        status = TrialStatus.COMPLETE if is_last else TrialStatus.RUNNING
        return {"status": status.value, "reason": "", "cause": "", "record": asdict(record), "checkpoint": name}

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
