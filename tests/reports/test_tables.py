"""Rows, Markdown and JSON of a front."""

import json

import pytest
from made_up_studies import realistic, realistic_trials, study_of, trial

from reports.pareto import front
from reports.table_formats import to_markdown
from reports.tables import distinct_keys, front_rows, front_table, searched_keys, study_summary, weight_text


def test_the_rows_are_the_front_in_its_order_with_one_knee():
    study = realistic()
    rows = front_rows(study)
    assert [row.trial for row in rows] == [member.number for member in front(study)]
    assert sum(row.is_knee for row in rows) == 1


def test_ratios_are_to_the_trial_labelled_vanilla():
    preset = next(row for row in front_rows(realistic()) if row.label == "er-code")
    assert preset.ratios == {"nfe": 26.0 / 44.0, "train_s": 6.1 / 7.9, "predict_s": 1.0}


def test_without_a_baseline_there_are_no_ratios():
    study = study_of(trial(0, 0.9, 26.0, 3.0))
    assert front_rows(study)[0].ratios == {}
    assert not [head for head in front_table(study).heads if "ratio" in head]


def test_the_markdown_has_a_row_for_each_member_and_as_many_cells_as_heads():
    study = realistic()
    table = to_markdown(front_table(study)).splitlines()
    assert len(table) == 2 + len(front(study))
    assert len({line.count("|") for line in table}) == 1
    assert (
        "| 1 | er-code | 97.06 % | 26 | 6.1 | error | 100 → 10 | 1e-06 | 0.001 | 0.59 | 0.77 | 1.00 | knee |" in table
    )


def test_a_constant_weight_is_written_once():
    row = front_rows(study_of(trial(0, 0.9, 26.0, 3.0, weight=0.0285, weight_end=0.0285)))[0]
    assert weight_text(row) == "0.0285"


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({"error.weight": 10.0, "stiffness.weight": 1.0}, "error 10, stiffness 1"),
        ({"error.weight": 100.0, "error.weight_end": 10.0}, "error 100 → 10"),
        ({}, ""),
    ],
)
def test_a_sum_has_the_weights_of_its_summands(weights, text):
    row = front_rows(study_of(trial(0, 0.9, 26.0, 3.0, regularizer="error+stiffness", **weights)))[0]
    assert weight_text(row) == text


def test_the_baseline_stands_above_a_front_that_it_is_not_on():
    study = study_of(trial(0, 0.9, 40.0, 4.0, label="vanilla"), trial(1, 0.95, 20.0, 2.0))
    first, second = front_table(study).rows
    assert [cell.text for cell in first[:2]] == ["0", "vanilla"]
    assert second[-1].text == "knee"


def test_a_study_without_a_front_has_no_knee():
    assert study_summary(study_of())["knee"] is None


def test_the_summary_is_strict_json_and_holds_the_configs_of_the_front():
    summed = trial(
        24, 0.99, 20.0, 3.0, **{"regularizer": "error+stiffness", "error.weight": 10.0, "stiffness.weight": 1.0}
    )
    study = study_of(*realistic_trials(), summed)
    summary = study_summary(study)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["front"][0]["summand_weights"] == {"error": {"weight": 10.0}, "stiffness": {"weight": 1.0}}
    assert summary["trials"] == {"complete": 23, "diverged": 1, "failed": 1}
    assert summary["feasible"] == 21
    assert [member["config"] for member in summary["front"]] == [dict(member.config) for member in front(study)]


def test_searched_keys_are_those_in_which_trials_differ_or_which_some_lack():
    first = trial(0, 0.9, 26.0, 3.0, lr=0.1)
    second = trial(1, 0.9, 26.0, 3.0, lr=0.2, weight=1.0)
    assert searched_keys(study_of(first, second)) == ("lr", "weight")


def test_distinct_keys_leave_out_what_repeats_another():
    trials = [trial(n, 0.9, 26.0, 3.0, rtol=10.0**-n, atol=10.0**-n, lr=0.1 * n) for n in range(3)]
    assert searched_keys(study_of(*trials)) == ("rtol", "lr", "atol")
    assert distinct_keys(study_of(*trials)) == ("rtol", "lr")
