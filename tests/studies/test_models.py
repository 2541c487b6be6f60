"""Exported models: they hold what they promise, and a damaged one is refused."""

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import pytest
import torch
import yaml
from command_line import serving
from mlflow import MlflowClient
from safetensors.torch import load_file, save_file
from trained_study import trained_ledger

from ndecore.errors import InputError, NDEError
from reports.config_files import read_yaml, write_yaml
from reports.export import choose
from reports.manifest import manifest_digest, write_manifest
from reports.records import Deployment, SweptPoint
from studies.build import build_exported
from studies.cli import main
from studies.ledger import Ledger
from studies.models import CARD, CONFIG, MODEL, WEIGHTS, export_model, verify_model
from studies.registry import KNEE
from studies.run import sync_study
from studies.serving import predict
from studies.weights import trained_model


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return trained_ledger(tmp_path_factory.mktemp("searched"))


@pytest.fixture(scope="module")
def exported(ledger, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "knee"
    export_model(ledger, choose(ledger.record())[0], folder)
    return folder


@pytest.fixture
def copy(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "copy")
    return tmp_path / "copy"


def test_an_export_holds_what_it_promises_to_the_last_digit(copy, exported):
    assert {each.name for each in verify_model(copy)} == {"accuracy", "loss", "nfe", "solver_gap"}
    assert all(each.got == each.expected for each in verify_model(copy))
    shutil.rmtree(copy / MODEL)  # the model needs nothing of it
    write_manifest(copy)
    assert all(each.is_kept for each in verify_model(copy))


def test_an_export_is_plain_numbers_and_text(exported, ledger):
    names = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert {CONFIG, WEIGHTS, CARD, "manifest.json", f"{MODEL}/MLmodel", f"{MODEL}/served_model.py"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pt", ".pth", ".bin"))]
    assert "cloudpickle" not in yaml.safe_load((exported / MODEL / "MLmodel").read_text())["flavors"].get("data", "")
    (config,) = read_yaml(exported / CONFIG)
    ours = torch.load(ledger.weights_path(config.trial), weights_only=True)
    theirs = load_file(exported / WEIGHTS)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)
    card = (exported / CARD).read_text()
    assert f"Trial {config.trial}" in card
    assert "float32 [batch, 64]" in card
    assert "Not confirmed" in card


def test_what_mlflow_loads_predicts_what_the_model_does(copy):
    (config,) = read_yaml(copy / CONFIG)
    plan = build_exported(config)
    inputs = plan.task.splits().test["inputs"][:7]
    expected = predict(plan, trained_model(plan, copy / WEIGHTS), {"inputs": inputs})
    served = loaded(copy / MODEL).predict(inputs.numpy())
    assert np.array_equal(served, expected.numpy())


def loaded(folder):
    import mlflow

    return mlflow.pyfunc.load_model(str(folder))


def rewrite(folder, **changes):
    """A forged config under a manifest that fits it."""
    (config,) = read_yaml(folder / CONFIG)
    write_yaml(folder / CONFIG, (replace(config, **changes),))
    write_manifest(folder)


def reweigh(folder, change):
    weights = load_file(folder / WEIGHTS)
    save_file(change(weights), folder / WEIGHTS)
    write_manifest(folder)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def promise(folder, **changed):
    (config,) = read_yaml(folder / CONFIG)
    rewrite(folder, expected=dict(config.expected) | changed)


REFUSED = {
    "one bit of the weights": (lambda f: flipped(f / WEIGHTS), "weights.safetensors: was changed"),
    "weights cut off": (lambda f: os.truncate(f / WEIGHTS, 1000), "got 1000 bytes"),
    "weights cut off, listed so": (
        lambda f: (os.truncate(f / WEIGHTS, 1000), write_manifest(f)),
        "weights.safetensors: holds no weights",
    ),
    "a pickle for weights": (
        lambda f: (torch.save({"a": torch.ones(2)}, f / WEIGHTS), write_manifest(f)),
        "weights.safetensors: holds no weights",
    ),
    "weights of another shape": (
        lambda f: reweigh(f, lambda w: {name: value[:1] for name, value in w.items()}),
        "holds weights of another model: .*size mismatch",
    ),
    "weights of which one is missing": (
        lambda f: reweigh(f, lambda w: dict(list(w.items())[1:])),
        "holds weights of another model: .*Missing key",
    ),
    "no config": (lambda f: (f / CONFIG).unlink(), "config.yaml: is missing"),
    "a config edited by hand": (
        lambda f: (f / CONFIG).write_text((f / CONFIG).read_text().replace("seed: 0", "seed: 1")),
        "config.yaml: was changed",
    ),
    "a config that is no YAML": (
        lambda f: ((f / CONFIG).write_text("config: ["), write_manifest(f)),
        "config.yaml: not YAML",
    ),
    "a config of an unknown task": (lambda f: rewrite(f, task="../../etc"), "unknown task: got '../../etc'"),
    "a config with a value that is not allowed": (lambda f: rewrite(f, config={"rtol": -1.0}), "rtol: got -1.0"),
    "served code that was changed": (
        lambda f: (f / MODEL / "served_model.py").write_text("import os"),
        "served_model.py: got 9 bytes",
    ),
    "a file more": (lambda f: (f / MODEL / "extra.pkl").write_bytes(b"\x80"), "extra.pkl: is not in the manifest"),
    "a manifest cut off": (lambda f: os.truncate(f / "manifest.json", 100), "manifest.json: no JSON"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_damaged_export_is_refused_in_one_line(case, copy, capsys):
    damage, message = REFUSED[case]
    damage(copy)
    with pytest.raises(InputError, match=message) as refusal:
        verify_model(copy)
    assert "\n" not in str(refusal.value)
    assert main(["verify", str(copy)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


BROKEN = {
    "an accuracy that was never measured": (lambda f: promise(f, accuracy=0.999), {"accuracy"}),
    "fewer evaluations": (lambda f: promise(f, nfe=2.0), {"nfe"}),
    "a metric that the task does not have": (lambda f: promise(f, mse=0.1), {"mse"}),
    "weights that are zero": (
        lambda f: reweigh(f, lambda w: {name: torch.zeros_like(value) for name, value in w.items()}),
        {"accuracy", "loss"},
    ),
    "weights that are no numbers": (
        lambda f: reweigh(f, lambda w: {name: value * float("nan") for name, value in w.items()}),
        None,
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_forged_export_is_whole_and_its_promise_is_broken(case, copy, capsys):
    damage, broken = BROKEN[case]
    damage(copy)
    if broken is None:
        with pytest.raises(NDEError, match="cannot be solved: NON_FINITE"):
            verify_model(copy)
    else:
        assert broken <= {each.name for each in verify_model(copy) if not each.is_kept}
    assert main(["verify", str(copy)]) == 1
    assert "does not hold what it promises" in capsys.readouterr().err or broken is None


def test_a_folder_of_exports_is_verified_whole(exported, tmp_path, capsys):
    for name in ("one", "two"):
        shutil.copytree(exported, tmp_path / name)
    assert main(["verify", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [str(tmp_path / "one"), str(tmp_path / "two")]
    promise(tmp_path / "two", nfe=2.0)
    assert main(["verify", str(tmp_path)]) == 1
    assert "two: does not hold what it promises" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_what_is_no_export_is_refused(name, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["verify", str(tmp_path / name)]) == 2
    assert main(["verify", str(tmp_path)]) == 2
    assert "allowed is a folder from `export`" in capsys.readouterr().err


def export(ledger, *args):
    return main(["export", "made", *map(str, args), "--root", str(ledger.folder.parent)])


def test_an_export_takes_the_place_of_nothing_unless_asked(ledger, tmp_path, capsys):
    place = tmp_path / "knee"
    place.mkdir()
    assert export(ledger, "-o", place) == 0
    assert export(ledger, "-o", place) == 2
    assert "got " in capsys.readouterr().err
    (place / CARD).write_text("")
    assert export(ledger, "-o", place, "--overwrite") == 0
    assert all(each.is_kept for each in verify_model(place))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    assert export(ledger, "-o", tmp_path / "mine", "--overwrite") == 2
    assert export(ledger, "-o", tmp_path / "mine" / "thesis.tex", "--overwrite") == 2
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    assert {path.name for path in tmp_path.iterdir()} == {"knee", "mine"}


def test_yaml_takes_the_place_of_nothing_unless_asked(ledger, tmp_path, capsys):
    assert export(ledger, "-o", tmp_path / "a.yaml") == 0
    assert export(ledger, "-o", tmp_path / "a.yaml") == 2
    assert "a.yaml exists; allowed: another path, or --overwrite" in capsys.readouterr().err
    assert export(ledger, "-o", tmp_path / "a.yaml", "--overwrite") == 0
    assert export(ledger, "-o", tmp_path / "b.yaml", "--register") == 2


def test_an_export_whose_weights_are_gone_or_others_is_not_made(ledger, tmp_path):
    shutil.copytree(ledger.folder, tmp_path / "made")
    again = Ledger(tmp_path / "made")
    knee, *_ = choose(again.record())
    weights = torch.load(again.weights_path(knee.trial), weights_only=True)
    torch.save({name: 0.9 * value for name, value in weights.items()}, again.weights_path(knee.trial))
    with pytest.raises(NDEError, match=r"weights.pt: was (cut off|changed)"):
        export_model(again, knee, tmp_path / "knee")
    again.weights_path(knee.trial).unlink()
    with pytest.raises(InputError, match=r"weights\.pt: cannot be read: No such file"):
        export_model(again, knee, tmp_path / "knee")
    assert not (tmp_path / "knee").exists()


def test_a_config_is_deployed_otherwise_than_it_was_trained(ledger, tmp_path, capsys, threads_restored):
    """Swept, exported, verified and trained again: the same numbers each time."""
    shutil.copytree(ledger.folder, tmp_path / "made")
    again = Ledger(tmp_path / "made")
    root = ["--root", str(tmp_path)]
    knee = choose(again.record())[0].trial
    with again.writing():
        again.swept([made_up_point(knee)])
    assert main(["export", "made", "--deploy", "bosh3:1e-1", "-o", str(tmp_path / "wrong"), *root]) == 1
    assert "they are not those that the study measured" in capsys.readouterr().err
    sweep(again, knee)
    assert main(["export", "made", "--deploy", "bosh3:1e-1", "-o", str(tmp_path / "fast"), *root]) == 0
    (config,) = read_yaml(tmp_path / "fast" / CONFIG)
    assert config.deployment == Deployment("bosh3", 0.1, pytest.approx(0.1))
    assert (config.expected["nfe"] - 2) % 3 == 0
    assert main(["verify", str(tmp_path / "fast")]) == 0
    assert capsys.readouterr().out.count("same") == 4
    assert main(["train", str(tmp_path / "fast")]) == 0
    assert "the same to the last digit" in capsys.readouterr().out
    assert "bosh3 at 1.0e-01" in (tmp_path / "fast" / CARD).read_text()


def made_up_point(number):
    return SweptPoint(number, Deployment("bosh3", 0.1, 0.1), {"accuracy": 1.0, "loss": 0.0}, 5.0, 1.0, 0.0, 1.0, 0.0)


def sweep(ledger, number):
    """As the command does it, in the place of what was made up."""
    from studies.build import build
    from studies.sweeping import swept_points

    plan = build(ledger.spec.task, ledger.trial(number).config)
    model = trained_model(plan, ledger.weights_path(number))
    with ledger.writing():
        ledger.swept(list(swept_points(plan, model, number, [Deployment("bosh3", 0.1, 0.1)])))


class Planted:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("planted",)


def test_weights_that_would_run_code_are_refused_and_do_not(ledger, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"field": Planted()}, tmp_path / "weights.pt")
    plan = build_exported(choose(ledger.record())[0])
    with pytest.raises(InputError, match=r"weights.pt: holds no weights, or was cut off: ") as refusal:
        trained_model(plan, tmp_path / "weights.pt")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "planted").exists()


@pytest.mark.cluster
@pytest.mark.slow
def test_a_registered_knee_bears_its_alias(small_copy, tmp_path, capsys):
    root = small_copy
    uri = f"sqlite:///{root}/mlflow.db"
    sync_study("small", root, uri)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    for version in (1, 2):
        args = ["export", "small", "--all", "-o", str(tmp_path / "front"), "--register", "--overwrite"]
        assert main([*args, "--root", str(root)]) == 0
        assert f"registered: models:/small@{KNEE}" in capsys.readouterr().err
        assert version <= int(client.get_model_version_by_alias("small", KNEE).version)
    knee = choose(Ledger(root / "small").record())[0].trial
    found = client.get_model_version_by_alias("small", KNEE)
    assert found.tags["nde.trial"] == str(knee)
    folder = tmp_path / "front" / f"trial-{knee:04d}"
    (config,) = read_yaml(folder / CONFIG)
    plan = build_exported(config)
    inputs = plan.task.splits().test["inputs"][:5]
    served = loaded(found.source.removeprefix("file://")).predict(inputs.numpy())
    assert np.array_equal(served, predict(plan, trained_model(plan, folder / WEIGHTS), {"inputs": inputs}).numpy())


@pytest.mark.slow
def test_mlflow_serves_an_export_over_http(exported, port, tmp_path):
    (config,) = read_yaml(exported / CONFIG)
    plan = build_exported(config)
    inputs = plan.task.splits().test["inputs"][:11]
    with serving(exported / MODEL, port, tmp_path) as answer:
        served = torch.tensor(answer(json.dumps({"inputs": inputs.tolist()}).encode())["predictions"])
        for wrong in (inputs * math.nan, inputs[:, 1:], inputs[None]):
            with pytest.raises(HTTPError) as refused:
                answer(json.dumps({"inputs": wrong.tolist()}).encode())
            told = refused.value.read().decode()
            assert (refused.value.code, "stack_trace" in told, str(Path.cwd()) in told) == (400, False, False)
    expected = predict(plan, trained_model(plan, exported / WEIGHTS), {"inputs": inputs})
    assert served.shape == expected.shape
    assert (served - expected).abs().max() <= 1e-6
    assert all(each.is_kept for each in verify_model(exported))  # a server leaves nothing behind


def forge_tolerances(copy):
    rewrite(copy, tolerances={"accuracy": math.inf})


def forge_steps(copy):
    (config,) = read_yaml(copy / CONFIG)
    rewrite(copy, config={**config.config, "max_steps": 10**9})


def forge_threads(copy):
    (config,) = read_yaml(copy / CONFIG)
    rewrite(copy, config={**config.config, "threads": 100_000})


def add_code(copy):
    path = copy / MODEL / "served_model.py"
    path.write_text(path.read_text() + "import os\n")
    write_manifest(copy)


def zero_artifact(copy):
    path = copy / MODEL / "artifacts" / WEIGHTS
    path.write_bytes(bytes(path.stat().st_size))
    write_manifest(copy)


def add_file(copy):
    (copy / MODEL / "code").mkdir()
    (copy / MODEL / "code" / "more.py").write_text("")
    write_manifest(copy)


def name_other_code(copy):
    path = copy / MODEL / "MLmodel"
    path.write_text(path.read_text().replace("loader_module: mlflow.pyfunc.loaders.code_model", "loader_module: os"))
    write_manifest(copy)


def pipe(copy):
    (copy / "manifest.json").unlink()
    os.mkfifo(copy / "manifest.json")


def deep(copy):
    (copy / "manifest.json").write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        (forge_tolerances, "tolerances.accuracy: got inf, allowed: a finite number"),
        (forge_steps, "config.max_steps: got 1000000000, allowed: a whole number up to"),
        (forge_threads, "config.threads: got 100000, allowed: a whole number up to"),
        (add_code, "served_model.py: is not the code that this version of nde-study serves"),
        (zero_artifact, "weights.safetensors: is not the same as"),
        (add_file, "got code/more.py, which no export has"),
        (name_other_code, "names other code or files"),
        (pipe, "got no plain file"),
        (deep, "no JSON"),
    ],
)
def test_a_forged_export_is_refused_at_once(forge, told, copy):
    forge(copy)
    with pytest.raises(InputError, match=told) as error:
        verify_model(copy)
    assert "\n" not in str(error.value)


def test_the_digest_that_export_told_is_asked_for(copy, capsys):
    digest = manifest_digest(copy)
    assert main(["verify", str(copy), "--sha256", digest]) == 0
    (copy / CARD).write_text("another card")
    write_manifest(copy)
    assert main(["verify", str(copy)]) == 0
    assert main(["verify", str(copy), "--sha256", digest]) == 2
    assert "it is not what was exported" in capsys.readouterr().err


def test_an_export_asks_for_nothing_that_is_on_no_index(exported):
    required = (exported / MODEL / "requirements.txt").read_text()
    assert "nde-study" not in required
    assert "torch==" in required


def test_weights_that_were_flipped_or_cut_off_are_not_exported(ledger, tmp_path):
    root = tmp_path / "searched"
    shutil.copytree(ledger.folder.parent, root)
    changed = Ledger(root / ledger.folder.name)
    (config,) = choose(changed.record())
    path = changed.weights_path(config.trial)
    whole = path.read_bytes()
    flipped(path)
    with pytest.raises(InputError, match="was changed since its trial ended"):
        export_model(changed, config, tmp_path / "knee")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="was cut off"):
        export_model(changed, config, tmp_path / "knee")
    assert not (tmp_path / "knee").exists()
