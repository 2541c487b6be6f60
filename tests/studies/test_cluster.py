"""A study on a Ray cluster of three nodes, all on this machine, with GPUs that the nodes only declare.

Two of them run trials. They do not see the driver's folder where this process may hide it from them.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from contextlib import suppress

import pytest
import ray
from command_line import (
    SPACE,
    Ended,
    descendants,
    environment,
    events,
    installed_task,
    kill,
    nde_study,
    of_kind,
    start,
    until,
)
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import studies
from reports.pareto import front
from reports.records import Cause, TrialStatus
from search_spaces.document import parse_document
from studies.carried_files import Carried, carrier
from studies.cluster import started_ray
from studies.ledger import Ledger
from studies.spec import read_spec

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

# A task as another package adds it: with seed 7 it has no memory unless it has a GPU to itself, with seed 8 never.
TASK = """
import ray, torch
from ndecore.tasks.digits_node import DigitsNode

class Greedy(DigitsNode):
    def model(self, generator):
        worker = ray.is_initialized()  # the driver tries the task first, without Ray
        share = ray.get_runtime_context().get_assigned_resources().get("GPU", 0) if worker else 1
        if generator.initial_seed() == 8 or (generator.initial_seed() == 7 and share < 1):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().model(generator)
"""
EPOCHS = 120  # a trial that is short against the start of a worker would meet no other
GREEDY, ENDLESS = 0, 1  # their numbers
STUDY = f"""
name: spread
task: greedy
objectives: [accuracy, nfe, train_work]
trials: 8
workers: 4
sampler: random
resources: {{gpu: 0.5}}
{SPACE}
fixed: {{threads: 1, epochs: {EPOCHS}}}
start_from:
  - {{label: greedy, regularizer: none, rtol: 1e-3, seed: 7}}
  - {{label: endless, regularizer: none, rtol: 1e-3, seed: 8}}
"""


# A task as a file, which travels with the study.
OWN_TASK = """
from ndecore.tasks.digits_node import DigitsNode

class Own(DigitsNode):
    pass
"""
OWN_STUDY = f"""
name: own
task: own_task.py
objectives: [accuracy, nfe]
trials: 4
workers: 1
{SPACE}
fixed: {{threads: 1, epochs: 8}}
"""
APART = ("unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c")  # in name spaces of its own
CAN_HIDE = (
    shutil.which("unshare") is not None
    and subprocess.run([*APART, "mount -t tmpfs tmpfs /tmp"], check=False, capture_output=True).returncode == 0
)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package of the task, installed on all nodes."""
    package = tmp_path_factory.mktemp("package")
    with installed_task(package, "greedy", TASK):
        yield package


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where the driver works, and the nodes do not."""
    home = tmp_path_factory.mktemp("cluster")
    (home / "study.yaml").write_text(STUDY)
    (home / "own.yaml").write_text(OWN_STUDY)
    (home / "own_task.py").write_text(OWN_TASK)
    return home


@pytest.fixture(scope="module")
def path(package):
    """What the driver imports from."""
    return f"{package}:{os.environ.get('PYTHONPATH', '')}"


class Node:
    """A node of a cluster, in name spaces of its own: it sees an empty folder in the place of `hidden`."""

    def __init__(self, cluster, package, hidden):
        before = self._ids(cluster)
        options = ["--num-cpus", "2", "--num-gpus", "1", "--disable-usage-stats", "--address", cluster.address]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
        if CAN_HIDE:
            script = f'mount -t tmpfs tmpfs {hidden} && exec "$@"'
            command = [*APART, script, "sh", *command]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment(PYTHONPATH=str(package), RAY_memory_monitor_refresh_ms="0"),
            start_new_session=True,
        )
        until(lambda: self._ids(cluster) - before, self.process)
        (self.id,) = self._ids(cluster) - before

    @staticmethod
    def _ids(cluster):
        return {node["NodeID"] for node in cluster.global_state.node_table() if node["Alive"]}

    def lose(self):
        """Its power is cut."""
        for pid in (*descendants(self.process.pid), self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def cluster():
    """Our code travels to its nodes, and files of tasks."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def nodes(cluster, home, package):
    """Those that run trials."""
    nodes = [Node(cluster, package, home) for _ in range(2)]
    yield nodes
    for node in nodes:
        node.lose()


@pytest.fixture(scope="module")
def spread(home, path, cluster, nodes, package):
    """A study in which a node is killed while it has trials."""
    process = start("run", "study.yaml", "--address", cluster.address, cwd=home, PYTHONPATH=path)
    folder = home / "nde-runs" / "spread"
    until(lambda: len({event["placement"]["node"] for event in of_kind(folder, "placed")}) == 2, process)
    until(lambda: _training(folder), process)
    name = _training(folder)[0].rpartition("-")[2]
    lost = next(node for node in nodes if node.id.startswith(name))
    lost.lose()
    nodes[nodes.index(lost)] = Node(cluster, package, home)
    ended = Ended(process)
    assert ended.code == 0, ended.err
    return folder


def _training(folder):
    """The nodes of trials that are in their second epoch or beyond and fill no memory."""
    ended = {event["number"] for event in of_kind(folder, "ended")}
    begun = {e["number"] for e in of_kind(folder, "epoch") if e["record"]["epoch"] >= 2} - ended - {GREEDY, ENDLESS}
    return [event["placement"]["node"] for event in of_kind(folder, "placed") if event["number"] in begun]


def test_after_the_loss_of_a_node_every_trial_is_there_once(spread):
    study = Ledger(spread).record()
    assert [trial.number for trial in study.trials] == list(range(8))
    assert [trial.status for trial in study.trials].count(TrialStatus.COMPLETE) == 7
    for trial in study.trials:
        if trial.status is TrialStatus.COMPLETE:
            assert [epoch.epoch for epoch in trial.epochs] == list(range(1, EPOCHS + 1))


def test_a_displaced_trial_goes_on_elsewhere_from_its_last_checkpoint(spread):
    lost = {event["number"] for event in of_kind(spread, "interrupted") if event["lost"]} - {ENDLESS}
    assert lost
    trained = defaultdict(list)
    for event in of_kind(spread, "epoch"):
        trained[event["number"]].append(event["record"]["epoch"])
    assert all(len(trained[number]) == EPOCHS for number in lost)  # none of what was told is trained again
    again = [event for event in of_kind(spread, "started") if event["number"] in lost and event["attempt"] > 1]
    assert any(event["from_epoch"] > 0 for event in again)


def test_two_trials_share_a_gpu_and_nodes_work_at_once(spread):
    running, at_once, on_one = {}, 0, 0
    for event in events(spread):
        if event["event"] == "placed":
            running[event["number"]] = event["placement"]["device"]
        elif event["event"] in ("ended", "interrupted"):
            running.pop(event["number"], None)
        at_once = max(at_once, len(running))
        devices = list(running.values())
        on_one = max([on_one, *map(devices.count, devices)])
    assert at_once >= 2
    assert on_one == 2
    assert sum(trial.packed for trial in Ledger(spread).record().trials) >= 2


def test_out_of_memory_is_tried_once_more_with_a_gpu_alone_and_then_recorded(spread):
    greedy, endless = Ledger(spread).record().trials[:2]
    assert greedy.status is TrialStatus.COMPLETE
    assert (endless.status, endless.cause) == (TrialStatus.DIVERGED, Cause.MEMORY)
    assert endless.reason == "out of memory: CUDA out of memory. Tried to allocate 2 GiB"
    alone = [event["number"] for event in of_kind(spread, "interrupted") if event["alone"]]
    assert sorted(alone) == [GREEDY, ENDLESS]


@pytest.fixture(scope="module")
def own(home, path, cluster, nodes):
    """A study of a task in a file: on the cluster with its driver killed on the way, and on this machine."""
    process = start("run", "own.yaml", "--address", cluster.address, cwd=home, PYTHONPATH=path)
    folder = home / "nde-runs" / "own"
    until(lambda: any(event["number"] == 1 and event["record"]["epoch"] >= 3 for event in of_kind(folder, "epoch")))
    kill(process)
    process.communicate()
    ended = nde_study("resume", "own", "--address", cluster.address, cwd=home, PYTHONPATH=path)
    assert ended.code == 0, ended.err
    ended = nde_study("run", "own.yaml", "--name", "local", cwd=home, PYTHONPATH=path)
    assert ended.code == 0, ended.err
    return folder


@pytest.mark.skipif(not CAN_HIDE, reason="needs root and unshare, to hide the driver's folder from the nodes")
def test_the_nodes_do_not_see_the_folder_of_the_study(own, joined, nodes):
    for node in nodes:
        strategy = NodeAffinitySchedulingStrategy(node.id, soft=False)
        seen = ray.remote(lambda: list(own.parents[1].iterdir())).options(scheduling_strategy=strategy).remote()
        assert ray.get(seen) == []


def test_a_study_of_a_file_that_lost_its_driver_on_a_cluster_is_the_one_of_this_machine(own):
    found, expected = (Ledger(each).record() for each in (own, own.with_name("local")))
    assert [trial.status for trial in found.trials] == [TrialStatus.COMPLETE] * 4
    courses = [[[(e.scores, e.nfe) for e in trial.epochs] for trial in study.trials] for study in (found, expected)]
    assert courses[0] == courses[1]
    assert [trial.number for trial in front(found)] == [trial.number for trial in front(expected)]
    assert any(event["from_epoch"] > 0 for event in of_kind(own, "started"))
    for folder in (own, own.with_name("local")):
        assert all(Ledger(folder).whole_weights(number).stat().st_size for number in range(4))
    left = [path.relative_to(own).as_posix() for path in own.rglob("*.pt")]
    assert sorted(left) == [f"trials/{number:04d}/weights.pt" for number in range(4)]


def test_what_no_node_can_hold_is_refused_before_anything_is_created(home, path, cluster, nodes, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY.replace("gpu: 0.5", "gpu: 2"))
    ended = nde_study("run", "study.yaml", "--address", cluster.address, cwd=tmp_path, PYTHONPATH=path)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "resources: got cpu 1, gpu 2, allowed: at most what a node has, cpu 2, gpu 1" in ended.err
    assert [each.name for each in tmp_path.iterdir()] == ["study.yaml"]


def test_a_cluster_that_is_not_there_is_told_of_in_one_line(home, path, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    ended = nde_study("run", "study.yaml", "--address", "127.0.0.1:9", cwd=tmp_path, PYTHONPATH=path)
    assert (ended.code, ended.err.count("\n")) == (1, 1), ended.err
    assert "Ray at 127.0.0.1:9 cannot be used" in ended.err


@pytest.fixture
def joined(cluster, nodes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # workers on the driver's machine would import from where it is
    spec = read_spec(parse_document("name: s\ntask: digits_node\n", "s.yaml"))
    with started_ray(spec, cluster.address):
        yield


def test_what_the_driver_cannot_write_is_told_as_its_disk_tells_it(joined, tmp_path):
    with carrier():
        (tmp_path / "file").write_bytes(b"here")
        assert Carried().read(tmp_path / "file") == b"here"
        with pytest.raises(FileExistsError) as caught:
            Carried().write(tmp_path / "file" / "below", b"x")
        assert (caught.value.strerror, caught.value.filename) == ("File exists", str(tmp_path / "file"))
    with pytest.raises(OSError, match="the driver's node does not answer"):
        Carried().read(tmp_path / "file")


def test_our_code_travels_with_the_job(joined):
    paths = ray.get(ray.remote(lambda: __import__("studies").__file__).remote())
    assert paths != studies.__file__
    assert "py_modules_files" in paths
