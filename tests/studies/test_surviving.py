"""The faults that a study survives, each a few times; `nde-study bench faults` brings them about more often."""

import json
import os

import pytest

from studies.benchmarks.faults import FAULTS
from studies.cli import main

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

TIMES = {"signals": 10, "workers": 2, "node": 1, "server": 1, "outage": 15, "disk": 1}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_and_nothing_is_doubled(fault, tmp_path, monkeypatch):
    if fault == "disk" and os.geteuid() != 0:
        pytest.skip("a small file system can be mounted by root alone")
    for name in ("MLFLOW_TRACKING_URI", "NDE_STUDY_ROOT", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert main(["bench", "faults", "--only", fault, "--kills", str(TIMES[fault]), "-o", str(tmp_path)]) == 0
    (finding,) = json.loads((tmp_path / "faults.json").read_text())
    assert finding["n_faults"] >= 1
    assert finding["audit"]["trials"] in range(16, 16 * 20, 16)  # of one study, or of several
    assert "| --- |" in (tmp_path / "faults.md").read_text()
