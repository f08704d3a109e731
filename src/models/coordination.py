"""The policy that made recorded data, and what it says of coordination: what others do now, and what all do together.

Rungs, each with all that the one before has:

    none         beta(a | h_i)             h_i is what agent i sees and remembers
    neighbours   beta(a | h_i, c_i)        c_i pools what is behind the predictions g(h_i, e_j) of teammates' actions
    skills       beta(a | h_i, c_i, z)     z is one of K, drawn by a prior p(z | h_i); a posterior q(z | s, a), which
                                           only learning asks, knows what all agents see and do

Agents may act in turns besides. Then agent i also sees the actions of those before it. Nothing else that acting
needs depends on other agents' observations. No parameter depends on the number of things in an observation.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Array, Coordination, EnvSpec, Group, Key, Model, Params, PyTree, setting
from tandem.models.actor_critic_layers import ACTIVATIONS, Body
from tandem.models.dense import Dense, with_ids
from tandem.models.entities.config import EntityConfig, teams
from tandem.models.entities.encoder import Pool, most
from tandem.models.entities.team import TeamEncoder, TeamHead, most_things
from tandem.models.entities.view import ALLY, view
from tandem.models.recurrent import GRU, blank

NONE, NEIGHBOURS, SKILLS = "none", "neighbours", "skills"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(EntityConfig):
    coordination: str = setting(
        NONE, "what a policy knows of coordination: nothing; what teammates do now, predicted; that, and a skill that "
        "all use together", choices=(NONE, NEIGHBOURS, SKILLS),
    )  # fmt: skip
    turns: bool = setting(False, "agents act one after the other, and see the actions of those before them")
    hidden_size: int = setting(64, "width of every layer, and of the memory", low=2, high=4096)
    num_layers: int = setting(2, "layers from the input to the memory", low=1, high=16)
    activation: str = setting("relu", "nonlinearity of the layers", choices=tuple(ACTIVATIONS))
    layer_norm: bool = setting(False, "normalise the input and every layer's output (LayerNorm)")
    memory: str = setting("none", "what an agent remembers of its past", choices=("none", "gru"))
    agent_id: bool = setting(True, "encoder=flat: append a one-hot agent id to what an agent sees")
    policy_gain: float = setting(0.01, "size of the policy head's first weights; small = nearly uniform", low=0.0)
    context_size: int = setting(16, "width of what is known of teammates' actions", low=1, high=1024)
    num_skills: int = setting(4, "coordination=skills: K", low=2, high=64)


def make(config: Config, spec: EnvSpec) -> Model:
    """Return the policies of a team.

    Raises:
      ValueError: entities are asked for where there are none, or where they do not say who the teammates are.
    """
    groups = seen_groups(config, spec)
    team = Team(config, spec.num_agents, spec.actions.size, groups)
    shape = (1, 1, spec.num_agents)

    def own_view(obs: Array) -> Array:
        if groups or not config.agent_id:
            return obs
        return with_ids(obs)

    def memory(batch: int) -> PyTree:
        return blank(config.memory, batch, spec.num_agents, config.hidden_size)

    def init(key: Key) -> Params:
        obs, action = jnp.zeros((*shape, spec.obs.size)), jnp.zeros(shape, jnp.int32)
        return {"team": team.init(key, memory(1), own_view(obs), jnp.zeros((1, 1), bool), action)["params"]}

    def asked(method: str):
        return lambda params, *inputs: team.apply({"params": params["team"]}, *inputs, method=method)

    face = Coordination(
        memory=memory,
        see=lambda params, memory, obs, first: asked("see")(params, memory, own_view(obs), first),
        logits=asked("logits"),
        prior=asked("prior"),
        posterior=asked("posterior"),
        others=others(spec.num_agents),
        predicts=config.coordination != NONE and spec.num_agents > 1,
        turns=config.turns,
        num_skills=config.num_skills if config.coordination == SKILLS else 1,
    )
    return Model(init=init, coordination=face, things=most_things(groups))


def others(agents: int) -> np.ndarray:
    """Return the other agents of each [N, N - 1], in the order in which observations show teammates."""
    return np.array([[j for j in range(agents) if j != i] for i in range(agents)], int).reshape(agents, agents - 1)


def seen_groups(config: Config, spec: EnvSpec) -> tuple[Group, ...]:
    """Return the one group of agents whose observations are read as entities, all teammates among them; else ()."""
    groups = teams(config, spec)
    shown = groups and {block.kind: block.count for block in groups[0].obs.entities}.get(ALLY, 0) == spec.num_agents - 1
    if not groups or (len(groups) == 1 and shown):
        return groups
    if config.encoder == "entities":
        raise ValueError(
            "network_args.encoder=entities: agents of one kind are needed here that see a token of every teammate; "
            "choose encoder=flat or auto"
        )
    return ()


class Team(nn.Module):
    """The agents' policies, all by one set of parameters; `self.groups` is () where observations are read flat."""

    config: Any
    num_agents: int
    num_actions: int
    groups: tuple[Group, ...]

    def setup(self):
        config, size = self.config, self.config.hidden_size
        if self.groups:
            self.encoder = TeamEncoder(config, self.groups, size)
        self.body = Body(config, "none")
        if config.memory == "gru":
            self.gru = GRU(size)
        self.join, self.head = Dense(size), self._head(config.policy_gain)
        self.predicts = config.coordination != NONE and self.num_agents > 1
        if self.predicts:
            self.pair_own, self.pair_other, self.guess = Dense(size), Dense(size, use_bias=False), self._head(0.01)
            self.pool, self.context = Pool("attention"), Dense(config.context_size)
        if config.coordination == SKILLS:
            self.first_guess, self.skill = Dense(config.num_skills), Dense(size, use_bias=False)
            self.deed, self.whole, self.inferred = Dense(size), Dense(size), Dense(config.num_skills)
        if config.turns:
            self.told, self.teller = Dense(size), Dense(size, use_bias=False)

    def _head(self, gain: float) -> nn.Module:
        start = nn.initializers.orthogonal(gain)
        if not self.groups:
            return Dense(self.num_actions, kernel_init=start)
        return TeamHead(self.groups, self.num_actions, self.config.entity_size, start)

    def __call__(self, memory: PyTree, x: Array, first: Array, action: Array) -> None:
        """Ask everything once, so that all parameters begin."""
        _, known = self.see(memory, x, first)
        self.logits(known, action, np.zeros((self.num_agents, self.num_agents), bool))
        self.prior(known)
        self.posterior(known, action, jnp.ones(action.shape, bool))

    def see(self, memory: PyTree, x: Array, first: Array) -> tuple[PyTree, dict[str, Any]]:
        """Map x [B, T, N, F] to (memory, what each agent knows: leaves [B, T, N, ...])."""
        tokens: dict[str, dict[str, Array]] = {}
        if self.groups:
            seen, (x, tokens) = x, self.encoder(x)
        _, features = self.body((), x, first)
        if self.config.memory == "gru":
            memory, features = self.gru(memory, features, first)
        known = {"features": features, "tokens": tokens}
        if self.groups:
            known["shown"] = self._shown(seen)
        if self.predicts:
            known |= self._predicted(known)
        return memory, known

    def _shown(self, obs: Array) -> Array:
        """Return which teammates each agent sees [B, T, N, N - 1] bool."""
        if self.num_agents == 1:
            return jnp.zeros((*obs.shape[:-1], 0), bool)
        team = next(kind for kind in view(self.groups[0].obs, obs).kinds if kind.name == ALLY)
        return jnp.ones(team.rows.shape[:-1], bool) if team.shown is None else team.shown

    def _teammates(self, known: dict[str, Any]) -> Array:
        """Return what is known of each teammate [B, T, N, N - 1, H]: its token, or where there are none its id."""
        if self.groups:
            return known["tokens"][self.groups[0].name][ALLY]
        ids = jnp.eye(self.num_agents)[others(self.num_agents)]
        return jnp.broadcast_to(ids, (*known["features"].shape[:-2], *ids.shape))

    def _predicted(self, known: dict[str, Any]) -> dict[str, Array]:
        """Return logits g of teammates' actions [B, T, N, N - 1, A], and what is known by them [B, T, N, C]."""
        pair = nn.relu(self.pair_own(known["features"])[..., None, :] + self.pair_other(self._teammates(known)))
        guesses = self.guess(pair, self._for_each(known["tokens"])) if self.groups else self.guess(pair)
        (pooled,) = self.pool(pair, known.get("shown"))
        return {"guesses": guesses, "context": nn.relu(self.context(pooled))}

    def _for_each(self, tokens: dict[str, dict[str, Array]]) -> dict[str, dict[str, Array]]:
        """Return tokens [B, T, N, C, H] with an axis of length one for several outputs of each agent."""
        return jax.tree.map(lambda x: x[..., None, :, :], tokens)

    def logits(self, known: dict[str, Any], action: Array, visible: np.ndarray | Array) -> Array:
        """Return logits [B, T, N, K, A] for each skill; K is 1 where there are none.

        Args:
          action: [B, T, N] of all agents, of which agent i sees those that are visible.
          visible: [N, N] bool: agent i acts after agent j.
        """
        parts = [known["features"]] + ([known["context"]] if self.predicts else [])
        joined = self.join(jnp.concatenate(parts, axis=-1))
        if self.config.turns and self.num_agents > 1:
            joined = joined + self._commitments(known, action, visible)
        joined = joined[..., None, :]
        if self.config.coordination == SKILLS:
            skills = self.skill(jnp.eye(self.config.num_skills))
            joined = joined + skills.reshape((1,) * (joined.ndim - 2) + skills.shape)
        features = nn.relu(joined)
        return self.head(features, self._for_each(known["tokens"])) if self.groups else self.head(features)

    def _commitments(self, known: dict[str, Any], action: Array, visible: np.ndarray | Array) -> Array:
        """Return what each agent makes of the actions of those before it [B, T, N, H]; zeros if there are none."""
        who, index = self._teammates(known), others(self.num_agents)
        done = self._deeds(known, action[..., index])
        before = jnp.asarray(visible)[np.arange(self.num_agents)[:, None], index]
        about = nn.relu(self.told(jnp.concatenate([who, done], axis=-1)) + self.teller(known["features"])[..., None, :])
        return jnp.sum(jnp.where(before.reshape((1,) * (about.ndim - 3) + (*before.shape, 1)), about, 0.0), axis=-2)

    def _deeds(self, known: dict[str, Any], action: Array) -> Array:
        """Return actions [B, T, N, M], as agent i sees them, as features [B, T, N, M, F].

        The thing's token describes an action at a thing, so F does not depend on how many there are.
        """
        chosen = jax.nn.one_hot(action, self.num_actions)
        if not self.groups:
            return chosen
        aimed = [block for block in self.groups[0].obs.entities if block.first_action >= 0]
        at = {block.kind: range(block.first_action, block.first_action + block.count) for block in aimed}
        plain = [i for i in range(self.num_actions) if not any(i in actions for actions in at.values())]
        tokens = known["tokens"][self.groups[0].name]
        targets = [jnp.einsum("...mc,...ch->...mh", chosen[..., list(at[kind])], tokens[kind]) for kind in at]
        return jnp.concatenate([chosen[..., plain], *targets], axis=-1)

    def prior(self, known: dict[str, Any]) -> Array:
        """Return logits [B, T, N, K] of the skill that each agent takes the team to use."""
        if self.config.coordination != SKILLS:
            return jnp.zeros((*known["features"].shape[:-1], 1))
        return self.first_guess(known["features"])

    def posterior(self, known: dict[str, Any], action: Array, alive: Array) -> Array:
        """Return logits [B, T, K] of the skill that the team used, by what all see and the actions [B, T, N]."""
        if self.config.coordination != SKILLS:
            return jnp.zeros((*action.shape[:-1], 1))
        done = self._deeds(known, action[..., None])[..., 0, :]
        each = nn.relu(self.deed(jnp.concatenate([known["features"], done], axis=-1)))
        each = jnp.where(alive[..., None], each, 0.0)
        mean = jnp.sum(each, axis=-2) / jnp.maximum(jnp.sum(alive, axis=-1), 1)[..., None]
        return self.inferred(nn.relu(self.whole(jnp.concatenate([mean, most(each)], axis=-1))))
