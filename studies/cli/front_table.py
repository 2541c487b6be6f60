"""A study's front as a table in the terminal."""

import sys
from collections import Counter
from collections.abc import Collection, Sequence

from rich.console import Console
from rich.table import Table

from reports.choice import RATIOS, Rule, comparison_sentence, front_members
from reports.confirmed import front_sentence, published_study
from reports.records import StudyRecord, TrialStatus
from reports.tables import FrontRow, compared_rows, distinct_keys, front_rows, weight_text
from reports.wording import printable, setting_text, value_text
from studies.cli.terminal import table_of

_SHORT = {"nfe": "NFE", "train_s": "train s", "predict_s": "predict s", "train_work": "work"}
_SHOWN = 12  # numbers in a list of trials
_TOLD = ("regularizer", "weight", "weight_end", "rtol", "seed")  # keys that have a place of their own, or tell nothing
_WIDE = 120  # columns; a narrower terminal goes without the ratios


def print_study(study: StudyRecord, console: Console) -> None:
    """Print how the trials ended, then the front, the knee marked; and why each other trial did not complete."""
    ends = ", ".join(f"{n} {status}" for status, n in Counter(t.status.value for t in study.trials).items())
    counts = f"{len(study.trials)} of {study.n_trials} trials: {ends or 'none'}"
    complete = [trial for trial in study.trials if trial.status is TrialStatus.COMPLETE]
    n_off = sum(not trial.is_feasible(study.max_solver_gap, study.thresholds) for trial in complete)
    bounds = ", ".join([f"solver gap <= {study.max_solver_gap:g}", *map(str, study.thresholds)])
    off = f", {n_off} of them infeasible ({bounds})" if n_off else ""
    console.print(f"[bold]{study.name}[/bold] ({study.task}): {counts}{off}", highlight=False)
    published = published_study(study)
    rows = front_rows(published)
    if study.confirming:
        console.print(front_sentence(study), highlight=False)
    if rows:
        console.print(_fitting(published, rows, console))
        for told in _recommended(published):
            console.print(told, highlight=False, markup=False)
    else:
        console.print("no trial is on the front: none is complete and feasible")
    for told in _stopped(study):
        console.print(told, markup=False, soft_wrap=True)
    for trial in study.trials:
        if trial.status not in (TrialStatus.COMPLETE, TrialStatus.RUNNING, TrialStatus.STOPPED):
            told = f"trial {trial.number} {trial.status.value}: {printable(trial.reason)}"
            console.print(told, markup=False, soft_wrap=True)
    for repair in study.repairs:
        console.print(f"repaired: {printable(repair)}", markup=False, soft_wrap=True)


def _stopped(study: StudyRecord) -> list[str]:
    """A line for each rule and epoch that stopped trials."""
    by: dict[tuple[str, int], list[int]] = {}
    for trial in study.trials:
        if trial.stopped_by:
            by.setdefault((trial.stopped_by.rule, trial.stopped_by.epoch), []).append(trial.number)
    return [
        f"stopped by {rule} after epoch {epoch}: {len(trials)} trial{'s' * (len(trials) > 1)} ({_some(trials)})"
        for (rule, epoch), trials in sorted(by.items())
    ]


def _some(trials: list[int]) -> str:
    shown = ", ".join(map(str, trials[:_SHOWN]))
    return shown + (", ..." if len(trials) > _SHOWN else "")


def _recommended(study: StudyRecord) -> list[str]:
    """What the recommended member gains and loses, and what other rules would choose."""
    chosen = front_members(study)
    others = [f"{rule} {trial.number}" for rule, trial in chosen.items() if trial is not chosen[Rule.KNEE]]
    told = [comparison_sentence(study, chosen[Rule.KNEE])]
    return [each for each in told if each] + ([f"By other rules (export --top): {', '.join(others)}."] * bool(others))


def _fitting(study: StudyRecord, rows: tuple[FrontRow, ...], console: Console) -> Table:
    """The table with the ratios if the terminal is wide, and with as many other searched keys as fit it then."""
    others = [key for key in distinct_keys(study) if key.rpartition(".")[2] not in _TOLD]
    compared, on_front = compared_rows(study), {row.trial for row in rows}
    unbounded = console.options.update(max_width=sys.maxsize)
    for n in range(len(others), 0, -1):
        table = _table(study, compared, on_front, True, others[:n])
        if console.measure(table, options=unbounded).maximum <= console.width:
            return table
    return _table(study, compared, on_front, console.width >= _WIDE)


def _table(
    study: StudyRecord,
    compared: Sequence[FrontRow],
    on_front: Collection[int],
    with_ratios: bool,
    others: Sequence[str] = (),
) -> Table:
    """The front below the baseline, which is pale and in parentheses where it is not on it."""
    configs = {trial.number: trial.config for trial in study.trials}
    ratios = [metric for metric in RATIOS if with_ratios and metric.name in compared[0].ratios]
    heads = [_SHORT.get(m.name, m.name) for m in study.objectives]
    heads += [f"{_SHORT[m.name].removesuffix(' s')} ratio" for m in ratios]
    numbers = ("trial", *heads)
    table = table_of((*numbers, "penalty", "weight", "rtol", *others, ""), right=numbers)
    for row in compared:
        cells = [str(row.trial), *(value_text(m, row.values[m.name]) for m in study.objectives)]
        cells += [f"{row.ratios[m.name]:.2f}" for m in ratios]
        is_off = row.trial not in on_front
        label = f"({row.label})" if is_off else row.label
        mark = " ".join(["◆ knee"] * row.is_knee + [label] * bool(label))
        rtol = "" if row.rtol is None else f"{row.rtol:.1e}"
        style = "bold green" if row.is_knee else "dim" if is_off else ""
        searched = [setting_text(configs[row.trial].get(key, "")) for key in others]
        table.add_row(*cells, row.regularizer, weight_text(row), rtol, *searched, mark, style=style)
    return table
