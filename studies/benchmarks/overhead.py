"""What a study costs beside its training: workers' time, the driver's memory and pace, the sampler's time."""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studies.benchmarks.faults_world import begin, free_port, served
from studies.benchmarks.machine import machine_lines

_SPEC = """
name: {name}
task: digits_node
objectives: [accuracy, train_work]
trials: {trials}
workers: {workers}
sampler: {sampler}
space:
  rtol: {{log_float: [1e-3, 1e-2]}}
  learning_rate: {{log_float: [0.05, 0.3]}}
fixed: {{regularizer: none, epochs: {epochs}, batch_size: {batch}, threads: 1, seed: 0}}
"""
_WORKERS = 2
_PAGE_MIB = 4096 / 2**20
_SETTLED = 100  # trials after which the driver's memory is measured first


@dataclass(frozen=True)
class Figures:
    """What a study of so many trials cost."""

    trials: int
    trial_s: float  # s, median of a trial inside epochs
    inside: float  # dimensionless, share of the workers' time inside epochs, while there is a trial for each
    inside_all: float  # dimensionless, the same to the end of the last trial, when the other worker has nothing to do
    mib_per_trial: float | None  # MiB, growth of the driver after the first hundred trials
    pace: float | None  # dimensionless, time of the last hundred trials against that of the second hundred
    gap_ms: float  # ms between the end of a trial and the beginning of the next in the ledger, median
    sampler_ms: float  # ms of that for the sampler, median


def measure(home: Path, trials: int, epochs: int, batch: int, sampler: str) -> Figures:
    """Run a study of two workers, tracked over HTTP, and read its ledger."""
    home.mkdir(parents=True, exist_ok=True)
    text = _SPEC.format(name="overhead", workers=_WORKERS, trials=trials, epochs=epochs, batch=batch, sampler=sampler)
    (home / "study.yaml").write_text(text, encoding="utf-8")
    log, memory = home / "nde-runs" / "overhead" / "events.jsonl", dict[int, float]()
    with served(home / "mlflow", free_port()) as server:
        driver = begin("run", "study.yaml", "--tracking-uri", server.uri, cwd=home)
        while driver.poll() is None:
            time.sleep(0.5)
            if log.exists():
                memory[log.read_text(encoding="utf-8").count('"event": "ended"')] = _resident_mib(driver.pid)
    return _figures([json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()], memory)


def _figures(events: list[dict[str, Any]], memory: dict[int, float]) -> Figures:
    spent: defaultdict[int, float] = defaultdict(float)
    for event in events:
        spent[event.get("number", -1)] += event.get("worker_s", 0.0)
    ends = [event["time"] for event in events if event["event"] == "ended"]
    last = max(event["time"] for event in events if event["event"] == "started")
    later = {n: mib for n, mib in memory.items() if _SETTLED <= n < len(ends)}
    is_long = len(ends) >= 3 * _SETTLED
    growth = (later[max(later)] - later[min(later)]) / (max(later) - min(later)) if is_long else None
    pace = (ends[-1] - ends[-1 - _SETTLED]) / (ends[2 * _SETTLED] - ends[_SETTLED]) if is_long else None
    order = [event for event in events if event["event"] in ("started", "ended")]
    pairs = itertools.pairwise(order)
    gaps = [b["time"] - a["time"] for a, b in pairs if (a["event"], b["event"]) == ("ended", "started")]
    return Figures(
        trials=len(ends),
        trial_s=statistics.median(value for number, value in spent.items() if number >= 0),
        inside=_inside(events, until=min(time for time in ends if time > last)),
        inside_all=_inside(events, until=ends[-1]),
        mib_per_trial=growth,
        pace=pace,
        gap_ms=1000 * statistics.median(gaps),
        sampler_ms=1000 * statistics.median(event["sampler_s"] for event in events if event["event"] == "started"),
    )


def _inside(events: list[dict[str, Any]], until: float) -> float:
    """The share of the workers' time inside epochs, from when each has a trial to `until` (s since 1970)."""
    since = sorted(event["since"] for event in events if event["event"] == "placed")[_WORKERS - 1]
    spans = [(event["time"] - event["worker_s"], event["time"]) for event in events if event.get("worker_s")]
    return sum(max(0.0, min(end, until) - max(begin, since)) for begin, end in spans) / (_WORKERS * (until - since))


def _resident_mib(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MIB
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0.0


# name -> trials, epochs, batch size, sampler
_STUDIES = {
    "2 s trials": (32, 27, 128, "tpe"),
    "30 s trials": (8, 130, 32, "tpe"),
    "trivial trials": (1000, 1, 1024, "random"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--only", choices=list(_STUDIES), action="append", help="some of the studies")


def main(args: argparse.Namespace) -> int:
    """Measure each and write both reports; what was measured before and is not now is kept."""
    path = args.output / "overhead.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in args.only or _STUDIES:
        with tempfile.TemporaryDirectory(prefix="nde-overhead-") as home:
            found[name] = asdict(measure(Path(home), *_STUDIES[name]))
        print(name, found[name], flush=True)
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")
        (args.output / "overhead.md").write_text(_report(found), encoding="utf-8")
    return 0


def _report(found: dict[str, Any]) -> str:
    heads = (
        "study",
        "trials",
        "s in epochs per trial",
        "workers' time in epochs",
        "to the last end",
        "MiB per trial",
        "pace",
        "gap",
        "sampler",
    )
    rows = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for name, each in found.items():
        grown = "" if each["mib_per_trial"] is None else f"{each['mib_per_trial']:.3f}"
        pace = "" if each["pace"] is None else f"{each['pace']:.2f}"
        cells = [name, each["trials"], f"{each['trial_s']:.2f}", f"{100 * each['inside']:.1f} %"]
        cells += [f"{100 * each['inside_all']:.1f} %", grown, pace]
        rows.append("| " + " | ".join(map(str, cells)) + f" | {each['gap_ms']:.1f} ms | {each['sampler_ms']:.1f} ms |")
    about = (
        "Two workers, MLflow over HTTP on the same machine. Workers' time in epochs is counted while there is a trial "
        "for each of them, and beside it to the end of the last trial, which one worker does alone; `MiB per trial` is "
        "the growth of the driver after its first hundred trials, `pace` the time of the last hundred trials against "
        "that of the second hundred, `gap` what the driver takes between the end of one trial and the beginning of the "
        "next, the ledger and `sampler` included."
    )
    return "\n".join(["# Overhead", "", about, "", *machine_lines("ray", "optuna", "mlflow"), "", *rows, ""])
