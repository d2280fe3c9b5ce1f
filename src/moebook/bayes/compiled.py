"""A law's model as machine code: compiled once, kept for other processes, the same bits either way.

Compiling takes ten seconds of a core, nearly all of it Numba's; reading machine code takes a tenth of one.
Numba's own cache cannot keep functions made from text: the object code is kept here, by Numba's own
serialisation, under a hash of everything that decides it: the sources of law and model, priors, versions, and
the processor. A damaged file is compiled anew. Where nothing can be written, nothing is kept.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import pickle
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import pymc as pm
import pytensor.tensor.rewriting.elemwise as fusion
from numba.core.registry import cpu_target
from nutpie import compile_pymc as parts

from moebook import laws
from moebook.bayes.density import compile_model, starting_point
from moebook.bayes.identity import plain
from moebook.bayes.model import Form, build, sampled_names
from moebook.bayes.priors import Priors
from moebook.bayes.reduced import build as build_reduced
from moebook.errors import InputError
from moebook.files import cache_folder, canonical_json, sha256_hex, write_atomic
from moebook.laws import prior

# PyTensor fuses up to 32 operands where there is no C compiler, a limit of NumPy's loops that Numba has not.
# Left alone, the density stays a hundred loops over the rows: twice the compiling, a third more sampling.
fusion.elemwise_max_operands_fct = lambda node: 1024

_KEPT = ("shared_data", "user_data", "n_expanded", "shape_info", "_n_dim", "_shapes", "_coords", "dims")
_CODE = ("compiled_logp_func", "compiled_expand_func")
_MADE: dict[tuple[Any, ...], tuple[pm.Model, Any]] = {}


def compiled_model(
    law: laws.Law, priors: Priors, form: Form, reduced: bool = False
) -> tuple[pm.Model, Any]:
    """A law's model and its compiled form, which takes any rows (`model.data_of`); once in a process.

    reduced: the model of `moebook.bayes.reduced`, which takes a `Reduction`'s data.
    """
    key = (law.function, law.totals, tuple(law.priors.items()), priors, form, reduced)
    if key not in _MADE:
        model = (build_reduced if reduced else build)(law, priors, form)
        kept = [*sampled_names(law, priors, form), *(["discrepancy_weights"] if priors.robust else [])]
        file = cache_folder() / "compiled" / f"{_key(law, priors, form, reduced)}.numba"
        compiled = _read(file, model)
        if compiled is None:
            compiled = compile_model(model, kept)
            _write(file, compiled)
        _MADE[key] = model, compiled
    return _MADE[key]


def _key(law: laws.Law, priors: Priors, form: Form, reduced: bool = False) -> str:
    """sha256 of everything that decides the machine code."""
    folder = Path(__file__).parent
    own = ("compiled.py", "density.py", "elementary.py", "kernel.py", "model.py", "reduced.py", "totals.py",
           "writer.py")  # fmt: skip
    sources = [*law.files(), Path(prior.__file__), *(folder / name for name in own)]
    code = {
        "law": law.name,
        "sources": [sha256_hex(path.read_bytes()) for path in sources],
        "priors": asdict(priors),
        "law_priors": {name: asdict(prior) for name, prior in law.priors.items()},
        "form": asdict(form),
        "reduced": reduced,
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("llvmlite", "numba", "numpy", "nutpie", "pandas", "pymc", "pytensor", "scipy")
        },
        "python": list(sys.version_info[:2]),
        "processor": [str(part) for part in cpu_target.target_context.codegen().magic_tuple()],
        "options": [str(getattr(numba.config, name)) for name in ("OPT", "CPU_NAME", "CPU_FEATURES")],
    }
    return sha256_hex(canonical_json(plain(code, "compiled")))[:32]


def _write(file: Path, compiled: Any) -> None:
    """Keep the machine code, unless it holds addresses of this process."""
    functions = [getattr(compiled, name) for name in _CODE]
    if any(function._library.has_dynamic_globals for function in functions):
        return
    code = [(f._library.serialize_using_object_code(), f._wrapper_name) for f in functions]
    content = pickle.dumps((code, {name: getattr(compiled, name) for name in _KEPT}))
    try:
        write_atomic(file, hashlib.sha256(content).digest() + content)
    except InputError as error:
        warnings.warn(f"machine code is not kept, the next process compiles again: {error}", stacklevel=2)


def _read(file: Path, model: pm.Model) -> Any | None:
    """What `_write` kept, bound to a model; None where there is no whole file."""
    stored = file.read_bytes() if file.is_file() else b""
    digest, content = stored[:32], stored[32:]
    if hashlib.sha256(content).digest() != digest:
        return None
    code, kept = pickle.loads(content)
    codegen = cpu_target.target_context.codegen()
    functions = {}
    for name, (state, wrapper) in zip(_CODE, code, strict=True):
        library = codegen.unserialize_library(state)
        # The library is held on to: its memory is the code.
        functions[name] = SimpleNamespace(address=library.get_pointer_to_function(wrapper), library=library)
    kept["user_data"] = parts.update_user_data(kept["user_data"], kept["shared_data"])
    names = [model.rvs_to_values[variable].name for variable in model.free_RVs]
    return parts.CompiledPyMCModel(
        **functions,
        **kept,
        initial_point_func=parts._rv_dict_to_flat_array_wrapper(
            starting_point(model), names=names, shapes=[kept["_shapes"][name] for name in names]
        ),
        logp_func=None,
        expand_func=None,
    )
