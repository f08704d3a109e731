"""A network's opinion at each step of an episode: its own policy and its values."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tandem.core import Array, Key, LearnerState, Model, Params, Planner, PyTree, SearchExtras, TimeStep
from tandem.ops.values import state_value


class Opinion(NamedTuple):
    """A network's opinion on one step; missing parts are None."""

    policy: Array | None = None  # [B, N, A] probabilities of the network's policy, if another player acts
    value: Array | None = None  # [B, M] discounted return that the network expects: the team's, or each agent's (M = N)
    search_value: Array | None = None  # [B] the same as the search found it


class Watcher(NamedTuple):
    """Observes the steps of another player."""

    params: PyTree
    init: Callable[[int], PyTree]  # batch size -> memory
    # look(params, memory, timestep [B, ...], key, extras of the plan that is played) -> memory, Opinion
    look: Callable[[PyTree, PyTree, TimeStep, Key, PyTree], tuple[PyTree, Opinion]]


NOBODY = Watcher((), lambda batch: (), lambda params, memory, timestep, key, extras: (memory, Opinion()))


def make_watcher(
    model: Model, state: LearnerState, acting: Params, policy: Planner | None, returns: Callable[[PyTree, Array], Array]
) -> Watcher:
    """Return the watcher of a network.

    Args:
      state: `params` with all parameters that values need, and `stats`; the other fields are not read.
      acting: the parameters that players get.
      policy: plays by the network's policy alone; None if this is the player.
      returns: `Learner.returns`.
    """
    begin, judge = _values(model)

    def look(params: PyTree, memory: PyTree, timestep: TimeStep, key: Key, extras: PyTree) -> tuple[PyTree, Opinion]:
        whole, stats, own = params
        of_policy, of_value = memory
        probabilities = None
        if policy is not None:
            of_policy, plan = policy.plan(own, of_policy, timestep, key, False, jnp.ones(()))
            probabilities = plan.extras.policy
        of_value, value = judge(whole, of_value, timestep)
        found = extras.value if isinstance(extras, SearchExtras) else None
        in_units = [None if each is None else returns(stats, each) for each in (value, found)]
        return (of_policy, of_value), Opinion(probabilities, *in_units)

    def init(batch: int) -> PyTree:
        return policy.init(batch) if policy else (), begin(batch)

    return Watcher((state.params, state.stats, acting), init, look)


def _values(model: Model) -> tuple[Callable, Callable]:
    """Return begin(batch) -> memory, and judge(params, memory, timestep) -> memory, values [B, M] or None."""
    if model.actor_critic is not None:
        return _critics_values(model)
    if model.latents is not None and model.team_value is not None:
        return model.latents.memory, _models_values(model)
    return lambda batch: (), lambda params, memory, timestep: (memory, None)


def _critics_values(model: Model) -> tuple[Callable, Callable]:
    face = model.actor_critic

    def judge(params: Params, memory: PyTree, timestep: TimeStep) -> tuple[PyTree, Array]:
        obs, state, first = (x[:, None] for x in (timestep.obs, timestep.state, timestep.first))
        memory, values = face.value(params, memory, obs, state, first)
        return memory, values[:, 0] if face.values_by_agent else values[:, 0, :1]

    return face.memory, judge


def _models_values(model: Model) -> Callable:
    def judge(params: Params, memory: PyTree, timestep: TimeStep) -> tuple[PyTree, Array]:
        memory, latent = model.latents.represent(params, memory, timestep.obs[:, None], timestep.first[:, None])
        return memory, state_value(model.team_value, params, latent[:, 0])[:, None]

    return judge


def rows(opinions: list[Opinion], row: int | None = None) -> dict[str, list | None]:
    """Return the opinions of an episode by field, each a list over its steps, for one row of the batch; None stays."""
    kept = {}
    for name in Opinion._fields:
        values = [getattr(opinion, name) for opinion in opinions]
        kept[name] = None if values[0] is None else [value if row is None else value[row] for value in values]
    return kept


def unbatched(opinion: Opinion) -> Opinion:
    """Return the opinion on the only row of a batch."""
    return jax.tree.map(lambda leaf: leaf[0], opinion)
