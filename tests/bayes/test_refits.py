"""The stored refits of public tables: recomputed, without a row of them, kept where nothing changed."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moebook import laws
from moebook.bayes import Sampler
from moebook.bayes import refits as room
from moebook.bayes.refits import FILE, load_refits, parts_of, refit
from moebook.bayes.refitted import Settings, best_size, described, point_of
from moebook.errors import InputError
from moebook.runs.public import SOURCES, public_table

STORED = Path(__file__).resolve().parents[2] / "runs" / "refits" / FILE


@pytest.fixture(scope="module")
def stored():
    return load_refits(STORED)["tables"]


@pytest.fixture(scope="module")
def tables(shared):
    return {name: public_table(name, shared / "data") for name in SOURCES}


def test_every_table_and_law_is_stored_and_passed_its_gates(stored):
    assert {name: len(table["parts"]) for name, table in stored.items()} == {
        "chinchilla": 1, "clark2022": 3, "porian2024": 15,
    }  # fmt: skip
    for table in stored.values():
        assert all(len(mark) == 64 for mark in table["files"].values()) and table["licence"]
        for part in table["parts"].values():
            for fit in part["fits"].values():
                assert fit["posterior"]["status"] == "passed"
                assert all(gate["passed"] for gate in fit["posterior"]["gates"])
    for part in stored["clark2022"]["parts"].values():
        assert list(part["fits"]) == sorted(room.CLARK_LAWS) and "posterior" in part["held_out"]


def test_point_fits_are_those_stored(stored, tables):
    """Coefficients to a thousandth of their standard error, and what they leave over."""
    settings = dataclasses.replace(Settings(), bootstraps=2)
    for name, table in tables.items():
        for part in parts_of(name, table):
            assert stored[name]["parts"][part.name]["rows"] == len(part.rows)
            for law in part.laws:
                found, _ = point_of(part, law, settings)
                old = stored[name]["parts"][part.name]["fits"][law]["point"]
                assert found["rmse_log10"] == pytest.approx(old["rmse_log10"], rel=1e-6)
                for key, one in old["coefficients"].items():
                    off = found["coefficients"][key]["value"] - one["value"]
                    assert abs(off) < 1e-3 * one["error"], (name, part.name, law, key)


def test_bootstrap_and_printed_values_are_those_stored(stored, tables):
    (part,) = [part for part in parts_of("clark2022", tables["clark2022"]) if part.name == "RL-R"]
    found, fit = point_of(part, "clark", Settings())
    old = stored["clark2022"]["parts"]["RL-R"]["fits"]["clark"]["point"]
    for key, one in old["coefficients"].items():
        for end in ("low", "high"):
            assert found["coefficients"][key][end] == pytest.approx(one[end], abs=0.02 * one["error"])
        assert one["printed"] - one["apart"] * one["error"] == pytest.approx(fit.coefficients[key])
    assert found["rmse_log10_printed"] == pytest.approx(old["rmse_log10_printed"], rel=1e-9)
    assert old["rmse_log10_printed"] > old["rmse_log10"]


def test_no_row_of_a_table_is_stored(stored, tables):
    """No loss, no size and no compute of any run is a number of the file, and no list is as long as rows."""
    numbers, lists = [], []

    def walk(value):
        if isinstance(value, dict):
            for inside in value.values():
                walk(inside)
        elif isinstance(value, list):
            lists.append(len(value))
            for inside in value:
                walk(inside)
        elif isinstance(value, float):
            numbers.append(value)

    walk(stored)
    assert max(lists) <= 5  # the gates
    for name, table in tables.items():
        for column in ("loss_nats", "params", "tokens", "compute_flops"):
            assert not set(numbers) & set(table[column].astype(float)), (name, column)


@pytest.mark.slow
def test_a_posterior_is_the_stored_one_within_monte_carlo_error(stored, tables):
    (part,) = parts_of("chinchilla", tables["chinchilla"])
    from moebook.bayes.fitting import fit

    found = described(fit(part.rows, "chinchilla", progress=False))
    old = stored["chinchilla"]["parts"][part.name]["fits"]["chinchilla"]["posterior"]
    assert found["status"] == "passed"
    for name, one in old["quantities"].items():
        for end in ("q05", "q50", "q95"):
            error = np.hypot(one[f"mcse_{end}"], found["quantities"][name][f"mcse_{end}"])
            assert abs(found["quantities"][name][end] - one[end]) < 5 * error, (name, end)
    assert found["misfit"]["q50"] == pytest.approx(old["misfit"]["q50"], rel=0.1)
    assert found["best_size"]["q50"] == pytest.approx(old["best_size"]["q50"], abs=0.01)


@pytest.fixture
def few(monkeypatch, tmp_path):
    """A folder of tables with one alone, made by the published law, in the place of all."""
    law = laws.get("chinchilla")
    sizes, flops = np.meshgrid(np.geomspace(1e8, 1e10, 9), np.geomspace(1e20, 1e22, 5))
    sizes, tokens = sizes.ravel(), (flops / (6 * sizes)).ravel()
    noise = np.random.default_rng(1).normal(0, 0.002, sizes.size)
    loss = law(law.published, sizes, tokens) * np.exp(noise)
    rows = pd.DataFrame({"C": 6 * sizes * tokens, "N": sizes, "D": tokens, "loss": loss})
    content = rows.to_csv(index=False).encode()
    source = SOURCES["chinchilla"]
    pinned = dataclasses.replace(source.file, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    mine = dataclasses.replace(source, file=pinned)
    monkeypatch.setitem(SOURCES, "chinchilla", mine)
    monkeypatch.setattr(room, "SOURCES", {"chinchilla": mine})
    (tmp_path / "tables" / "chinchilla").mkdir(parents=True)
    (tmp_path / "tables" / "chinchilla" / "runs.csv").write_bytes(content)
    return tmp_path / "tables"


@pytest.mark.slow
def test_what_is_done_is_kept_until_something_changes(few, tmp_path):
    said = []
    settings = Settings(bootstraps=20, sampler=Sampler(chains=2, draws=40, tune=40))
    refit(tmp_path / "out", few, settings, said.append)
    before = (tmp_path / "out" / FILE).read_bytes()
    assert said == ["chinchilla, all runs: 45 runs, chinchilla (1 of 1)"]
    refit(tmp_path / "out", few, settings, said.append)
    assert said[1:] == ["chinchilla: kept"] and (tmp_path / "out" / FILE).read_bytes() == before
    assert str(tmp_path) not in before.decode(), "a path of the machine"
    fit = json.loads(before)["tables"]["chinchilla"]["parts"]["all runs"]["fits"]["chinchilla"]
    assert fit["posterior"]["status"] == "failed"
    assert set(fit["posterior"]) == {"identity", "status", "gates"}, "a failed posterior gives no number"
    refit(tmp_path / "out", few, dataclasses.replace(settings, seed=1), said.append)
    assert len(said) == 3 and said[2] == said[0] and (tmp_path / "out" / FILE).read_bytes() != before


@pytest.mark.slow
def test_the_best_size_of_a_known_law_is_found(few):
    """beta / (alpha + beta) where the law is true; no answer where the runs do not bracket the best size."""
    from moebook.bayes.fitting import fit

    table = public_table("chinchilla", few)
    posterior = fit(table, "chinchilla", progress=False)
    truth = laws.get("chinchilla").published
    found = best_size(posterior)
    assert found["q05"] < truth["beta"] / (truth["alpha"] + truth["beta"]) < found["q95"]
    assert found["q95"] - found["q05"] < 0.15
    small = table[table.params < 2e8]
    assert best_size(fit(small, "chinchilla", progress=False)) is None


def test_another_file_in_its_place_is_refused(tmp_path):
    for content, says in (("{", "is not what"), ('{"format": 9}', "format 9"), ('{"format": 1}', "tables")):
        (tmp_path / FILE).write_text(content)
        with pytest.raises(InputError, match=says):
            load_refits(tmp_path / FILE)
        with pytest.raises(InputError, match=says):
            refit(tmp_path, tmp_path)
        assert (tmp_path / FILE).read_text() == content
    with pytest.raises(InputError, match="No such file.*moebook refit"):
        load_refits(tmp_path / "none.json")


def test_a_folder_without_the_tables_ends_in_one_line_and_writes_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "moebook", "refit", "--public", "mine", "--out", "out"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert "mine/chinchilla/runs.csv: cannot be read: No such file" in done.stderr
    assert list(tmp_path.iterdir()) == []
