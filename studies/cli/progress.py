"""A running study on the terminal: trials done and running, best so far, hypervolume, time left."""

import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from ndecore.errors import InputError
from reports.pareto import best, front, study_hypervolume
from reports.records import StudyRecord, TrialRecord, TrialStatus
from reports.wording import title, value_text


class StudyProgress:
    """A context manager to be called with the study after each change: a live view on a terminal, else a line per ended trial."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._ended_before: int | None = None
        self._reported: set[int] = set()
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}")
        )
        self._task = self._bar.add_task("starting workers", total=None, left="")
        self._live = Live(self._bar, console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> "StudyProgress":
        if self._live:
            self._live.start()
        else:
            self._console.print("starting workers ...")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, study: StudyRecord) -> None:
        """Draw the study as it stands."""
        ended = [trial for trial in study.trials if trial.status is not TrialStatus.RUNNING]
        if self._ended_before is None:
            self._ended_before = len(ended)
            self._reported = {trial.number for trial in ended}
        left = self._time_left(study, len(ended))
        if self._live:
            n_running = len(study.trials) - len(ended)
            self._bar.update(self._task, description=f"{study.name}: {n_running} running", total=study.n_trials, completed=len(ended), left=left)
            self._live.update(Group(self._bar, Text(_standing(study)), *(Text(_running(trial)) for trial in study.trials if trial.status is TrialStatus.RUNNING)))
            return
        for trial in ended:
            if trial.number not in self._reported:
                self._reported.add(trial.number)
                self._console.print(f"[{len(self._reported)}/{study.n_trials}] {_ended(study, trial)} | {_standing(study)} | {left}", markup=False, highlight=False, soft_wrap=True)

    def _time_left(self, study: StudyRecord, n_ended: int) -> str:
        done = n_ended - (self._ended_before or 0)
        if done == 0:
            return "time left: not known yet"
        seconds = (time.monotonic() - self._began) / done * (study.n_trials - n_ended)
        return f"about {seconds:.0f} s left" if seconds < 120 else f"about {seconds / 60:.0f} min left"


def _standing(study: StudyRecord) -> str:
    if not front(study):
        return "no trial on the front yet"
    parts = []
    for metric in study.objectives:
        trial = best(study, metric)
        parts.append(f"best {title(metric)} {value_text(metric, trial.epochs[-1].objectives()[metric.name])}")
    return f"{', '.join(parts)}, hypervolume {study_hypervolume(study):.3f}"


def _name(trial: TrialRecord) -> str:
    return f"trial {trial.number}" + (f" {trial.label}" if trial.label else "")


def _ended(study: StudyRecord, trial: TrialRecord) -> str:
    if trial.status is not TrialStatus.COMPLETE:
        return f"{_name(trial)}: {trial.status.value}: {trial.reason}"
    values = trial.epochs[-1].objectives()
    return f"{_name(trial)}: " + ", ".join(f"{m.name} {value_text(m, values[m.name])}" for m in study.objectives)


def _running(trial: TrialRecord) -> str:
    epochs = trial.config.get("epochs", "?")
    if not trial.epochs:
        return f"  {_name(trial)}: epoch 0 of {epochs}"
    last = trial.epochs[-1]
    scores = ", ".join(f"{name} {value:.4g}" for name, value in last.scores.items())
    return f"  {_name(trial)}: epoch {last.epoch} of {epochs}, {scores}, NFE {last.nfe:g}"
