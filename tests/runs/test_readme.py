"""The lines by which the README of the run table has it read do what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

from moebook.runs import load_table

ROOT = Path(__file__).parents[2]
CELL = ["text", "compute_flops", "sparsity", "width"]
NEEDS_POLARS = "needs polars: pip install polars"


def snippets() -> dict[str, str]:
    """The code under “Reading it” by the package or language it is for."""
    part = (ROOT / "runs" / "README.md").read_text().split("## Reading it")[1].split("\n## ")[0]
    blocks = re.findall(r"```(\w+)\n(.*?)```", part, re.DOTALL)
    return {
        "R" if language == "r" else "polars" if "polars" in code else "pandas": code
        for language, code in blocks
    }


def means() -> dict[tuple, float]:
    """The mean loss of each cell, the long way."""
    losses: dict[tuple, list[float]] = {}
    for row in load_table(ROOT / "runs").to_dict("records"):
        if row["status"] == "done" and row["purpose"] == "":
            losses.setdefault(tuple(row[name] for name in CELL), []).append(row["loss_nats"])
    assert max(map(len, losses.values())) > 1, "some cells have several seeds"
    return {cell: float(np.mean(each)) for cell, each in losses.items()}


def test_each_takes_two_lines():
    assert set(snippets()) == {"pandas", "polars", "R"}
    for code in snippets().values():
        lines = [line for line in code.splitlines() if line.strip()]
        assert len([line for line in lines if not re.match(r"from |import ", line)]) == 2


def test_the_lines_for_pandas_average_over_seeds(monkeypatch):
    monkeypatch.chdir(ROOT)
    said: dict = {}
    exec(snippets()["pandas"], said)
    assert said["cells"].to_dict() == pytest.approx(means())


def test_the_lines_for_polars_average_over_seeds(monkeypatch, tmp_path):
    pytest.importorskip("polars", reason=NEEDS_POLARS)
    load_table(ROOT / "runs").to_csv(tmp_path / "table.csv", index=False)
    monkeypatch.chdir(tmp_path)
    said: dict = {}
    exec(snippets()["polars"], said)
    found = {tuple(row[name] for name in CELL): row["loss_nats"] for row in said["cells"].to_dicts()}
    assert found == pytest.approx(means())
