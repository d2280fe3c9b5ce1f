"""The best size where no choice of sparsities was seen: against the closed form, and said why."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from moebook.bayes import Posterior
from moebook.cli import main
from moebook.errors import InputError
from moebook.optimum import best_size, no_choice_of_sparsity

MADE = Path(__file__).parents[1] / "bayes" / "made.py"


@pytest.fixture(scope="module")
def made():
    spec = importlib.util.spec_from_file_location("made", MADE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def posterior(made):
    return made.made_posterior(made.made_runs(), draws=10)


def test_the_closed_form_of_chinchilla(posterior, made):
    k = made.TRUTH
    compute = 1e20
    ratio = (k["alpha"] * k["A"] / (k["beta"] * k["B"])) ** (1 / (k["alpha"] + k["beta"]))
    size = ratio * (compute / 6) ** (k["beta"] / (k["alpha"] + k["beta"]))
    found = best_size(posterior, compute)
    assert found.params_star == pytest.approx(size, rel=0.003)
    assert found.tokens_star == pytest.approx(compute / 6 / size, rel=0.003)
    assert found.loss_star_nats == pytest.approx(
        k["E"] + k["A"] * size ** -k["alpha"] + k["B"] * (compute / 6 / size) ** -k["beta"], rel=1e-5
    )
    assert found.flops_per_param_token == pytest.approx(6) and found.extrapolation == 1
    assert found.why == "the law chinchilla has no term in sparsity" and found.verdict == "identified"


def test_a_best_size_at_the_edge_is_not_identified(posterior):
    found = best_size(posterior, 1e25)
    assert found.edge["params_high"] == 1 and found.extrapolation == pytest.approx(1e4, rel=1e-3)
    assert found.verdict == "not identified: 100 % of the mass lies at the largest fitted size"


def test_the_compute_must_be_known(posterior):
    blind = Posterior(posterior.data.copy(), {**posterior.summary, "flops_per_token": "6NA"})
    del blind.data.constant_data["compute_flops"]
    with pytest.raises(InputError, match="needs the fitted runs' compute, which is not known"):
        best_size(blind, 1e20)


def test_runs_of_one_sparsity_leave_no_choice(make, byte_models):
    one = make([byte_models], sparsities=(0.75,))
    assert no_choice_of_sparsity(one) == "every fitted run has sparsity 0.75"
    assert no_choice_of_sparsity(make([byte_models])) == ""
    one.data.constant_data["compute_flops"] = ("row", 6.0 * one.rows["params"] * one.rows["tokens"])
    found = best_size(one, 1e11)
    assert found.sparsity == 0.75
    at = found.params_star[0]
    nearby = one.predict(at * np.array([0.8, 1, 1.25]), 1e11 / 6 / at / np.array([0.8, 1, 1.25]), 0.75)[0]
    assert nearby.argmin() == 1


def test_the_shell_says_why_and_what_can_be_said(posterior, tmp_path, monkeypatch, capsys):
    posterior.save(tmp_path / "fit")

    def command(*words):
        monkeypatch.setattr("sys.argv", ["moebook", "optimum", "--posterior", str(tmp_path / "fit"), *words])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capsys.readouterr()

    code, out, _ = command("--compute", "1e20")
    assert code == 0 and out.startswith(
        "the law chinchilla has no term in sparsity: no sparsity can be named"
    )
    assert "parameters N" in out and "tokens by C = 6 N D\n" in out and "smallest size 0 %" in out
    code, out, _ = command("--compute", "1e20", "--json")
    answer = json.loads(out)
    assert answer["sparsity_star"] is None and 1e8 < answer["params_star"]["median"] < 1e10
    code, _, err = command("--compute", "1e20", "--params", "1e8")
    assert code == 2 and "moebook forecast" in err and err.count("\n") == 1
