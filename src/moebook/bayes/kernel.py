"""One Numba function from a PyTensor graph: numbers are statements, arrays are loops.

PyTensor gives Numba each node of a graph as a function of its own; a log density with its gradient has more
than a hundred, and their type inference and linking take most of a minute. Here the same optimised graph is
written out as the text of a single function, which takes Numba a few seconds.

A variable with no dimension longer than one is a number, whatever its rank. Powers are exp(y log x), so that
what shares a base shares its logarithm: bases are positive, as all quantities of a law are.
"""

from __future__ import annotations

from collections.abc import Mapping

from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.math import Sum

from moebook.bayes.writer import Writer, in_order, is_single


def write(graph: FunctionGraph, inputs: Mapping[Variable, str]) -> tuple[list[str], list[str]]:
    """(lines of Python that compute the graph, an expression for each of its outputs).

    inputs: the name of each input of the graph, a float or a C-contiguous array of floats.
    Raises moebook.bayes.writer.CannotWrite.
    """
    writer = Writer(inputs, _only_summed(graph))
    for node in in_order(graph):
        writer.node(node)
    return writer.lines, [writer.name(out) for out in graph.outputs]


def _only_summed(graph: FunctionGraph) -> set[Variable]:
    """Arrays of which nothing but the sum over all elements is wanted."""
    return {
        out
        for node in graph.apply_nodes
        if isinstance(node.op, Elemwise)
        for out in node.outputs
        if not is_single(out)
        and all(isinstance(c, Apply) and isinstance(c.op, Sum) and is_single(c.outputs[0])
                for c, _ in graph.clients[out])
    }  # fmt: skip
