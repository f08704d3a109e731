"""Q-values read from what imitating a team taught: an agent's past, what it expects of its teammates, and its skill.

    Q_i(a) = f(h_i, c_i, p(z | h_i))      h, c and p as `models.coordination` has them; no gradient of Q reaches these
    beta_i(a) = sum_z p(z | h_i) beta(a | h_i, c_i, z)

beta is the behaviour, the imitated policy. Without skills p and the sum are left out, and without neighbours c.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import Array, BehaviourPolicy, EnvSpec, Group, Key, Model, Params, PyTree, QValues
from tandem.models import coordination, q_network
from tandem.models.dense import Dense
from tandem.models.entities.team import Tokens
from tandem.models.q_behaviour import BEHAVIOUR


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(coordination.Config, q_network.Config):
    pass


def make(config: Config, spec: EnvSpec) -> Model:
    """Return the values and the imitated team, whose parameters are the entry "behaviour"; playing needs both.

    Raises:
      ValueError: agents act in turns, or as `coordination.make`.
    """
    if config.turns:
        raise ValueError(
            "network_args.turns=true: values are of agents that choose at once; set it to false, or choose "
            "network=coordination"
        )
    team, mixing = coordination.make(config, spec), q_network.make(config, spec)
    face, shape = team.coordination, (1, 1, spec.num_agents)
    head = Worth(config, spec.actions.size, coordination.seen_groups(config, spec))

    def see(params: Params, memory: PyTree, obs: Array, first: Array) -> tuple[PyTree, dict[str, Any]]:
        """Return the memory after each step, which the features are where there is one, and what is known."""
        _, known = face.see(params[BEHAVIOUR], memory, obs, first)
        return known["features"] if config.memory == "gru" else (), known

    def read(params: Params, known: dict[str, Any]) -> tuple[Array, Tokens]:
        """Return what values are read from [B, T, N, F], and tokens."""
        parts = [known["features"]] + ([known["context"]] if face.predicts else [])
        if face.num_skills > 1:
            parts.append(jax.nn.softmax(face.prior(params[BEHAVIOUR], known), axis=-1))
        return jax.lax.stop_gradient((jnp.concatenate(parts, axis=-1), known["tokens"]))

    def init(key: Key) -> Params:
        team_key, values_key, mixer_key = jax.random.split(key, 3)
        params = {BEHAVIOUR: team.init(team_key)}
        obs, legal = jnp.zeros((*shape, spec.obs.size)), jnp.ones((*shape, spec.actions.size), bool)
        known = see(params, face.memory(1), obs, jnp.zeros((1, 1), bool))[1]
        params["agents"] = head.init(values_key, *read(params, known), legal)["params"]
        if config.mixer == "monotone":
            params["mixer"] = mixing.init(mixer_key)["mixer"]
        return params

    def values(params: Params, memory: PyTree, obs: Array, first: Array, legal: Array) -> tuple[PyTree, Array]:
        after, known = see(params, memory, obs, first)
        each: Array = head.apply({"params": params["agents"]}, *read(params, known), legal)
        return after, each

    def logits(params: Params, memory: PyTree, obs: Array, first: Array) -> tuple[PyTree, Array]:
        after, known = see(params, memory, obs, first)
        nobody = jnp.zeros((spec.num_agents, spec.num_agents), bool)
        every = face.logits(params[BEHAVIOUR], known, jnp.zeros(obs.shape[:-1], jnp.int32), nobody)  # [B, T, N, K, A]
        share = jax.nn.log_softmax(face.prior(params[BEHAVIOUR], known), axis=-1)[..., None]
        return after, jax.nn.logsumexp(share + jax.nn.log_softmax(every, axis=-1), axis=-2)

    def asked(function):
        return lambda params, *inputs: function(params[BEHAVIOUR], *inputs)

    of_team = face._replace(
        see=asked(face.see), logits=asked(face.logits), prior=asked(face.prior), posterior=asked(face.posterior)
    )
    return Model(
        init=init,
        acting=lambda params: {name: params[name] for name in (BEHAVIOUR, "agents")},
        q_values=QValues(face.memory, values, mixing.q_values.mix, mixing.q_values.by_agent),
        behaviour=BehaviourPolicy(face.memory, logits),
        coordination=of_team,
        things=team.things,
    )


class Worth(nn.Module):
    """A layer, and each action's value."""

    config: Any
    num_actions: int
    groups: tuple[Group, ...]

    @nn.compact
    def __call__(self, known: Array, tokens: Tokens, legal: Array) -> Array:
        """Map known [B, T, N, F] and tokens to values [B, T, N, A]."""
        x = nn.relu(Dense(self.config.hidden_size, kernel_init=nn.initializers.orthogonal(2**0.5))(known))
        return q_network.worth(self.config, self.num_actions, self.groups, x, tokens, legal)
