"""One study under faults of every kind; `nde-study bench soak` runs a long one."""

import json
import os

import pytest

from studies.cli import main

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="root alone may mount a small file system"),
]


def test_a_study_under_faults_of_every_kind_comes_to_its_end_whole(tmp_path, nowhere_else):
    assert main(["bench", "soak", "--trials", "150", "--faults", "40", "-o", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "soak.json").read_text())
    assert found["audit"]["trials"] == 150
    assert len(found["faults"]) >= 4
    assert "| --- |" in (tmp_path / "soak.md").read_text()
