"""The tables of a report beside that of the front."""

from collections import defaultdict
from statistics import median

from reports.importance import Importance
from reports.records import StudyRecord, TrialRecord
from reports.solver_profile import SolverProfile
from reports.standing import Standing, missed_bounds, standings
from reports.table_formats import Cell, Table
from reports.wording import gap_text, title, value_text

_APART = (Standing.INFEASIBLE, Standing.PARTIAL, Standing.STOPPED, Standing.FAILED)
_LEAST_SHARE = 0.005  # of an importance that is worth a row
_SECONDS_PER_MINUTE = 60.0


def apart_table(study: StudyRecord) -> Table:
    """The trials that were not compared with the others, with what they had measured and why they are apart."""
    places = standings(study)
    heads = ("trial", "label", "standing", "trained", *map(title, study.objectives), "solver gap", "reason")
    is_number = (True, False, False, False, *(True for _ in study.objectives), True, False)
    rows = tuple(
        (
            Cell(trial.number, str(trial.number)),
            Cell(trial.label, trial.label),
            _text(places[trial.number].value),
            _text(trial.fidelity),
            *_measured(trial, study),
            *_gap(trial),
            _text(_why(trial, study)),
        )
        for trial in study.trials
        if places[trial.number] in _APART
    )
    return Table("apart", f"Trials of {study.name} that are on no front, and why.", heads, is_number, rows)


def trials_table(study: StudyRecord) -> Table:
    """Every trial with its standing, what it measured at its last epoch and its config: for other programs."""
    keys = tuple(dict.fromkeys(key for trial in study.trials for key in trial.config))
    names = tuple(study.by_name)
    places = standings(study)
    rows = []
    for trial in study.trials:
        measured = trial.epochs[-1].objectives() if trial.epochs else {}
        facts = (trial.number, trial.label, places[trial.number].value, trial.status.value, trial.fidelity)
        gap = trial.epochs[-1].solver_gap if trial.epochs else None
        values = (*facts, *map(measured.get, names), gap, trial.node, trial.packed, *map(trial.config.get, keys))
        rows.append(tuple(Cell(value, "" if value is None else str(value)) for value in values))
    heads = ("trial", "label", "standing", "status", "trained", *names, "solver_gap", "node", "packed", *keys)
    return Table("trials", f"All trials of {study.name}.", heads, tuple(False for _ in heads), tuple(rows))


def importance_table(found: tuple[Importance, ...], study: StudyRecord) -> Table:
    """Hyperparameter importance: a row for each key that matters for anything, a column for each objective."""
    keys = found[0].shares if found else ()
    shares = {key: tuple(each.shares[key] for each in found) for key in keys}
    shares = {key: of_key for key, of_key in shares.items() if max(of_key) >= _LEAST_SHARE}
    rows = tuple(
        (_text(key), *(Cell(share, f"{100.0 * share:.0f} %") for share in shares[key]))
        for key in sorted(shares, key=lambda key: -sum(shares[key]))
    )
    explained = ", ".join(f"{title(each.objective)} {each.explained:.2f}" for each in found)
    caption = f"Hyperparameter importance in {study.name}; explained on unseen trials (R²): {explained}."
    heads = ("parameter", *(f"{title(each.objective)} (R² {each.explained:.2f})" for each in found))
    return Table("importance", caption, heads, (False, *(True for _ in found)), rows)


def machines_table(study: StudyRecord) -> Table:
    """What ran where, and for how long."""
    by_node: defaultdict[str, list[TrialRecord]] = defaultdict(list)
    for trial in study.trials:
        by_node[trial.node].append(trial)
    rows = []
    for node, trials in sorted(by_node.items()):
        busy = sum(max(0.0, t.ended_s - t.began_s) for t in trials if t.began_s) / _SECONDS_PER_MINUTE
        trained = sum(t.epochs[-1].train_s for t in trials if t.epochs) / _SECONDS_PER_MINUTE
        packed = sum(t.packed for t in trials)
        solves = [t.calibration_s for t in trials if t.calibration_s is not None]
        calibration = median(solves) if solves else None
        rows.append(
            (
                _text(node or "unknown"),
                Cell(len(trials), str(len(trials))),
                Cell(packed, str(packed)),
                Cell(busy, f"{busy:.1f}"),
                Cell(trained, f"{trained:.1f}"),
                Cell(calibration, "" if calibration is None else f"{1000.0 * calibration:.1f}"),
            )
        )
    heads = ("machine", "trials", "packed", "trial time (min)", "of it updates (min)", "fixed solve (ms)")
    caption = (
        f"Where {study.name} ran. Packed trials shared their device, and their seconds are noisy; the fixed solve "
        "is the same everywhere, and tells how fast a machine was."
    )
    return Table("machines", caption, heads, (False, True, True, True, True, True), tuple(rows))


def solver_table(profiles: tuple[SolverProfile, ...], study: StudyRecord) -> Table:
    """The solves that the profiles are of, in sums."""
    rows = tuple(
        (
            _text(profile.role),
            Cell(profile.trial, str(profile.trial)),
            Cell(profile.n_evaluations, str(profile.n_evaluations)),
            Cell(len(profile.t), str(len(profile.t))),
            Cell(profile.n_rejected, str(profile.n_rejected)),
            Cell(min(profile.dt), f"{min(profile.dt):.3g}"),
            Cell(max(profile.dt), f"{max(profile.dt):.3g}"),
            Cell(max(profile.stiffness), f"{max(profile.stiffness):.3g}"),
        )
        for profile in profiles
    )
    heads = ("model", "trial", "NFE", "accepted", "rejected", "least step", "largest step", "largest stiffness")
    caption = f"One solve of the first held-out batch of {study.name} by trained weights, at their own tolerances."
    return Table("solver", caption, heads, (False, *(True for _ in heads[1:])), rows)


def _text(text: str) -> Cell:
    return Cell(text, text)


def _measured(trial: TrialRecord, study: StudyRecord) -> list[Cell]:
    measured = trial.epochs[-1].objectives() if trial.epochs else {}
    found = [(metric, measured.get(metric.name)) for metric in study.objectives]
    return [Cell(value, "" if value is None else value_text(metric, value)) for metric, value in found]


def _gap(trial: TrialRecord) -> list[Cell]:
    gap = trial.epochs[-1].solver_gap if trial.epochs else None
    return [Cell(gap, "" if gap is None else gap_text(gap))]


def _why(trial: TrialRecord, study: StudyRecord) -> str:
    if trial.reason or not trial.epochs or trial.epochs[-1].solver_gap is None:
        return trial.reason or "still running"
    missed = missed_bounds(study, trial)
    return f"misses {', '.join(missed)}" if missed else "not finite"
