"""Browse a study in MLflow: start its server on loopback and open the study's charts. Ctrl-C ends the server.

The page opens in the study's own view, its columns and charts, which a sync brings up to date; where the server is of
another version of MLflow, or has no such view, it opens as MLflow arranges it.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ndecore.errors import InputError, NDEError
from reports.records import StudyRecord
from reports.shared_view import VIEW_KEY, VIEW_TAG, VIEW_VERSION
from studies.addresses import SQLITE
from studies.arguments import whole_number
from studies.cli.options import add_root, find_study
from studies.ledger import newest_study

EXAMPLES = """  nde-study ui quickstart
  nde-study ui quickstart --port 5001 --no-browser"""

_HOST = "127.0.0.1"
_FIRST_PORT = 5000
_PATIENCE_S = 120.0
_ANSWER_S = 10.0
_GRACE_S = 10.0  # for the server to end by itself


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", nargs="?", help="its name (default: the newest)")
    parser.add_argument("--port", type=whole_number(1), help=f"default: the first free one from {_FIRST_PORT}")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    add_root(parser)


def main(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C; where the study is tracked on a server, only open that."""
    name = args.study or newest_study(args.root)
    if name is None:
        raise InputError(f"no study under {args.root} yet; try: nde-study run quickstart")
    study = find_study(name, args.root, None)
    if study.tracking_uri.startswith("http"):
        _open(_page(study.tracking_uri, study), args.no_browser)
        return 0
    store = Path(study.tracking_uri.removeprefix(SQLITE))
    if study.tracking_uri.startswith(SQLITE) and not store.exists():  # MLflow would make an empty one there
        raise InputError(f"no MLflow store at {store}; `nde-study sync {study.name}` makes it from the ledger")
    port = args.port or _free_port()
    if not _is_free(port):
        raise InputError(f"--port: got {port}, which is in use or not allowed, allowed: a free port from 1024 to 65535")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server must not outlive this process
    try:
        with _served(study.tracking_uri, port) as server:
            _open(_page(f"http://{_HOST}:{port}", study), args.no_browser)
            print("Ctrl-C ends the server", flush=True)
            server.wait()
    except KeyboardInterrupt:
        return 0
    raise NDEError("the MLflow server ended by itself")


def _page(server: str, study: StudyRecord) -> str:
    # The experiment's own tag turns its page to training, not the side bar, which a newcomer's browser has at GenAI.
    view = "compareRunsMode=CHART&workflowType=machine_learning"
    if _has_view(server.rstrip("/"), study):
        view += f"&viewStateShareKey={VIEW_KEY}"
    return f"{server.rstrip('/')}/#/experiments/{study.experiment_id}/runs?{view}"


def _has_view(server: str, study: StudyRecord) -> bool:
    """Whether the page can open with our columns and charts; without an answer it opens as MLflow arranges it."""
    try:
        with urllib.request.urlopen(f"{server}/version", timeout=_ANSWER_S) as answer:
            version = answer.read().decode()
        asked = f"{server}/api/2.0/mlflow/experiments/get?experiment_id={study.experiment_id}"
        with urllib.request.urlopen(asked, timeout=_ANSWER_S) as answer:
            tags = json.load(answer)["experiment"].get("tags", [])
    except (OSError, ValueError, KeyError):
        return False
    return version.startswith(f"{VIEW_VERSION}.") and VIEW_TAG in [tag["key"] for tag in tags]


def _open(page: str, only_print: bool) -> None:
    print(page, flush=True)
    if not only_print:
        webbrowser.open(page)  # False where there is no browser: the address is on the screen


@contextmanager
def _served(uri: str, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The MLflow server once it answers; ended with all its children."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    print("starting the MLflow server ...", flush=True)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            # One worker is enough for one person; the default takes 2 GB.
            [*command, "--host", _HOST, "--port", str(port), "--workers", "1"],
            cwd=folder,  # where it would put what others upload
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the server's group
        )
        try:
            if not _answers(server, port):
                log.seek(0)
                last = log.read().decode(errors="replace").strip().splitlines()[-1:]
                raise NDEError(f"the MLflow server does not answer: {''.join(last) or 'it said nothing'}")
            yield server
        finally:
            _end(server)


def _end(server: "subprocess.Popen[bytes]") -> None:
    impatient = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave the server behind
    for number in (signal.SIGTERM, signal.SIGKILL):
        # After the second the group may be gone, and should be.
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(server.pid, number)
            server.wait(_GRACE_S)
    signal.signal(signal.SIGINT, impatient)


def _answers(server: "subprocess.Popen[bytes]", port: int) -> bool:
    """Wait until it does; False if it ended or takes too long."""
    deadline = time.monotonic() + _PATIENCE_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{_HOST}:{port}/health", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except (OSError, OverflowError):
            return False
    return True


def _free_port() -> int:
    return next(port for port in range(_FIRST_PORT, _FIRST_PORT + 1000) if _is_free(port))
