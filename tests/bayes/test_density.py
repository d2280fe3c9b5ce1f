"""One function from a whole graph: its density is that of the graph, its text hangs on the graph alone."""


import numpy as np
import nutpie
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest

from moebook import laws
from moebook.bayes import compiled  # noqa: F401  lifts PyTensor's limit on fusion
from moebook.bayes.density import _MODE, compile_model
from moebook.bayes.elementary import NAMES
from moebook.bayes.kernel import write
from moebook.bayes.model import Form, build, sampled_names
from moebook.bayes.priors import Priors
from moebook.bayes.writer import CannotWrite

SMALL = Priors(pairs=4, growth=0.0)


def random_rows(made, rows=7):
    """{name: values} of the data of a compiled model, of so many rows."""
    rng = np.random.default_rng(0)
    shapes = {name: values.shape for name, values in made.shared_data.items()}
    return {n: rng.uniform(0.1, 0.9, (rows, *s[1:]) if s[:1] == (2,) else s) for n, s in shapes.items()}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("chinchilla", Form(8)),
        pytest.param("chinchilla", Form(8, covariates=2), marks=pytest.mark.slow),
        pytest.param("abnar", Form(8), marks=pytest.mark.slow),
        pytest.param("ludziejewski", Form(8), marks=pytest.mark.slow),
    ],
)
def test_the_density_is_that_of_the_graph(name, form, evaluate, monkeypatch):
    monkeypatch.setattr(nutpie, "compile_pymc_model", None)  # written here, not by nutpie
    law = laws.get(name)
    model = build(law, SMALL, form)
    made = compile_model(model, list(sampled_names(law, SMALL, form)))
    rows = random_rows(made)
    made = made.with_data(**rows)
    with model:
        pm.set_data(rows)
    plain = evaluate.uncompiled(model, made)
    for seed in range(3):
        point = np.random.default_rng(seed).normal(0, 0.3, made.n_dim)
        value, gradient = evaluate.log_density(made, point)
        expected, slopes = plain(point)
        assert value == pytest.approx(expected, rel=1e-12)
        assert gradient == pytest.approx(slopes, rel=1e-9, abs=1e-10 * np.abs(slopes).max())


def test_a_point_without_a_density_is_rejected(evaluate):
    with pm.Model() as model:
        x = pm.Normal("x", shape=2)
        pm.Potential("edge", pt.log(x[0]) + x[1])
    made = compile_model(model, ["x"])
    assert evaluate.log_density(made, [1.0, 2.0])[0] == pytest.approx(-np.log(2 * np.pi) - 2.5 + 2.0)
    with pytest.raises(AssertionError):
        evaluate.log_density(made, [-1.0, 2.0])


def written(outputs, inputs):
    """The text of a graph's function, and the function."""
    graph = pytensor.function(inputs, outputs, mode=_MODE, on_unused_input="ignore").maker.fgraph
    names = [f"input_{i}" for i in range(len(inputs))]
    lines, found = write(graph, dict(zip(graph.inputs, names, strict=True)))
    text = "\n".join([f"def f({', '.join(names)}):", *lines, f"    return {', '.join(found)}"])
    scope = dict(NAMES)
    exec(text, scope)
    return text, scope["f"]


def test_operations_by_hand():
    """Numbers, vectors, rows, columns, tables, and their products."""
    x, v, m = pt.dscalar("x"), pt.dvector("v"), pt.dmatrix("m")
    outputs = [
        pt.sum(v**x), pt.dot(m.T, v), pt.dot(m, v[:2]), pt.sum(m * v[:, None], axis=0), pt.softplus(x),
        pt.dot(v, v * x), pt.switch(x > 0, v, -v), pt.concatenate([v, x[None], v[1:2]]), pt.sigmoid(v[2]),
        pt.log1p(pt.expm1(x)), pt.sqrt(abs(x)), (m / v[:, None]).T, pt.sum(m), v.shape[0] * x,
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    given = 0.7, rng.uniform(0.1, 2, 3), rng.normal(size=(3, 2))
    expected = pytensor.function([x, v, m], outputs, mode="FAST_COMPILE")(*given)
    for i, (found, right) in enumerate(zip(written(outputs, [x, v, m])[1](*given), expected, strict=True)):
        np.testing.assert_allclose(found, right, rtol=1e-13, err_msg=str(i))


def test_the_text_hangs_on_the_graph_alone():
    """PyTensor orders the nodes of a graph by their addresses."""

    def text():
        parts = [pt.dscalar() for _ in range(6)]
        sums = [pt.exp(a) * b + pt.log(b) for a, b in zip(parts, parts[1:], strict=False)]
        return written([sum(sums), *pytensor.grad(sum(sums), parts)], parts)[0]

    assert len({text() for _ in range(4)}) == 1


def test_what_cannot_be_written_is_left_to_nutpie(monkeypatch):
    with pm.Model() as model:
        x = pm.Normal("x", shape=3)
        pm.Potential("largest", pt.max(x))
    v = pt.dvector("v")
    with pytest.raises(CannotWrite, match="Max"):
        written([pt.max(v)], [v])
    monkeypatch.setattr(nutpie, "compile_pymc_model", lambda model, var_names: ("by nutpie", var_names))
    assert compile_model(model, ["x"]) == ("by nutpie", ["x"])

