"""What a study survives: signals to its processes, the loss of workers, a node, the tracking server; a full disk.

After each fault the study is resumed to its end, then its ledger, Optuna and MLflow are counted and compared.
"""

import argparse
import json
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from ray.cluster_utils import Cluster

from ndecore.errors import NDEError
from studies.arguments import whole_number
from studies.benchmarks.faults_audit import Audit, audit, front_of, total
from studies.benchmarks.faults_world import (
    PATIENCE_S,
    begin,
    filled_up,
    finish,
    free_port,
    send,
    served,
    small_disk,
    undead,
    until,
    workers_below,
)
from studies.benchmarks.machine import machine_lines
from studies.ledger import Ledger

_SPEC = """
name: {name}
task: digits_node
objectives: [accuracy, train_work]
trials: {trials}
workers: {workers}
sampler: {sampler}
seed: 1
space:
  regularizer: {{choice: [none, error]}}
  weight: {{log_float: [1, 100], when: {{regularizer: error}}}}
  rtol: {{log_float: [1e-4, 1e-2]}}
  learning_rate: {{log_float: [0.05, 0.3]}}
fixed: {{epochs: {epochs}, threads: 1, seed: 0}}
"""

_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSTOP)
_FEW_LOSSES = 2  # of the workers of one trial: at three it counts as the cause


@dataclass(frozen=True)
class Finding:
    """What a fault left behind."""

    fault: str
    n_faults: int
    audit: Audit
    front_is_same: bool | None  # as that of a study that was left alone; None where it need not be


class Trial:
    """One study in a folder of its own."""

    def __init__(
        self, home: Path, name: str, *, workers: int = 2, epochs: int = 12, trials: int = 16, sampler: str = "tpe"
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self.name = home, name
        self.folder = home / "nde-runs" / name
        self._n_read, self._counts = 0, Counter[str]()
        text = _SPEC.format(name=name, workers=workers, epochs=epochs, trials=trials, sampler=sampler)
        (home / "study.yaml").write_text(text, encoding="utf-8")

    def n_events(self, kind: str) -> int:
        """How many events of a kind its log has."""
        log = self.folder / "events.jsonl"
        if log.exists():
            with log.open("rb") as file:
                file.seek(self._n_read)
                whole = file.read().rpartition(b"\n")[0]
            lines = whole.decode().split("\n") if whole else []
            self._counts.update(json.loads(line)["event"] for line in lines)
            self._n_read += len(whole) + bool(whole)
        return self._counts[kind]

    @property
    def last_words(self) -> str:
        """The end of what its drivers have said."""
        return (self.home / "output.txt").read_text(encoding="utf-8")[-2000:]

    def has_gone_on(self, n_epochs: int, driver: "subprocess.Popen[str]") -> bool:
        """Wait until it has trained so many epochs more; False if it ends first."""
        goal = self.n_events("epoch") + n_epochs
        return until(lambda: self.n_events("epoch") >= goal, driver)

    def send(self, driver: "subprocess.Popen[str]", rng: random.Random) -> None:
        """One signal to one of its processes. One that is stopped goes on after a while; one that ends has ended."""
        number = rng.choice(_SIGNALS)
        workers = workers_below(driver.pid)
        is_worker = workers and rng.random() < 0.4 and self._n_losses < _FEW_LOSSES
        if is_worker:
            target = workers[0]
        elif rng.random() < 0.7:
            target = driver.pid
        else:
            target = -driver.pid  # the group, as a terminal does
        send(target, number)
        if number is signal.SIGSTOP:
            time.sleep(rng.uniform(0.5, 3.0))
            send(target, signal.SIGCONT)
        elif not is_worker:
            with suppress(subprocess.TimeoutExpired):  # which the audit tells
                driver.wait(PATIENCE_S)

    @property
    def _n_losses(self) -> int:
        """Of workers, by the trial that lost most: at three it has failed."""
        if not (self.folder / "events.jsonl").exists():
            return 0
        return max(Ledger(self.folder).history.losses.values(), default=0)

    def run(self, *options: object) -> None:
        """Run it, or what is left of it, to its end; raise `NDEError` if it does not come there."""
        self.check(finish("run", "study.yaml", *options, cwd=self.home))

    def check(self, code: int) -> None:
        """Raise `NDEError` with what it said if that is not the exit code of a study that came to its end."""
        if code:
            raise NDEError(f"{self.folder}: ended with exit code {code}: {self.last_words}")


def send_signals(home: Path, n_sequences: int, seed: int) -> Finding:
    """Sequences of one to three signals to the driver, its process group and its workers, in studies one by one.

    They come at random moments, start-up and its last words included. What a driver that has ended by one leaves
    behind for ten seconds counts as undead.
    """
    alone = Trial(home / "alone", "victim", workers=1)
    alone.run()
    rng, left, n_undead = random.Random(seed), n_sequences, 0
    audits, fronts = list[Audit](), [front_of(alone.folder)]
    while left:
        study, code = Trial(home / f"signals-{len(audits)}", "victim", workers=1), 1
        while code:
            driver = begin("run", "study.yaml", cwd=study.home)
            while left and driver.poll() is None:
                _send_sequence(study, driver, rng)
                left -= 1
            code = driver.wait(PATIENCE_S)
            n_undead += undead(driver.pid) if code else 0
            if code and not left:
                study.run()
                break
        audits.append(audit(study.folder))
        fronts.append(front_of(study.folder))
    is_same = all(each == fronts[0] for each in fronts)
    return Finding("sequences of signals", n_sequences, replace(total(audits), undead=n_undead), is_same)


def _send_sequence(study: Trial, driver: "subprocess.Popen[str]", rng: random.Random) -> None:
    if rng.random() < 0.8:  # most of the time at work, now and then before that
        study.has_gone_on(1, driver)
    for _ in range(rng.randint(1, 3)):
        time.sleep(rng.uniform(0.0, 1.5))
        study.send(driver, rng)


def kill_workers(home: Path, n_kills: int, seed: int) -> Finding:
    """A worker that trains is killed, or asked to end, in turn."""
    study, rng = Trial(home, "workers"), random.Random(seed)
    driver = begin("run", "study.yaml", cwd=study.home)
    n_done = 0
    while n_done < n_kills:
        if not study.has_gone_on(5, driver):
            break
        time.sleep(rng.uniform(0.0, 0.5))
        for pid in workers_below(driver.pid)[:1]:
            send(pid, (signal.SIGKILL, signal.SIGTERM)[n_done % 2])
            n_done += 1
    driver.wait()
    return Finding("kill -9, and SIGTERM, of a worker", n_done, audit(study.folder), None)


def kill_node(home: Path, n_kills: int, seed: int) -> Finding:
    """A node of a cluster of three goes, and another comes."""
    study = Trial(home, "nodes")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    try:
        driver = begin("run", "study.yaml", "--address", cluster.address, cwd=study.home)
        n_done = 0
        while n_done < n_kills:
            if not study.has_gone_on(10, driver):
                break
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
            cluster.add_node(num_cpus=1)
            n_done += 1
        driver.wait()
    finally:
        cluster.shutdown()
    return Finding("loss of a node of three", n_done, audit(study.folder), None)


def kill_server(home: Path, n_kills: int, seed: int) -> Finding:
    """kill -9 of the MLflow server, which comes back after some seconds."""
    study = Trial(home, "server", epochs=30)
    with served(home / "mlflow", free_port()) as server:
        driver = begin("run", "study.yaml", "--tracking-uri", server.uri, cwd=study.home)
        n_done = 0
        while n_done < n_kills:
            if not study.has_gone_on(20, driver):
                break
            server.kill()
            n_done += 1
            time.sleep(3.0)
            server.start()
        driver.wait()
        finish("sync", study.name, cwd=study.home)
        return Finding("kill -9 of the MLflow server", n_done, audit(study.folder), None)


def outage(home: Path, seconds: int, seed: int) -> Finding:
    """The tracking server answers 500 for some time."""
    study = Trial(home, "outage", epochs=30)
    with served(home / "mlflow", free_port()) as server:
        driver = begin("run", "study.yaml", "--tracking-uri", server.uri, cwd=study.home)
        study.has_gone_on(20, driver)
        server.is_broken = True
        time.sleep(seconds)
        server.is_broken = False
        driver.wait()
        finish("sync", study.name, cwd=study.home)
        return Finding(f"{seconds} s of answers 500 by the tracking server", 1, audit(study.folder), None)


def full_disk(home: Path, n_kills: int, seed: int) -> Finding:
    """The disk of the study is full; there is room again."""
    alone, study = (Trial(home / name, "disk", workers=1) for name in ("alone", "full"))
    alone.run()
    store = f"sqlite:///{home}/mlflow.db"
    with small_disk(study.home / "nde-runs", 48) as disk:  # with room for two reports of 5 MiB
        driver = begin("run", "study.yaml", "--tracking-uri", store, cwd=study.home)
        study.has_gone_on(20, driver)
        with filled_up(disk):
            code = driver.wait()
        study.run("--tracking-uri", store)
        return Finding(
            "a full disk", int(code == 1), audit(study.folder), front_of(study.folder) == front_of(alone.folder)
        )


Fault = Callable[[Path, int, int], Finding]
FAULTS: dict[str, tuple[Fault, int]] = {  # with how many, or for how many seconds
    "signals": (send_signals, 100),
    "workers": (kill_workers, 5),
    "node": (kill_node, 2),
    "server": (kill_server, 2),
    "outage": (outage, 60),
    "disk": (full_disk, 1),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--only", choices=list(FAULTS), action="append", help="some of the faults")
    parser.add_argument("--kills", type=whole_number(1), metavar="N", help="of each fault, instead of its own number")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the moments (default: 0)")


def main(args: argparse.Namespace) -> int:
    """Bring each fault about, count, write both reports; 1 if anything was lost or doubled."""
    findings = []
    for name in args.only or FAULTS:
        fault, number = FAULTS[name]
        with tempfile.TemporaryDirectory(prefix="nde-faults-") as home:
            findings.append(fault(Path(home), args.kills or number, args.seed))
        print(_row(findings[-1]), flush=True)
    (args.output / "faults.json").write_text(json.dumps([asdict(f) for f in findings], indent=1), encoding="utf-8")
    (args.output / "faults.md").write_text(_report(findings), encoding="utf-8")
    return 0 if all(f.audit.is_clean and f.front_is_same is not False for f in findings) else 1


_COLUMNS = tuple(field.name for field in fields(Audit))


def _row(finding: Finding) -> str:
    same = {True: "the same", False: "ANOTHER", None: ""}[finding.front_is_same]
    counts = [str(getattr(finding.audit, name)) for name in _COLUMNS]
    return "| " + " | ".join([finding.fault, str(finding.n_faults), *counts, same]) + " |"


def _report(findings: list[Finding]) -> str:
    heads = ["fault", "times", *(name.replace("_", " ") for name in _COLUMNS), "front"]
    table = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads), *map(_row, findings)]
    about = (
        "Studies of 16 short trials on real Ray, Optuna and MLflow. After the faults the study was resumed to its end, "
        "and its ledger, Optuna and MLflow were counted. Every column from `missing` to `undead` should be 0. "
        "`intervals lost` are epochs that the ledger had and that were trained again, most in one trial; a checkpoint "
        "is written after every epoch. `front` compares with the same study left alone (one worker, accuracy and "
        "training work as objectives)."
    )
    return "\n".join(["# Faults", "", about, "", *machine_lines("ray", "optuna", "mlflow"), "", *table, ""])
