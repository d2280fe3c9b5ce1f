"""Which laws can be sampled, and what is said of the others before anything is compiled."""

import numpy as np
import pandas as pd
import pytest

from moebook import laws
from moebook.bayes.identity import ingredients
from moebook.bayes.priors import Priors
from moebook.bayes.request import Sampler, request
from moebook.bayes.totals import _BUILDERS
from moebook.errors import InputError


def test_the_laws_said_to_be_sampled_are_those_with_random_totals():
    assert set(laws.SAMPLED) == set(_BUILDERS)


@pytest.mark.parametrize("name", sorted(set(laws.names()) - set(laws.SAMPLED)))
def test_a_law_that_cannot_be_sampled_is_refused_at_once(name):
    table = pd.DataFrame({column: np.linspace(0.1, 0.9, 30) for column in laws.get(name).columns})
    table["loss_nats"] = 2.0
    with pytest.raises(InputError, match=f"law: {name}: cannot be sampled yet; there are abnar, chinchilla"):
        request(table, name)


def test_a_law_is_identified_by_every_file_that_defines_it(monkeypatch):
    """The hash of one file is as before; a helper's file is part of it."""
    from moebook.files import sha256_hex

    def source(law):
        return ingredients("00" * 32, law, Priors(), Sampler(), 0)["law"]["source"]

    abnar, clark = laws.get("abnar"), laws.get("clark")
    assert source(abnar) == sha256_hex(abnar.files()[0].read_text("utf-8"))
    assert source(clark) == sha256_hex("".join(path.read_text("utf-8") for path in clark.files()))
    assert source(clark) != sha256_hex(clark.files()[0].read_text("utf-8"))
