"""A real PostgreSQL on loopback, started by the test and ended by its process id."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "s3cret"
PATIENCE_S = 60.0


def _as_nobody_special() -> list[str]:
    """PostgreSQL does not run as root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


class Server:
    """A fresh server in a folder, to be started; `url` has its password."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/postgres"
        self._user = _as_nobody_special()
        self._folder, self._port = folder, port
        folder.mkdir()
        (folder / "password").write_text(PASSWORD)
        if self._user:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres", "postgres")
            for parent in folder.parents:
                if parent.stat().st_mode & 0o777 == 0o700:  # pytest keeps its folders to itself
                    parent.chmod(0o711)
        options = ["-U", "me", "--auth", "scram-sha-256", "--pwfile", folder / "password", "--no-sync"]
        subprocess.run([*self._user, "initdb", "-D", folder / "data", *options], check=True, capture_output=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        address = ["-h", "127.0.0.1", "-p", str(self._port), "-k", self._folder, "-F"]
        command = [*self._user, "postgres", "-D", self._folder / "data", *address]
        log = self._folder.parent / "postgres.log"
        with log.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file)
        _wait(log, self._process)

    def stop(self, number: signal.Signals) -> None:
        """End it: SIGINT ends its sessions first, SIGQUIT is an end without a word."""
        self._process.send_signal(number)
        self._process.wait(PATIENCE_S)


@contextmanager
def postgres_server(folder: Path, port: int) -> Iterator[Server]:
    """A server that runs; it ends with the block."""
    if not shutil.which("postgres") or not shutil.which("initdb"):
        pytest.skip("PostgreSQL is not installed: no `postgres` and `initdb` on the PATH")
    server = Server(folder, port)
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGINT)


@contextmanager
def postgres(folder: Path, port: int) -> Iterator[str]:
    """The URL of a fresh server, with its password; it ends with the block."""
    with postgres_server(folder, port) as server:
        yield server.url


def _wait(log: Path, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while b"ready to accept connections" not in log.read_bytes():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
