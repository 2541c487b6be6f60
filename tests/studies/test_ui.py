"""`nde-study ui`: a real MLflow server that ends with the command."""

import os
import signal
import socket
import urllib.request

import pytest
from command_line import Ended, alive, descendants, interrupt, start

from studies.cli import main

pytestmark = pytest.mark.cluster


def address(process):
    """The page that the command prints, once it does."""
    assert process.stdout.readline() == "starting the MLflow server ...\n"
    return process.stdout.readline().strip()


@pytest.fixture
def ui(small, port):
    process = start("ui", "small", "--port", port, cwd=small.home, BROWSER="false")  # a browser that fails
    yield process
    Ended(process)


def test_the_address_is_printed_once_it_answers_and_ctrl_c_ends_the_server_with_its_children(ui, small, port):
    page = address(ui)
    assert page.startswith(f"http://127.0.0.1:{port}/#/experiments/1")
    with urllib.request.urlopen(page) as answer:
        assert b"<title>MLflow</title>" in answer.read()
    below = descendants(ui.pid)
    assert len(below) >= 2
    assert {path.name for path in small.home.iterdir()} == {"small.yaml", "nde-runs"}
    interrupt(ui)
    ended = Ended(ui)
    assert (ended.code, ended.err) == (0, "")
    assert not alive(below)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_only_starting_is_ended_too(ui, number):
    assert ui.stdout.readline()
    os.kill(ui.pid, number)
    assert Ended(ui).code == 0
    assert not descendants(ui.pid)


def test_a_busy_port_is_refused(at_home, capsys):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert main(["ui", "small", "--port", str(port)]) == 2
    assert f"--port: got {port}, which is in use" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "-1", "http"])
def test_a_port_that_is_none_is_refused(port, at_home, capsys):
    assert main(["ui", "small", "--port", port]) == 2
    assert "allowed: a whole number >= 1" in capsys.readouterr().err


def test_without_a_study_nothing_is_started(tmp_path, capsys):
    assert main(["ui", "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"nde-study: no study under {tmp_path} yet; try: nde-study run quickstart\n"
