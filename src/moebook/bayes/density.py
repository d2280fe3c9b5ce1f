"""A PyMC model as nutpie takes it: its log density with gradient, and what is kept, are one function each.

nutpie makes the optimised graphs, and its samplers call C functions (arguments: sizes, pointers, addresses of
the rows); `kernel` writes the functions out, Numba compiles them. A graph that `kernel` cannot write is
compiled by nutpie itself: the same density, several times the compiling.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import nutpie
import pymc as pm
from nutpie import compile_pymc as parts
from pymc.initial_point import make_initial_point_fn
from pytensor.compile.mode import Mode, get_mode
from pytensor.link.numba.linker import NumbaLinker

from moebook.bayes.elementary import FAST_MATH, NAMES
from moebook.bayes.kernel import write
from moebook.bayes.writer import CannotWrite

_INTEGER, _SIZE, _ADDRESS = numba.types.int64, numba.types.uint64, numba.types.voidptr
_NUMBERS = numba.types.CPointer(numba.types.double)
#: PyTensor's rewriting for Numba, without a function for each node; distributing products takes the longest
#: and makes sums of more terms.
_MODE = Mode(
    "py",
    get_mode("NUMBA").provided_optimizer.excluding(
        *NumbaLinker.incompatible_rewrites, "local_greedy_distributor"
    ),
)
_OPTIONS = {"fastmath": FAST_MATH, "error_model": "numpy"}


def compile_model(model: pm.Model, kept: list[str]) -> parts.CompiledPyMCModel:
    """The model compiled for nutpie; kept: names of the quantities that a trace shall hold."""
    graphs = parts._make_functions(
        model, mode=_MODE, compute_grad=True, join_expanded=True,
        pymc_initial_point_fn=starting_point(model), var_names=kept,
    )  # fmt: skip
    size, expanded_size, density, expand, initial, shapes = graphs
    variables = {v.name: v for v in [*density.get_shared(), *expand.get_shared()]}
    data = {name: np.array(v.get_value(), order="C") for name, v in variables.items()}
    for values in data.values():
        values.flags.writeable = False
    addresses = parts.make_user_data(variables, data)
    try:
        functions = _log_density(density, addresses, size), _expansion(expand, addresses, size, expanded_size)
    except CannotWrite:
        return nutpie.compile_pymc_model(model, var_names=kept)
    dims, coords = parts._prepare_dims_and_coords(model, shapes)
    return parts.CompiledPyMCModel(
        _n_dim=size,
        dims=dims,
        _coords=coords,
        _shapes={name: tuple(shape) for name, _, shape in zip(*shapes, strict=True)},
        compiled_logp_func=functions[0],
        compiled_expand_func=functions[1],
        initial_point_func=initial,
        shared_data=data,
        user_data=addresses,
        n_expanded=expanded_size,
        shape_info=shapes,
        logp_func=density,
        expand_func=expand,
    )


def starting_point(model: pm.Model) -> Any:
    """nutpie's way to start a chain: at each variable's central value, plus a number between -1 and 1."""
    start = make_initial_point_fn(
        model=model, return_transformed=True, default_strategy="support_point", jitter_rvs=set(model.free_RVs)
    )
    return parts._wrap_with_lock(start)


def _log_density(function: Any, addresses: np.ndarray, size: int) -> Any:
    """(size, point, gradient, log density, addresses) -> 0, or what is wrong: 3 and 4 reject a proposal."""
    lines, (value, gradient) = _body(function, addresses, size)
    lines += [
        f"    log_density[0] = {value}",
        f"    if not np.isfinite({value}):",
        "        return 4",
        f"    for i in range({size}):",
        f"        out[i] = {gradient}[i]",
        f"        if not np.isfinite({gradient}[i]):",
        "            return 3",
        "    return 0",
    ]
    head = "def log_density(size, point, out, log_density, addresses):"
    signature = _INTEGER(_SIZE, _NUMBERS, _NUMBERS, _NUMBERS, _ADDRESS)
    return _compiled("log_density", [head, *lines], signature)


def _expansion(function: Any, addresses: np.ndarray, size: int, expanded_size: int) -> Any:
    """(size, expanded size, point, out, addresses) -> 0; out: the point and all that is kept."""
    lines, (values,) = _body(function, addresses, size)
    lines += [
        f"    if expanded_size != {expanded_size}:",
        "        return -1",
        f"    for i in range({expanded_size}):",
        f"        out[i] = {values}[i]",
        "    return 0",
    ]
    head = "def expansion(size, expanded_size, point, out, addresses):"
    signature = _INTEGER(_SIZE, _SIZE, _NUMBERS, _NUMBERS, _ADDRESS)
    return _compiled("expansion", [head, *lines], signature)


def _body(function: Any, addresses: np.ndarray, size: int) -> tuple[list[str], list[str]]:
    """Lines that take the point and the rows and compute the graph, and the names of its outputs."""
    graph = function.maker.fgraph
    point, *rows = graph.inputs
    names, words = {point: "x"}, addresses.dtype["shared"]
    first = addresses.dtype.fields["shared"][1]

    def word(part: str, name: str) -> int:
        """Where an address or a shape stands, in words of eight bytes."""
        return (first + words.fields[part][1] + words[part].fields[name][1]) // 8

    lines = [
        f"    if size != {size}:",
        "        return -1",
        f"    x = carray(point, ({size},))",
        f"    word = carray(addresses, ({addresses.dtype.itemsize // 8},), np.uint64)",
    ]
    for i, (variable, shared) in enumerate(zip(rows, function.get_shared(), strict=True)):
        names[variable] = f"data{i}"
        if variable.type.dtype != "float64":
            raise CannotWrite(f"{shared.name}: {variable.type}")
        rank = variable.type.ndim
        shape = [f"int(word[{word('shape', shared.name) + axis}])" for axis in range(rank)] or ["1"]
        taken = f"carray(as_pointer(word[{word('data', shared.name)}]), ({', '.join(shape)},), np.float64)"
        lines.append(f"    data{i} = {taken}" + ("" if rank else "[0]"))
    body, outputs = write(graph, names)
    return lines + body, outputs


def _compiled(name: str, lines: list[str], signature: Any) -> Any:
    """The text of a function as a C callback."""
    found = {**NAMES, "carray": numba.carray, "as_pointer": parts.address_as_void_pointer}
    exec(compile("\n".join(lines), f"<{name}>", "exec"), found)
    return numba.cfunc(signature, **_OPTIONS)(found[name])
