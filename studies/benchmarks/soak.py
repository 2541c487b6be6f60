"""One long study under faults of every kind, at moments that a seed draws; then it is counted as `bench faults` counts.

The driver, its group and its workers get signals; the tracking server is killed, or answers 500; the disk is full, or
slow; the driver's clock steps by up to an hour. The study is tracked on a server and lies on a small disk of its own.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ndecore.errors import NDEError
from studies.arguments import whole_number
from studies.benchmarks.faults import Trial
from studies.benchmarks.faults_audit import Audit, audit
from studies.benchmarks.faults_inside import Inside
from studies.benchmarks.faults_world import (
    PATIENCE_S,
    Server,
    begin,
    filled_up,
    free_port,
    send,
    served,
    small_disk,
    undead,
)
from studies.benchmarks.machine import machine_lines

_DISK_MIB = 512
_SLOW_S = 0.3  # that a write takes until it is safe, on a slow disk


@dataclass
class World:
    """What a fault may touch."""

    study: Trial
    server: Server
    inside: Inside
    rng: random.Random
    driver: "subprocess.Popen[str]"

    def wait(self) -> None:
        """Some seconds, or until the driver ends."""
        end = time.monotonic() + self.rng.uniform(1.0, 8.0)
        while time.monotonic() < end and self.driver.poll() is None:
            time.sleep(0.1)


def _signal(world: World) -> None:
    world.study.send(world.driver, world.rng)


def _server_killed(world: World) -> None:
    world.server.kill()
    world.wait()
    world.server.start()


def _server_broken(world: World) -> None:
    world.server.is_broken = True
    world.wait()
    world.server.is_broken = False


def _disk_full(world: World) -> None:
    with filled_up(world.study.folder.parent):
        world.wait()


def _disk_slow(world: World) -> None:
    world.inside.fsync_s = _SLOW_S
    world.inside.write()
    world.wait()
    world.inside.fsync_s = 0.0
    world.inside.write()


def _clock_step(world: World) -> None:
    world.inside.clock_s += world.rng.choice((-1, 1)) * world.rng.uniform(1.0, 3600.0)
    world.inside.write()


FAULTS: dict[str, Callable[[World], None]] = {
    "a signal to the driver, its group or a worker": _signal,
    "kill -9 of the tracking server": _server_killed,
    "answers 500 of the tracking server": _server_broken,
    "a full disk": _disk_full,
    "a slow disk": _disk_slow,
    "a step of the clock": _clock_step,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--trials", type=whole_number(1), default=2000, metavar="N", help="default: 2000")
    parser.add_argument("--faults", type=whole_number(1), default=100, metavar="N", help="default: 100")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the faults and moments (default: 0)")


def main(args: argparse.Namespace) -> int:
    """Run the study to its end, count, write both reports; 1 if anything was lost or doubled."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nde-soak-") as home:
        found, brought, n_sessions = soak(Path(home), args.trials, args.faults, args.seed)
    seconds = time.monotonic() - began
    data = {"audit": asdict(found), "faults": dict(brought), "sessions": n_sessions, "seconds": seconds}
    (args.output / "soak.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    report = _report(found, brought, n_sessions, seconds, args)
    (args.output / "soak.md").write_text(report, encoding="utf-8")
    print(report)
    return 0 if found.is_clean else 1


def soak(home: Path, n_trials: int, n_faults: int, seed: int) -> tuple[Audit, Counter[str], int]:
    """Run one study to its end, with faults on the way.

    Args:
        home: an empty folder.
        n_trials: of the study, with two epochs each.
        n_faults: at most; the study may end before the last. Each kind comes once before one comes again.
        seed: of what happens when.

    Returns:
        What was counted in the end, how often each fault came, and how many drivers the study took.

    Raises:
        NDEError: a driver hangs, or the study takes more of them than faults can explain.
        OSError: a small disk cannot be mounted, which root alone may.
    """
    rng, inside = random.Random(seed), Inside(home / "inside.json")
    inside.write()
    study = Trial(home, "soak", epochs=2, trials=n_trials, sampler="random")
    brought, deck = Counter[str](), list[str]()
    n_undead, n_sessions = 0, 0
    program = (sys.executable, "-m", "studies.benchmarks.faults_inside", str(inside.path))
    with small_disk(home / "nde-runs", _DISK_MIB), served(home / "mlflow", free_port()) as server:
        options = ("run", "study.yaml", "--tracking-uri", server.uri)
        while True:
            if (n_sessions := n_sessions + 1) > n_faults + 3:
                raise NDEError(f"{study.folder}: {n_sessions} drivers for {n_faults} faults: {study.last_words}")
            driver = begin(*options, cwd=home, program=program)
            world = World(study, server, inside, rng, driver)
            while study.has_gone_on(max(1, round(rng.expovariate(n_faults / (2 * n_trials)))), driver):
                if brought.total() < n_faults:
                    deck = deck or rng.sample(list(FAULTS), len(FAULTS))
                    name = deck.pop()
                    brought[name] += 1
                    FAULTS[name](world)
                    print(f"{study.n_events('ended')} trials ended; {name}", flush=True)
            if _ended(driver) == 0:
                break
            n_undead += undead(driver.pid)
        found = audit(study.folder)
    return replace(found, undead=n_undead), brought, n_sessions


def _ended(driver: "subprocess.Popen[str]") -> int:
    try:
        return driver.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        send(driver.pid, signal.SIGKILL)
        raise NDEError(f"a driver neither goes on nor ends for {2 * PATIENCE_S:.0f} s") from None


def _report(found: Audit, brought: Counter[str], n_sessions: int, seconds: float, args: argparse.Namespace) -> str:
    about = (
        f"A study of {found.trials} trials of two epochs, two at a time, proposed at random, on real Ray, Optuna and "
        f"MLflow over HTTP, with faults drawn by seed {args.seed}. It took {n_sessions} drivers and "
        f"{seconds / 60:.0f} minutes. Then its ledger, Optuna and MLflow were counted: everything from `missing` on "
        "should be 0. `intervals lost` are epochs that the ledger had and that were trained again, most in one trial."
    )
    faults = ["| fault | times |", "| --- | --- |", *(f"| {name} | {brought[name]} |" for name in FAULTS)]
    counts = [f"| {name.replace('_', ' ')} | {value} |" for name, value in asdict(found).items()]
    table = ["| counted | |", "| --- | --- |", *counts]
    machine = machine_lines("ray", "optuna", "mlflow")
    return "\n".join(["# Soak", "", about, "", *machine, "", *faults, "", *table, ""])
