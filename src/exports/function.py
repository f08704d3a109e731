"""A decentralised policy as a plain function of arrays, which every format contains."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Alone, Array, EnvSpec, Params, PyTree
from tandem.ops.distributions import GAUSSIAN, SQUASHED
from tandem.ops.masking import masked_logits

BATCH = "batch"  # the axis of any size


@dataclasses.dataclass(frozen=True)
class Port:
    """An input or an output."""

    name: str
    shape: tuple[str | int, ...]  # BATCH or a number for each axis
    dtype: str
    meaning: str

    def like(self, batch: Any) -> jax.ShapeDtypeStruct:
        """Return the array's structure for a given size of the axis BATCH, which may be symbolic."""
        return jax.ShapeDtypeStruct(tuple(batch if size == BATCH else size for size in self.shape), self.dtype)


@dataclasses.dataclass(frozen=True)
class Function:
    """The policy with its parameters: arrays of `inputs` in, arrays of `outputs` out, in this order."""

    call: Callable[..., tuple[Array, ...]]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    memory: tuple[np.ndarray, ...]  # initial values of the inputs memory_0, memory_1, ..., for one environment
    action: str = ""  # how an action follows from the outputs


def make(alone: Alone, params: Params, spec: EnvSpec) -> Function:
    """Return the policy as a function; a policy without memory has neither `first` nor memories."""
    memory = jax.jit(lambda: alone.memory(1))()
    leaves, tree = jax.tree.flatten(memory)
    form = FORMS.get(alone.distribution, CHOICES if spec.actions.continuous else LOGITS)
    shown = jnp.zeros((1, spec.num_agents, *spec.obs.shape)), jnp.zeros(1, bool)
    width = jax.eval_shape(alone.outputs, params, memory, *shown)[1].shape[-1]

    def call(obs: Array, legal: Array, *past: Array) -> tuple[Array, ...]:
        first = past[0] if leaves else jnp.zeros(obs.shape[:1], bool)
        after, outputs = alone.outputs(params, jax.tree.unflatten(tree, past[1:]), obs, first)
        return form.masked(outputs, legal), *jax.tree.leaves(after)

    agents, size = spec.num_agents, spec.actions.size
    inputs = [
        Port("obs", (BATCH, agents, *spec.obs.shape), "float32", "each agent's observation, padded with zeros"),
        Port("legal", (BATCH, agents, size), "bool", "True where an action may be played"),
    ]
    if leaves:
        inputs.append(Port("first", (BATCH,), "bool", "True where an episode begins, so that memories are forgotten"))
    answer = Port(form.name, (BATCH, agents, width), "float32", form.meaning)
    return Function(
        call,
        (*inputs, *_memories("memory", leaves, "the output memory_out with this number at the previous step")),
        (answer, *_memories("memory_out", leaves, "input of the next step")),
        tuple(np.asarray(x) for x in leaves),
        form.action,
    )


def _masked_numbers(outputs: Array, legal: Array) -> Array:
    """Return means and log standard deviations [..., 2 A] with means of zero for numbers that an agent lacks."""
    mean, log_std = jnp.split(outputs, 2, axis=-1)
    return jnp.concatenate([jnp.where(legal, mean, 0.0), log_std], axis=-1)


def _masked_choices(outputs: Array, legal: Array) -> Array:
    """Return logits [..., A K] with zeros for numbers that an agent lacks."""
    each = outputs.reshape(*legal.shape, -1)
    return jnp.where(legal[..., None], each, 0.0).reshape(outputs.shape)


class Form(NamedTuple):
    """What a policy's outputs are, by its distribution."""

    masked: Callable[[Array, Array], Array]  # outputs, legal -> outputs without what an agent lacks
    name: str
    meaning: str
    action: str  # how an action follows from them


NORMAL = "means, then logarithms of standard deviations"
CLIPPED = "a number for each entry, clipped to [-1, 1]: the mean, or a draw of the normal distribution"
TANH = "a number for each entry: the hyperbolic tangent of the mean, or of a draw of the normal distribution"
CHOSEN = "a number for each entry: its choices are equidistant from -1 to 1; the likeliest, or a draw of their softmax"
LARGEST = "the index of the largest logit, or a draw of their softmax"
FORMS = {
    GAUSSIAN: Form(_masked_numbers, "outputs", NORMAL, CLIPPED),
    SQUASHED: Form(_masked_numbers, "outputs", NORMAL, TANH),
}
CHOICES = Form(_masked_choices, "outputs", "for each number logits of its choices", CHOSEN)
LOGITS = Form(masked_logits, "logits", "logits of the actions; -1e9 if illegal", LARGEST)


def _memories(name: str, leaves: Sequence[Array], meaning: str) -> list[Port]:
    return [Port(f"{name}_{i}", (BATCH, *x.shape[1:]), str(x.dtype), meaning) for i, x in enumerate(leaves)]


def named_leaves(tree: PyTree) -> dict[str, np.ndarray]:
    """Return a tree's arrays by their paths, "actor.body.Dense_0.rows.kernel"."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(tree)
    }
