"""The optimiser steps of a sequence model: dynamics and tokenizer, on replayed or recorded sequences."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from tandem.core import Array, Key, LearnerState, Params, PyTree, SequenceModel, Transition


class Optimisers(NamedTuple):
    """Those of the team and of what it dreams in."""

    agent: optax.GradientTransformation  # over "actor" and "critic"
    world: optax.GradientTransformation
    tokenizer: optax.GradientTransformation

    def of_model(self, params: Params) -> dict[str, PyTree]:
        """Return what the model's optimisers begin with."""
        return {name: getattr(self, name).init(params[name]) for name in ("world", "tokenizer")}


def model_steps(
    config: Any, world: SequenceModel, optimisers: Optimisers, state: LearnerState, traj: Transition, key: Key
) -> tuple[LearnerState, dict[str, Array]]:
    """Return the state after a step on each share of the sequences [B, T, ...], and the metrics' means.

    Raises:
      ValueError: the sequences cannot be dealt out evenly.
    """
    count, batch = config.model_minibatches, traj.first.shape[0]
    if batch % count:
        raise ValueError(
            f"learner_args.model_minibatches={count}: does not divide replay_args.batch_size={batch}; choose a divisor"
        )
    shares = jax.tree.map(lambda x: x.reshape(count, batch // count, *x.shape[1:]), traj)

    def step(state: LearnerState, inputs: tuple[Transition, Key]):
        return model_step(config, world, optimisers, state, *inputs)

    state, metrics = jax.lax.scan(step, state, (shares, jax.random.split(key, count)))
    return state, jax.tree.map(jnp.mean, metrics)


def model_step(
    config: Any, world: SequenceModel, optimisers: Optimisers, state: LearnerState, traj: Transition, key: Key
) -> tuple[LearnerState, dict[str, Array]]:
    """Return the state after one step of world model and tokenizer on sequences [B, T, ...], and metrics."""
    learned = {name: state.params[name] for name in ("world", "tokenizer")}

    def objective(learned: Params):
        losses, metrics = world.losses(state.params | learned, traj, key)
        weighted = [getattr(config, f"{name}_weight") * losses[name] for name in fitted(world)]
        return sum(weighted) + losses["tokenizer"], (losses, metrics)

    gradients, (losses, metrics) = jax.grad(objective, has_aux=True)(learned)
    opt, params = dict(state.opt), dict(state.params)
    for name in learned:
        optimiser = getattr(optimisers, name)
        updates, opt[name] = optimiser.update(gradients[name], state.opt[name], learned[name])
        params[name] = optax.apply_updates(learned[name], updates)
    params = world.settle(params, traj)
    going_on = state.step < config.tokenizer_updates
    params["tokenizer"] = jax.tree.map(
        lambda new, old: jnp.where(going_on, new, old), params["tokenizer"], learned["tokenizer"]
    )
    metrics |= {f"model/{name}_loss": losses[name] for name in fitted(world)}
    metrics |= {"tokenizer/loss": losses["tokenizer"], "model/grad_norm": optax.tree.norm(gradients["world"])}
    return state.replace(params=params, opt=opt), metrics


def fitted(world: SequenceModel) -> list[str]:
    """Return the names of the losses that the dynamics are fitted to."""
    return [name for name in world.loss_names if name != "tokenizer"]
