"""One small study, run once as a person would, that most tests look at."""

import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import ELSEWHERE, SMALL, Ended, run_watched


@dataclass(frozen=True)
class Small:
    """A study that has ended, and how it was run."""

    home: Path  # the working directory, with small.yaml
    ended: Ended
    workers: set[int]  # process ids

    @property
    def root(self) -> Path:
        return self.home / "nde-runs"

    @property
    def folder(self) -> Path:
        return self.root / "small"

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.root}/mlflow.db"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    home = tmp_path_factory.mktemp("small")
    (home / "small.yaml").write_text(SMALL)
    ended, workers = run_watched("run", "small.yaml", cwd=home)
    assert ended.code == 0, ended.err
    return Small(home, ended, workers)


@pytest.fixture
def nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """For commands that are called in this process: no variable leads them elsewhere."""
    for name in ELSEWHERE:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def at_home(small: Small, monkeypatch: pytest.MonkeyPatch, nowhere_else: None) -> Small:
    """The small study in the current directory, for commands that are called in this process."""
    monkeypatch.chdir(small.home)
    return small


@pytest.fixture
def small_copy(at_home: Small, tmp_path: Path) -> Path:
    """The root of a copy of the small study, to be changed; `sync_study` gives it a store of its own."""
    root = tmp_path / "nde-runs"
    shutil.copytree(at_home.folder, root / "small")
    return root


@pytest.fixture
def port() -> int:
    """One that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


@pytest.fixture(scope="module")
def free_port() -> int:
    """As `port`, for what a module shares."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found
