"""The shipped studies of neural SDEs, shortened, end to end: `nde-study run` on real Ray, Optuna and MLflow."""

import pytest
import yaml
from command_line import nde_study

from reports.records import TrialStatus
from studies.ledger import Ledger
from studies.spec import load_spec

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.mark.parametrize(("name", "extra"), [("spiral_sde", "batch_size"), ("digits_nsde", "sde")])
def test_a_shortened_study_of_neural_sdes_runs_to_its_end_and_its_best_is_exported(name, extra, tmp_path):
    spec = load_spec(name).to_data()
    # Only what takes long is changed: one epoch, the first two configs and one proposal.
    one = {"epochs": 1}
    spec |= {"trials": 3, "workers": 1, "fixed": spec["fixed"] | one}
    spec["start_from"] = [config | one for config in spec["start_from"][:2]]
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    ended = nde_study("run", "short.yaml", cwd=tmp_path)
    assert ended.code == 0, ended.err
    study = Ledger(tmp_path / "nde-runs" / name).record()
    assert [trial.status for trial in study.trials] == [TrialStatus.COMPLETE] * spec["trials"]
    for trial in study.trials:
        (epoch,) = trial.epochs
        assert epoch.solver_gap is not None
        assert epoch.nfe_diffusion == epoch.nfe > 0
        assert extra in trial.config
        assert trial.config["solver"] in ("sosri", "sosri2")
    exported = nde_study("export", name, "--top", "knee", "-o", "best.yaml", cwd=tmp_path)
    assert exported.code == 0, exported.err
    trained = nde_study("train", "best.yaml", cwd=tmp_path)
    assert trained.code == 0, trained.err
