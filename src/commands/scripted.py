"""Scripted players: policies that come with an environment, evaluated and filmed like trained ones."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from tandem import backend, build
from tandem.analysis.identity import fingerprint
from tandem.config import loader
from tandem.config.commandline import DEFAULTS, Update, UsageError
from tandem.core import Array, EnvSpec, Plan, Planner, PolicyExtras, TimeStep
from tandem.core.metrics import SCRIPTED
from tandem.records.places import task
from tandem.registry import nearest
from tandem.restored import Restored

ENV_CONFIG = "--env-config"
# The settings that matter when nothing learns.
HEEDED = ("seed", "env", "env_args", "eval_args", "results_dir", "platform", "compile_cache_dir")


def restored(name: str, env_config: str | None, updates: Sequence[Update]) -> Restored:
    """Return an environment with one of its scripted players in place of a trained one. This also sets up JAX.

    Raises:
      UsageError: the environment has no such player, or a setting has no use here.
      ConfigError: the environment cannot be made.
    """
    chosen = (DEFAULTS["--config"], env_config or DEFAULTS[ENV_CONFIG], updates)
    # This comes before the environment is imported, because some compute on import.
    backend.prepare_jax(**loader.peek(*chosen, ("platform", "compile_cache_dir")))
    config = loader.load(*chosen)
    for update in updates:
        if update.key.partition(".")[0] not in HEEDED:
            problem = f"{update.key} is a setting of training, and nothing is trained here; leave it out"
            raise UsageError(f"--scripted={name}: {problem} (accepted: {', '.join(HEEDED)})")
    env = build.environment(config)
    offered = dict(getattr(env, "scripted", ()))  # environments outside JAX have none
    if name not in offered:
        raise UsageError(f"--scripted={name}: {_lacking(name, task(config), offered)}")
    player = planner(offered[name], env.spec)
    return Restored(
        env=env, planner=player, players=player.players(), params={}, config=config | {"name": name}, step=0
    )


def folder(found: Restored) -> Path:
    """Return the folder for a scripted player's results, one for each environment with its settings."""
    of_env = {key: found.config[key] for key in ("env", "env_args")}
    place = Path(found.config["results_dir"]) / SCRIPTED / task(found.config)
    return place / f"{found.config['name']}-{fingerprint(of_env)}"


def planner(act: Callable[[Array], Array], spec: EnvSpec) -> Planner:
    """Return a planner that plays act(obs [N, O]) -> action [N] or [N, A], without memory or learning."""

    def plan(params, carry, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        del params, key, explore, progress
        action = jax.vmap(act)(timestep.obs)
        policy = action if spec.actions.continuous else jax.nn.one_hot(action, spec.actions.size)
        certain = jnp.zeros(policy.shape[:2])
        return carry, Plan(action=action, extras=PolicyExtras(log_prob=certain, policy=policy, entropy=certain))

    return Planner(init=lambda batch: (), plan=plan, plays=SCRIPTED)


def at_random(spec: EnvSpec) -> Planner:
    """Return a planner that draws uniformly from the legal actions, or from [-1, 1]. Its score is 0."""

    def plan(params, carry, timestep: TimeStep, key: Array, explore: bool, progress: Array = 0.0):
        del params, explore, progress
        share = timestep.legal / jnp.sum(timestep.legal, axis=-1, keepdims=True)
        if spec.actions.continuous:
            action = jax.random.uniform(key, share.shape, minval=-1.0, maxval=1.0)
        else:
            action = jax.random.categorical(key, jnp.where(timestep.legal, 0.0, -jnp.inf))
        entropy = jnp.log(jnp.sum(timestep.legal, axis=-1, dtype=jnp.float32))
        return carry, Plan(action=action, extras=PolicyExtras(log_prob=-entropy, policy=share, entropy=entropy))

    return Planner(init=lambda batch: (), plan=plan, plays=SCRIPTED)


def _lacking(name: str, where: str, offered: Any) -> str:
    """Return the message that there is no such player, and what to do."""
    if not offered:
        return (
            f"{where} has no scripted players with these settings; docs/extending.md says how an environment gets them"
        )
    guess = nearest(name, offered)
    hint = f"did you mean {guess}? " if guess else ""
    return f"{where} has no such player; {hint}there are {', '.join(offered)}"
