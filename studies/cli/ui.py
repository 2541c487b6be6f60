"""Browse a study in MLflow: start its server on loopback and open the study's charts. Ctrl-C ends the server."""

import argparse
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser

from ndecore.errors import InputError, NDEError
from reports.records import StudyRecord
from studies.cli.options import add_root, find_study, whole_number
from studies.ledger import study_names

EXAMPLES = """  nde-study ui quickstart
  nde-study ui quickstart --port 5001 --no-browser"""

_HOST = "127.0.0.1"
_FIRST_PORT = 5000
_PATIENCE_S = 120.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", nargs="?", help="its name (default: the newest)")
    parser.add_argument("--port", type=whole_number(1), help=f"of the server (default: the first free one from {_FIRST_PORT})")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    add_root(parser)


def main(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C; where the study is tracked on a server, only open that."""
    study = find_study(args.study or _newest(args), args.root, None)
    if study.tracking_uri.startswith("http"):
        _open(_page(study.tracking_uri, study), args.no_browser)
        return 0
    port = args.port or _free_port()
    if not _is_free(port):
        raise InputError(f"--port: got {port}, which is in use; allowed: a free port, or leave it out")
    server = _start(study.tracking_uri, port)
    try:
        _wait(server, port)
        _open(_page(f"http://{_HOST}:{port}", study), args.no_browser)
        print("Ctrl-C ends the server", flush=True)
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait()
    return 0


def _newest(args: argparse.Namespace) -> str:
    names = study_names(args.root)
    if not names:
        raise InputError(f"no study under {args.root} yet; try: nde-study run quickstart")
    return max(names, key=lambda name: (args.root / name / "events.jsonl").stat().st_mtime)


def _page(server: str, study: StudyRecord) -> str:
    return f"{server.rstrip('/')}/#/experiments/{study.experiment_id}/runs?compareRunsMode=CHART"


def _open(page: str, only_print: bool) -> None:
    print(page, flush=True)
    if not only_print:
        webbrowser.open(page)


def _start(uri: str, port: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--host", _HOST, "--port", str(port)]
    # One worker is enough for one person; the default takes 2 GB.
    return subprocess.Popen(
        [*command, "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | {"PYTHONWARNINGS": "ignore"}
    )


def _wait(server: "subprocess.Popen[bytes]", port: int) -> None:
    print("starting the MLflow server ...", flush=True)
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            _, errors = server.communicate()
            last = errors.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise NDEError(f"the MLflow server ended at once: {last[0]}")
        try:
            with urllib.request.urlopen(f"http://{_HOST}:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise NDEError(f"the MLflow server did not answer within {_PATIENCE_S:.0f} s")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) != 0


def _free_port() -> int:
    return next(port for port in range(_FIRST_PORT, _FIRST_PORT + 1000) if _is_free(port))
