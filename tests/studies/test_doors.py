"""Ray on this machine: on loopback alone, behind a token, in a folder that nobody else may look into."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

LOOK = """
import os, sys, time
from pathlib import Path
os.environ["MLFLOW_TRACKING_PASSWORD"] = "open sesame"
import ray
from studies.cluster import started_ray
from studies.spec import load_spec

def sockets(pids):
    found = set()
    for pid in pids:
        try:
            for file in Path(f"/proc/{pid}/fd").iterdir():
                target = os.readlink(file)
                if target.startswith("socket:["):
                    found.add(target[8:-1])
        except OSError:
            continue
    return found

def descendants(pid):
    children = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(folder.name))
    found, left = [], [pid]
    while left:
        found += (new := children.get(left.pop(), []))
        left += new
    return found

@ray.remote
def environment():
    return "MLFLOW_TRACKING_PASSWORD" in os.environ

with started_ray(load_spec("quickstart"), None):
    print("secret", ray.get(environment.remote()), os.environ["MLFLOW_TRACKING_PASSWORD"])
    folder = Path(ray._private.worker._global_node.get_temp_dir_path())
    print("folder", folder, oct(folder.parent.stat().st_mode & 0o777))
    print("token", os.environ.get("RAY_AUTH_MODE"), len(os.environ["RAY_AUTH_TOKEN"]))
    ours = sockets([os.getpid(), *descendants(os.getpid())])
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and parts[9] in ours:
                print("listens", parts[1].rpartition(":")[0])
"""
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_AUTH_TOKEN", "RAY_ADDRESS")}
    done = subprocess.run(
        [sys.executable, "-c", LOOK], capture_output=True, text=True, check=False, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_every_port_of_a_local_run_is_on_loopback(looked):
    addresses = [parts[1] for parts in looked if parts[0] == "listens"]
    assert len(addresses) >= 4  # the control store, the raylet's, the driver's
    assert set(addresses) <= LOOPBACK


def test_a_token_of_its_own_is_asked_for(looked):
    ((_, mode, length),) = (parts for parts in looked if parts[0] == "token")
    assert (mode, int(length)) == ("token", 64)


def test_rays_folder_is_private_and_gone_with_the_study(looked):
    ((_, folder, mode),) = (parts for parts in looked if parts[0] == "folder")
    assert int(mode, 8) == stat.S_IRWXU
    assert not Path(folder).parent.exists()


def test_no_worker_has_the_tracking_servers_password(looked):
    assert next(parts for parts in looked if parts[0] == "secret")[1:] == ["False", "open", "sesame"]
