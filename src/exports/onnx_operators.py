"""Translations of JAX's primitives to ONNX, for those in Tandem's networks.

A translator gets the graph, an equation of the jaxpr and the names of its inputs, and returns those of its outputs.
"""

import string
from typing import Any

import numpy as np

from tandem.exports.onnx_graph import Graph, Translator, Untranslated


def _plain(operator: str) -> Translator:
    """Return the translator of a primitive that is one operator with the same inputs."""
    return lambda graph, equation, inputs: [graph.add(operator, *inputs)]


def _chain(*operators: str) -> Translator:
    """Return the translator of a primitive that is several operators, one after the other."""

    def translator(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
        for operator in operators:
            inputs = [graph.add(operator, *inputs)]
        return inputs

    return translator


def _of_kind(of_bool: str, of_numbers: str) -> Translator:
    """Return the translator of a primitive that is another operator for booleans."""

    def translator(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
        is_bool = equation.invars[0].aval.dtype == np.bool_
        return [graph.add(of_bool if is_bool else of_numbers, *inputs)]

    return translator


def _kept(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    return inputs


def _tensor_type(dtype: Any) -> int:
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def _cast(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    dtype = equation.params["new_dtype"]
    if dtype.name == "bfloat16":
        raise Untranslated("ONNX runtimes lack bfloat16; add `with network_args.compute_dtype=float32`")
    return [graph.add("Cast", inputs[0], to=_tensor_type(dtype))]


def _integer_pow(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    dtype = equation.invars[0].aval.dtype
    return [graph.add("Pow", inputs[0], graph.constant(equation.params["y"], dtype))]


def _square(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    return [graph.add("Mul", inputs[0], inputs[0])]


def _one_plus(operator: str, before: bool) -> Translator:
    """Return the translator of log1p (1 is added before the logarithm) and expm1 (1 is taken off after)."""

    def translator(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
        one = graph.constant(1, equation.invars[0].aval.dtype)
        if before:
            return [graph.add(operator, graph.add("Add", inputs[0], one))]
        return [graph.add("Sub", graph.add(operator, inputs[0]), one)]

    return translator


def _erfc(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    return [graph.add("Sub", graph.constant(1, equation.invars[0].aval.dtype), graph.add("Erf", inputs[0]))]


def _not_equal(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    return [graph.add("Not", graph.add("Equal", *inputs))]


def _select(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    if equation.invars[0].aval.dtype != np.bool_:
        raise Untranslated("the network selects among several arrays by an index; choose --format=stablehlo")
    where, if_false, if_true = inputs
    return [graph.add("Where", where, if_true, if_false)]


def _clamp(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    low, x, high = inputs
    return [graph.add("Min", graph.add("Max", x, low), high)]


def _reshape(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    return [graph.reshape(inputs[0], equation.outvars[0].aval.shape)]


def _broadcast(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    """Put the operand's axes in their places, axes of size 1 between them, and repeat it along those."""
    wanted = equation.outvars[0].aval.shape
    own, places = equation.invars[0].aval.shape, equation.params["broadcast_dimensions"]
    between = [1] * len(wanted)
    for size, place in zip(own, places, strict=True):
        between[place] = size
    x = graph.reshape(inputs[0], between) if len(own) != len(wanted) else inputs[0]
    return [x if tuple(between) == tuple(wanted) else graph.add("Expand", x, graph.sizes(wanted))]


def _transpose(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    return [graph.add("Transpose", inputs[0], perm=list(equation.params["permutation"]))]


def _concatenate(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    return [graph.add("Concat", *inputs, axis=equation.params["dimension"])]


def _stack(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    axis = equation.params["axis"]
    place = graph.constant([axis], np.int64)
    return [graph.add("Concat", *(graph.add("Unsqueeze", x, place) for x in inputs), axis=axis)]


def _split(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    sizes, axis = equation.params["sizes"], equation.params["axis"]
    found = graph.add("Split", inputs[0], graph.constant(sizes, np.int64), outputs=len(sizes), axis=axis)
    return found if len(sizes) > 1 else [found]


def _slice(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    params, shape = equation.params, equation.invars[0].aval.shape
    strides = params["strides"] or [1] * len(shape)
    cut = list(zip(params["start_indices"], params["limit_indices"], strides, strict=True))
    return [_cut(graph, inputs[0], shape, cut)]


def _cut(graph: Graph, x: str, shape: Any, cut: list[tuple]) -> str:
    """Return the part of x from start to limit by stride along each axis; an axis that is taken whole is left alone."""
    axes = [i for i, (start, limit, stride) in enumerate(cut) if (start, limit, stride) != (0, shape[i], 1)]
    if not axes:
        return x
    if any(not isinstance(size, int) for i in axes for size in cut[i]):
        raise Untranslated("the network slices along the batch's axis; choose --format=stablehlo")
    columns = [[cut[i][column] for i in axes] for column in (0, 1)] + [axes, [cut[i][2] for i in axes]]
    return graph.add("Slice", x, *(graph.constant(column, np.int64) for column in columns))


def _pad(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    config = equation.params["padding_config"]
    if any(low < 0 or high < 0 or inner for low, high, inner in config):
        raise Untranslated("the network pads between or against its entries; choose --format=stablehlo")
    sides = [side[0] for side in config] + [side[1] for side in config]
    return [graph.add("Pad", inputs[0], graph.constant(sides, np.int64), inputs[1])]


def _gather(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    """Translate indexing by constants: a box that is cut out, or entries along one axis."""
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    shape, indices = equation.invars[0].aval.shape, graph.constants.get(inputs[1])
    if indices is None or numbers.operand_batching_dims:
        raise Untranslated("the network indexes by computed values; choose --format=stablehlo")
    if indices.ndim == 1:
        start = dict(zip(numbers.start_index_map, indices.tolist(), strict=True))
        box = [(start.get(i, 0), start[i] + size if i in start else size, 1) for i, size in enumerate(sizes)]
        found = _cut(graph, inputs[0], shape, box)
        return [graph.reshape(found, equation.outvars[0].aval.shape)] if numbers.collapsed_slice_dims else [found]
    if len(numbers.start_index_map) != 1 or tuple(numbers.collapsed_slice_dims) != tuple(numbers.start_index_map):
        raise Untranslated("the network indexes several axes at once; choose --format=stablehlo")
    (axis,) = numbers.start_index_map
    found = graph.add("Gather", inputs[0], graph.constant(indices[..., 0], np.int64), axis=axis)
    return [_in_place(graph, found, axis, indices.ndim - 1, numbers.offset_dims, len(shape))]


def _in_place(graph: Graph, x: str, axis: int, num_index: int, offset_dims: Any, rank: int) -> str:
    """Move the axes of the indices from `axis`, where ONNX puts them, to where JAX has them."""
    total = rank - 1 + num_index
    index_axes = [i for i in range(total) if i not in offset_dims]
    places = [*offset_dims[:axis], *index_axes, *offset_dims[axis:]]  # of ONNX's axes in JAX's result
    return x if places == list(range(total)) else graph.add("Transpose", x, perm=np.argsort(places).tolist())


def _dot(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    """Translate a product over axes of two arrays: MatMul where it is one of a matrix of weights, else Einsum."""
    (over_left, over_right), (batch_left, batch_right) = equation.params["dimension_numbers"]
    left, right = (variable.aval.ndim for variable in equation.invars)
    if right == 2 and not batch_left and tuple(over_left) == (left - 1,) and tuple(over_right) == (0,):
        return [graph.add("MatMul", *inputs)]
    letters = iter(string.ascii_lowercase)
    on_left = [next(letters) for _ in range(left)]
    shared = dict(zip((*batch_right, *over_right), (on_left[i] for i in (*batch_left, *over_left)), strict=True))
    on_right = [shared[i] if i in shared else next(letters) for i in range(right)]
    both = [on_left[i] for i in batch_left]
    rest = [x for i, x in enumerate(on_left) if i not in (*batch_left, *over_left)]
    rest += [x for i, x in enumerate(on_right) if i not in shared]
    return [graph.add("Einsum", *inputs, equation=f"{''.join(on_left)},{''.join(on_right)}->{''.join([*both, *rest])}")]


def _reduce(operator: str) -> Translator:
    def translator(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
        axes = graph.constant(equation.params["axes"], np.int64)
        return [graph.add(operator, inputs[0], axes, keepdims=0)]

    return translator


def _reduce_bool(operator: str) -> Translator:
    def translator(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
        number = graph.add("Cast", inputs[0], to=_tensor_type(np.int32))
        found = graph.add(operator, number, graph.constant(equation.params["axes"], np.int64), keepdims=0)
        return [graph.add("Cast", found, to=_tensor_type(np.bool_))]

    return translator


def _argmax(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    (axis,) = equation.params["axes"]
    found = graph.add("ArgMax", inputs[0], axis=axis, keepdims=0)
    return [graph.add("Cast", found, to=_tensor_type(equation.params["index_dtype"]))]


def _squeeze(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    return [graph.add("Squeeze", inputs[0], graph.constant(equation.params["dimensions"], np.int64))]


def _cumsum(graph: Graph, equation: Any, inputs: list[str]) -> list[str]:
    axis = graph.constant(equation.params["axis"], np.int64)
    return [graph.add("CumSum", inputs[0], axis, reverse=int(equation.params["reverse"]))]


TRANSLATORS: dict[str, Translator] = {
    # arithmetic
    "add": _plain("Add"), "sub": _plain("Sub"), "mul": _plain("Mul"), "div": _plain("Div"), "neg": _plain("Neg"),
    "add_any": _plain("Add"), "abs": _plain("Abs"), "sign": _plain("Sign"), "floor": _plain("Floor"),
    "ceil": _plain("Ceil"), "exp": _plain("Exp"), "log": _plain("Log"), "log1p": _one_plus("Log", before=True),
    "expm1": _one_plus("Exp", before=False), "sqrt": _plain("Sqrt"), "rsqrt": _chain("Sqrt", "Reciprocal"),
    "tanh": _plain("Tanh"), "logistic": _plain("Sigmoid"), "erf": _plain("Erf"), "erfc": _erfc, "sin": _plain("Sin"),
    "cos": _plain("Cos"), "pow": _plain("Pow"), "integer_pow": _integer_pow, "square": _square,
    "max": _of_kind("Or", "Max"), "min": _of_kind("And", "Min"), "clamp": _clamp, "stop_gradient": _kept,
    "copy": _kept, "optimization_barrier": _kept, "convert_element_type": _cast,
    # logic
    "and": _of_kind("And", "BitwiseAnd"), "or": _of_kind("Or", "BitwiseOr"), "xor": _of_kind("Xor", "BitwiseXor"),
    "not": _of_kind("Not", "BitwiseNot"), "eq": _plain("Equal"), "ne": _not_equal, "lt": _plain("Less"),
    "le": _plain("LessOrEqual"), "gt": _plain("Greater"), "ge": _plain("GreaterOrEqual"), "select_n": _select,
    # shapes
    "reshape": _reshape, "broadcast_in_dim": _broadcast, "transpose": _transpose, "concatenate": _concatenate,
    "stack": _stack, "split": _split, "slice": _slice, "pad": _pad, "gather": _gather, "squeeze": _squeeze,
    "expand_dims": _reshape,
    # sums
    "dot_general": _dot, "reduce_sum": _reduce("ReduceSum"), "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"), "reduce_prod": _reduce("ReduceProd"), "reduce_or": _reduce_bool("ReduceMax"),
    "reduce_and": _reduce_bool("ReduceMin"), "argmax": _argmax, "cumsum": _cumsum,
}  # fmt: skip
