"""A small team's rows and networks, for tests of models that are dreamt in."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import Discrete, EnvSpec, Numbers, PolicyExtras, Transition, Vector
from tandem.models.imagination import model
from tandem.models.imagination.model import Config

B, T, N, A, O = 2, 6, 3, 4, 5
SPEC = EnvSpec(num_agents=N, obs=Vector(O), state=Vector(2), actions=Discrete(A), episode_limit=9, shared_reward=True)
NUMBERS = dataclasses.replace(SPEC, actions=Numbers(A))
SMALL = dict(width=8, layers=2, heads=2, model_size=16, hidden_size=8, num_layers=1, codes=9, reward_bins=11, window=12)
KINDS = {
    "one": dict(layout="one"),
    "tokens": dict(layout="tokens"),
    "one, fsq": dict(layout="one", tokenizer="fsq", tokens=3, codes=64, tokenizer_size=16, aggregate="perceiver"),
    "rssm": dict(dynamics="rssm", latent_groups=2, latent_classes=3),
    "tokens, vq": dict(layout="tokens", tokenizer="vq", tokens=3, codes=11, tokenizer_size=16, code_size=4),
}


def network(spec: EnvSpec = SPEC, **changes):
    """Return the small network with some settings changed."""
    return model.make(Config(**SMALL | changes), spec)


def rows(seed: int, spec: EnvSpec = SPEC, length: int = T, batch: int = B, ends: float = 0.2) -> Transition:
    """Return random rows [B, T, ...]; the successors of an episode are its next rows."""
    rng = np.random.default_rng(seed)
    agents, size, actions = spec.num_agents, spec.obs.size, spec.actions.size
    over, cut = rng.random((batch, length)) < ends, rng.random((batch, length)) < 0.4
    alive = rng.random((batch, length, agents)) < 0.8
    obs, next_obs = (rng.uniform(-1, 1, (batch, length, agents, size)).astype(np.float32) for _ in range(2))
    next_obs[:, :-1][~over[:, :-1]] = obs[:, 1:][~over[:, :-1]]
    legal = rng.random((batch, length, agents, actions)) < 0.7
    legal[..., 0] = True
    if spec.actions.continuous:
        action = np.where(legal, rng.uniform(-1.0, 1.0, legal.shape), 0.0).astype(np.float32)
    else:
        chosen = [rng.choice(np.flatnonzero(each)) for each in legal.reshape(-1, actions)]
        action = np.array(chosen, np.int32).reshape(alive.shape)
    reward = np.repeat(rng.normal(size=(batch, length, 1)), agents, axis=-1).astype(np.float32)
    extras = PolicyExtras(
        log_prob=jnp.zeros(alive.shape), policy=jnp.ones(legal.shape) / actions, entropy=jnp.zeros(alive.shape),
        memory={"actor": (), "critic": ()},
    )  # fmt: skip
    first = np.concatenate([np.zeros((batch, 1), bool), over[:, :-1]], axis=1)
    state = np.zeros((batch, length, spec.state.size), np.float32)
    row = Transition(
        obs=obs, state=state, legal=legal, present=np.ones_like(alive), alive=alive, first=first,
        action=action, extras=extras, reward=reward, terminated=over & ~cut,
        truncated=over & cut, next_obs=next_obs, next_state=state, next_legal=np.roll(legal, -1, axis=1),
        next_alive=np.roll(alive, -1, axis=1),
        env_step=np.zeros((batch, length), np.int32),
    )  # fmt: skip
    return jax.tree.map(jnp.asarray, row)
