"""The faults that a study survives, a few times; `nde-study bench faults` and `bench soak` bring more about."""

import json
import os

import pytest

from studies.cli import main

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

TIMES = {"signals": 10, "workers": 2, "node": 1, "disk": 1}  # the tracking server's are in the soak


needs_a_small_disk = pytest.mark.skipif(os.geteuid() != 0, reason="root alone may mount a small file system")


@pytest.fixture(autouse=True)
def _nowhere_else(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "NDE_STUDY_ROOT", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("fault", [pytest.param(f, marks=needs_a_small_disk if f == "disk" else ()) for f in TIMES])
def test_nothing_is_lost_and_nothing_is_doubled(fault, tmp_path):
    assert main(["bench", "faults", "--only", fault, "--kills", str(TIMES[fault]), "-o", str(tmp_path)]) == 0
    (finding,) = json.loads((tmp_path / "faults.json").read_text())
    assert finding["n_faults"] >= 1
    assert finding["audit"]["trials"] in range(16, 16 * 20, 16)  # of one study, or of several
    assert "| --- |" in (tmp_path / "faults.md").read_text()


@needs_a_small_disk
def test_a_study_under_faults_of_every_kind_comes_to_its_end_whole(tmp_path):
    assert main(["bench", "soak", "--trials", "150", "--faults", "40", "-o", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "soak.json").read_text())
    assert found["audit"]["trials"] == 150
    assert len(found["faults"]) >= 4
    assert "| --- |" in (tmp_path / "soak.md").read_text()
