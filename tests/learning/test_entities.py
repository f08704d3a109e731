"""A critic over entities learns what a flat one cannot see in so few examples, and not without relations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tandem.core import Discrete, EnvSpec, Vector
from tandem.envs.layout import laid_out
from tandem.models import actor_critic

N, LANDMARKS, B, STEPS = 4, 3, 256, 300


def spec() -> EnvSpec:
    pieces = [("own", 1, 2), ("landmark", LANDMARKS, 2), ("ally", N - 1, 2)]
    places = dict.fromkeys(("own", "landmark", "ally"), (0, 1))
    obs = laid_out(pieces, places=places, relative=True)
    return EnvSpec(
        num_agents=N, obs=obs, state=Vector(0), actions=Discrete(5), episode_limit=5, shared_reward=True
    )  # fmt: skip


def examples(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return observations [B, 1, N, O], and how far landmarks are from the nearest agent in the mean [B]."""
    draw = np.random.default_rng(seed)
    agents, landmarks = draw.uniform(-1, 1, (B, N, 2)), draw.uniform(-1, 1, (B, LANDMARKS, 2))
    obs = []
    for i in range(N):
        others = np.delete(agents, i, axis=1) - agents[:, [i]]
        parts = (agents[:, i], *(x.reshape(B, -1) for x in (landmarks - agents[:, [i]], others)))
        obs.append(np.concatenate(parts, axis=1))
    nearest = np.linalg.norm(agents[:, :, None] - landmarks[:, None], axis=-1).min(axis=1)
    return np.stack(obs, axis=1)[:, None].astype(np.float32), nearest.mean(axis=1).astype(np.float32)


def unexplained(**changes) -> float:
    """Return the share of the target's variance that a critic leaves on new examples, after fitting 256 of them."""
    face = actor_critic.make(actor_critic.Config(hidden_size=32, **changes), spec())
    params, optimiser = face.init(jax.random.key(0)), optax.adam(3e-3)

    def error(params, obs, target):
        _, value = face.actor_critic.value(params, face.actor_critic.memory(B), obs, jnp.zeros((B, 1, 0)), first)
        return jnp.mean((value[:, 0, 0] - target) ** 2)

    first = np.zeros((B, 1), bool)
    obs, target = examples(1)

    def step(carry, _):
        params, opt = carry
        updates, opt = optimiser.update(jax.grad(error)(params, obs, target), opt)
        return (optax.apply_updates(params, updates), opt), None

    params = jax.jit(lambda carry: jax.lax.scan(step, carry, None, STEPS)[0])((params, optimiser.init(params)))[0]
    new_obs, new_target = examples(2)
    return float(jax.jit(error)(params, new_obs, new_target) / np.var(new_target))


@pytest.mark.parametrize(
    "changes,learned",
    [(dict(encoder="entities"), True), (dict(encoder="entities", relations="none"), False), (dict(), False)],
    ids=["entities", "without relations", "flat"],
)
def test_only_relations_find_which_agent_is_near_what(changes, learned):
    assert (unexplained(**changes) < 0.15) == learned
