"""Checked rows made ready for a model: their units, the basis of the misfit, and the model's data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moebook.bayes.data import Rows
from moebook.bayes.discrepancy import Basis, fitted_basis, rotation_over
from moebook.bayes.model import Form, data_of, integrates_level
from moebook.bayes.priors import Priors
from moebook.laws import Law


@dataclass(frozen=True)
class Prepared:
    """What the model needs of some rows.

    units: geometric means of the law's quantities; basis: of the misfit; form: what the model's graph depends
    on; scaled: for each exponent of the noise (basis over noise [rows, functions], rotated so that its
    columns are orthogonal; that noise [rows]; the rotation from the raw basis); level: whether the
    model integrates the level out.
    """

    units: dict[str, float]
    basis: Basis
    form: Form
    scaled: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    level: bool

    @classmethod
    def of(cls, law: Law, rows: Rows, priors: Priors) -> Prepared:
        """From checked rows."""
        values = rows.ordered(law)
        basis = fitted_basis(
            law.columns, values, priors.pairs, priors.length_median, priors.length_spread, priors.growth
        )
        scaled = []
        for noise in rows.effects.noise_of_rows():
            raw = basis.raw(*values) / noise[:, None]
            rotation = rotation_over(raw)
            scaled.append((raw @ rotation, noise, rotation))
        form = Form(
            basis.rotation.shape[1],
            len(rows.effects.groups),
            len(rows.effects.covariates),
            max(1, len(scaled)),
        )
        return cls(law.units(*values), basis, form, scaled, integrates_level(priors, form))

    def data(self, law: Law, rows: Rows) -> dict[str, np.ndarray]:
        """The rows as data of the model."""
        return data_of(
            law,
            rows.ordered(law),
            rows.loss_nats,
            self.units,
            self.basis,
            group=rows.effects.group_of_row,
            covariates=rows.effects.matrix(),
            scaled=[(phi, noise) for phi, noise, _ in self.scaled] or None,
            level=self.level,
        )
