"""The faults that a study survives, a few times; `nde-study bench faults` and `bench soak` bring more about."""

import json
import os

import pytest

from studies.cli import main

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

TIMES = {"signals": 10, "workers": 2, "node": 1, "disk": 1}  # the tracking server's are in the soak

DISK = pytest.param("disk", marks=pytest.mark.skipif(os.geteuid() != 0, reason="root alone may mount a small disk"))


@pytest.mark.parametrize("fault", [*(fault for fault in TIMES if fault != "disk"), DISK])
def test_nothing_is_lost_and_nothing_is_doubled(fault, tmp_path, nowhere_else):
    assert main(["bench", "faults", "--only", fault, "--kills", str(TIMES[fault]), "-o", str(tmp_path)]) == 0
    (finding,) = json.loads((tmp_path / "faults.json").read_text())
    assert finding["n_faults"] >= 1
    assert finding["audit"]["trials"] in range(16, 16 * 20, 16)  # of one study, or of several
    assert "| --- |" in (tmp_path / "faults.md").read_text()
