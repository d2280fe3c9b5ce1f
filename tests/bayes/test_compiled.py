"""Machine code that is kept: another process samples the same bits without compiling."""

import dataclasses

import numpy as np
import pytest

from moebook import bayes, laws
from moebook.bayes import compiled
from moebook.bayes.identity import identity, ingredients
from moebook.bayes.model import Form
from moebook.bayes.priors import Priors
from moebook.bayes.request import Sampler

SMALL = Priors(pairs=4, growth=0.0)


class Compiled(Exception):
    """Something was compiled."""


def refuse(*args, **kwargs):
    raise Compiled


@pytest.mark.slow
def test_a_second_process_reads_what_the_first_compiled(made, tmp_path, monkeypatch):
    """Here a process whose memory of models is empty stands for one that has compiled nothing."""
    monkeypatch.setenv("MOEBOOK_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled, "_MADE", {})
    settings = {"priors": SMALL, "draws": 50, "tune": 50, "progress": False}
    first = bayes.fit(made.made_runs(), "chinchilla", **settings)
    (file,) = (tmp_path / "compiled").iterdir()

    monkeypatch.setattr(compiled, "_MADE", {})
    monkeypatch.setattr(compiled, "compile_model", refuse)
    again = bayes.fit(made.made_runs(), "chinchilla", **settings)
    for name in first.data.posterior.data_vars:
        assert np.array_equal(first.draws(name), again.draws(name)), name
    other = bayes.fit(made.made_runs(seed=5), "chinchilla", **settings)
    assert not np.array_equal(other.draws("alpha"), again.draws("alpha")), "other rows, same code"

    monkeypatch.setattr(compiled, "_MADE", {})
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(Compiled):
        bayes.fit(made.made_runs(), "chinchilla", **settings)


def test_where_machine_code_cannot_be_kept_the_fit_goes_on(made, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MOEBOOK_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(compiled, "_MADE", {})
    with pytest.warns(UserWarning, match="machine code is not kept.*file"):
        model, code = compiled.compiled_model(laws.get("chinchilla"), SMALL, Form(8))
    assert code.n_dim == len(model.free_RVs)


def other_clark():
    """Clark's law with another prior than its source states."""
    law = laws.get("clark")
    c = dataclasses.replace(law.priors["c"], spread=0.5)
    return dataclasses.replace(law, priors={**law.priors, "c": c})


def test_a_law_with_other_priors_is_another_posterior():
    def of(law):
        return identity(ingredients("00" * 32, law, SMALL, Sampler(), 0))

    assert of(laws.get("clark")) != of(other_clark())


def test_code_is_kept_apart_by_all_that_decides_it(monkeypatch):
    law, form = laws.get("chinchilla"), Form(8)
    keys = {
        compiled._key(law, SMALL, form),
        compiled._key(laws.get("abnar"), SMALL, form),
        compiled._key(law, Priors(pairs=4), form),
        compiled._key(law, SMALL, Form(8, groups=2)),
        compiled._key(laws.get("clark"), SMALL, form),
        compiled._key(other_clark(), SMALL, form),
        compiled._key(law, SMALL, form, reduced=True),
    }
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0")
    keys.add(compiled._key(law, SMALL, form))
    assert len(keys) == 8


def test_pytensor_fuses_without_its_limit_on_operands():
    """A density of one loop, not a hundred: PyTensor warns where it gives up."""
    import pytensor.tensor.rewriting.elemwise as fusion

    assert fusion.elemwise_max_operands_fct(None) >= 1024
