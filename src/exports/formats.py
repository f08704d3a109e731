"""The files that a policy can leave in."""

import io
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import export

from tandem.core import Params
from tandem.exports import onnx_graph
from tandem.exports.function import BATCH, Function, named_leaves

PLATFORMS = ("cpu", "cuda")


def stablehlo(function: Function, params: Params) -> bytes:
    """Return the program for any batch size, as `jax.export.deserialize` reads it: for CPUs and CUDA devices."""
    del params
    (batch,) = export.symbolic_shape(BATCH)
    shapes = [port.like(batch) for port in function.inputs]
    return bytes(export.export(jax.jit(function.call), platforms=PLATFORMS)(*shapes).serialize())


def npz(function: Function, params: Params) -> bytes:
    """Return the parameters by name, as `numpy.load` reads them; what to compute with them the reader has to know."""
    del function
    file = io.BytesIO()
    arrays: dict[str, Any] = named_leaves(params)
    np.savez(file, **arrays)
    return file.getvalue()


def onnx(function: Function, params: Params) -> bytes:
    """Return the program as an ONNX model for any batch size.

    Raises:
      onnx_graph.Untranslated: the network computes something that has no translation here.
    """
    del params
    return onnx_graph.model(function)


FORMATS: dict[str, Callable[[Function, Params], bytes]] = {"stablehlo": stablehlo, "onnx": onnx, "npz": npz}
