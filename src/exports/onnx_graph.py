"""A JAX function as an ONNX model: its jaxpr, equation by equation.

Tandem translates its networks itself, because the existing converter for JAX (jax2onnx 0.17) needs an older Orbax than
Tandem's checkpoints. Values that depend on no input are computed here and become constants.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import export

from tandem.exports.function import BATCH, Function

OPSET, IR_VERSION = 18, 9  # of 2023, which all present runtimes read
INLINED = {  # primitives that hold a function, by the name of the parameter that it is
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "remat2": "jaxpr",
    "checkpoint": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
}  # fmt: skip


class Untranslated(ValueError):
    """An operation has no translation; `str` is the message for the user."""


class Graph:
    """The model under construction: nodes and constants."""

    def __init__(self, batch: Any):
        self.batch = batch  # the symbolic size
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self._known: dict[tuple, str] = {}
        self._multiples: dict[int, str] = {}  # of the batch's size
        self._count = 0

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Write a node and return the name of its output, or the names of its outputs."""
        from onnx import helper

        names = [self._name(operator) for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Return the name of a constant; equal ones share one."""
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self._name("constant")
            self.constants[self._known[key]] = array
        return self._known[key]

    def sizes(self, shape: Sequence[Any]) -> str:
        """Return the name of the shape as an int64 vector, computed of the batch's size where it has to be."""
        if all(isinstance(size, int) for size in shape):
            return self.constant(shape, np.int64)
        return self.add("Concat", *map(self.size, shape), axis=0)

    def size(self, size: Any) -> str:
        """Return the name of one size as an int64 vector [1]: a number, or a multiple of the batch's size."""
        if isinstance(size, int):
            return self.constant([size], np.int64)
        times = size // self.batch
        if not isinstance(times, int) or not isinstance(size - times * self.batch, int):
            raise Untranslated(f"an array has the size {size}, which is no multiple of the batch")
        if times not in self._multiples:
            batch = self.add("Slice", self.add("Shape", "obs"), *(self.constant([i], np.int64) for i in (0, 1, 0)))
            self._multiples[times] = self.add("Mul", batch, self.constant([times], np.int64))
        return self._multiples[times]

    def reshape(self, x: str, shape: Sequence[Any]) -> str:
        """Return x in another shape; one size that depends on the batch is left to the runtime."""
        unknown = [not isinstance(size, int) for size in shape]
        if sum(unknown) == 1 and 0 not in shape:
            known = [size if isinstance(size, int) else -1 for size in shape]
            return self.add("Reshape", x, self.constant(known, np.int64))
        return self.add("Reshape", x, self.sizes(shape), allowzero=1)

    def _name(self, operator: str) -> str:
        self._count += 1
        return f"{operator.lower()}_{self._count}"


def model(function: Function) -> bytes:
    """Return a serialised ONNX model whose axis BATCH may be of any size.

    Raises:
      Untranslated: the package onnx is missing, or an operation has no translation.
    """
    try:
        import onnx
    except ImportError:
        raise Untranslated("the package onnx is missing: pip install 'tandem[export]', or pip install onnx") from None
    (batch,) = export.symbolic_shape(BATCH)
    jaxpr = jax.make_jaxpr(function.call)(*(port.like(batch) for port in function.inputs))
    graph = Graph(batch)
    outputs = translate(graph, jaxpr, [port.name for port in function.inputs])
    for port, found in zip(function.outputs, outputs, strict=True):
        name = found if isinstance(found, str) else graph.constant(found)
        graph.nodes.append(onnx.helper.make_node("Identity", [name], [port.name]))
    made = _assembled(graph, function)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def _assembled(graph: Graph, function: Function) -> Any:
    from onnx import helper, numpy_helper

    def described(port: Any) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(port.dtype))
        return helper.make_tensor_value_info(port.name, kind, list(port.shape), doc_string=port.meaning)

    read = {name for node in graph.nodes for name in node.input}
    made = helper.make_graph(
        graph.nodes, "policy",
        [described(port) for port in function.inputs], [described(port) for port in function.outputs],
        [numpy_helper.from_array(array, name) for name, array in graph.constants.items() if name in read],
    )  # fmt: skip
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(made, opset_imports=opset, ir_version=IR_VERSION, producer_name="tandem")


# A value of the jaxpr: the name of an output in the graph, or an array that depends on no input.
Value = str | np.ndarray
# translator(graph, equation, names of its inputs) -> names of its outputs
Translator = Callable[[Graph, Any, list[str]], list[str]]


def translate(graph: Graph, closed: Any, inputs: Sequence[Value]) -> list[Value]:
    """Write a closed jaxpr's equations into the graph and return its outputs."""
    jaxpr = closed.jaxpr
    known: dict[Any, Value] = dict(zip(jaxpr.constvars, map(np.asarray, closed.consts), strict=True))
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(variable: Any) -> Value:
        return np.asarray(variable.val, variable.aval.dtype) if hasattr(variable, "val") else known[variable]

    for equation in jaxpr.eqns:
        answers = _equation(graph, equation, [read(variable) for variable in equation.invars])
        known |= dict(zip(equation.outvars, answers, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _equation(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    from tandem.exports.onnx_operators import TRANSLATORS

    name = equation.primitive.name
    if name in INLINED:
        return translate(graph, equation.params[INLINED[name]], inputs)
    if name == "scan":
        return _scan(graph, equation, inputs)
    if _constant(equation, inputs):
        answers = equation.primitive.bind(*inputs, **equation.params)
        return [np.asarray(x) for x in (answers if equation.primitive.multiple_results else [answers])]
    if name not in TRANSLATORS:
        raise Untranslated(f"the network computes '{name}', which is not translated to ONNX; choose --format=stablehlo")
    names = [x if isinstance(x, str) else graph.constant(x) for x in inputs]
    return list(TRANSLATORS[name](graph, equation, names))


def _constant(equation: Any, inputs: list[Value]) -> bool:
    """Return whether an equation depends on no input, not even through the batch's size."""
    fixed = all(isinstance(size, int) for variable in equation.outvars for size in variable.aval.shape)
    return fixed and not any(isinstance(x, str) for x in inputs)


def _scan(graph: Graph, equation: Any, inputs: list[Value]) -> list[Value]:
    """Write a loop's steps one after the other, because an acting policy makes only one."""
    length, body = equation.params["length"], equation.params["jaxpr"]
    num_consts, num_carry = equation.params["num_consts"], equation.params["num_carry"]
    consts, carry = inputs[:num_consts], inputs[num_consts : num_consts + num_carry]
    rows = inputs[num_consts + num_carry :]
    found: list[list[Value]] = []
    order = range(length - 1, -1, -1) if equation.params["reverse"] else range(length)
    for i in order:
        step = [_row(graph, each, i) for each in rows]
        answers = translate(graph, body, [*consts, *carry, *step])
        carry = answers[:num_carry]
        found.append(answers[num_carry:])
    if equation.params["reverse"]:
        found.reverse()
    return [*carry, *(_stacked(graph, column) for column in zip(*found, strict=True))]


def _row(graph: Graph, x: Value, i: int) -> Value:
    return x[i] if not isinstance(x, str) else graph.add("Gather", x, graph.constant(i, np.int64), axis=0)


def _stacked(graph: Graph, rows: Sequence[Value]) -> str:
    names = [x if isinstance(x, str) else graph.constant(x) for x in rows]
    axis = graph.constant([0], np.int64)
    return graph.add("Concat", *(graph.add("Unsqueeze", name, axis) for name in names), axis=0)
