"""PettingZoo's simple_spread (package mpe2) against ours in JAX: `python
benchmarks/pettingzoo_parity.py`, about a minute.

First random play: the mean team return of as many episodes in each, which should agree within two standard errors of
  their
difference. Then one and the same episode, action for action, from the same positions in both, step by step.
"""

import argparse
import sys

import harness
import numpy as np

METRICS = ("return", "collisions", "landmark_distance", "occupied")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--replayed", type=int, default=200, help="episodes that are played in both, step by step")
    options = parser.parse_args()

    from tandem import backend

    backend.prepare_jax("cpu", "auto")
    ours, theirs = in_jax(options.episodes), in_pettingzoo(options.episodes)
    rows, result = [], {}
    for name in METRICS:
        means = float(ours[name].mean()), float(theirs[name].mean())
        errors = standard_error(ours[name]), standard_error(theirs[name])
        apart = (means[0] - means[1]) / float(np.hypot(*errors))
        rows.append(
            [name, *(f"{mean:.3f} ± {error:.3f}" for mean, error in zip(means, errors, strict=True)), f"{apart:+.2f}"]
        )
        result[name] = {
            "jax": [means[0], errors[0]],
            "pettingzoo": [means[1], errors[1]],
            "standard_errors_apart": apart,
        }
    print(harness.table(rows, ["random play", "mpe (JAX)", "pettingzoo (mpe2)", "standard errors apart"]))
    largest = differences(options.replayed)
    print(harness.table(list(largest.items()), ["same positions, same actions", "largest difference"]))
    replayed = {"replayed": options.replayed, "largest_difference": largest}
    harness.write("pettingzoo_parity", {"episodes": options.episodes, "random": result, **replayed})
    sys.exit(abs(result["return"]["standard_errors_apart"]) > 2)


def standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5)


def in_jax(episodes: int) -> dict[str, np.ndarray]:
    """Return {metric: [episodes]} of random play in src/envs/mpe.py."""
    import jax

    from tandem.envs import mpe

    env = mpe.make(mpe.Config())
    num, actions = env.spec.num_agents, env.spec.actions.size

    def episode(key):
        reset_key, *keys = jax.random.split(key, env.spec.episode_limit + 1)
        state, _ = env.reset(reset_key)

        def body(state, key):
            step_key, action_key = jax.random.split(key)
            state, timestep = env.step(step_key, state, jax.random.randint(action_key, (num,), 0, actions))
            return state, timestep

        return jax.lax.scan(body, state, jax.numpy.stack(keys))[1]

    played = jax.device_get(jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), episodes)))
    assert played.truncated[:, -1].all() and not played.truncated[:, :-1].any()
    return {"return": played.reward.sum(axis=(1, 2))} | {name: played.metrics[name][:, -1] for name in METRICS[1:]}


def in_pettingzoo(episodes: int) -> dict[str, np.ndarray]:
    """Return {metric: [episodes]} of random play in src/envs/pettingzoo."""
    from tandem.envs import pettingzoo

    env, random = pettingzoo.make(pettingzoo.Config()), np.random.default_rng(1)
    found = {name: np.zeros(episodes) for name in METRICS}
    for i in range(episodes):
        timestep = env.reset(0 if i == 0 else None)
        while not timestep.truncated:
            timestep = env.step(random.integers(env.spec.actions.size, size=env.spec.num_agents))
            found["return"][i] += timestep.reward.sum()
        for name in METRICS[1:]:
            found[name][i] = timestep.metrics[name]
    return found


def differences(episodes: int) -> dict[str, float]:
    """Return the largest differences between the two over episodes that begin at the same
    positions and play the same actions.
    """
    import jax
    import jax.numpy as jnp

    from tandem.envs import mpe, pettingzoo

    ours, theirs, random = mpe.make(mpe.Config()), pettingzoo.make(pettingzoo.Config()), np.random.default_rng(2)
    reset, step = jax.jit(ours.reset), jax.jit(ours.step)
    largest = {"obs": 0.0, "state": 0.0, "reward": 0.0}
    for i in range(episodes):
        seen = theirs.reset(i)
        world = theirs._game.env.unwrapped.world
        places = jnp.array([entity.state.p_pos for entity in world.agents + world.landmarks], jnp.float32)
        state, _ = reset(jax.random.key(i))
        state = state.replace(world=state.world.replace(p_pos=places))
        while not seen.truncated:
            action = random.integers(theirs.spec.actions.size, size=theirs.spec.num_agents).astype(np.int32)
            seen = theirs.step(action)
            state, expected = step(jax.random.key(0), state, jnp.asarray(action))
            for name in largest:
                apart = float(np.abs(np.asarray(getattr(expected, name)) - getattr(seen, name)).max())
                largest[name] = max(largest[name], apart)
        assert expected.truncated and seen.truncated
    return largest


if __name__ == "__main__":
    main()
