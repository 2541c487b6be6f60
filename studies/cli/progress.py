"""A running study on the terminal: trials done and running, the front so far, its gain over the baseline, time left."""

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from ndecore.hyperparameters import last_epoch
from reports.choice import comparison_sentence, knee_trial
from reports.pareto import cheapest, front
from reports.records import StudyRecord, TrialRecord, TrialStatus
from reports.standing import missed_bounds, relative_hypervolume
from reports.wording import title, value_text
from studies.cli.front_plot import front_plot

_HEIGHT, _LEAST_HEIGHT = 9, 24  # lines of the picture, and of a terminal that has room for it


class StudyProgress:
    """A context manager to be called with the study after each change.

    On a terminal it is a live view, else a line per ended trial.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._began: tuple[float, float] | None = None  # when the first trial started: clock, and trials' worth of work
        self._reported: set[int] = set()
        self._silent: set[int] = set()  # running trials that were told to be silent
        self._standing = self._gain = self._picture = ""
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}")
        )
        self._task = self._bar.add_task("starting workers ...", total=None, left="")
        self._live = Live(self._bar, console=console, transient=True) if console.is_terminal else None

    def __enter__(self) -> "StudyProgress":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    @property
    def has_begun(self) -> bool:
        """Whether a trial was started."""
        return self._began is not None

    def __call__(self, study: StudyRecord) -> None:
        """Draw the study as it stands."""
        ended = [trial for trial in study.trials if trial.status is not TrialStatus.RUNNING]
        new = [trial for trial in ended if trial.number not in self._reported]
        if self._began is None:
            self._began = self._clock(), _work(study)
            self._reported |= {trial.number for trial in ended}
        elif not new and not self._live:
            self._tell_silent(study)
            return
        if new or not self._standing:
            self._standing = _standing(study)  # sorts all trials: not at each epoch of a long study
            self._gain = comparison_sentence(study, knee_trial(study)) if front(study) else ""
            self._picture = front_plot(study, self._console.width, _HEIGHT) if self._has_room() else ""
            self._reported |= {trial.number for trial in new}
        left = self._time_left(study)
        if self._live:
            self._draw(self._live, study, len(ended), left)
        else:
            for trial in new:
                self._tell(f"[{len(ended)}/{study.n_trials}] {_ended(study, trial)} | {self._standing} | {left}")

    def _tell_silent(self, study: StudyRecord) -> None:
        """Each running trial that is silent, once."""
        for trial in study.trials:
            if trial.status is TrialStatus.RUNNING and trial.reason and trial.number not in self._silent:
                self._silent.add(trial.number)
                self._tell(f"{_name(trial)}: {trial.reason}")

    def _draw(self, live: Live, study: StudyRecord, n_ended: int, left: str) -> None:
        running = [trial for trial in study.trials if trial.status is TrialStatus.RUNNING]
        name = f"{study.name}: {len(running)} running"
        self._bar.update(self._task, description=name, total=study.n_trials, completed=n_ended, left=left)
        lines = [Text(_running(trial)) for trial in running]
        below = [Text(text) for text in (self._gain, self._picture) if text]
        live.update(Group(self._bar, Text(self._standing), *lines, *below))

    def _has_room(self) -> bool:
        return self._live is not None and self._console.height >= _LEAST_HEIGHT

    def _tell(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _time_left(self, study: StudyRecord) -> str:
        assert self._began is not None
        began, work_before = self._began
        work = _work(study)
        if work <= work_before:
            return "time left: not known yet"
        seconds = (self._clock() - began) / (work - work_before) * (study.n_trials - work)
        return f"about {seconds:.0f} s left" if seconds < 120 else f"about {seconds / 60:.0f} min left"


def _work(study: StudyRecord) -> float:
    """What is done, in trials: an ended one counts 1, a running one its share of epochs."""
    return sum(
        len(trial.epochs) / last_epoch(trial.config) if trial.status is TrialStatus.RUNNING else 1.0
        for trial in study.trials
    )


def _standing(study: StudyRecord) -> str:
    members = front(study)
    if not members:
        return "no trial on the front yet"
    found = relative_hypervolume(study)
    parts = [f"front of {len(members)}" + ("" if found is None else f", hypervolume x {found:.2f} of the baseline's")]
    for metric in study.objectives:
        trial = cheapest(members, metric, {})
        value = value_text(metric, trial.epochs[-1].objectives()[metric.name])
        parts.append(f"best {title(metric)} {value} (trial {trial.number})")
    return ", ".join(parts)


def _name(trial: TrialRecord) -> str:
    return f"trial {trial.number}" + (f" {trial.label}" if trial.label else "")


def _ended(study: StudyRecord, trial: TrialRecord) -> str:
    if trial.status is not TrialStatus.COMPLETE:
        return f"{_name(trial)}: {trial.status.value}: {trial.reason}"
    last = trial.epochs[-1]
    values = last.objectives()
    told = ", ".join(f"{m.name} {value_text(m, values[m.name])}" for m in study.objectives)
    # Else a trial that beats the best so far and does not become it would look like a mistake.
    missed = ", ".join(missed_bounds(study, trial))
    return f"{_name(trial)}: {told}" + (f" (infeasible: misses {missed})" if missed else "")


def _running(trial: TrialRecord) -> str:
    told = [f"  {_name(trial)}: epoch {trial.epochs[-1].epoch if trial.epochs else 0} of {last_epoch(trial.config)}"]
    if trial.epochs:
        last = trial.epochs[-1]
        told += [*(f"{name} {value:.4g}" for name, value in last.scores.items()), f"NFE {last.nfe:g}"]
    if trial.reason:
        told.append(trial.reason)
    return ", ".join(told)
