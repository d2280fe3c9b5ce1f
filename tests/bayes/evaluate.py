"""The compiled log density of a model, called as a sampler calls it; and its graph as PyTensor runs it."""

import ctypes

import numpy as np
import pytensor

NUMBER, POINTER = ctypes.c_uint64, ctypes.c_void_p


def log_density(compiled, point):
    """(log density, gradient [size]) of what `compiled_model` makes, with data, at a point [size]."""
    function = ctypes.CFUNCTYPE(ctypes.c_int64, NUMBER, POINTER, POINTER, POINTER, POINTER)(
        compiled.compiled_logp_func.address
    )
    point, gradient, value = np.ascontiguousarray(point, float), np.zeros(compiled.n_dim), np.zeros(1)
    arrays = point, gradient, value, compiled.user_data
    assert function(compiled.n_dim, *(array.ctypes.data for array in arrays)) == 0
    return value[0], gradient


def expanded(compiled, point):
    """{name: values} of all that a trace keeps at a point [size], as the sampler makes it."""
    function = ctypes.CFUNCTYPE(ctypes.c_int64, NUMBER, NUMBER, POINTER, POINTER, POINTER)(
        compiled.compiled_expand_func.address
    )
    point, out = np.ascontiguousarray(point, float), np.zeros(compiled.n_expanded)
    arrays = point, out, compiled.user_data
    assert function(compiled.n_dim, compiled.n_expanded, *(array.ctypes.data for array in arrays)) == 0
    names, slices, shapes = compiled.shape_info
    return {n: out[s].reshape(shape) for n, s, shape in zip(names, slices, shapes, strict=True)}


def uncompiled(model, compiled):
    """point [size] -> (log density, gradient [size]) of the model as it was written, not optimised."""
    values = [model.rvs_to_values[variable] for variable in model.free_RVs]
    density = model.logp()
    function = pytensor.function(values, [density, *pytensor.grad(density, values)], mode="FAST_COMPILE")
    shapes = [compiled.shapes[value.name] for value in values]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    def call(point):
        parts = np.split(np.asarray(point, float), ends[:-1])
        value, *gradient = function(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))
        return float(value), np.concatenate([np.ravel(part) for part in gradient])

    return call
