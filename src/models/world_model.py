"""The team's world model: one latent per agent, parameters shared over agents, heads that may see committed actions.

Representation, dynamics, prediction and projection follow MAZero (Liu et al. 2024, section 4.1 and appendix), with two
changes. Latents are layer-normalised after every dynamics step. The policy and value heads take the actions that some
agents have already committed to. So the same heads serve every ply of a sequential search. With nothing committed, they
are the decentralised policy.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from tandem.core import (
    Array,
    Codec,
    EnvSpec,
    Imagined,
    Key,
    Latents,
    Model,
    Params,
    PyTree,
    SelfSupervision,
    TeamPolicy,
    TeamValue,
    Vector,
    setting,
)
from tandem.models.dense import Dense, with_ids
from tandem.models.attention import TransformerBlock
from tandem.models.entities.config import EntityConfig, teams
from tandem.models.entities.latent import LatentSpace, latent_space
from tandem.models.entities.world import EntityDynamics, EntityRepresentation, RelationalHead, TokenProjection
from tandem.models.policy_heads import AimingHead, AttentionHead, GRUHead, SumHead, zero_dense
from tandem.ops.support import Support, make_support


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(EntityConfig):
    latent_size: int = setting(
        128,
        "width D of each agent's latent; encoder=entities: of its part that is not a thing's token",
        low=2,
        high=4096,
    )
    encoder_size: int = setting(256, "width of the hidden layer between observation and latent", low=2, high=4096)
    hidden_size: int = setting(128, "width of every other hidden layer", low=2, high=4096)
    num_layers: int = setting(
        1,
        "number of hidden layers of the dynamics, and of the value and reward heads before the mean over agents",
        low=1,
        high=16,
    )
    attention: str = setting(
        "transformer", "how agents exchange information in the dynamics", choices=("none", "transformer")
    )
    attention_size: int = setting(64, "width of the tokens that agents exchange", low=2, high=4096)
    attention_heads: int = setting(2, "attention heads; must divide attention_size", low=1, high=64)
    attention_layers: int = setting(1, "number of transformer blocks in the dynamics", low=1, high=16)
    projection_size: int = setting(
        64, "width of the space in which predicted and real latents are compared", low=2, high=4096
    )
    policy_head: str = setting(
        "sum",
        "how a policy reads the commitments of others: their sum, attention to them, or a GRU over them in order",
        choices=("sum", "attention", "gru"),
    )
    policy_layers: int = setting(
        1, "policy_head=attention: number of decoder blocks, with attention_heads heads each", low=1, high=16
    )
    value_bins: int = setting(101, "number of bins of the categorical value", low=3, high=1001)
    value_limit: float = setting(
        8.0, "value support is [-limit, limit] after the transform h(x); 8 covers returns up to 79", low=0.1
    )
    reward_bins: int = setting(51, "number of bins of the categorical reward", low=3, high=1001)
    reward_limit: float = setting(
        4.0, "reward support is [-limit, limit] after the transform h(x); 4 covers rewards up to 24", low=0.1
    )
    agent_id: bool = setting(
        False, "encoder=flat: whether to add a one-hot agent id to each observation, which may not show the roles"
    )
    mask_absent: bool = setting(
        False,
        "encoder=entities: whether things that are dead or out of sight stay so, and are ignored, in imagined steps",
    )
    compute_dtype: str = setting(
        "float32",
        "precision of the layers; parameters, losses and encoders of entities stay float32",
        choices=("float32", "bfloat16"),
    )


class Representation(nn.Module):
    """Each agent's own observation to its latent: the only input of the decentralised policy."""

    config: Config

    @nn.compact
    def __call__(self, obs: Array) -> Array:
        """Map obs [..., N, O] to latents [..., N, D]."""
        dtype = jnp.dtype(self.config.compute_dtype)
        if self.config.agent_id:
            obs = with_ids(obs)
        # Biases start at random. With biases of zero the latent, which is normalised at the end, would not know the
        # observation's scale, and near and far would look alike.
        # There is one wide layer. At equal CPU time a second one left the reward's error a third larger, and the
        # value's slope, by which a search compares actions, further from the truth (simple_spread, fixed policy).
        x = nn.relu(Dense(self.config.encoder_size, dtype=dtype, bias_init=nn.initializers.normal(1.0))(obs))
        return nn.LayerNorm(dtype=jnp.float32)(Dense(self.config.latent_size, dtype=dtype)(x))


class Dynamics(nn.Module):
    """One environment step in latent space, with attention between agents, and the team's reward for it."""

    config: Config
    num_actions: int

    @nn.compact
    def __call__(self, latent: Array, action: Array) -> tuple[Array, Array]:
        """Map latent [..., N, D] and action [..., N] to the next latent [..., N, D] and reward logits [..., V]."""
        cfg, dtype = self.config, jnp.dtype(self.config.compute_dtype)
        played = jax.nn.one_hot(action, self.num_actions, dtype=dtype)
        x = jnp.concatenate([latent.astype(dtype), played], axis=-1)
        if cfg.attention == "transformer":
            tokens = Dense(cfg.attention_size, dtype=dtype, name="token")(x)
            for _ in range(cfg.attention_layers):
                tokens = TransformerBlock(cfg.attention_heads, cfg.attention_size, dtype)(tokens)
            x = jnp.concatenate([x, tokens], axis=-1)
        change = Dense(
            cfg.latent_size, dtype=dtype
        )  # made before the hidden layers, because parameter names follow this order
        for _ in range(cfg.num_layers):
            x = nn.relu(Dense(cfg.hidden_size, dtype=dtype)(x))
        next_latent = nn.LayerNorm(dtype=jnp.float32)(latent + change(x))
        team = jnp.concatenate([next_latent.astype(dtype), played], axis=-1)
        return next_latent, TeamHead(cfg.hidden_size, cfg.reward_bins, dtype, cfg.num_layers)(team)


class TeamHead(nn.Module):
    """A centralised head: the mean of all agents' features to one categorical distribution, uniform at first.

    It does not depend on the order of the agents, so what is learned for one role holds for every agent in it.
    """

    hidden: int
    num_bins: int
    dtype: jnp.dtype
    num_layers: int  # before the mean

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """Map [..., N, F] to float32 logits [..., V]."""
        each = features
        for name in ("each", *(f"each_{i}" for i in range(1, self.num_layers))):
            each = nn.relu(Dense(self.hidden, dtype=self.dtype, name=name)(each))
        team = nn.LayerNorm(dtype=self.dtype)(jnp.mean(each, axis=-2))
        return zero_dense(self.num_bins)(
            nn.relu(Dense(self.hidden, dtype=self.dtype, name="team")(team)).astype(jnp.float32)
        )


def _policy_head(config: Config, space: LatentSpace, dtype: jnp.dtype) -> nn.Module:
    if config.policy_head == "attention":
        return AttentionHead(config.hidden_size, space, dtype, config.attention_heads, config.policy_layers)
    by_sum = AimingHead if space.target else SumHead
    return {"sum": by_sum, "gru": GRUHead}[config.policy_head](config.hidden_size, space, dtype)


class Network(nn.Module):
    """All parts under one set of parameters."""

    config: Config
    space: LatentSpace

    def setup(self):
        cfg, dtype = self.config, jnp.dtype(self.config.compute_dtype)
        self.representation = Representation(cfg)
        self.dynamics = Dynamics(cfg, self.space.num_actions)
        self.policy_head = _policy_head(cfg, self.space, dtype)
        self.value_head = TeamHead(cfg.hidden_size, cfg.value_bins, dtype, cfg.num_layers)
        self.projector = Dense(cfg.projection_size, dtype=dtype)
        self.predictor = nn.Sequential(
            [Dense(cfg.projection_size, dtype=dtype), nn.relu, Dense(cfg.projection_size, dtype=dtype)]
        )

    def represent(self, obs: Array) -> Array:
        return self.representation(obs)

    def policy(self, latent: Array, action: Array, visible: Array) -> Array:
        return self.policy_head(latent, action, visible)

    def begin(self, latent: Array) -> tuple[PyTree, PyTree]:
        return self.policy_head.begin(latent)

    def commit(self, plan: PyTree, latent: Array, agent: Array, action: Array) -> PyTree:
        return self.policy_head.commit(plan, latent, agent, action)

    def reply(self, own: PyTree, plan: PyTree) -> Array:
        return self.policy_head.reply(own, plan)

    def value(self, latent: Array, action: Array, committed: Array) -> Array:
        played = self.space.played(latent, action) * committed[..., None]
        whole = self.space.whole(latent)
        return self.value_head(jnp.concatenate([whole, played], axis=-1).astype(self.config.compute_dtype))

    def imagine(self, latent: Array, action: Array) -> tuple[Array, Array]:
        return self.dynamics(latent, action)

    def project(self, latent: Array) -> Array:
        return self.projector(latent).astype(jnp.float32)

    def foresee(self, latent: Array) -> Array:
        return self.predictor(self.projector(latent)).astype(jnp.float32)

    def __call__(self, obs: Array) -> tuple[Array, ...]:
        """Touch every part once, so that `init` makes all parameters."""
        latent = self.represent(obs)
        nobody = jnp.zeros(obs.shape[:-1], bool)
        action = jnp.zeros(obs.shape[:-1], jnp.int32)
        visible = nobody[..., None] & nobody[..., None, :]
        next_latent, reward = self.imagine(latent, action)
        return (
            reward,
            self.policy(latent, action, visible),
            self.value(latent, action, nobody),
            self.foresee(next_latent),
        )


class EntityNetwork(Network):
    """The same parts, over latents that hold what is known of each thing."""

    obs: Vector

    def setup(self):
        cfg = self.config
        self.representation = EntityRepresentation(cfg, self.space, self.obs, cfg.encoder_size)
        self.dynamics = EntityDynamics(
            self.space,
            hidden=cfg.hidden_size,
            attention=cfg.attention_size if cfg.attention == "transformer" else 0,
            attention_heads=cfg.attention_heads,
            attention_layers=cfg.attention_layers,
            relation_size=cfg.relation_size,
        )
        self.policy_head = _policy_head(cfg, self.space, jnp.float32)
        self.value_head = RelationalHead(cfg.hidden_size, cfg.value_bins)
        self.reward_head = RelationalHead(cfg.hidden_size, cfg.reward_bins)
        self.projector = TokenProjection(self.space, cfg.projection_size)
        self.predictor = nn.Sequential([Dense(cfg.projection_size), nn.relu, Dense(cfg.projection_size)])

    def imagine(self, latent: Array, action: Array) -> tuple[Array, Array]:
        after = self.dynamics(latent, action)
        features = [self.space.whole(after), self.space.played(latent, action)]
        return after, self.reward_head(jnp.concatenate(features, axis=-1))

    def foresee(self, latent: Array) -> Array:
        projected = self.projector(latent)
        size = self.config.projection_size
        return jnp.concatenate([self.predictor(projected[..., :size]), projected[..., size:]], axis=-1)


def make(config: Config, spec: EnvSpec) -> Model:
    """Return the world model of a task, which has no memory and imagines no ends of episodes.

    Raises:
      ValueError: the heads do not divide the attention's width, or the task's actions are continuous.
    """
    if config.attention_size % config.attention_heads:
        raise ValueError(
            f"network_args.attention_heads={config.attention_heads} does not divide "
            f"network_args.attention_size={config.attention_size}; choose heads that do"
        )
    if config.policy_head == "attention" and config.hidden_size % config.attention_heads:
        raise ValueError(
            f"network_args.attention_heads={config.attention_heads} does not divide "
            f"network_args.hidden_size={config.hidden_size}, the width of policy_head=attention; choose heads that do"
        )
    if spec.actions.continuous:
        raise ValueError("a world model plans over discrete actions; this environment's actions are continuous")
    network = _network(config, spec)
    value = make_support(-config.value_limit, config.value_limit, config.value_bins)
    reward = make_support(-config.reward_limit, config.reward_limit, config.reward_bins)

    def bind(method: str) -> Callable:
        return lambda params, *args: network.apply({"params": params}, *args, method=method)

    return Model(
        init=lambda key: network.init(key, jnp.zeros((spec.num_agents, spec.obs.size)))["params"],
        acting=_acting,
        latents=_latents(bind("represent"), bind("imagine"), _codec(reward)),
        team_policy=TeamPolicy(
            logits=bind("policy"),
            begin=bind("begin"),
            commit=bind("commit"),
            reply=bind("reply"),
        ),
        team_value=TeamValue(logits=bind("value"), codec=_codec(value)),
        self_supervision=SelfSupervision(project=bind("project"), foresee=bind("foresee")),
        world=("representation", "dynamics", "reward_head", "projector", "predictor"),
        policy=("policy_head",),
    )


def _network(config: Config, spec: EnvSpec) -> Network:
    """Return the network that reads observations flat, or as entities where all agents see the same kinds of things."""
    groups = teams(config, spec)
    if len(groups) != 1 and config.encoder == "entities":
        raise ValueError(
            "network_args.encoder=entities: agents see and do different things here, but a world model has latents of "
            "one kind; choose encoder=flat or auto"
        )
    if len(groups) != 1:
        return Network(config, LatentSpace(own=config.latent_size, num_actions=spec.actions.size))
    space = latent_space(config.latent_size, config.entity_size, spec.obs, spec.actions, config.mask_absent)
    if space.target and config.policy_head != "sum":
        raise ValueError(
            f"network_args.policy_head={config.policy_head}: actions aim at things here, and only policy_head=sum "
            "supports that; choose it, or encoder=flat"
        )
    if config.agent_id:
        raise ValueError(
            "network_args.agent_id=True: networks that see entities take no id, so that they fit teams of every size; "
            "choose encoder=flat with it"
        )
    if config.compute_dtype != "float32":
        raise ValueError(
            f"network_args.compute_dtype={config.compute_dtype}: entities are read in float32; choose that, or "
            "encoder=flat"
        )
    return EntityNetwork(config, space, spec.obs)


def _latents(represent: Callable, imagine: Callable, reward: Codec) -> Latents:
    """Return the latents of a network without memory, randomness and predicted ends of episodes."""

    def observe(params: Params, memory: PyTree, obs: Array, first: Array) -> tuple[PyTree, Array]:
        del first
        return memory, represent(params, obs)

    def step(params: Params, latent: Array, action: Array, key: Key) -> Imagined:
        del key
        latent, reward = imagine(params, latent, action)
        return Imagined(latent=latent, reward=reward, continues=jnp.ones(reward.shape[:-1]))

    return Latents(memory=lambda batch: (), represent=observe, imagine=step, reward=reward)


def _acting(params: Params) -> Params:
    """Return the parameters without those of self-supervision, which only learning needs."""
    return {name: params[name] for name in params if name not in ("projector", "predictor")}


def _codec(support: Support) -> Codec:
    return Codec(mean=support.mean, target=support.target)
