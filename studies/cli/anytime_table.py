"""The front over every epoch of every trial, as a table in the terminal and as JSON."""

from typing import Any

from rich.console import Console

from reports.anytime import AnytimeFront, Candidate, anytime_front
from reports.records import StudyRecord
from reports.wording import gap_text, value_text
from studies.cli.terminal import table_of


def print_anytime(study: StudyRecord, console: Console) -> None:
    """Print the front, what it gains over that of whole trials, and how to train a member."""
    found = anytime_front(study)
    if not found.members:
        console.print("no epoch is on the front: none of a known solver gap is feasible")
        return
    heads = ("trial@epoch", "of", *(metric.name for metric in study.objectives), "solver gap")
    table = table_of((*heads, "penalty"), right=heads)
    for each in found.members:
        last, own = each.trial.epochs[-1], "" if each.has_own_gap else "~"
        values = last.objectives()
        cells = [str(each), str(each.n_epochs), *(value_text(m, values[m.name]) for m in study.objectives)]
        table.add_row(*cells, own + gap_text(last.solver_gap), str(each.trial.config.get("regularizer", "")))
    console.print(table)
    for told in _told(study, found):
        console.print(told, markup=False, highlight=False, soft_wrap=True)


def _told(study: StudyRecord, found: AnytimeFront) -> list[str]:
    gain = f", x {found.hypervolume / found.of_whole:.2f} that of whole trials" if found.of_whole else ""
    lines = [f"{len(found.members)} members, hypervolume {found.hypervolume:.3f} of their box{gain}."]
    lines.append(
        "Chosen by scores smoothed over three epochs; one seed each, so train a choice again before you publish."
    )
    if not all(each.has_own_gap for each in found.members):
        lines.append(
            "~: the solver gap was not measured at that epoch and is that of a later one, or of the last that was."
        )
    lines.append(f"train one: nde-study export {study.name} --at {found.members[0]} -o short.yaml")
    return lines


def anytime_data(study: StudyRecord) -> dict[str, Any]:
    """The same as plain values."""
    found = anytime_front(study)
    return {
        "study": study.name,
        "hypervolume": found.hypervolume,
        "hypervolume_of_whole": found.of_whole,
        "front": [_data(each) for each in found.members],
    }


def _data(each: Candidate) -> dict[str, Any]:
    last = each.trial.epochs[-1]
    return {
        "name": str(each),
        "trial": each.trial.number,
        "epoch": each.epoch,
        "n_epochs": each.n_epochs,
        "values": last.objectives(),
        "solver_gap": last.solver_gap,
        "has_own_gap": each.has_own_gap,
        "config": dict(each.trial.config),
    }
