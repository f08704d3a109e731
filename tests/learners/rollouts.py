"""Random rollouts for learners that learn from them whole: episodes end here and there,
agents die, actions are masked.
"""

import jax
import jax.numpy as jnp
import numpy as np

from tandem.core import ActorCritic, Array, Batch, Discrete, EnvSpec, Params, PolicyExtras, Transition, Vector

E, T, N, A, O, S = 6, 8, 3, 5, 4, 2
SPEC = EnvSpec(num_agents=N, obs=Vector(O), state=Vector(S), actions=Discrete(A), episode_limit=9, shared_reward=False)


def random_rollout(model: ActorCritic, params: Params, seed: int, ends: float = 0.3) -> Batch:
    """Return a rollout whose memories and log-probabilities are those that `params` act with."""
    rows = random_rows(seed, ends)
    return batch_of(Transition(extras=acted(model, params, rows), **rows))


def random_rows(seed: int, ends: float = 0.3) -> dict[str, Array]:
    """Return the fields of random rows [E, T, ...], without what a planner leaves.

    Successors are the next rows within an episode. The dead may only play 0.
    """
    rng = np.random.default_rng(seed)
    over, by_itself = rng.random((E, T)) < ends, rng.random((E, T)) < 0.5
    alive, next_alive = rng.random((2, E, T, N)) < 0.7
    legal, next_legal = _legal(rng, alive), _legal(rng, next_alive)
    action = np.array([rng.choice(np.flatnonzero(row)) for row in legal.reshape(-1, A)]).reshape(E, T, N)
    obs, next_obs = rng.normal(size=(2, E, T, N, O))
    state, next_state = rng.normal(size=(2, E, T, S))
    going_on = ~over[:, :-1]
    for now, then in ((obs, next_obs), (state, next_state), (alive, next_alive), (legal, next_legal)):
        then[:, :-1][going_on] = now[:, 1:][going_on]
    first = np.concatenate([rng.random((E, 1)) < 0.5, over[:, :-1]], axis=1)
    numbers = dict(
        obs=obs, state=state, legal=legal, present=np.ones_like(alive), alive=alive, first=first, action=action,
        reward=rng.normal(size=(E, T, N)),
        terminated=over & by_itself, truncated=over & ~by_itself, next_obs=next_obs, next_state=next_state,
        next_legal=next_legal, next_alive=next_alive, env_step=np.zeros((E, T), np.int32),
    )  # fmt: skip
    narrow = {np.dtype(np.float64): np.float32, np.dtype(np.int64): np.int32}
    return {name: jnp.asarray(x.astype(narrow.get(x.dtype, x.dtype))) for name, x in numbers.items()}


def _legal(rng: np.random.Generator, alive: np.ndarray) -> np.ndarray:
    """Return what agents may play [E, T, N, A]: something at least, and the dead action 0 alone."""
    sure = np.eye(A, dtype=bool)[rng.integers(A, size=(E, T, N))]
    return np.where(alive[..., None], (rng.random((E, T, N, A)) < 0.6) | sure, np.eye(A, dtype=bool)[0])


def batch_of(traj: Transition) -> Batch:
    """Return rows as a batch of weight one."""
    return Batch(traj=traj, index=jnp.arange(E), weight=jnp.ones(E), priority=jnp.ones(E))


def acted(model: ActorCritic, params: Params, rows: dict) -> PolicyExtras:
    """Return what acting step by step with `params` would have left in the rows."""

    def step(memory, inputs):
        obs, state, first = (x[:, None] for x in inputs)
        after, outputs, _ = model.policy(params, memory, obs, first)
        critic = model.value(params, memory, obs, state, first)[0]["critic"]
        return after | {"critic": critic}, (memory, outputs[:, 0])

    steps = tuple(rows[name].swapaxes(0, 1) for name in ("obs", "state", "first"))
    start = jax.tree.map(lambda x: x + 0.5, model.memory(E))  # the rollout begins in mid-episode
    memory, outputs = jax.tree.map(lambda x: x.swapaxes(0, 1), jax.lax.scan(step, start, steps)[1])
    known = model.distribution
    return PolicyExtras(
        log_prob=known.log_prob(outputs, rows["legal"], rows["action"]), policy=known.describe(outputs, rows["legal"]),
        entropy=known.entropy(outputs, rows["legal"]), memory=memory,
    )  # fmt: skip
