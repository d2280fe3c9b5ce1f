"""Eq. 6 with growing misfit, written again from the formulas for another library, and sampled there.

    python tests/bayes/second_sampler.py tests/bayes/second_sampler.json

needs numpyro, and nothing of moebook: not its laws, its basis, its coordinates, or its integrated likelihood.
Totals are sampled as they are, with the priors as `Priors` words them; the rows are one multivariate normal
with a dense covariance. The file holds the rows, and quantiles with their Monte Carlo errors, which
`test_independent.py` compares with a fit of the same rows.
"""

import json
import sys

import numpy as np
from scipy import stats

QUANTILES = (0.05, 0.5, 0.95)
SHARES = {"data_share": 1 / 3, "floor_of_rest": 0.5, "size_plain_share": 0.5, "floor_tilt_share": 0.5}


def rows(seed: int = 11) -> dict[str, list[float]]:
    """Sixty runs of Eq. 6 with a bend that the law has not, and noise."""
    rng = np.random.default_rng(seed)
    n = np.exp(rng.uniform(np.log(2e4), np.log(2e6), 60))
    d = np.exp(rng.uniform(np.log(1e6), np.log(5e7), 60))
    s = rng.choice([0.0, 0.5, 0.75, 0.875, 0.9375], 60)
    loss = 55 * n**-0.45 + 118 * d**-0.4 + 0.3 * (1 - s) ** 0.17 + 6 * (1 - s) ** -0.1 * n**-0.25 + 0.6
    loss *= np.exp(0.01 * np.sin(1.5 * np.log(d)) + 0.008 * rng.standard_normal(60))
    return {"params": n.tolist(), "tokens": d.tolist(), "sparsity": s.tolist(), "loss_nats": loss.tolist()}


def misfit_covariance(z: np.ndarray, pairs: int = 24, growth: float = 0.33) -> np.ndarray:
    """Prior covariance of the misfit at coordinates z [rows, axes], in units of its scale squared."""
    axes = z.shape[1]
    u = stats.qmc.Sobol(axes + 2, rng=1).random_base2(int(np.ceil(np.log2(pairs))))[:pairs]
    spectral = stats.norm.ppf(u[:, :axes]) / np.sqrt(stats.chi2.ppf(u[:, axes], 5) / 5)[:, None]
    spectral /= (1.5 * np.exp(0.5 * stats.norm.ppf(u[:, axes + 1])))[:, None]
    waves = np.cos((z[:, None, :] - z[None, :, :]) @ spectral.T).mean(axis=-1)
    walks = np.zeros_like(waves)
    for axis in range(axes):
        for direction in (1, -1):
            for knot in np.arange(0, 6, 0.5):
                t = np.clip(direction * z[:, axis] - knot + 0.5, 0, 1)
                ramp = 3 * t**2 - 2 * t**3
                walks += 0.5 * np.outer(ramp, ramp)
    return waves + growth**2 * walks


def sample(table: dict[str, list[float]]) -> dict[str, np.ndarray]:
    """Draws {name: [chains, draws]} of totals and scales."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    jax.config.update("jax_enable_x64", True)
    numpyro.set_host_device_count(1)
    n, d, s, loss = (np.array(table[name]) for name in ("params", "tokens", "sparsity", "loss_nats"))
    z = np.stack([np.log(n), np.log(d), -np.log(1 - s)], axis=1)
    covariance = misfit_covariance((z - z.mean(0)) / z.std(0))
    x, y, used = (v / np.exp(np.log(v).mean()) for v in (n, d, 1 - s))
    observed = np.log(loss)

    def model():
        level = numpyro.sample("level", dist.LogNormal(observed.mean(), 0.3))
        share = {}
        for name, median in SHARES.items():
            odds = numpyro.sample(f"{name}_odds", dist.Normal(np.log(median / (1 - median)), 1.0))
            share[name] = numpyro.deterministic(name, jax.nn.sigmoid(odds))
        alpha = numpyro.sample("alpha", dist.LogNormal(np.log(0.35), 0.5))
        beta = numpyro.sample("beta", dist.LogNormal(np.log(0.35), 0.5))
        gamma = numpyro.deterministic(
            "gamma", alpha * jax.nn.sigmoid(numpyro.sample("ratio_odds", dist.Normal(0.0, 1.0)))
        )
        lam = numpyro.sample("lambda", dist.Normal(0.0, 0.3))
        delta = numpyro.sample("delta", dist.Normal(0.0, 0.3))
        tau = numpyro.sample("discrepancy_scale", dist.LogNormal(np.log(0.02), 1.0))
        sigma = numpyro.sample("noise_scale", dist.LogNormal(np.log(0.01), 1.0))
        rest = 1 - share["data_share"]
        floor, size = rest * share["floor_of_rest"], rest * (1 - share["floor_of_rest"])
        tilt, plain = share["floor_tilt_share"], share["size_plain_share"]
        curve = level * (
            share["data_share"] * y**-beta
            + floor * (tilt * used**-lam + 1 - tilt)
            + size * (plain * x**-alpha + (1 - plain) * used**-delta * x**-gamma)
        )
        whole = tau**2 * covariance + sigma**2 * jnp.eye(len(observed))
        numpyro.sample("rows", dist.MultivariateNormal(jnp.log(curve), whole), obs=observed)

    kernel = numpyro.infer.NUTS(
        model, target_accept_prob=0.98, init_strategy=numpyro.infer.init_to_median(), dense_mass=True
    )
    run = numpyro.infer.MCMC(
        kernel, num_warmup=1000, num_samples=1500, num_chains=4, chain_method="sequential", progress_bar=False
    )
    run.run(jax.random.PRNGKey(5))
    run.print_summary()
    kept = run.get_samples(group_by_chain=True)
    return {name: np.asarray(v) for name, v in kept.items() if not name.endswith("_odds")}


def main(path: str) -> None:
    """Write the file."""
    import arviz as az

    table = rows()
    found = {}
    for name, draws in sample(table).items():
        errors = [float(az.mcse(draws, method="quantile", prob=q)) for q in QUANTILES]
        found[name] = {"quantiles": np.quantile(draws, QUANTILES).tolist(), "errors": errors,
                       "rhat": float(az.rhat(draws))}  # fmt: skip
    with open(path, "w") as file:
        json.dump({"quantiles": QUANTILES, "rows": table, "found": found}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
