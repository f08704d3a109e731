"""The file formats of exported policies."""

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
    """Return the parameters by name, for `numpy.load`; the reader has to know the network."""
    del function
    file = io.BytesIO()
    arrays: dict[str, Any] = named_leaves(params)
    np.savez(file, **arrays)
    return file.getvalue()


def onnx(function: Function, params: Params) -> bytes:
    """Return the program as an ONNX model for any batch size.

    Raises:
      onnx_graph.Untranslated: the network has an operation without a translation.
    """
    del params
    return onnx_graph.model(function)


FORMATS: dict[str, Callable[[Function, Params], bytes]] = {"stablehlo": stablehlo, "onnx": onnx, "npz": npz}
