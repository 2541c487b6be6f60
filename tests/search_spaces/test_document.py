import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.document import load_document, parse_document
from search_spaces.problems import SpecError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-6", 1e-6), ("1e3", 1e3), ("1.0e-6", 1e-6), ("-2.5E+3", -2500.0), (".5", 0.5), ("5.", 5.0), ("+3e0", 3.0)],
)
def test_numbers_with_an_exponent_are_floats_with_or_without_a_point(text, value):
    data = parse_document(f"x: {text}", "f.yaml").data
    assert data["x"] == value
    assert isinstance(data["x"], float)


@pytest.mark.parametrize("text", ["e5", "1e", ".", "1.2.3", "none", "2026-01-01", "1_0e", "'1e3'"])
def test_what_only_looks_like_a_number_or_a_date_is_text(text):
    assert parse_document(f"x: {text}", "f.yaml").data["x"] == text.strip("'")


def test_every_key_and_item_knows_its_line():
    document = parse_document("a: 1\nb:\n  c:\n    - 1\n    - {d: 2}\n", "f.yaml")
    lines = {place: document.line(place) for place in [("a",), ("b",), ("b", "c"), ("b", "c", 0), ("b", "c", 1, "d")]}
    assert list(lines.values()) == [1, 2, 3, 4, 5]


def test_the_line_of_something_missing_is_that_of_what_it_is_missing_from():
    document = parse_document("a: 1\nb:\n  c: 2\n", "f.yaml")
    assert document.line(("b", "d", 0)) == 2
    assert document.line(("e",)) == 1


@pytest.mark.parametrize(
    ("text", "line", "got"),
    [
        ("a: 1\nb: [1,\n", 3, "text that cannot be read (expected the node content, but found '<stream end>')"),
        ("a: 1\nb: &x 1\nc: *x\n", 3, "text that cannot be read (an alias)"),
        ("a: !!python/object:os.system x\n", 1, "text that cannot be read (the tag"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "the key again, after line 3"),
        ("a: 1\n2: 3\n", 2, "the key 2"),
        ("? [a]\n: 1\n", 1, "the key that is not one text"),
        ("<<: {a: 1}\n", 1, "the key <<"),
        ("a: 1\n---\nb: 2\n", 2, "text that cannot be read (but found another document)"),
    ],
)
def test_what_is_not_plain_yaml_is_one_problem_with_its_line(text, line, got):
    with pytest.raises(SpecError) as caught:
        parse_document(text, "f.yaml")
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("f.yaml", line)
    assert problem.got.startswith(got)
    assert "\n" not in str(caught.value)


def test_every_duplicate_key_is_reported():
    with pytest.raises(SpecError) as caught:
        parse_document("a: 1\na: 2\nb: {c: 1, c: 2}\n", "f.yaml")
    assert [problem.key for problem in caught.value.problems] == ["a", "b.c"]


@pytest.mark.parametrize("text", ["a: " + "9" * 5000, "[" * 5000, "a: \x00"])
def test_what_yaml_or_python_cannot_hold_is_a_problem_and_not_a_crash(text):
    with pytest.raises(SpecError, match=r"^f\.yaml.*cannot be read.*$"):
        parse_document(text, "f.yaml")


def test_a_file_that_does_not_exist_is_a_problem_without_a_line(tmp_path):
    with pytest.raises(SpecError, match=r"none\.yaml: got no such file or directory, allowed: a YAML file"):
        load_document(tmp_path / "none.yaml")


def test_a_file_that_is_not_text_is_a_problem(tmp_path):
    (tmp_path / "f.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="UTF-8"):
        load_document(tmp_path / "f.yaml")


def test_an_error_survives_being_copied_as_between_processes():
    with pytest.raises(SpecError) as caught:
        parse_document("a: 1\na: 2\n", "f.yaml")
    assert str(copy.copy(caught.value)) == str(caught.value)


@given(PLAIN)
def test_data_written_as_yaml_reads_the_same(data):
    assert parse_document(yaml.safe_dump({"x": data}), "f.yaml").data == {"x": data}
