"""Studies that are followed, stopped, renamed and measured from elsewhere; jobs written for clusters."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import mlflow
import pytest
import yaml
from test_search import HEAD, START, made_ledger, search
from test_store import send

from ndecore.errors import InputError, NDEError
from reports.load import load_study
from reports.records import TrialStatus
from search_spaces.document import parse_document
from studies.addresses import default_uri
from studies.cli import main
from studies.disk import bytes_text, study_bytes
from studies.events import Tracking
from studies.experiment import open_experiment
from studies.ledger import Ledger, Origin
from studies.locks import StudyBusy, has_ended, holder_of
from studies.nodes import Nodes, trials_at_once
from studies.renaming import rename_study
from studies.search import propose
from studies.spec import load_spec, read_spec
from studies.store import ensure_store

N_TRIALS = 8  # of a made study
HOLD = """
import sys
from pathlib import Path
from studies.locks import locked
with locked(Path(sys.argv[1]), "made"):
    print("locked", flush=True)
    sys.stdin.read()
"""


pytestmark = pytest.mark.usefixtures("nowhere_else")


@pytest.fixture
def ledger(tmp_path):
    spec = read_spec(parse_document(HEAD.format(sampler="random", seed=0) + START, "made.yaml"))
    (tmp_path / "root").mkdir()
    return Ledger.create(tmp_path / "root" / "made", spec.model_copy(update={"trials": N_TRIALS}), Origin())


@pytest.fixture
def holder(ledger):
    """A process that writes the study until it is asked to end."""
    command = [sys.executable, "-c", HOLD, str(ledger.folder / "events.jsonl")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


# Following


def test_a_study_that_is_followed_stands_as_one_that_is_read_anew(ledger):
    reader = Ledger(ledger.folder)
    for n in (3, 2):
        search(ledger, n)
        assert reader.catch_up()
        assert reader.record() == Ledger(ledger.folder).record() == ledger.record()
        assert not reader.catch_up()


def test_half_a_line_is_read_when_it_is_whole(ledger):
    search(ledger, 2)
    log = ledger.folder / "events.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    reader = Ledger(ledger.folder)
    assert not reader.catch_up()
    log.write_bytes(whole)
    assert reader.catch_up()
    assert reader.record() == ledger.record()


def attach(ledger):
    return main(["attach", "made", "--root", str(ledger.folder.parent)])


def test_attach_shows_each_trial_that_ends_and_ends_with_the_study(ledger, capsys):
    taken = threading.Event()
    search(ledger, N_TRIALS - 2)
    writer = threading.Thread(target=lambda: writes(ledger, taken))
    writer.start()
    assert taken.wait(20)
    assert attach(ledger) == 0
    writer.join()
    out = capsys.readouterr().out
    assert f"[{N_TRIALS}/{N_TRIALS}] trial {N_TRIALS - 1}" in out
    assert "trial 3:" not in out.partition("[")[0]
    assert "nde-study export made" in out


def writes(ledger, taken):
    """The last two trials of a study, begun when somebody looks."""
    with ledger.writing():
        taken.set()
        time.sleep(0.3)
        for _ in range(2):
            proposal = propose(ledger)
            ledger.started(proposal.number, proposal.label, proposal.config)
            ledger.ended(proposal.number, TrialStatus.DIVERGED, "made to")
        ledger.closed()
        ledger.tracked()


@pytest.mark.parametrize(
    ("n", "code", "told"),
    [
        (5, 1, "not running: interrupted, 5 of 8 trials ended; to go on: nde-study resume made --root "),
        (N_TRIALS, 0, "not running: finished, 8 of 8 trials ended; to see its front: nde-study show made --root "),
    ],
)
def test_attach_tells_what_a_study_is_that_does_not_run(n, code, told, ledger, capsys):
    search(ledger, n)
    assert attach(ledger) == code
    (line,) = capsys.readouterr().out.splitlines()
    assert told in line


def test_attach_fails_as_the_study_did(ledger, capsys):
    search(ledger, N_TRIALS)
    with ledger.writing():
        ledger.closed()
    assert attach(ledger) == 1
    assert "MLflow lacks some of this; `nde-study sync made`" in capsys.readouterr().err


# Stopping


def test_stop_ends_the_process_that_runs_a_study_and_says_what_is_kept(ledger, holder, capsys):
    assert main(["stop", "made", "--root", str(ledger.folder.parent)]) == 0
    assert has_ended(holder.pid)
    out = capsys.readouterr().out
    assert "study made stopped: 0 of 8 trials ended and are kept; to go on: nde-study resume made --root " in out


def test_stop_of_a_study_that_does_not_run_is_refused(ledger, capsys):
    assert main(["stop", "made", "--root", str(ledger.folder.parent)]) == 2
    assert "'made' is not running: interrupted, 0 of 8 trials ended; nothing to stop" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["process {other} on {here}", "process {holder} on elsewhere"])
def test_a_process_that_does_not_hold_the_study_is_left_alone(named, ledger, holder, capsys):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        told = named.format(other=other.pid, holder=holder.pid, here=os.uname().nodename)
        (ledger.folder / "lock").write_text(told)
        assert main(["stop", "made", "--root", str(ledger.folder.parent)]) == 1
        assert "is being run" in capsys.readouterr().err
        assert not has_ended(other.pid)
        assert not has_ended(holder.pid)
        other.kill()


def test_the_holder_of_a_log_is_told_by_the_system(ledger, holder):
    assert holder_of(ledger.folder / "events.jsonl", "made") == holder.pid
    holder.kill()
    holder.wait()
    with pytest.raises(NDEError, match=r"not by process \d+ on"):
        holder_of(ledger.folder / "events.jsonl", "made")


# Detaching


def test_a_mistake_is_told_before_a_detached_study_begins(tmp_path, capfd):
    (tmp_path / "x.yaml").write_text("name: x\ntask: digits_nod\n")
    root = tmp_path / "root"
    assert main(["run", str(tmp_path / "x.yaml"), "--detach", "--root", str(root)]) == 2
    assert "did you mean 'digits_node'" in capfd.readouterr().err
    assert not root.exists()


# Renaming


def test_a_renamed_study_goes_on_as_if_it_had_not_been(tmp_path):
    one, other = (made_ledger(tmp_path / name, "tpe") for name in ("one", "other"))
    search(one, 11)
    before = one.record()
    one = rename_study("made", "better", tmp_path / "one")
    search(other, 11)
    assert (one.name, one.folder, one.spec.name) == ("better", tmp_path / "one" / "better", "better")
    assert not (tmp_path / "one" / "made").exists()
    assert [t.study for t in one.record().trials] == ["better"] * 11
    assert [(t.config, t.status) for t in one.record().trials] == [(t.config, t.status) for t in before.trials]
    assert [p.config for p in search(one, 9)] == [p.config for p in search(other, 9)]
    assert one.record().repairs == ()  # what Optuna has was renamed, not made anew


@pytest.mark.parametrize("name", ["Better", "a b", "", "../up"])
def test_a_name_that_is_none_is_refused(name, ledger):
    with pytest.raises(InputError, match=r"new name: got .*allowed: up to 64 of a-z"):
        rename_study("made", name, ledger.folder.parent)


def test_a_name_that_is_taken_and_a_study_that_runs_are_refused(ledger, holder):
    (ledger.folder.parent / "other").mkdir()
    with pytest.raises(InputError, match=r"got 'other', which .* has already"):
        rename_study("made", "other", ledger.folder.parent)
    with pytest.raises(StudyBusy, match="is being run by process"):
        rename_study("made", "free", ledger.folder.parent)


@pytest.mark.parametrize("step", ["rename_proposals", "entry_data", "_write"])
def test_a_renaming_that_was_killed_is_finished_by_the_same_command(step, ledger, monkeypatch):
    search(ledger, 5)
    with monkeypatch.context() as patch:
        patch.setattr(f"studies.renaming.{step}", killed)
        with pytest.raises(KeyboardInterrupt):
            rename_study("made", "better", ledger.folder.parent)
    renamed = rename_study("made", "better", ledger.folder.parent)
    assert len(search(renamed, 3)) == 3
    assert Ledger(renamed.folder).record().repairs == ()


def killed(*_):
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An empty store, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("store")
    ensure_store(default_uri(folder), "nobody")
    return folder / "mlflow.db"


@pytest.fixture
def tracked(ledger, store):
    """The made study, tracked in an SQLite store beside it."""
    root = ledger.folder.parent
    shutil.copy(store, root)
    search(ledger, 3)
    found = open_experiment(default_uri(root), root, "made", ledger.study_id)
    with ledger.writing():
        ledger.moved(Tracking(found.uri, found.experiment_id))
    send(root, ledger.record())
    return ledger


def test_its_experiment_in_mlflow_has_the_new_name_with_runs_and_files(tracked):
    root, uri = tracked.folder.parent, default_uri(tracked.folder.parent)
    renamed = rename_study("made", "better", root)
    client = mlflow.MlflowClient(tracking_uri=uri)
    assert client.get_experiment_by_name("made") is None
    experiment = client.get_experiment_by_name("better")
    assert experiment.experiment_id == tracked.tracking.experiment_id
    assert {path.name for path in (root / "artifacts").iterdir()} == {"better"}
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 4
    assert all(run.info.artifact_uri.startswith((root / "artifacts" / "better").as_uri()) for run in runs)
    study = load_study(uri, "better")
    assert {trial.study for trial in study.trials} | {study.name} == {"better"}
    send(root, renamed.record())
    assert len(client.search_runs([experiment.experiment_id])) == 4


def test_the_name_of_another_experiment_is_refused_and_nothing_is_changed(tracked):
    root = tracked.folder.parent
    other = open_experiment(default_uri(root), root, "other", "another id")
    log = (tracked.folder / "events.jsonl").read_bytes()
    with pytest.raises(NDEError, match="has an experiment 'other' already"):
        rename_study("made", "other", root)
    assert (tracked.folder / "events.jsonl").read_bytes() == log
    assert mlflow.MlflowClient(tracking_uri=other.uri).get_experiment_by_name("made") is not None


# The disk


def test_ls_shows_what_a_study_takes_of_the_disk(ledger, capsys):
    root = ledger.folder.parent
    before = study_bytes(ledger.folder)
    (ledger.folder / "trials").mkdir()
    for path in (ledger.folder / "trials" / "weights.pt", root / "artifacts" / "made" / "page.html"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(3 << 20))
    assert study_bytes(ledger.folder) - before == pytest.approx(6 << 20, rel=0.01)
    assert main(["ls", "--root", str(root), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["bytes"] == study_bytes(ledger.folder)
    assert main(["ls", "--root", str(root)]) == 0
    heads, line = capsys.readouterr().out.splitlines()
    assert heads.endswith("disk")
    assert re.search(r"6\.\d MiB$", line)


@pytest.mark.parametrize(("n", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")])
def test_bytes_are_told_in_units_that_a_person_reads(n, text):
    assert bytes_text(n) == text


# Clusters

QUICKSTART = load_spec("quickstart")


@pytest.mark.parametrize(
    ("resources", "nodes", "held"),
    [
        ({"cpu": 2}, Nodes(3, 7, 0), 9),
        ({"cpu": 1, "gpu": 0.3}, Nodes(2, 16, 2), 12),  # three on each GPU, none across two
        ({"cpu": 1, "gpu": 2.0}, Nodes(1, 16, 5), 2),
        ({"cpu": 4, "gpu": 1.0}, Nodes(1, 9, 8), 2),
    ],
)
def test_nodes_hold_as_many_trials_as_their_cores_and_gpus_allow(resources, nodes, held):
    spec = QUICKSTART.model_copy(update={"resources": QUICKSTART.resources.model_copy(update=resources)})
    assert trials_at_once(spec, nodes) == held


SLURM = ("slurm", "quickstart", "--nodes", "2", "--cpus", "4", "--time", "1:00:00")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--gpus", "2"], "--gpus: got 2, allowed: 0, since a trial of 'quickstart' takes none"),
        (["--time", "soon"], "got 'soon', allowed: minutes, H:M:S, or D-H:M:S"),
        (["--partition", "a b"], "got 'a b', allowed: letters"),
        (["--setup", "a\nb"], "allowed: one line"),
        (["--tracking-uri", "http://me:secret@host"], "got one with a password, which would be written down"),
        (["-o", "."], "-o: got ., which exists"),
    ],
)
def test_a_job_that_cannot_be_is_refused(more, told, capsys):
    assert main([*SLURM, *more]) == 2
    assert told in capsys.readouterr().err


STAND_INS = {
    # Runs here what a node would run.
    "srun": """
while [[ $1 == --* ]]; do echo "srun $1" >> $LOG; shift; done
exec "$@"
""",
    "scontrol": 'printf "%s\\n" node1 node2 node3',
    "ray": """
echo "ray $*" >> $LOG
case $1 in
status) [[ -e $LOG.head ]] ;;
start) [[ $2 != --head ]] || touch $LOG.head; exec sleep 60 ;;
esac
""",
    # Goes on until it is told to stop, as a study whose time is up.
    "nde-study": """
until (($(grep -c '^ray start --address' $LOG) == 2)); do sleep 0.05; done
echo "nde-study $*, token of ${#RAY_AUTH_TOKEN}" >> $LOG
[[ -z ${FOR_EVER:-} ]] && exit 3
trap 'echo "asked to end" >> $LOG; exit 130' INT
while true; do sleep 0.1; done
""",
}


@pytest.fixture
def slurm(tmp_path):
    """A script, and the environment of its job: Slurm, Ray and the study are stand-ins."""
    for name, text in STAND_INS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{text}")
        path.chmod(0o755)
    script, root = tmp_path / "job.sh", tmp_path / "with a space"
    setup = f"export PATH={tmp_path}/bin:$PATH"
    more = ("--mem", "8G", "--root", root, "--name", "night", "--setup", setup, "-o", script)
    assert main([*map(str, (*SLURM, *more))]) == 0
    env = os.environ | {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node[1-3]", "LOG": str(tmp_path / "log")}
    return script, env, tmp_path / "log"


def test_a_batch_script_is_one_that_bash_and_sbatch_read(slurm):
    script, *_ = slurm
    assert subprocess.run(["bash", "-n", script], capture_output=True, check=True).stderr == b""
    head = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    for option in ("--nodes=2", "--cpus-per-task=4", "--time=1:00:00", "--mem=8G", "--job-name=nde-night"):
        assert f"#SBATCH {option}" in head
    assert not re.search(r"@[A-Z_]+@", script.read_text())


def test_a_batch_script_starts_ray_on_every_node_and_the_study_on_the_first_and_leaves_nothing(slurm):
    script, env, log = slurm
    done = subprocess.run(["bash", script], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr  # the study's own
    said = log.read_text().splitlines()
    (head,) = [line for line in said if line.startswith("ray start --head")]
    address = re.search(r"--node-ip-address=(\S+) --port=20077 ", head)[1]
    joined = [line for line in said if line.startswith(f"ray start --address={address}:20077")]
    assert len(joined) == 2
    assert {"srun --nodelist=node1", "srun --nodelist=node2", "srun --nodelist=node3"} <= set(said)
    (study,) = [line for line in said if line.startswith("nde-study run")]
    root = script.parent / "with a space"
    assert study.startswith(
        f"nde-study run quickstart --root {root} --name night --workers 8 --address {address}:20077"
    )
    assert study.endswith("token of 64")
    assert not left_of(script.parent)


def test_before_its_time_is_up_the_study_of_a_batch_script_ends_by_itself(slurm):
    script, env, log = slurm
    with subprocess.Popen(["bash", script], env=env | {"FOR_EVER": "1"}) as job:
        until(lambda: log.exists() and "nde-study run" in log.read_text())
        time.sleep(0.2)
        os.kill(job.pid, signal.SIGINT)
        assert job.wait(30) == 130
    assert log.read_text().splitlines().count("asked to end") == 1
    assert not left_of(script.parent)


def until(claim):
    end = time.monotonic() + 30
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.05)


def left_of(folder):
    """The processes whose log is in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"LOG={folder}/log".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes())
        except OSError:
            continue
    return found


# The fields that we use, all of them known to KubeRay's definition of ray.io/v1, and among them all that it requires.
FIELDS = {
    "spec": {"entrypoint", "rayClusterSpec", "shutdownAfterJobFinishes", "backoffLimit"},
    "cluster": {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"},
    "head": {"rayStartParams", "template"},
    "workers": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"},
}


PODS = ("--workers", "2", "--image", "i", "--claim", "c")


def test_a_manifest_is_a_ray_job_of_kuberay(tmp_path, capsys):
    path = tmp_path / "my_study.yaml"
    path.write_text(QUICKSTART.model_copy(update={"name": "my_study_"}).to_yaml())
    options = ("--workers", "3", "--cpus", "4", "--image", "registry/nde:1", "--claim", "studies", "--memory", "16Gi")
    assert main(["kubernetes", str(path), *options]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"# In the volume studies, /shared/my_study.yaml is {path}")
    manifest = yaml.safe_load(out)
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    assert manifest["metadata"]["name"] == "nde-my-study"
    spec = manifest["spec"]
    cluster = spec["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    found = {"spec": spec, "cluster": cluster, "head": cluster["headGroupSpec"], "workers": workers}
    assert {name: set(part) for name, part in found.items()} == FIELDS
    assert workers["minReplicas"] == workers["replicas"] == workers["maxReplicas"] == 3
    expected = "nde-study run /shared/my_study.yaml --root /shared/nde-runs --address auto --workers 12"
    assert spec["entrypoint"] == expected
    for group, cpu in ((cluster["headGroupSpec"], "2"), (workers, "4")):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"] == "registry/nde:1"
        assert container["resources"]["limits"] == {"cpu": cpu, "memory": "16Gi"}
    head, worker = (each["template"]["spec"] for each in (cluster["headGroupSpec"], workers))
    assert head["containers"][0]["volumeMounts"] == [{"name": "studies", "mountPath": "/shared"}]
    assert head["volumes"] == [{"name": "studies", "persistentVolumeClaim": {"claimName": "studies"}}]
    assert "volumes" not in worker


def test_gpus_of_a_manifest_are_those_of_its_workers(tmp_path, capsys):
    path = tmp_path / "s.yaml"
    resources = QUICKSTART.resources.model_copy(update={"gpu": 0.5})
    path.write_text(QUICKSTART.model_copy(update={"resources": resources}).to_yaml())
    assert main(["kubernetes", str(path), *PODS, "--gpus", "1"]) == 0
    cluster = yaml.safe_load(capsys.readouterr().out)["spec"]["rayClusterSpec"]
    head, workers = (each["template"]["spec"] for each in (cluster["headGroupSpec"], cluster["workerGroupSpecs"][0]))
    assert "nvidia.com/gpu" not in head["containers"][0]["resources"]["limits"]
    assert workers["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--image", "a b"], "got 'a b', allowed: a word"),
        (["--claim", "No"], "allowed: a name of Kubernetes"),
        (["--mount", "shared"], "allowed: an absolute path"),
        (["--memory", "much"], "allowed: a quantity such as 8Gi"),
        (["--name", "No"], "allowed: up to 64 of a-z"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(more, told, capsys):
    assert main(["kubernetes", "quickstart", *PODS, *more]) == 2
    assert told in capsys.readouterr().err
