"""Parts so small that every number a runner reports can be counted by hand.

The environment counts its steps and, after an episode's end, goes on counting and paying, so that a runner which does
not stop there is found out. The planners act by formulas over what they see. The learner counts its updates.
"""

import jax
import jax.numpy as jnp

from tandem.core import (
    Batch, Discrete, EnvSpec, Environment, Learner, LearnerState, Plan, Planner, PolicyExtras, SearchExtras, TimeStep,
    Vector,
)  # fmt: skip

N, O, S, A, LIMIT = 2, 5, 3, 4, 3
STOP = A - 1  # agent 0 ends the task with this action


def make_env(*, shared: bool) -> Environment:
    """Return the environment: agent i sees (tag drawn at reset, step, both last actions, i) and earns `pay`."""

    def show(tag, count, last, reward, terminated) -> TimeStep:
        common = jnp.concatenate([jnp.stack([tag, count]), last])
        legal = jnp.ones((N, A), bool).at[:, 1].set(count > 0.0)
        return TimeStep(
            obs=jnp.concatenate([jnp.tile(common, (N, 1)), jnp.arange(N, dtype=jnp.float32)[:, None]], axis=1),
            state=common[:S],
            legal=legal,
            present=jnp.ones(N, bool),
            alive=jnp.ones(N, bool),
            reward=reward,
            terminated=terminated,
            truncated=(count >= LIMIT) & ~terminated,
            first=count == 0.0,
            metrics={"tag": tag, "count": count},
        )

    def reset(key):
        tag = jax.random.uniform(key)
        last = jnp.full(N, -1.0)
        return (tag, jnp.zeros(())), show(tag, jnp.zeros(()), last, jnp.zeros(N), jnp.array(False))

    def step(key, state, action):
        del key
        tag, count = state[0], state[1] + 1.0
        last = action.astype(jnp.float32)
        return (tag, count), show(tag, count, last, pay(count, last, shared), action[0] == STOP)

    spec = EnvSpec(
        num_agents=N, obs=Vector(O), state=Vector(S), actions=Discrete(A), episode_limit=LIMIT, shared_reward=shared,
        metric_names=("tag", "count"),
    )  # fmt: skip
    return Environment(spec=spec, reset=reset, step=step)


def pay(count, last, shared: bool):
    """Return rewards [N] for the actions [N] that led to step `count`; works on NumPy and JAX."""
    return (100.0 * count + last[0] + 10.0 * last[1]) * (last * 0.0 + 1.0) if shared else 10.0 * count + last * 3.0


def make_planner(version=lambda params: 0.0) -> Planner:
    """Return a planner whose extras tell what was planned (`signature`) and with which parameters (`version`).

    Exploring, it plays at random; otherwise every agent plays the step number, and agent 0 stops after 1 + floor(3 tag)
    steps, so that environments end after one, two or three.
    """

    def plan(params, carry, timestep: TimeStep, key, explore, progress):
        batch = timestep.obs.shape[0]
        tag, count = timestep.obs[:, 0, 0], timestep.obs[:, 0, 1]
        planned = jnp.tile(count[:, None], (1, N)).astype(jnp.int32)
        stops = (count + 1.0 >= 1.0 + jnp.floor(3.0 * tag))[:, None] & (jnp.arange(N) == 0)[None]
        drawn = jnp.array([0, 2, STOP])[jax.random.randint(key, (batch, N), 0, 3)]  # 1 is illegal at first
        action = drawn.astype(jnp.int32) if explore else jnp.where(stops, STOP, planned)
        extras = SearchExtras(
            policy=jnp.full((batch, N, A), progress),
            value=jnp.full(batch, version(params)),
            rank=jnp.zeros((batch, N), jnp.int32),
            committed=signature(timestep.obs),
        )
        return carry + 1, Plan(action=action, extras=extras)

    return Planner(init=lambda batch: jnp.zeros((), jnp.int32), plan=plan, plays="policy")


def telling(planner: Planner) -> Planner:
    """Return the planner with metrics: the step that an environment is at, and whether agent 0 stops there."""

    def plan(params, carry, timestep: TimeStep, *rest):
        carry, plan = planner.plan(params, carry, timestep, *rest)
        stops = (plan.action[:, 0] == STOP).astype(jnp.float32)
        return carry, plan.replace(metrics={"stops": stops, "at": timestep.obs[:, 0, 1]})

    return planner._replace(plan=plan, metric_names=("stops", "at"))


def signature(obs):
    """Return [B, N] int32 that tells observations [B, N, O] apart."""
    tag, count, agent = (obs[..., i] * scale for i, scale in ((0, 2**20), (1, 1), (4, 1)))
    return tag.astype(jnp.int32) * 8 + count.astype(jnp.int32) * 2 + agent.astype(jnp.int32)


def make_still_planner() -> Planner:
    """Return a planner that never explores: everybody plays 0, in the manner of a decentralised policy."""

    def plan(params, carry, timestep: TimeStep, key, explore, progress):
        batch = timestep.obs.shape[0]
        extras = PolicyExtras(
            log_prob=jnp.zeros((batch, N)), policy=jnp.zeros((batch, N, A)), entropy=jnp.zeros((batch, N))
        )
        return carry, Plan(action=jnp.zeros((batch, N), jnp.int32), extras=extras)

    return Planner(init=lambda batch: (), plan=plan, plays="policy")


def make_learner() -> Learner:
    """Return a learner of sequences of two rows, whose parameters count updates and depend on all it is given."""

    def init(key):
        params = {"updates": jnp.zeros(()), "weights": jax.random.normal(key, (7,))}
        return LearnerState(params=params, target=jax.tree.map(jnp.copy, params), opt=(), step=jnp.zeros((), jnp.int32))

    def update(state: LearnerState, batch: Batch, key):
        seen = jnp.mean(batch.traj.obs[:, :, 0, 0]) + jnp.mean(batch.traj.action.astype(jnp.float32))
        weights = 0.9 * state.params["weights"] + seen + jax.random.normal(key, (7,))
        params = {"updates": state.params["updates"] + 1.0, "weights": weights}
        metrics = {"train/loss": params["updates"], "search/seen": seen}
        return state.replace(params=params, step=state.step + 1), metrics, jnp.ones(batch.index.shape)

    def remarks(metrics):
        late = {"late": f"after {metrics['train/loss']:.0f} updates"} if metrics.get("train/loss", 0.0) > 7 else {}
        return {"always": "a word"} | late

    return Learner(
        init=init, update=update, sequence_length=2, metric_names=("train/loss", "search/seen"), remarks=remarks
    )
