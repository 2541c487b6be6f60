"""`nde-study` as a person runs it: a process of its own, real Ray, real MLflow; and what it leaves behind."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ndecore.tasks import TASKS

_COMMAND = [sys.executable, "-c", "import sys; from studies.cli import main; sys.exit(main())"]
PATIENCE_S = 300.0

SPACE = """
space:
  regularizer: {choice: [none, error]}
  schedule: {choice: [constant], when: {regularizer: error}}
  weight: {log_float: [1, 100], when: {regularizer: error}}
  rtol: {log_float: [1e-4, 1e-2]}
"""

# The start configs set keys that the space does not have; the last one cannot be solved in so few steps.
SMALL = f"""
name: small
task: digits_node
objectives: [accuracy, nfe, train_work]
trials: 6
workers: 2
{SPACE}
fixed: {{epochs: 4, threads: 1, seed: 0}}
start_from:
  - {{label: plain, regularizer: none, rtol: 1e-3, learning_rate: 0.2}}
  - {{label: damped, regularizer: error, weight: 10, rtol: 1e-3, momentum: 0.8}}
  - {{label: wild, regularizer: none, rtol: 1e-4, max_steps: 2}}
"""


ELSEWHERE = ("MLFLOW_TRACKING_URI", "NDE_STUDY_ROOT", "RAY_ADDRESS")  # variables that would lead a study there


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would lead a study elsewhere."""
    ours = (*ELSEWHERE, "COLUMNS")
    return {key: value for key, value in os.environ.items() if key not in ours} | more


@contextmanager
def installed_task(folder: Path, name: str, text: str) -> Iterator[None]:
    """A package with a task, in `folder`, as if this process had been started with that on its path.

    Args:
        folder: where the package is made.
        name: of the package and the task.
        text: of its module, with the task as a class of that name, capitalised.
    """
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (folder / f"{name}_task.py").write_text(text)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[ndecore.tasks]\n{name} = {name}_task:{name.capitalize()}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(TASKS), "_targets", dict.fromkeys((*TASKS, name), ""))
        yield


def start(*args: object, cwd: Path, **env: str) -> "subprocess.Popen[str]":
    """Start `nde-study ARGS` as the leader of a process group, as a shell does."""
    return subprocess.Popen(
        [*_COMMAND, *map(str, args)],
        cwd=cwd,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


class Ended:
    """What a command did: its exit code, what it wrote, how long one waited for it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        began = time.monotonic()
        try:
            self.out, self.err = process.communicate(timeout=PATIENCE_S)
        finally:
            kill(process)
        self.seconds = time.monotonic() - began
        self.code = process.returncode


def nde_study(*args: object, cwd: Path, **env: str) -> Ended:
    """Run `nde-study ARGS` to its end."""
    return Ended(start(*args, cwd=cwd, **env))


def run_watched(*args: object, cwd: Path, **env: str) -> tuple[Ended, set[int]]:
    """Run `nde-study ARGS` to its end; also return the process ids of all workers that it had trials in."""
    process = start(*args, cwd=cwd, **env)
    seen: set[int] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            seen.update(workers(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return Ended(process), seen
    finally:
        over.set()
        watcher.join()


def kill(process: "subprocess.Popen[str]") -> None:
    """kill -9 of the driver, if it is there."""
    if process.poll() is None:
        process.kill()


def interrupt(process: "subprocess.Popen[str]") -> None:
    """What a terminal does at Ctrl-C: a signal to the whole group."""
    os.killpg(process.pid, signal.SIGINT)


def until(claim: Callable[[], Any], process: "subprocess.Popen[str] | None" = None) -> None:
    """Wait for a claim to become true; fail if the process ends first, or with the time."""
    deadline = time.monotonic() + PATIENCE_S
    while not claim():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)


def events(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a study's event log; none if it is not there yet."""
    path = folder / "events.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def of_kind(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in events(folder) if event["event"] == kind]


@contextmanager
def serving(model: Path, port: int, home: Path) -> Iterator[Callable[[bytes], Any]]:
    """`mlflow models serve` of a model, with its log in `home`: from the JSON of a request to that of its answer."""
    command = [
        "models",
        "serve",
        "-m",
        str(model),
        "--env-manager",
        "local",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    log = home / "server.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command],
            cwd=home,
            env=environment(PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}"),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        until(lambda: b"startup complete" in log.read_bytes(), server)
        yield lambda body: _answer(f"http://127.0.0.1:{port}/invocations", body)
    finally:
        with suppress(ProcessLookupError):  # it ended by itself, and the test has failed
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def _answer(url: str, body: bytes) -> Any:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def descendants(pid: int) -> dict[int, str]:
    """The living processes below a process, each with its command line."""
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            titles[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            parents[int(folder.name)] = int(parent)
    return {child: titles[child] for child in parents if pid in _ancestors(child, parents)}


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while (pid := parents.get(pid, 0)) > 1:
        yield pid


def workers(pid: int) -> list[int]:
    """The processes below a driver that train trials; Ray renames them from call to call, so poll for one."""
    return [child for child, title in descendants(pid).items() if re.match(r"ray::\w*Trainable", title)]


def alive(pids: Any) -> list[int]:
    def is_alive(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    return [pid for pid in pids if is_alive(pid)]


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[str]:
    """A real server with one worker; ended with its children."""
    command = ["-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/server.db", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, *command, "--host", "127.0.0.1", "--workers", "1"],
            cwd=folder,
            env=environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until(lambda: b"startup complete" in (folder / "server.log").read_bytes())
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(PATIENCE_S)
