"""Two hundred specs with something wrong in them: one line for each thing, exit code 2, nothing created."""

import re

import hypothesis
import pytest
import yaml
from hypothesis import strategies as st

from search_spaces.document import parse_document
from search_spaces.problems import SpecError
from studies.cli import main
from studies.spec import StudySpec, read_spec

VALID = {"name": "s", "task": "digits_node", "space": {"rtol": {"log_float": [1e-6, 1e-2]}, "regularizer": "none"}}
JUNK = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats()
    | st.text(max_size=8)
    | st.lists(st.integers() | st.text(max_size=4), max_size=3)
    | st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4), max_size=3)
)
KEYS = st.sampled_from([field.alias or name for name, field in StudySpec.model_fields.items()]) | st.text(max_size=8)


CHANGES = st.dictionaries(KEYS, JUNK, min_size=1, max_size=3)


def malformed(changes):
    """The text of a valid spec in which some keys have got something else; refused if all of it is allowed."""
    text = yaml.safe_dump(VALID | changes, allow_unicode=True)
    try:
        read_spec(parse_document(text, "s.yaml"))
    except SpecError:
        return text
    return hypothesis.reject()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("malformed")


@hypothesis.settings(max_examples=200, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(CHANGES)
def test_a_malformed_spec_is_refused_line_by_line_and_creates_nothing(home, capsys, changes):
    (home / "s.yaml").write_text(malformed(changes), encoding="utf-8")
    capsys.readouterr()
    assert main(["run", str(home / "s.yaml"), "--root", str(home / "runs")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err
    for line in err.removesuffix("\n").split("\n"):
        assert re.match(r"nde-study: \S+s\.yaml:\d+: .*got .*allowed: ", line), line
    assert [path.name for path in home.iterdir()] == ["s.yaml"]
