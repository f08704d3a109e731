"""Checks the contracts between parts when a run is built, on shapes alone: `jax.eval_shape`
computes and compiles nothing.

Each function returns a sentence for every broken promise, which names the part and the field. Exceptions of a part
pass through, because their traceback tells its author more.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from tandem.core import (
    Batch, Candidates, Environment, EnvSpec, HostEnvironment, Learner, Model, Plan, Planner, PolicyExtras, PyTree,
    Replay, RunPlan, SearchExtras, TimeStep, Transition, transition,
)  # fmt: skip

Shape = jax.ShapeDtypeStruct


def timestep_of(spec: EnvSpec) -> TimeStep:
    """Return the structure of an environment's time step by its spec."""
    agents, flag = spec.num_agents, _array((), bool)
    return TimeStep(
        obs=_array((agents, *spec.obs.shape)),
        state=_array(spec.state.shape),
        legal=_array((agents, spec.actions.size), bool),
        present=_array((agents,), bool),
        alive=_array((agents,), bool),
        reward=_array((agents,)),
        terminated=flag,
        truncated=flag,
        first=flag,
        metrics={name: _array(()) for name in spec.metric_names},
    )


def row_of(spec: EnvSpec, extras: PyTree) -> Transition:
    """Return the structure of a stored row."""
    seen = timestep_of(spec)
    return transition(seen, Plan(action=_action(spec), extras=extras), seen, _array((), jnp.int32))


def of_env(name: str, env: Environment | HostEnvironment) -> list[str]:
    """Check `reset` and `step` against the spec; programs outside JAX are checked when they start."""
    if not isinstance(env, Environment):
        return []
    state, first = jax.eval_shape(env.reset, _key())
    broken = of_timestep(f"env '{name}': `reset`", first, env.spec)
    if broken:
        return broken
    next_state, later = jax.eval_shape(env.step, _key(), state, _action(env.spec))
    who = f"env '{name}': `step`"
    return of_timestep(who, later, env.spec) or _changes(f"{who} returns a state whose", "`reset`'s", state, next_state)


def of_timestep(who: str, shown: TimeStep, spec: EnvSpec) -> list[str]:
    """Compare a time step with the spec; `who` begins the sentences."""
    wanted = timestep_of(spec)
    if not isinstance(shown, TimeStep):
        return [f"{who} returns {type(shown).__name__} where a TimeStep belongs"]
    if set(shown.metrics) != set(wanted.metrics):
        return [
            f"{who} shows the metrics {_names(shown.metrics)}; the spec's metric_names say {_names(wanted.metrics)}"
        ]
    return _differ(f"{who} shows", "the spec says", shown, wanted)


def of_planner(name: str, planner: Planner, model: Model, spec: EnvSpec, batch: int) -> tuple[PyTree, list[str]]:
    """Return the shapes of a planner's extras in one row, and the faults of its plans for a
    batch.
    """
    seen = _batched(timestep_of(spec), batch)
    params = jax.eval_shape(lambda key: model.acting(model.init(key)), _key())
    carry = jax.eval_shape(lambda: planner.init(batch))
    after, planned = jax.eval_shape(
        lambda *inputs: planner.plan(*inputs[:4], True, inputs[4]), params, carry, seen, _key(), _array(())
    )
    who = f"planner '{name}': `plan`"
    broken = _changes(f"{who} returns a carry whose", "`init`'s", carry, after)
    broken += _differ(
        f"{who} returns", "it has to be", {"action": planned.action}, _batched({"action": _action(spec)}, batch)
    )
    broken += _extras(who, planned.extras, spec, batch) + _metrics(who, planned.metrics, planner.metric_names, batch)
    return jax.tree.map(lambda x: Shape(x.shape[1:], x.dtype), planned.extras), broken


def _metrics(who: str, metrics: Mapping[str, Any], names: tuple[str, ...], batch: int) -> list[str]:
    """Compare a plan's metrics with the names that the planner gives."""
    if set(metrics) != set(names):
        return [f"{who} returns the metrics {_names(metrics)}; the planner's metric_names say {_names(names)}"]
    return _differ(
        f"{who} returns the metric", "it has to be", dict(metrics), {name: _array((batch,)) for name in names}
    )


def _extras(who: str, extras: Any, spec: EnvSpec, batch: int) -> list[str]:
    """Compare a plan's extras [B, ...] with the structure that learners expect."""
    agents, choices = (spec.num_agents,), (spec.num_agents, spec.actions.size)
    if isinstance(extras, PolicyExtras):
        wanted = {"log_prob": _array(agents), "policy": _array(choices), "entropy": _array(agents)}
    elif isinstance(extras, SearchExtras):
        turns = _array(agents, jnp.int32)
        wanted = {"policy": _array(choices), "value": _array(()), "rank": turns, "committed": turns}
        wanted |= _candidates(extras.candidates, agents)
    else:
        return [f"{who} leaves extras of type {type(extras).__name__}; they have to be SearchExtras or PolicyExtras"]
    left = {field: getattr(extras, field) for field in wanted}
    return _differ(f"{who} leaves extras whose", "it has to be", left, _batched(wanted, batch))


def _candidates(kept: Any, agents: tuple[int, ...]) -> dict[str, Candidates]:
    if not isinstance(kept, Candidates):
        return {}
    count = kept.actions.shape[1:2]
    scores = _array(count)
    return {"candidates": Candidates(actions=_array(count + agents, jnp.int32), weights=scores, advantages=scores)}


def of_learner(name: str, learner: Learner, replay: Replay, plan: RunPlan) -> list[str]:
    """Check that an update keeps the state's structure, and returns the metrics and priorities that it promises."""
    batch = batch_of(replay, plan)
    state = jax.eval_shape(learner.init, _key())
    after, metrics, priorities = jax.eval_shape(learner.update, state, batch, _key())
    who = f"learner '{name}': `update`"
    broken = _changes(f"{who} returns a state whose", "`init`'s", state, after)
    if set(metrics) != set(learner.metric_names):
        missing, surplus = set(learner.metric_names) - set(metrics), set(metrics) - set(learner.metric_names)
        odd = [f"lacks {_names(missing)}"] * bool(missing) + [f"has {_names(surplus)} besides"] * bool(surplus)
        return [*broken, f"{who} returns metrics that differ from its metric_names: it {' and '.join(odd)}"]
    broken += _differ(f"{who} returns the metric", "it has to be", dict(metrics), {key: _array(()) for key in metrics})
    return broken + _differ(f"{who} returns", "it has to be", {"priorities": priorities}, {"priorities": batch.weight})


def batch_of(replay: Replay, plan: RunPlan) -> Batch:
    """Return what a batch looks like that a replay hands out."""
    rows = jax.tree.map(
        lambda x: Shape((plan.num_envs, plan.rollout_length, *x.shape), x.dtype), row_of(plan.spec, plan.extras)
    )

    def one_batch(rows, key):
        example = jax.tree.map(lambda x: jnp.zeros(x.shape[2:], x.dtype), rows)
        return replay.source.sample(replay.store.add(replay.store.init(example), rows), key, jnp.zeros(()))

    return jax.eval_shape(one_batch, rows, _key())


def _array(shape: tuple[int, ...], dtype: Any = jnp.float32) -> Shape:
    return Shape(shape, jnp.dtype(dtype))


def _action(spec: EnvSpec) -> Shape:
    return _array((spec.num_agents, *spec.actions.shape), spec.actions.dtype)


def _key() -> Shape:
    return jax.eval_shape(lambda: jax.random.key(0))


def _batched(tree: PyTree, batch: int) -> PyTree:
    return jax.tree.map(lambda x: Shape((batch, *x.shape), x.dtype), tree)


def _differ(who: str, rule: str, found: PyTree, wanted: PyTree) -> list[str]:
    """Return a sentence for every leaf whose shape or type is not the wanted one."""
    left, right = (_leaves(tree) for tree in (found, wanted))
    return [
        f"{who} {name} {_type(left[name]) if name in left else 'not at all'}; {rule} {_type(leaf)}"
        for name, leaf in right.items()
        if name not in left or (left[name].shape, left[name].dtype) != (leaf.shape, leaf.dtype)
    ]


def _changes(who: str, origin: str, before: PyTree, after: PyTree) -> list[str]:
    """Return a sentence if a function changes the structure or shapes of a state."""
    if jax.tree.structure(before) != jax.tree.structure(after):
        odd = sorted(_leaves(before).keys() ^ _leaves(after).keys())
        return [f"{who} fields differ from {origin}: {', '.join(odd) or 'their types do'}"]
    return _differ(f"{who}", f"{origin} is", after, before)


def _leaves(tree: PyTree) -> Mapping[str, Any]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in jax.tree.leaves_with_path(tree)
    }


def _type(leaf: Any) -> str:
    return f"{leaf.dtype}[{', '.join(map(str, leaf.shape))}]"


def _names(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names)) or "none"
