"""Simulated runs with known coefficients, and fits that the tests share."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moebook import laws
from moebook.architecture import Family

CHINCHILLA_COLUMNS = {"params": "N", "tokens": "D", "loss": "loss"}


@pytest.fixture(scope="session")
def noise():
    """Relative standard deviation of a simulated run."""
    return 0.006


@pytest.fixture(scope="session")
def abnar_truth():
    """Coefficients of Eq. 6 that make losses like those of small byte models."""
    return {
        "alpha": 0.45, "beta": 0.40, "gamma": 0.25, "lambda": -0.17, "delta": 0.10,
        "a": 55.0, "b": 118.0, "c": 0.3, "d": 6.0, "e": 0.6,
    }  # fmt: skip


@pytest.fixture(scope="session")
def abnar_runs(abnar_truth, noise) -> pd.DataFrame:
    """Runs of Eq. 6 on the family's own members, at four budgets."""
    rows = []
    for budget in (3e10, 1e11, 3e11, 1e12):
        for sparsity in (0.0, 0.5, 0.75, 0.875, 0.9375):
            for width in (16, 24, 32, 48, 64):
                counts = Family().counts_at(width, sparsity)
                rows.append((counts.params, budget / counts.flops_per_token, sparsity))
    params, tokens, sparsity = np.array(rows).T
    loss_nats = laws.get("abnar")(abnar_truth, params, tokens, sparsity)
    loss_nats *= np.exp(noise * np.random.default_rng(3).standard_normal(len(loss_nats)))
    return pd.DataFrame({"params": params, "tokens": tokens, "sparsity": sparsity, "loss_nats": loss_nats})


@pytest.fixture(scope="session")
def chinchilla_runs(noise) -> pd.DataFrame:
    """A grid of runs of the published Chinchilla law, under names of somebody else's."""
    law = laws.get("chinchilla")
    size, data = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 7), np.geomspace(2e8, 2e11, 7)))
    spread = np.exp(noise * np.random.default_rng(1).standard_normal(size.size))
    return pd.DataFrame({"N": size, "D": data, "loss": law(law.published, size, data) * spread})


@pytest.fixture(scope="session")
def abnar_posterior(abnar_runs):
    """A short fit of the simulated runs of Eq. 6."""
    from moebook import bayes

    return bayes.fit(abnar_runs, "abnar", progress=False)


@pytest.fixture(scope="session")
def chinchilla_posterior(chinchilla_runs):
    """A short fit of the simulated runs of Chinchilla's law."""
    from moebook import bayes

    return bayes.fit(
        chinchilla_runs,
        "chinchilla",
        columns=CHINCHILLA_COLUMNS,
        draws=1000,
        tune=500,
        excluded={"diverged": 2},
        progress=False,
    )


@pytest.fixture
def runs():
    """A grid of sizes and budgets under plain names, losses in nats."""
    law = laws.get("chinchilla")
    params, compute = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 5), [1e18, 1e19, 1e20, 1e21]))
    table = pd.DataFrame({"params": params, "tokens": compute / 6 / params})
    noise = np.exp(0.01 * np.random.default_rng(0).standard_normal(len(table)))
    return table.assign(loss=law(law.published, table.params, table.tokens) * noise)


def module_of(name):
    """The module of a file beside this one, which is no test."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def made():
    """The module `made`: posteriors made by hand."""
    return module_of("made")


@pytest.fixture(scope="session")
def evaluate():
    """The module `evaluate`: a compiled density, called as a sampler calls it."""
    return module_of("evaluate")
