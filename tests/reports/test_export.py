"""Which configs are chosen, and that their YAML comes back to the last digit or is refused in one line."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from made_up_studies import epoch, realistic, study_of

from ndecore.errors import InputError
from ndecore.metrics import Direction
from reports.config_files import config_file_name, read_yaml, to_yaml, write_yaml
from reports.export import ExportedConfig, choose
from reports.pareto import front
from reports.records import Confirmation, Deployment, SweptPoint, Threshold

FLOATS = st.floats(allow_nan=False)
TEXTS = st.text(max_size=20) | st.sampled_from(["1e-6", "1.5e3", "yes", "null", "1:30", "---", "ñ: #", "0x1F"])
PLAIN = st.none() | st.booleans() | st.integers() | FLOATS | TEXTS
CONFIGS = st.builds(
    ExportedConfig,
    study=TEXTS.filter(lambda text: text.isprintable()),
    trial=st.integers(0, 10_000),
    label=TEXTS,
    role=TEXTS,
    task=TEXTS,
    config=st.dictionaries(TEXTS, PLAIN | st.lists(PLAIN, max_size=3), max_size=5),
    expected=st.dictionaries(TEXTS, FLOATS, max_size=3),
    versions=st.dictionaries(TEXTS, TEXTS, max_size=3),
    tolerances=st.dictionaries(TEXTS, FLOATS, max_size=3),
    confirmed=st.dictionaries(TEXTS, FLOATS, max_size=3),
    deployment=st.none() | st.builds(Deployment, TEXTS, st.floats(1e-300, 1e300), st.floats(1e-300, 1e300)),
)


def test_the_knee_is_chosen_unless_told_otherwise():
    assert [(c.trial, c.role) for c in choose(realistic())] == [(1, "knee")]
    assert choose(realistic(), top="knee") == choose(realistic())


def test_rules_choose_from_the_front():
    study = realistic()
    members = [member.number for member in front(study)]
    assert [c.trial for c in choose(study, all=True)] == members
    assert [(c.trial, c.role) for c in choose(study, best="accuracy")] == [(members[0], "best accuracy")]
    assert [c.trial for c in choose(study, bound=Threshold("accuracy", 0.971, Direction.MAXIMIZE))] == [0]
    cheap = [member for member in front(study) if member.epochs[-1].nfe <= 32]
    (chosen,) = choose(study, max_nfe=32)
    assert chosen.trial == max(cheap, key=lambda member: member.epochs[-1].scores["accuracy"]).number
    assert chosen.role == "best accuracy with nfe <= 32"


def confirmed():
    """Trials 0, 1 and 4 with two new seeds, under which 4, the best of the search, is the worst."""
    told = [
        Confirmation(number, seed, epoch(accuracy, nfe, 5.0), {})
        for seed in (1, 2)
        for number, accuracy, nfe in ((0, 0.97, 44.0), (1, 0.969, 25.0), (4, 0.9, 50.0))
    ]
    return replace(realistic(), confirming=(0, 1, 4), confirmations=tuple(told))


def test_a_confirmed_front_is_what_is_chosen_from_and_the_role_says_so():
    study = confirmed()
    assert choose(realistic(), best="accuracy")[0].trial == 4
    (chosen,) = choose(study, best="accuracy")
    assert (chosen.trial, chosen.role) == (0, "best accuracy of the confirmed front")
    assert {c.trial for c in choose(study, all=True)} == {0, 1}
    assert chosen.expected["accuracy"] == 0.9711  # what its config trains to again
    assert (chosen.confirmed["seeds"], chosen.confirmed["accuracy"]) == (2, 0.97)


def swept(*points):
    told = [
        SweptPoint(1, Deployment(solver, rtol, rtol), {"accuracy": 0.969, "loss": 0.1}, nfe, 4.0, 0.0, 0.001, gap)
        for solver, rtol, nfe, gap in points
    ]
    return replace(realistic(), swept=tuple(told))


POINTS = (("bosh3", 1e-2, 11.0, 5e-3), ("tsit5", 1e-1, 8.0, 0.2), ("tsit5", 1e-3, 20.0, 1e-4))


@pytest.mark.parametrize(
    ("deploy", "expected"),
    [("cheapest", POINTS[0]), ("tsit5:1e-1", POINTS[1]), ("tsit5:0.001", POINTS[2])],
)
def test_a_config_can_take_another_way_to_solve_what_it_trains(deploy, expected, tmp_path):
    (chosen,) = choose(swept(*POINTS), deploy=deploy)
    solver, rtol, nfe, gap = expected
    assert chosen.deployment == Deployment(solver, rtol, rtol)
    assert (chosen.expected["nfe"], chosen.expected["solver_gap"], chosen.expected["train_s"]) == (nfe, gap, 6.1)
    assert chosen.config == realistic().trials[1].config
    write_yaml(tmp_path / "node.yaml", (chosen,))
    assert read_yaml(tmp_path / "node.yaml") == (chosen,)


@pytest.mark.parametrize("deploy", ["bosh3:1e-9", "bosh3", "rk4:x"])
def test_a_way_that_was_not_swept_is_refused_with_those_that_were(deploy):
    with pytest.raises(InputError, match=r"of trial 1: bosh3:0.01, tsit5:0.001, tsit5:0.1; `nde-study sweep made-up`"):
        choose(swept(*POINTS), deploy=deploy)
    with pytest.raises(InputError, match=r"of trial 1: nothing; `nde-study sweep"):
        choose(realistic(), deploy="cheapest")


def test_an_exported_config_is_complete_and_says_what_to_expect():
    (knee,) = choose(realistic())
    assert knee.config == realistic().trials[1].config
    assert (knee.expected["accuracy"], knee.expected["nfe"], knee.expected["solver_gap"]) == (0.9706, 26.0, 0.001)
    assert (knee.task, knee.label, knee.versions) == ("digits_node", "er-code", {"torch": "2.13.0"})


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"top": "knee", "all": True}, "got top and all; allowed is one of"),
        ({"top": "best"}, "top: got 'best', allowed: knee, ideal, trade, contribution"),
        ({"best": "acuracy"}, "got 'acuracy', allowed: accuracy"),
        (
            {"bound": Threshold("accuracy", 0.999, Direction.MAXIMIZE)},
            r"no trial has accuracy >= 0.999; the best available is accuracy 0.97736",
        ),
    ],
)
def test_a_rule_that_chooses_nothing_is_refused(rule, message):
    with pytest.raises(InputError, match=message):
        choose(realistic(), **rule)


def test_nothing_is_chosen_from_an_empty_front():
    with pytest.raises(InputError, match="has no front"):
        choose(study_of(), all=True)


@given(st.lists(CONFIGS, min_size=1, max_size=3))
def test_yaml_comes_back_as_it_was(tmp_path_factory, configs):
    path = tmp_path_factory.mktemp("export") / "front.yaml"
    write_yaml(path, configs)
    assert read_yaml(path) == tuple(configs)


def test_small_floats_stay_floats_also_as_people_write_them(tmp_path):
    (knee,) = choose(realistic())
    path = tmp_path / "node.yaml"
    write_yaml(path, (knee,))
    assert "rtol: 1.0e-06" in path.read_text()
    path.write_text(path.read_text().replace("rtol: 1.0e-06", "rtol: 1e-6"))
    (read,) = read_yaml(path)
    assert read.config["rtol"] == 1e-6
    assert isinstance(read.config["rtol"], float)


def test_one_file_holds_a_document_each_and_says_how_to_use_it(tmp_path):
    configs = choose(realistic(), all=True)
    path = tmp_path / "new" / "front.yml"
    write_yaml(path, configs)
    assert path.read_text().count("\n---\n") == len(configs)
    assert "nde-study train front.yml" in path.read_text()
    assert [p.name for p in path.parent.iterdir()] == ["front.yml"]


def test_the_files_of_a_directory_are_read_together(tmp_path):
    configs = choose(realistic(), all=True)
    for config in configs:
        write_yaml(tmp_path / "front" / config_file_name(config), (config,))
    assert {c.trial for c in read_yaml(tmp_path / "front")} == {c.trial for c in configs}


def test_a_file_of_an_earlier_version_is_read(tmp_path):
    path = tmp_path / "node.yaml"
    (knee,) = choose(realistic())
    older = yaml.safe_load(to_yaml((knee,), "node.yaml"))
    for key in ("tolerances", "confirmed", "deployment"):
        del older[key]
    path.write_text(yaml.safe_dump(older))
    assert read_yaml(path) == (replace(knee, tolerances={}),)


def test_tolerances_allow_a_step_more_and_the_gap_up_to_the_bound_and_promise_no_seconds():
    (knee,) = choose(realistic())  # 26 evaluations in 4 steps, a gap of 0.001
    assert knee.tolerances["nfe"] == 26 / 4
    assert knee.tolerances["accuracy"] == pytest.approx(0.009706)
    assert knee.tolerances["solver_gap"] == pytest.approx(0.009)
    assert knee.tolerances.keys().isdisjoint({"train_s", "predict_s"})


def test_a_write_that_fails_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "node.yaml"
    write_yaml(path, choose(realistic()))
    before = path.read_text()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(InputError, match=r"node.yaml: cannot be written: No space left on device"):
        write_yaml(path, choose(realistic(), all=True))
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_no_configs_are_not_written(tmp_path):
    with pytest.raises(InputError, match="got no configs"):
        write_yaml(tmp_path / "node.yaml", ())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trial: 1", "trial: one", "document 1: trial: got 'one'; allowed is an integer, 0 or more"),
        ("config:", "space: {}\nconfig:", "got a study, for `nde-study run`; allowed is what"),
        ("trial: 1", "trial: true", "trial: got True; allowed is an integer"),
        ("role: knee", "roll: knee", "key: got 'roll'; allowed is only study, trial"),
        ("role: knee\n", "", "role: got 'nothing'; allowed is every key"),
        ("task: digits_node", "task: [1]", r"task: got \[1\]; allowed is a text"),
        ("nfe: 26.0", "nfe: many", "expected.nfe: got 'many'; allowed is a number"),
        ("lr: 0.01", "lr: {a: 1}", r"config.lr: got \{'a': 1\}; allowed is a plain value"),
        ("lr: 0.01", "lr: 0.01\n  lr: 0.02", "not YAML: key 'lr' stands twice .* line"),
        ("config:", "config: [", "not YAML: .* line"),
        ("torch: 2.13.0", "torch: 2.13", "versions.torch: got 2.13; allowed is a text"),
        ("deployment: null", "deployment: tsit5", "deployment: got 'tsit5'; allowed is null, or a mapping of"),
        (
            "deployment: null",
            "deployment: {solver: a, rtol: 0, atol: 1}",
            "deployment.rtol: got 0; allowed is a finite",
        ),
    ],
)
def test_a_malformed_file_is_refused_in_one_line(tmp_path, old, new, message):
    text = to_yaml(choose(realistic()), "node.yaml")
    path = tmp_path / "node.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: .*{message}") as refusal:
        read_yaml(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("text", "message"), [("", "got no config"), ("- 1", r"got \[1\]; allowed is a mapping")])
def test_a_file_that_holds_something_else_is_refused(tmp_path, text, message):
    path = tmp_path / "node.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_yaml(path)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none.yaml: cannot be read: No such file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        read_yaml(tmp_path / "bytes.yaml")


def test_a_study_without_versions_exports_none():
    assert choose(replace(realistic(), versions=None))[0].versions == {}
