"""What every test stands on: shapes checked at run time, one thread, the same examples on every run."""

from jaxtyping import install_import_hook

checked = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"  # an int is a float (PEP 484)
install_import_hook("ndecore", checked)  # before ndecore is imported for the first time

from collections.abc import Iterator  # noqa: E402

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=25)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def threads_restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
