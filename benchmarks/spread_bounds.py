"""What random play and hand controllers return on simple_spread: `python benchmarks/spread_bounds.py`.

Team return over 25 steps, mean and standard error. Random play is score 0 of simple_spread and the controller
`optimal` score 1; `SPREAD_BOUNDS` in `src/envs/mpe_metrics.py` holds the means of both, which this prints last.
"""

import argparse
import statistics
from collections.abc import Callable

import harness
import jax
import jax.numpy as jnp

from tandem.core import Array, Environment
from tandem.envs import mpe
from tandem.ops.team import team_reward

BATCH = 256  # episodes side by side


def randomly(key: Array, obs: Array) -> Array:
    """Return any of the five moves [N] with the same probability."""
    return jax.random.randint(key, obs.shape[:1], 0, 5)


def still(key: Array, obs: Array) -> Array:
    """Return no move [N]."""
    del key
    return jnp.zeros(obs.shape[0], jnp.int32)


def players(env: Environment) -> dict[str, Callable[[Array, Array], Array]]:
    """Return all that is measured by name, each act(key, obs [N, O]) -> action [N]."""
    scripted = {name: lambda key, obs, act=act: act(obs) for name, act in env.scripted}
    return {"random": randomly, "still": still, **scripted}


def measure(env: Environment, act: Callable[[Array, Array], Array], episodes: int, seed: int) -> dict[str, float]:
    """Return the mean of the team return, and its standard error."""

    def play(key: Array) -> Array:
        reset_key, key = jax.random.split(key)

        def step(carry, key: Array):
            state, timestep = carry
            act_key, step_key = jax.random.split(key)
            state, timestep = env.step(step_key, state, act(act_key, timestep.obs))
            return (state, timestep), team_reward(timestep.reward, env.spec.shared_reward)

        return jax.lax.scan(step, env.reset(reset_key), jax.random.split(key, env.spec.episode_limit))[1].sum()

    keys = jax.random.split(jax.random.key(seed), episodes)
    run = jax.jit(lambda keys: jax.lax.map(play, keys, batch_size=BATCH))
    returns = run(keys).tolist()
    return {"mean": statistics.mean(returns), "stderr": statistics.stdev(returns) / len(returns) ** 0.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=list(range(2, 11)))
    parser.add_argument("--episodes", type=int, default=8192, help="at least 2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="spread_bounds", help="of the result")
    options = parser.parse_args()
    measured = {}
    for agents in options.agents:
        env = mpe.make(mpe.Config(num_agents=agents))
        measured[agents] = {
            name: measure(env, act, options.episodes, options.seed) for name, act in players(env).items()
        }
        print(f"{agents} agents are measured", flush=True)
    names = list(next(iter(measured.values())))
    rows = [
        [agents, *(f"{of['mean']:.1f} ± {of['stderr']:.1f}" for of in found.values())]
        for agents, found in measured.items()
    ]
    print(harness.table(rows, ["agents", *names]))
    for agents, found in measured.items():
        print(f"    {agents}: Bounds({found['random']['mean']:.1f}, {found['optimal']['mean']:.1f}),")
    harness.write(options.name, {"episodes": options.episodes, "seed": options.seed, "returns": measured})


if __name__ == "__main__":
    main()
