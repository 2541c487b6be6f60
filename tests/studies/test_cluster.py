"""A study on a Ray cluster of several nodes, all on this machine, with GPUs that the nodes only declare."""

import os
import shutil
import subprocess
import sys
from collections import defaultdict

import pytest
import ray
from command_line import SPACE, Ended, events, nde_study, of_kind, start, until
from ray.cluster_utils import Cluster

import studies
from ndecore.errors import InputError
from ndecore.tasks import TASKS
from reports.records import Cause, TrialStatus
from search_spaces.document import parse_document
from studies.cluster import check_storage, started_ray
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


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("cluster")
    (home / "greedy_task.py").write_text(TASK)
    (home / "greedy-1.dist-info").mkdir()
    (home / "greedy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: greedy\nVersion: 1\n")
    (home / "greedy-1.dist-info" / "entry_points.txt").write_text("[ndecore.tasks]\ngreedy = greedy_task:Greedy\n")
    (home / "study.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:  # as if this process had been started with the package installed
        patch.setitem(vars(TASKS), "_targets", dict.fromkeys((*TASKS, "greedy"), ""))
        yield home


@pytest.fixture(scope="module")
def path(home):
    """What the driver imports from."""
    return f"{home}:{os.environ.get('PYTHONPATH', '')}"


@pytest.fixture(scope="module")
def cluster(home):
    """Its nodes have the package of the task, which does not travel; ours does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(home))
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            cluster.add_node(num_cpus=2, num_gpus=1)
        cluster.wait_for_nodes()
        yield cluster
        cluster.shutdown()


@pytest.fixture(scope="module")
def spread(home, path, cluster):
    """A study in which a node is killed while it has trials."""
    process = start("run", "study.yaml", "--address", cluster.address, cwd=home, PYTHONPATH=path)
    folder = home / "nde-runs" / "spread"
    until(lambda: len({event["placement"]["node"] for event in of_kind(folder, "placed")}) == 2, process)
    until(lambda: _training(folder), process)
    names = [node.node_id[:8] for node in cluster.worker_nodes]
    killed = names.index(_training(folder)[0].rpartition("-")[2])
    cluster.remove_node(list(cluster.worker_nodes)[killed], allow_graceful=False)
    cluster.add_node(num_cpus=2, num_gpus=1)
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


def test_what_no_node_can_hold_is_refused_before_anything_is_created(home, path, cluster, tmp_path):
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
def joined(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # workers on the driver's machine would import from where it is
    spec = read_spec(parse_document("name: s\ntask: digits_node\n", "s.yaml"))
    with started_ray(spec, cluster.address):
        yield


def test_our_code_travels_with_the_job(joined):
    paths = ray.get(ray.remote(lambda: __import__("studies").__file__).remote())
    assert paths != studies.__file__
    assert "py_modules_files" in paths


def test_a_folder_that_all_nodes_see_is_let_through_and_left_as_it_was(joined, tmp_path):
    check_storage(tmp_path / "runs")
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare, to hide a folder")
def test_a_folder_that_a_node_does_not_see_is_found_before_the_first_trial(joined, cluster, tmp_path):
    ray_command = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--block",
        "--num-cpus",
        "1",
        "--disable-usage-stats",
    ]
    hidden = f'mount -t tmpfs tmpfs {tmp_path} && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", hidden, "sh", *ray_command, "--address", cluster.address]
    node = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    try:
        until(lambda: sum(each["Alive"] for each in ray.nodes()) == 4, node)
        with pytest.raises(InputError, match=r"--root: got .*, which node .* does not see; name a folder that all"):
            check_storage(tmp_path)
    finally:
        node.terminate()
        node.wait(60)
