"""The text of a function's body, node by node of a PyTensor graph: numbers are statements, arrays loops."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np
from pytensor.compile.ops import DeepCopyOp
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.raise_op import CheckAndRaise
from pytensor.scalar.basic import Composite, ScalarOp
from pytensor.tensor.basic import Join, MakeVector, ScalarFromTensor, TensorFromScalar
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.math import Dot, Sum
from pytensor.tensor.shape import Reshape, Shape_i, SpecifyShape
from pytensor.tensor.subtensor import Subtensor, indices_from_subtensor

_INFIX = {
    "Add": "+", "Mul": "*", "Sub": "-", "TrueDiv": "/", "GT": ">", "LT": "<", "GE": ">=", "LE": "<=",
    "EQ": "==", "NEQ": "!=", "AND": "and", "OR": "or",
}  # fmt: skip
_WRITTEN = {
    "Abs": "abs({})",
    "Cast": "float({})",
    "Exp": "exp({})",
    "Expm1": "expm1({})",
    "Identity": "{}",
    "Log": "log({})",
    "Log1p": "log1p({})",
    "Neg": "(-{})",
    "Reciprocal": "(1.0 / {})",
    "Second": "{1}",
    "Sigmoid": "(1.0 / (1.0 + exp(-{})))",
    "Softplus": "(max({0}, 0.0) + log1p(exp(-abs({0}))))",
    "Sqr": "({0} * {0})",
    "Sqrt": "sqrt({})",
    "Switch": "({1} if {0} else {2})",
}
_THROUGH = (CheckAndRaise, DeepCopyOp, ScalarFromTensor, SpecifyShape, TensorFromScalar)
_TAB = "    "


class CannotWrite(NotImplementedError):
    """A graph has an operation that is not written here."""


def in_order(graph: FunctionGraph) -> Iterator[Apply]:
    """Nodes after those that they need, in an order that hangs on the graph alone: sums keep their bits."""
    done: set[Apply] = set()
    stack = [(out.owner, False) for out in reversed(graph.outputs) if out.owner]
    while stack:
        node, ready = stack.pop()
        if node in done:
            continue
        if ready:
            done.add(node)
            yield node
            continue
        # What only decides whether to raise is not computed: the shapes are those of one table.
        needed = node.inputs[:1] if isinstance(node.op, CheckAndRaise) else node.inputs
        stack.append((node, True))
        stack += [(i.owner, False) for i in reversed(needed) if i.owner and i.owner not in done]


def is_single(variable: Variable) -> bool:
    """Whether a variable holds one number, in any number of dimensions."""
    return all(getattr(variable.type, "broadcastable", ()))


def _literal(constant: Constant) -> str:
    value = np.asarray(constant.data)
    if value.dtype.kind == "b":
        return repr(bool(value.reshape(())))
    value = float(value.reshape(()))
    return repr(value) if math.isfinite(value) else "nan" if value != value else f"({value})"


class Writer:
    """Lines of a function's body, and the name or expression of each variable that they set."""

    def __init__(self, inputs: Mapping[Variable, str], summed: Set[Variable] = frozenset()) -> None:
        self.lines: list[str] = []
        self.summed = summed
        self.names = dict(inputs)
        self.count = 0

    def put(self, line: str, depth: int = 0) -> None:
        self.lines.append(_TAB * (1 + depth) + line)

    def fresh(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def name(self, variable: Variable) -> str:
        if not isinstance(variable, Constant):
            return self.names[variable]
        if not is_single(variable):
            raise CannotWrite(f"an array constant of {variable.data.size}")
        return _literal(variable)

    def assign(self, expression: str, depth: int = 0) -> str:
        name = self.fresh()
        self.put(f"{name} = {expression}", depth)
        return name

    def node(self, node: Apply) -> None:
        """Write one node."""
        op, out = node.op, node.outputs[0]
        if isinstance(op, Elemwise):
            self.elementwise(node)
        elif isinstance(op, Dot):
            self.names[out] = self.dot(*node.inputs, out)
        elif isinstance(op, Sum):
            self.names[out] = self.sum(op, node.inputs[0], out)
        elif isinstance(op, (Join, MakeVector)):
            self.names[out] = self.joined(node.inputs[isinstance(op, Join) :])
        elif isinstance(op, _THROUGH):
            self.names[out] = self.name(node.inputs[0])
        elif isinstance(op, (DimShuffle, Reshape)):
            self.names[out] = self.reshaped(op, node.inputs[0], out)
        elif isinstance(op, Shape_i):
            self.names[out] = f"{self.name(node.inputs[0])}.shape[{op.i}]"
        elif isinstance(op, Subtensor) and node.inputs[0].type.ndim == 1:
            self.names[out] = self.taken(node)
        else:
            raise CannotWrite(str(op))

    def taken(self, node: Apply) -> str:
        """An element of a vector, or a stretch of it."""
        (index,) = indices_from_subtensor(node.inputs[1:], node.op.idx_list)
        name = self.name(node.inputs[0])
        if not isinstance(index, slice):
            return f"{name}[{_whole(index)}]"
        start = 0 if index.start is None else _whole(index.start)
        if index.step is not None and _whole(index.step) != 1 or start < 0:
            raise CannotWrite(str(node.op))
        if is_single(node.outputs[0]):
            return f"{name}[{start}]"
        stop = "" if index.stop is None else _whole(index.stop)
        return self.assign(f"{name}[{start}:{stop}]")

    def elementwise(self, node: Apply) -> None:
        """A statement, or a loop over the elements of the outputs."""
        rank = node.outputs[0].type.ndim
        if is_single(node.outputs[0]):
            found = self.scalars(node.op.scalar_op, [self.name(i) for i in node.inputs], 0, {})
            self.names |= zip(node.outputs, found, strict=True)
            return
        sizes = ["1"] * rank
        for variable in node.inputs:
            for axis, single in enumerate(variable.type.broadcastable):
                if not single:
                    sizes[axis] = f"{self.name(variable)}.shape[{axis}]"
        empty = f"np.empty(({', '.join(sizes)},))"
        arrays = [self.assign("0.0" if out in self.summed else empty) for out in node.outputs]
        indices = [f"i{axis}" for axis in range(rank)]
        for axis, index in enumerate(indices):
            self.put(f"for {index} in range({sizes[axis]}):", axis)
        taken = []
        for variable in node.inputs:
            if is_single(variable):
                taken.append(self.name(variable))
                continue
            at = ["0" if s else i for i, s in zip(indices, variable.type.broadcastable, strict=True)]
            taken.append(self.assign(f"{self.name(variable)}[{', '.join(at)}]", rank))
        found = self.scalars(node.op.scalar_op, taken, rank, {})
        for out, array, value in zip(node.outputs, arrays, found, strict=True):
            into = f"{array} +" if out in self.summed else f"{array}[{', '.join(indices)}] "
            self.put(f"{into}= {value}", rank)
        self.names |= zip(node.outputs, arrays, strict=True)

    def scalars(self, op: ScalarOp, args: list[str], depth: int, logs: dict[str, str]) -> list[str]:
        """Names of the outputs of a scalar operation; logs: {number: name of its logarithm}."""
        kind = type(op).__name__
        if isinstance(op, Composite):
            names = dict(zip(op.fgraph.inputs, args, strict=True))

            def of(variable: Variable) -> str:
                return _literal(variable) if isinstance(variable, Constant) else names[variable]

            for node in in_order(op.fgraph):
                found = self.scalars(node.op, [of(i) for i in node.inputs], depth, logs)
                names |= zip(node.outputs, found, strict=True)
            return [of(out) for out in op.fgraph.outputs]
        if kind in ("Pow", "Log"):
            base = args[0]
            if base not in logs:
                logs[base] = self.assign(f"log({base})", depth)
            return [logs[base] if kind == "Log" else self.assign(f"exp({args[1]} * {logs[base]})", depth)]
        if kind in _INFIX:
            return [self.assign(f" {_INFIX[kind]} ".join(args), depth)]
        if kind not in _WRITTEN:
            raise CannotWrite(kind)
        return [self.assign(_WRITTEN[kind].format(*args), depth)]

    def flat(self, variable: Variable) -> str:
        """A vector of the elements of an array of at most one long dimension."""
        name = self.name(variable)
        return name if variable.type.ndim == 1 else f"{name}.ravel()"

    def dot(self, a: Variable, b: Variable, out: Variable) -> str:
        if is_single(out):
            total, x, y = self.assign("0.0"), self.assign(self.flat(a)), self.assign(self.flat(b))
            self.put(f"for i in range({x}.shape[0]):")
            self.put(f"{total} += {x}[i] * {y}[i]", 1)
            return total
        matrix, vector = (a, b) if a.type.ndim == 2 and not any(a.type.broadcastable) else (b, a)
        if matrix.type.ndim != 2 or any(matrix.type.broadcastable) or sum(_long(vector)) != 1:
            raise CannotWrite(f"a product of {a.type} and {b.type}")
        name = self.name(matrix)
        transposed = (matrix is b) != name.endswith(".T")
        function = "transposed_product" if transposed else "product"
        found = f"{function}({name.removesuffix('.T')}, {self.flat(vector)})"
        return self.assign(found + _as_shape(out))

    def sum(self, op: Sum, variable: Variable, out: Variable) -> str:
        name, rank = self.name(variable), variable.type.ndim
        if is_single(variable) or variable in self.summed:
            return name
        if is_single(out):
            total = self.assign("0.0")
            into = total
        elif rank == 2 and out.type.ndim == 1:
            total = self.assign(f"np.zeros({name}.shape[{1 - op.axis[0]}])")
            into = f"{total}[i{1 - op.axis[0]}]"
        else:
            raise CannotWrite(f"a sum of {variable.type} to {out.type}")
        for axis in range(rank):
            self.put(f"for i{axis} in range({name}.shape[{axis}]):", axis)
        self.put(f"{into} += {name}[{', '.join(f'i{axis}' for axis in range(rank))}]", rank)
        return total

    def joined(self, members: list[Variable]) -> str:
        """Numbers and vectors one after the other."""
        if any(member.type.ndim > 1 for member in members):
            raise CannotWrite("a join of tables")
        names = [self.name(member) for member in members]
        if len(members) == 1:
            return names[0]
        ends = [f"{n}.shape[0]" if any(_long(m)) else "1" for n, m in zip(names, members, strict=True)]
        array = self.assign(f"np.empty({' + '.join(ends)})")
        end = self.assign("0")
        for name, member, size in zip(names, members, ends, strict=True):
            if any(_long(member)):
                self.put(f"for i in range({size}):")
                self.put(f"{array}[{end} + i] = {name}[i]", 1)
            else:
                self.put(f"{array}[{end}] = {name}")
            self.put(f"{end} += {size}")
        return array

    def reshaped(self, op: DimShuffle | Reshape, variable: Variable, out: Variable) -> str:
        name = self.name(variable)
        if is_single(variable) and is_single(out):
            # An array of one element, as x[0:1] is, becomes a number where it is first taken for one.
            return name
        if isinstance(op, DimShuffle) and tuple(op.new_order) == (1, 0) and not any(out.type.broadcastable):
            return name + ".T"
        if sum(_long(variable)) == 1 and sum(_long(out)) == 1:
            return self.assign(self.flat(variable) + _as_shape(out))
        raise CannotWrite(f"{op} of {variable.type}")


def _whole(index: Any) -> int:
    """A constant index."""
    if isinstance(index, Variable) and not isinstance(index, Constant):
        raise CannotWrite(f"an index that varies: {index}")
    return int(index.data if isinstance(index, Constant) else index)


def _long(variable: Variable) -> list[bool]:
    """Which dimensions may hold more than one element."""
    return [not single for single in variable.type.broadcastable]


def _as_shape(out: Variable) -> str:
    """What turns a vector into the shape of a variable with one long dimension."""
    if out.type.ndim == 1:
        return ""
    return f".reshape(({', '.join('-1' if long else '1' for long in _long(out))}))"
