"""Does a value see what one agent's move is worth: `python benchmarks/value_truth.py --agents 3 5 8`.

MPE simple_spread under uniform play. Such play never changes, so the value of a state can be measured by playing it
out, and a value learned for it by the learner's rule (n-step targets, a target network that is copied at intervals) has
nothing to chase. A search asks a value one thing: what changes if this agent plays otherwise. So agent 0 plays each of
its moves in the same 64 states, the others at random, and the worths of where that leads are compared, less their mean
over the moves: by their correlation, and by the slope of learned against true ones, which is 1 if the differences are
as large as they should be and 0 if all moves look alike.
"""

import argparse
import time
from typing import NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tandem.core import Array, Environment, Key, LearnerState, Model
from tandem.envs import mpe
from tandem.learners import mazero
from tandem.learners.sgd import make_optimiser, sgd_step
from tandem.models import world_model
from tandem.ops.losses import cross_entropy

LEARNER = mazero.Config()
DISCOUNT = 0.95
REWARD_SCALE = {3: 0.333, 5: 0.135, 8: 0.075}  # as in src/config/ablations/spread.yaml
EPISODE = 25
STATES, BEFORE = 64, 7  # states in which moves are compared, and the uniform steps that lead there
HORIZON, SAMPLES = 30, 1024  # steps played out from there, and how often
DRAWS = 16  # joint moves of the others over which a learned worth is averaged
PER_CALL = 100  # updates under one jit; a fit takes a multiple of them


class Rows(NamedTuple):
    """Episodes of uniform play, without what follows the last step."""

    obs: Array  # [T, E, N, O]
    reward: Array  # [T, E] scaled, the team's
    next_obs: Array  # [T, E, N, O]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=list(REWARD_SCALE), choices=list(REWARD_SCALE))
    parser.add_argument("--rows", type=int, default=1_000_000, help="environment steps that the value is fitted to")
    parser.add_argument(
        "--fits", type=size, nargs="+", default=[(384, 2000)], help="positions in an update x updates, as 384x2000"
    )
    parser.add_argument("--n-step", type=int, default=LEARNER.n_step)
    parser.add_argument(
        "--target-period",
        type=int,
        default=LEARNER.target_period_updates,
        help="updates between copies to the target network",
    )
    parser.add_argument("--rate", type=float, default=LEARNER.learning_rate, help="peak of the learning rate")
    parser.add_argument("--name", default="value_truth", help="of the result")
    options = parser.parse_args()
    table, result = [], []
    for agents in options.agents:
        env = mpe.make(mpe.Config(num_agents=agents))
        model = world_model.make(world_model.Config(value_limit=6.0), env.spec)
        rows = jax.jit(uniform_play, static_argnums=(0, 2, 3))(
            env, jax.random.key(1), options.rows // EPISODE, REWARD_SCALE[agents]
        )
        states = jax.jit(positions, static_argnums=0)(env, jax.random.key(2))
        returns = np.asarray(
            jax.jit(played_out, static_argnums=(0, 3))(env, states, jax.random.key(3), REWARD_SCALE[agents])
        )
        after = jax.jit(successors, static_argnums=0)(env, states, jax.random.key(4))
        noise, _ = agreement(returns[::2].mean(0), returns[1::2].mean(0))
        print(f"{agents} agents: correlation {noise:.2f} between the two halves of what was played out", flush=True)
        for batch, updates in options.fits:
            learned, seconds = fit(model, rows, after, options, batch, updates)
            correlation, slope = agreement(learned, returns.mean(0))
            table.append(
                [
                    agents,
                    batch,
                    updates,
                    f"{updates * batch / 1e6:.2f}M",
                    f"{correlation:.2f}",
                    f"{slope:.2f}",
                    f"{seconds:.0f}",
                ]
            )
            result.append(
                {"agents": agents, "batch": batch, "updates": updates, "correlation": correlation, "slope": slope,
                 "halves": noise, "seconds": seconds}
            )  # fmt: skip
            print(table[-1], flush=True)
    print(
        harness.table(
            table, ["agents", "positions per update", "updates", "positions", "correlation", "slope", "seconds"]
        )
    )
    asked = {name: getattr(options, name) for name in ("rows", "n_step", "target_period", "rate")}
    harness.write(options.name, asked | {"fits": result})


def size(text: str) -> tuple[int, int]:
    """Return (positions in an update, updates) of a fit written as 384x2000."""
    batch, x, updates = text.partition("x")
    if not (
        x and batch.isdigit() and updates.isdigit() and int(batch) and int(updates) and int(updates) % PER_CALL == 0
    ):
        raise argparse.ArgumentTypeError(
            f"'{text}': expected two numbers as in 384x2000, the second a multiple of {PER_CALL}"
        )
    return int(batch), int(updates)


def uniform_step(env: Environment, state, key: Key):
    """Return states [S] and timesteps [S] after a uniformly drawn joint action in each."""
    act_key, step_key = jax.random.split(key)
    count = jax.tree.leaves(state)[0].shape[0]
    action = jax.random.randint(act_key, (count, env.spec.num_agents), 0, env.spec.actions.size)
    return jax.vmap(env.step)(jax.random.split(step_key, count), state, action)


def uniform_play(env: Environment, key: Key, episodes: int, scale: float) -> Rows:
    """Return that many episodes."""
    reset_key, key = jax.random.split(key)
    state, timestep = jax.vmap(env.reset)(jax.random.split(reset_key, episodes))

    def step(carry, key):
        state, obs = carry
        state, timestep = uniform_step(env, state, key)
        return (state, timestep.obs), Rows(obs, scale * jnp.sum(timestep.reward, axis=-1), timestep.obs)

    return jax.lax.scan(step, (state, timestep.obs), jax.random.split(key, EPISODE))[1]


def positions(env: Environment, key: Key):
    """Return the states [S] in which moves are compared."""
    reset_key, key = jax.random.split(key)
    state, _ = jax.vmap(env.reset)(jax.random.split(reset_key, STATES))
    return jax.lax.scan(
        lambda state, key: (uniform_step(env, state, key)[0], None), state, jax.random.split(key, BEFORE)
    )[0]


def moved(env: Environment, state, key: Key):
    """Return states and timesteps [A S] after each move of agent 0 in states [S], the others' moves being the same
    for all of them.
    """
    act_key, step_key = jax.random.split(key)
    count, moves = jax.tree.leaves(state)[0].shape[0], env.spec.actions.size
    others = jax.random.randint(act_key, (count, env.spec.num_agents), 0, moves)
    action = jnp.tile(others, (moves, 1)).at[:, 0].set(jnp.repeat(jnp.arange(moves), count))
    state = jax.tree.map(lambda x: jnp.concatenate([x] * moves), state)
    return jax.vmap(env.step)(jnp.tile(jax.random.split(step_key, count), moves), state, action)


def played_out(env: Environment, state, key: Key, scale: float) -> Array:
    """Return the discounted returns [K, S, A] of uniform play from where each move of agent 0
    leads, the move's reward apart.
    """
    moves, discounts = env.spec.actions.size, DISCOUNT ** jnp.arange(HORIZON)

    def once(key: Key) -> Array:
        move_key, key = jax.random.split(key)
        after, _ = moved(env, state, move_key)

        def step(state, key):
            act_key, step_key = jax.random.split(key)
            # One draw for all moves of agent 0: what is common to them cancels in their differences.
            action = jnp.tile(jax.random.randint(act_key, (STATES, env.spec.num_agents), 0, moves), (moves, 1))
            state, timestep = jax.vmap(env.step)(jnp.tile(jax.random.split(step_key, STATES), moves), state, action)
            return state, scale * jnp.sum(timestep.reward, axis=-1)

        _, rewards = jax.lax.scan(step, after, jax.random.split(key, HORIZON))
        return (discounts @ rewards).reshape(moves, STATES).T

    return jax.lax.map(once, jax.random.split(key, SAMPLES), batch_size=32)


def successors(env: Environment, state, key: Key) -> Array:
    """Return the observations [K, A, S, N, O] after each move of agent 0."""
    obs = jax.vmap(lambda key: moved(env, state, key)[1].obs)(jax.random.split(key, DRAWS))
    return obs.reshape(DRAWS, env.spec.actions.size, STATES, *obs.shape[2:])


def agreement(mine: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Return the correlation and the slope of worths [S, A] against true ones, less each state's mean
    over the moves.
    """
    mine, true = (x - x.mean(axis=1, keepdims=True) for x in (mine, true))
    return float(np.corrcoef(mine.ravel(), true.ravel())[0, 1]), float((mine * true).sum() / (true * true).sum())


def fit(
    model: Model, rows: Rows, after: Array, options: argparse.Namespace, batch: int, updates: int
) -> tuple[np.ndarray, float]:
    """Return the worth [S, A] that a value gives to each move after that many updates, and the seconds
    they took, compiling included.
    """
    optimiser, _ = make_optimiser(
        peak=options.rate,
        warmup_updates=LEARNER.warmup_updates,
        total_updates=updates,
        final_fraction=LEARNER.final_rate_fraction,
        weight_decay=LEARNER.weight_decay,
        max_grad_norm=LEARNER.max_grad_norm,
    )

    @jax.jit
    def some(state, keys, rows):
        one = lambda state, key: (value_update(model, optimiser, rows, options, batch, state, key), None)  # noqa: E731
        return jax.lax.scan(one, state, keys)[0]

    params = model.init(jax.random.key(0))
    state = LearnerState(params=params, target=params, opt=optimiser.init(params), step=jnp.zeros((), jnp.int32))
    began = time.monotonic()
    for keys in jax.random.split(jax.random.key(5), (updates // PER_CALL, PER_CALL)):
        state = some(state, keys, rows)
    jax.block_until_ready(state)
    seconds = time.monotonic() - began
    return np.asarray(jax.jit(lambda params: jnp.mean(value(model, params, after), axis=0).T)(state.params)), seconds


def value_logits(model: Model, params, obs: Array) -> Array:
    """Return the logits [..., V] of the value of observations [..., N, O], nobody having committed to anything."""
    nobody = jnp.zeros(obs.shape[:-1], bool)
    return model.team_value.logits(params, mazero.represent(model, params, obs), nobody.astype(jnp.int32), nobody)


def value(model: Model, params, obs: Array) -> Array:
    """Return the value [...] of observations [..., N, O]."""
    return model.team_value.codec.mean(value_logits(model, params, obs))


def value_update(
    model: Model, optimiser, rows: Rows, options: argparse.Namespace, batch: int, state: LearnerState, key: Key
):
    """Return the state after one more update on a batch of positions."""
    n_step = options.n_step
    time_key, episode_key = jax.random.split(key)
    when = jax.random.randint(time_key, (batch,), 0, EPISODE - n_step + 1)
    which = jax.random.randint(episode_key, (batch,), 0, rows.reward.shape[1])
    rewards = jax.vmap(lambda t, e: jax.lax.dynamic_slice(rows.reward, (t, e), (n_step, 1))[:, 0])(when, which)
    bootstrap = value(model, state.target, rows.next_obs[when + n_step - 1, which])
    wanted = model.team_value.codec.target(rewards @ DISCOUNT ** jnp.arange(n_step) + DISCOUNT**n_step * bootstrap)

    def objective(params):
        return jnp.mean(cross_entropy(value_logits(model, params, rows.obs[when, which]), wanted)), None

    params, opt, _, _ = sgd_step(objective, optimiser, state.params, state.opt)
    step = state.step + 1
    target = optax.periodic_update(params, state.target, step, options.target_period)
    return LearnerState(params=params, target=target, opt=opt, step=step)


if __name__ == "__main__":
    main()
