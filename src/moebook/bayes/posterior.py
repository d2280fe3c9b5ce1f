"""A posterior: draws of a law's totals and of its misfit, each draw a loss surface; its file form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import xarray as xr

from moebook import laws
from moebook.bayes.discrepancy import Basis
from moebook.errors import InputError
from moebook.files import sha256_hex, write_atomic
from moebook.laws.powers import Positive

DRAWS_FILE = "posterior.nc"
SUMMARY_FILE = "summary.json"


@dataclass(frozen=True)
class Posterior:
    """Draws and what is known about them.

    data: InferenceData with the groups
        `posterior`  [chain, draw]: totals of the law, discrepancy_scale, noise_scale, tail (where the noise
                     is a Student-t), discrepancy_weights [chain, draw, function]; with groups group_scale
                     and group_offset [.., group], with covariates covariate_linear and covariate_square
                     [.., covariate], with noise that changes with compute noise_exponent
        `prior`      the same scalars drawn from the prior [chain, draw]
        `constant_data`  the basis of the misfit, the units of the law's quantities
        `observed_data`  the fitted rows: the law's columns and loss_nats [row]
    summary: what `summary.json` holds: status, identity and its ingredients, gates, estimates, checks.
    """

    data: az.InferenceData
    summary: dict[str, Any]

    @property
    def identity(self) -> str:
        """sha256 of everything that decides the posterior."""
        return self.summary["identity"]

    @property
    def passed(self) -> bool:
        """Whether every gate holds."""
        return self.summary["status"] == "passed"

    @cached_property
    def law(self) -> laws.Law:
        """The law that was fitted."""
        return laws.get(self.summary["law"])

    @property
    def chains(self) -> int:
        """Number of chains; draws are ordered chain by chain."""
        return self.data.posterior.sizes["chain"]

    @cached_property
    def units(self) -> dict[str, float]:
        """Geometric means over the fitted rows of the quantities that the law takes powers of."""
        return {name: float(value) for name, value in self.summary["units"].items()}

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """The fitted rows: {column of the law or loss_nats: [rows]}."""
        return {str(name): values.values for name, values in self.data.observed_data.data_vars.items()}

    @cached_property
    def compute_flops(self) -> np.ndarray | None:
        """Training compute of the fitted rows [rows], or None where the table did not say."""
        stored = self.data.constant_data
        return stored["compute_flops"].values.astype(float) if "compute_flops" in stored else None

    @cached_property
    def row_numbers(self) -> np.ndarray:
        """Number of each fitted row in the table that it came from; of the stored order, where unknown."""
        stored = self.data.constant_data
        if "row_number" in stored:
            return stored["row_number"].values
        return np.arange(1, self.data.observed_data.sizes["row"] + 1)

    @cached_property
    def basis(self) -> Basis:
        """The basis of the misfit."""
        stored = self.data.constant_data
        return Basis(
            self.law.columns,
            *(stored[name].values.astype(float) for name in ("centre", "scale", "frequencies", "rotation")),
            growth=float(stored["growth"]) if "growth" in stored else 0.0,
        )

    def draws(self, name: str, group: str = "posterior") -> np.ndarray:
        """Draws of one stored quantity [draws], or [draws, functions] for the weights; float64."""
        values = self.data[group][name].values
        return values.reshape(-1, *values.shape[2:]).astype(float)

    def totals(self, group: str = "posterior") -> dict[str, np.ndarray]:
        """The law's identified parameters {name: [draws]}."""
        return {name: self.draws(name, group) for name in self.law.totals}

    def coefficients(self, group: str = "posterior") -> dict[str, np.ndarray]:
        """The law's raw coefficients {name: [draws]}, for params and tokens in plain counts."""
        return self.law.plain_coefficients(self.totals(group), self.units)

    def predict(
        self,
        params: Any = None,
        tokens: Any = None,
        sparsity: Any = None,
        discrepancy: bool = True,
        noise: bool = False,
        seed: int = 0,
        **columns: Any,
    ) -> np.ndarray:
        """Loss in nats [draws, points] at the law's columns, [points] or one each.

        params, tokens are counts, sparsity lies in [0, 1); other columns by their names, as in experts=64.
        A column that the law does not read is ignored.
        discrepancy: with the law's misfit, which is part of what is believed about the loss;
        noise: with the noise of one new run, drawn with `seed`.
        """
        points = self.surface(params, tokens, sparsity, discrepancy=discrepancy, **columns)(slice(None))
        points = points.reshape(len(points), -1)
        return points * np.exp(self.noise(points.shape[1], seed=seed)) if noise else points

    def surface(
        self,
        params: Any = None,
        tokens: Any = None,
        sparsity: Any = None,
        group: str = "posterior",
        discrepancy: bool = True,
        **columns: Any,
    ) -> Surface:
        """The loss at points of any shape, for a few draws at a time; columns as in `predict`, broadcast."""
        given = {"params": params, "tokens": tokens, "sparsity": sparsity, **columns}
        checked = {name: _checked(name, given.get(name), self.law) for name in self.law.columns}
        return Surface(self, list(checked.values()), group, discrepancy)

    def shift_of_rows(self, group: str = "posterior") -> np.ndarray:
        """What groups and covariates add to the log loss of the fitted rows [draws, rows]; [1, 1] of 0
        where there are none."""
        stored, shift = self.data.constant_data, np.zeros((1, 1))
        if "group_of_row" in stored:
            shift = shift + self.draws("group_offset", group)[:, stored["group_of_row"].values]
        if "covariate_of_row" in stored:
            x = stored["covariate_of_row"].values
            for name, values in (("covariate_linear", x), ("covariate_square", x**2)):
                shift = shift + self.draws(name, group) @ values.T
        return shift

    def shift_of_groups(self, names: Sequence[str | None], seed: int = 0) -> np.ndarray:
        """What being of a group adds to log loss [draws, points]; names: the group of each point, or None
        for one that was not fitted, the same new group for all such points."""
        if "group_offset" not in self.data.posterior:
            return np.zeros((1, len(names)))
        known = [str(name) for name in self.data.constant_data["group"].values]
        offsets, scale = self.draws("group_offset"), self.draws("group_scale")
        new = scale * np.random.default_rng([seed, 5]).standard_normal(len(scale))
        return np.stack([offsets[:, known.index(n)] if n in known else new for n in names], axis=1)

    def residual(self, misfit: bool) -> np.ndarray:
        """Observed minus predicted log loss of the fitted rows [draws, rows]; misfit: predicted with it."""
        surface = Surface(self, [self.rows[name] for name in self.law.columns], "posterior", misfit)
        return np.log(self.rows["loss_nats"]) - np.log(surface(slice(None))) - self.shift_of_rows()

    def noise(
        self, points: int, group: str = "posterior", seed: int = 0, compute_flops: np.ndarray | None = None
    ) -> np.ndarray:
        """Noise of log loss [draws, points] of one new run a point, at compute_flops [points] where it
        changes with them (where they are not given: at the centre of the rows)."""
        scale, generator = self.noise_scale(group, compute_flops), np.random.default_rng([seed, 1])
        if "tail" not in self.data[group]:
            return scale * generator.standard_normal((len(scale), points))
        return scale * generator.standard_t(1 / self.draws("tail", group)[:, None], (len(scale), points))

    def noise_scale(self, group: str = "posterior", compute_flops: np.ndarray | None = None) -> np.ndarray:
        """Scale of the noise [draws, 1], or [draws, points] where it changes with compute_flops [points]."""
        scale = self.draws("noise_scale", group)[:, None]
        if compute_flops is None or self.compute_flops is None or "noise_exponent" not in self.data[group]:
            return scale
        logs = np.log(compute_flops) - np.log(self.compute_flops).mean()
        return scale * np.exp(-self.draws("noise_exponent", group)[:, None] * logs)

    def weights(self, group: str = "posterior") -> np.ndarray:
        """Weights of the misfit's basis [draws, functions], on log loss."""
        scale = self.draws("discrepancy_scale", group)[:, None]
        if group == "prior":
            size = (len(scale), self.basis.rotation.shape[1])
            return scale * np.random.default_rng(2).standard_normal(size)
        return scale * self.draws("discrepancy_weights", group)

    def save(self, folder: Path | str) -> None:
        """Write posterior.nc and summary.json into `folder`."""
        folder = Path(folder)
        unfinished = folder / f".{DRAWS_FILE}.tmp"
        json.dumps(self.summary, allow_nan=False)  # what cannot be told is not begun
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for i, group in enumerate(self.data.groups()):
                dataset = self.data[group].copy()
                dataset.attrs = {}
                coding = {name: {"zlib": True, "shuffle": True} for name in dataset.data_vars}
                dataset.to_netcdf(
                    unfinished, group=group, mode="a" if i else "w", engine="h5netcdf", encoding=coding
                )
            content = unfinished.read_bytes()
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from error
        finally:
            unfinished.unlink(missing_ok=True)
        write_atomic(folder / DRAWS_FILE, content)
        summary = {**self.summary, "draws_sha256": sha256_hex(content)}
        write_atomic(
            folder / SUMMARY_FILE, json.dumps(summary, indent=1, sort_keys=True, allow_nan=False) + "\n"
        )

    @classmethod
    def load(cls, folder: Path | str) -> Posterior:
        """Read what `save` wrote; InputError names what is missing or broken."""
        folder = Path(folder)
        for name in (DRAWS_FILE, SUMMARY_FILE):
            if not (folder / name).is_file():
                raise InputError(
                    f"{folder / name}: no such file; a posterior is a folder that `moebook fit` wrote"
                )
        summary = read_summary(folder)
        expected = summary.pop("draws_sha256", None)
        if expected is not None and sha256_hex((folder / DRAWS_FILE).read_bytes()) != expected:
            raise InputError(
                f"{folder / DRAWS_FILE}: is not the file that {SUMMARY_FILE} describes: it was cut, changed, "
                "or belongs to another fit"
            )
        groups = {}
        try:
            for group in ("posterior", "prior", "constant_data", "observed_data"):
                with xr.open_dataset(folder / DRAWS_FILE, group=group, engine="h5netcdf") as dataset:
                    groups[group] = dataset.load()
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{folder / DRAWS_FILE}: cannot be read: {error}") from error
        return cls(az.InferenceData(**groups), summary)


def read_summary(folder: Path | str) -> dict[str, Any]:
    """summary.json of a stored posterior, without its draws."""
    path = Path(folder) / SUMMARY_FILE
    try:
        summary = json.loads(path.read_text("utf-8"))
        if summary["format"] != 1:
            raise ValueError(f"format {summary['format']!r} is not 1")
        for name in ("identity", "status", "law", "units", "gates"):
            summary[name]
        return summary
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: is not the summary of a posterior: {error}") from error


class Surface:
    """Loss in nats of draws at fixed points: surface(slice of draws) -> [draws, *points]. The columns
    broadcast to the points; of one that is shorter, powers are taken only once."""

    def __init__(
        self, posterior: Posterior, columns: list[np.ndarray], group: str, discrepancy: bool
    ) -> None:
        self._law = posterior.law.at(posterior.units)
        self._shape = np.broadcast_shapes(*(column.shape for column in columns)) or (1,)
        short = [column.reshape((1,) * (len(self._shape) - column.ndim) + column.shape) for column in columns]
        in_units = self._law.in_units(posterior.units, *short)
        self._columns = [np.asarray(column).view(Positive) for column in in_units]
        self._totals = posterior.totals(group)
        full = (np.broadcast_to(column, self._shape).ravel() for column in columns)
        self._phi = posterior.basis(*full).T if discrepancy else None
        self._weights = posterior.weights(group) if discrepancy else None
        self.draws = len(self._totals["level"])

    def __call__(self, draws: slice) -> np.ndarray:
        """Loss in nats [draws, *points] of these draws."""
        over = (slice(None), *(None for _ in self._shape))
        totals = {name: values[draws][over] for name, values in self._totals.items()}
        loss = np.asarray(self._law(self._law.from_totals(totals), *self._columns))
        loss = np.broadcast_to(loss, (len(loss), *self._shape))
        if self._phi is None:
            return loss.copy()
        return loss * np.exp(self._weights[draws] @ self._phi).reshape(loss.shape)


def _checked(name: str, values: Any, law: laws.Law) -> np.ndarray:
    """A column to predict at, in its range, or InputError."""
    if values is None:
        raise InputError(f"predict: {name}: missing; the law {law.name} reads it")
    array = np.asarray(values, dtype=float)
    good = (array >= 0) & (array < 1) if name == "sparsity" else (array > 0) & np.isfinite(array)
    if not good.all():
        demand = "must lie in [0, 1)" if name == "sparsity" else "must be a positive number"
        raise InputError(f"predict: {name}: {array[~good].flat[0]}: {demand}")
    return array
