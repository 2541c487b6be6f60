"""What a study depends on, made to fail: its own processes, a tracking server, a disk."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from studies.cluster import FOLDER
from studies.watchdog import left_in

_COMMAND = (sys.executable, "-m", "studies.cli")
PATIENCE_S = 300.0
_UNDEAD_S = 10.0
_HOP = ("connection", "transfer-encoding", "content-length", "date", "server")  # headers that a proxy makes itself


def begin(*args: object, cwd: Path, program: Sequence[str] = _COMMAND) -> "subprocess.Popen[str]":
    """Start `nde-study ARGS` in a process of its own; `program` is what stands for `nde-study`."""
    with (cwd / "output.txt").open("a", encoding="utf-8") as output:
        return subprocess.Popen(
            [*program, *map(str, args)],
            cwd=cwd,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )


def finish(*args: object, cwd: Path) -> int:
    """Run `nde-study ARGS` to its end; return its exit code."""
    return begin(*args, cwd=cwd).wait(PATIENCE_S)


def until(claim: Callable[[], Any], process: "subprocess.Popen[str]") -> bool:
    """Wait for a claim to become true; False if the process ends first."""
    deadline = time.monotonic() + PATIENCE_S
    while not claim():
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process, or to a group of them by a negative number, if it is there."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def undead(driver: int) -> int:
    """How many processes that a driver had started are there ten seconds after its end."""
    deadline = time.monotonic() + _UNDEAD_S
    while (left := left_in(f"{FOLDER}{driver}-")) and time.monotonic() < deadline:
        time.sleep(0.1)
    return len(left)


def workers_below(pid: int) -> list[int]:
    """The processes below a driver that train trials."""
    parents, titles = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(entry.name)] = (entry / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue

    def is_below(child: int) -> bool:
        while child > 1 and child != pid:
            child = parents.get(child, 0)
        return child == pid

    return [
        each for each, title in titles.items() if title.startswith("ray::") and "Trainable" in title and is_below(each)
    ]


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """An MLflow server behind a door on loopback that can be shut: then every request is answered with 500."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self._port = folder, port
        self.is_broken = False
        self._door = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, f"http://127.0.0.1:{port}"))
        self.uri = f"http://127.0.0.1:{self._door.server_address[1]}"
        threading.Thread(target=self._door.serve_forever, daemon=True).start()

    def start(self) -> None:
        """Start the server itself, and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/server.db"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)

    def kill(self) -> None:
        """kill -9 of the server and its children."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End all of it."""
        self._door.shutdown()
        self._door.server_close()
        if self._process.poll() is None:
            self.kill()


@contextmanager
def served(folder: Path, port: int) -> Iterator[Server]:
    """A server that ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(folder, port)
    server.start()
    try:
        yield server
    finally:
        server.close()


def _handler(server: Server, target: str) -> type[BaseHTTPRequestHandler]:
    class Door(BaseHTTPRequestHandler):
        """Passes requests on, or answers 500."""

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if server.is_broken:
                self._answer(500, {}, b"out of order")
                return
            headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", *_HOP)}
            request = urllib.request.Request(f"{target}{self.path}", body or None, headers, method=self.command)
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    self._answer(answer.status, dict(answer.headers), answer.read())
            except urllib.error.HTTPError as error:
                self._answer(error.code, dict(error.headers), error.read())
            except OSError:
                self._answer(502, {}, b"")

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            with suppress(ConnectionError):  # whoever has asked was killed
                self.send_response(status)
                for key, value in headers.items():
                    if key.lower() not in _HOP:
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Door


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of this size at `folder`; raises OSError where one may not be mounted."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        raise OSError(mounted.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def filled_up(disk: Path) -> Iterator[None]:
    """A disk with no room, within the block."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):  # as it should be
        while True:
            file.write(b"0" * 4096)
    try:
        yield
    finally:
        filler.unlink()
