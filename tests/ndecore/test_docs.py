"""The code of the pages on this library is run."""

import re
from pathlib import Path

import ndecore
from ndecore.dropin_options import ADAPTIVE, FIXED
from ndecore.dropin_sde import METHODS

PAGE = (Path(ndecore.__file__).parents[1] / "reports/docs/from_torchdiffeq.md").read_text(encoding="utf-8")


def test_code_of_the_page_for_users_of_torchdiffeq_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "from_torchdiffeq.md", "exec"), names)
    assert len(blocks) >= 5
    assert abs(names["time"].item() - 1.4286) < 1e-4
    assert names["paths"].shape == (3, 4, 2)
    assert names["budget"].memory.seen is not None


def test_methods_that_the_page_refuses_are_those_that_are_refused() -> None:
    refused = {"dopri8", "fehlberg2", "heun3", "explicit_adams", "implicit_adams", "scipy_solver"}
    assert not refused & {*ADAPTIVE, *FIXED}
    assert {"heun2", "adaptive_heun", "rk4"} <= {*ADAPTIVE, *FIXED}
    assert not {"midpoint", "heun", "log_ode", "adjoint_reversible_heun"} & METHODS.keys()
