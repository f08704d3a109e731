"""A recorded run's decentralised policy for use from Python, as `tandem.load` returns it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tandem.config.commandline import Update
from tandem.core import Alone, Array, EnvSpec, Key, Params, Planner, PyTree
from tandem.core.metrics import POLICY
from tandem.records import runs
from tandem.restored import Restored, restore


class Policy:
    """A trained team's policy, by which each agent acts on its own observations.

    `B` is any number of parallel environments, `N` agents, `O` features of an observation, `A` actions. If agents
    differ, observations are padded with zeros, and `spec.groups` gives each agent's own part.

    Attributes:
      spec: the sizes of the task that the run was trained on: `spec.num_agents`, `spec.obs.shape`, `spec.actions.size`.
      config: the run's settings.
      step: the environment step of the checkpoint.
      params: the parameters, a tree of arrays.
    """

    def __init__(self, alone: Alone, params: Params, spec: EnvSpec, config: Mapping[str, Any], step: int):
        self.alone, self.params, self.spec, self.config, self.step = alone, params, spec, dict(config), step
        self._act = jax.jit(partial(_act, alone))
        self._outputs = jax.jit(alone.outputs)

    def memory(self, batch: int) -> PyTree:
        """Return the agents' initial memory in an episode: a tree of arrays [B, ...], () for none."""
        return self.alone.memory(batch)

    def act(
        self, obs: Any, legal: Any = None, memory: PyTree = None, *, first: Any = None, key: Key | None = None
    ) -> tuple[np.ndarray, PyTree]:
        """Return the actions and the agents' new memory.

        Actions are [B, N] int32; continuous ones are [B, N, A] float32, which an environment clips to [-1, 1].
        A call with a new B is compiled first, which takes a moment.

        Args:
          obs: [B, N, O] float; for one environment B may be left out, and the action has no B either.
          legal: [B, N, A] bool, True where an action may be played; None = all actions are legal.
          memory: as the previous call returned it; None at the beginning of an episode.
          first: [B] bool, True if an episode begins, so that its memory is reset; None = nowhere.
          key: from `jax.random.key`, to sample actions from the policy; None = the likeliest actions.

        Raises:
          ValueError: an array has a wrong shape, or an agent has no legal action.
        """
        obs, one = self._batch("obs", obs, (self.spec.num_agents, *self.spec.obs.shape), np.float32)
        legal = self._legal(legal, len(obs), one)
        memory, first = self._past(memory, first, len(obs))
        action, memory = self._act(self.params, memory, obs, legal, first, key)
        return np.asarray(action)[0] if one else np.asarray(action), memory

    def outputs(self, obs: Any, memory: PyTree = None, *, first: Any = None) -> tuple[np.ndarray, PyTree]:
        """Return the network's outputs for obs [B, N, O], and the memory after it.

        Outputs are logits [B, N, A], in which illegal actions are not masked. For continuous actions they are
        [B, N, 2 A]: A means and A logarithms of standard deviations.
        """
        obs, one = self._batch("obs", obs, (self.spec.num_agents, *self.spec.obs.shape), np.float32)
        memory, first = self._past(memory, first, len(obs))
        memory, outputs = self._outputs(self.params, memory, obs, first)
        return np.asarray(outputs)[0] if one else np.asarray(outputs), memory

    def _batch(self, name: str, given: Any, shape: tuple[int, ...], dtype: Any) -> tuple[np.ndarray, bool]:
        """Return an array with the axis B, and whether it had none before."""
        array = np.asarray(given)
        if array.shape[-len(shape) :] != shape or array.ndim not in (len(shape), len(shape) + 1):
            wanted = ", ".join(map(str, shape))
            raise ValueError(f"{name} has the shape {array.shape}; expected ({wanted}), or (batch, {wanted})")
        if not np.can_cast(array.dtype, dtype, "same_kind") and array.dtype.kind not in "biu":
            raise ValueError(f"{name} holds {array.dtype}; expected {np.dtype(dtype)}")
        one = array.ndim == len(shape)
        return (array[None] if one else array).astype(dtype), one

    def _legal(self, legal: Any, batch: int, one: bool) -> np.ndarray:
        shape = (self.spec.num_agents, self.spec.actions.size)
        if legal is None:
            return np.ones((batch, *shape), bool)
        legal, alone = self._batch("legal", legal, shape, bool)
        if len(legal) != batch or alone != one:
            raise ValueError(f"legal is of {len(legal)} environments, and obs of {batch}; give both for the same ones")
        stuck = np.argwhere(~legal.any(axis=-1))
        if len(stuck):
            raise ValueError(f"legal: agent {stuck[0][1]} of environment {stuck[0][0]} has no legal action")
        return legal

    def _past(self, memory: PyTree, first: Any, batch: int) -> tuple[PyTree, np.ndarray]:
        """Return memory and `first`, checked."""
        if memory is None:
            memory = self.memory(batch)
        like = jax.eval_shape(partial(self.alone.memory, batch))
        if jax.tree.map(jnp.shape, memory) != jax.tree.map(jnp.shape, like):
            raise ValueError(
                f"memory is not of {batch} environments, as obs is; give what `act` returned before, or None"
            )
        first = np.zeros(batch, bool) if first is None else np.atleast_1d(np.asarray(first, bool))
        if first.shape != (batch,):
            raise ValueError(f"first has the shape {first.shape}; expected ({batch},)")
        return memory, first


def _act(
    alone: Alone, params: Params, memory: PyTree, obs: Array, legal: Array, first: Array, key: Key | None
) -> tuple[Array, PyTree]:
    memory, outputs = alone.outputs(params, memory, obs, first)
    draw = alone.distribution
    return draw.mode(outputs, legal) if key is None else draw.sample(key, outputs, legal), memory


def load(
    run: Any, checkpoint: str = "best", *, results_dir: str = "results", settings: Mapping[str, Any] | None = None
) -> Policy:
    """Return the decentralised policy of a recorded run; `tandem.load` explains the arguments."""
    found = runs.find(str(run), Path(results_dir).expanduser())
    typed = [Update(name, value, str(value), "settings") for name, value in (settings or {}).items()]
    return of(restore(found, str(checkpoint), typed), f"run {found.id}")


def of(restored: Restored, name: str) -> Policy:
    """Return the decentralised policy of a restored run.

    Raises:
      ValueError: it has none.
    """
    player = restored.players.get(POLICY)
    if player is None or player.alone is None:
        planner = restored.config["planner"]
        how = player.not_alone if player else Planner._field_defaults["not_alone"]
        raise ValueError(f"{name} acts by planner '{planner}', in which {how}")
    return Policy(player.alone, restored.params, restored.env.spec, restored.config, restored.step)
