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


@contextmanager
def postgres(folder: Path, port: int) -> Iterator[str]:
    """The URL of a fresh server, with its password; it ends with the block."""
    if not shutil.which("postgres") or not shutil.which("initdb"):
        pytest.skip("PostgreSQL is not installed: no `postgres` and `initdb` on the PATH")
    user = _as_nobody_special()
    folder.mkdir()
    (folder / "password").write_text(PASSWORD)
    if user:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")
        for parent in folder.parents:
            if parent.stat().st_mode & 0o777 == 0o700:  # pytest keeps its folders to itself
                parent.chmod(0o711)
    options = ["-U", "me", "--auth", "scram-sha-256", "--pwfile", folder / "password", "--no-sync"]
    subprocess.run([*user, "initdb", "-D", folder / "data", *options], check=True, capture_output=True)
    address = ["-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"]
    with (folder.parent / "postgres.log").open("wb") as log:
        server = subprocess.Popen([*user, "postgres", "-D", folder / "data", *address], stdout=log, stderr=log)
    try:
        _wait(folder.parent / "postgres.log", server)
        yield f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown: sessions are ended
        server.wait(PATIENCE_S)


def _wait(log: Path, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while b"ready to accept connections" not in log.read_bytes():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
