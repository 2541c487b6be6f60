"""The code of the documentation runs, in the order in which a reader runs it."""

import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parent.parent / "reports" / "docs"
ELSEWHERE = {"from_torchdiffeq.md"}  # tests/ndecore/test_docs.py
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\S+\.(?:py|yaml|csv))\n")  # the first line of a block that is a file


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str


def blocks(page: str) -> list[Block]:
    return [Block(*found) for found in _FENCE.findall((DOCS / page).read_text("utf-8"))]


def follow(page: str, folder: Path) -> None:
    """Do what a page says, in a folder: write its files, run its Python and its commands."""
    bin_folder = Path(sys.executable).parent
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "PYTHONPATH": str(DOCS.parent.parent), "PYTHONWARNINGS": "ignore"}
    servers: list[subprocess.Popen[bytes]] = []
    try:
        for language, text in blocks(page):
            named = _FILE.match(text)
            if named:
                (folder / named.group(1)).write_text(text)
            elif language == "python":
                _run([sys.executable, "-c", text], folder, env)
            elif language == "console":
                for command in _commands(text):
                    servers += _done(command, folder, env)
    finally:
        for server in servers:
            server.terminate()
            server.wait(timeout=30)


def _commands(text: str) -> Iterator[list[str]]:
    joined = text.replace("\\\n", " ")
    return (shlex.split(line[2:], comments=True) for line in joined.splitlines() if line.startswith("$ "))


def _done(command: list[str], folder: Path, env: dict[str, str]) -> list[subprocess.Popen[bytes]]:
    """Run a command, or start it if it is a server; then it is waited for."""
    if command[:3] != ["mlflow", "models", "serve"]:
        _run(command, folder, env)
        return []
    server = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    port = command[command.index("--port") + 1]
    for _ in range(240):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1)
        except OSError:
            time.sleep(0.5)
        else:
            break
    return [server]


def _run(command: list[str], folder: Path, env: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("page", sorted({path.name for path in DOCS.glob("*.md")} - ELSEWHERE))
def test_what_a_page_says_works(page: str, tmp_path: Path) -> None:
    assert blocks(page), "a page without code needs no test"
    follow(page, tmp_path)
