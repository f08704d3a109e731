"""Parts that break a promise are refused when a run is built, in a sentence that names the part and the field."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from tandem import build
from tandem.config import commandline, loader
from tandem.core import Image, SearchExtras
from tandem.envs import matrix_game
from tandem.learners import mazero
from tandem.planners.search import joint


def refused(*updates) -> list[str]:
    with pytest.raises(loader.ConfigError) as caught:
        build.build(
            loader.load("mazero_joint", "matrix_game", commandline.parse(["with", *updates], ["train"]).updates)
        )
    return list(caught.value.mistakes)


def break_env(monkeypatch, change_spec=lambda spec: spec, change_step=lambda timestep: timestep, reset=False):
    """Have the matrix game show other things than its spec says, after `step` or already after `reset`."""
    make = matrix_game.make

    def broken(config):
        env = make(config)

        def shown(function, changed):
            def play(*inputs):
                state, timestep = function(*inputs)
                return state, change_step(timestep) if changed else timestep

            return play

        return env._replace(spec=change_spec(env.spec), reset=shown(env.reset, reset), step=shown(env.step, True))

    monkeypatch.setattr(matrix_game, "make", broken)


ENV_FAULTS = {
    "an integer reward": (
        dict(change_step=lambda t: t.replace(reward=t.reward.astype(jnp.int32))),
        "env 'matrix_game': `step` shows reward int32[2]; the spec says float32[2]",
    ),
    "a wrong obs_size": (
        dict(change_spec=lambda spec: _with_obs(spec, spec.obs.size + 3)),
        "env 'matrix_game': `reset` shows obs float32[2, 5]; the spec says float32[2, 8]",
    ),
    "a misspelt metric": (
        dict(change_step=lambda t: t.replace(metrics={"optimum": t.metrics["optimal"]}), reset=True),
        "env 'matrix_game': `reset` shows the metrics 'optimum'; the spec's metric_names say 'optimal'",
    ),
    "legal actions that are numbers": (
        dict(change_step=lambda t: t.replace(legal=t.legal.astype(jnp.float32))),
        "env 'matrix_game': `step` shows legal float32[2, 3]; the spec says bool[2, 3]",
    ),
}


def _with_obs(spec, size):
    return dataclasses.replace(spec, obs=dataclasses.replace(spec.obs, size=size))


@pytest.mark.parametrize("fault", ENV_FAULTS)
def test_an_environment_that_differs_from_its_spec_is_refused(fault, monkeypatch):
    changes, told = ENV_FAULTS[fault]
    break_env(monkeypatch, **changes)
    assert refused() == [told]


def test_an_environment_whose_state_changes_its_type_is_refused(monkeypatch):
    make = matrix_game.make

    def broken(config):
        env = make(config)

        def step(key, state, action):
            state, timestep = env.step(key, state, action)
            return state.replace(situation=state.situation.astype(jnp.float32)), timestep

        return env._replace(step=step)

    monkeypatch.setattr(matrix_game, "make", broken)
    (told,) = refused()
    assert told == "env 'matrix_game': `step` returns a state whose situation float32[]; `reset`'s is int32[]"


PLAN_FAULTS = {
    "a value of shape [B, 1]": (
        lambda plan: plan.replace(extras=plan.extras.replace(value=plan.extras.value[:, None])),
        "planner 'joint': `plan` leaves extras whose value float32[{B}, 1]; it has to be float32[{B}]",
    ),
    "actions as floats": (
        lambda plan: plan.replace(action=plan.action.astype(jnp.float32)),
        "planner 'joint': `plan` returns action float32[{B}, 2]; it has to be int32[{B}, 2]",
    ),
    "a policy without the agents": (
        lambda plan: plan.replace(extras=plan.extras.replace(policy=plan.extras.policy[:, 0])),
        "planner 'joint': `plan` leaves extras whose policy float32[{B}, 3]; it has to be float32[{B}, 2, 3]",
    ),
    "a metric that it does not name": (
        lambda plan: plan.replace(metrics={"odd": plan.extras.value}),
        "planner 'joint': `plan` returns the metrics 'odd'; the planner's metric_names say none",
    ),
    "extras of its own": (
        lambda plan: plan.replace(extras={"policy": plan.extras.policy}),
        "planner 'joint': `plan` leaves extras of type dict; they have to be SearchExtras or PolicyExtras",
    ),
}


@pytest.mark.parametrize("fault", PLAN_FAULTS)
def test_a_planner_whose_plans_are_not_as_promised_is_refused(fault, monkeypatch):
    change, told = PLAN_FAULTS[fault]
    make = joint.make

    def broken(*inputs):
        planner = make(*inputs)

        def plan(*asked):
            carry, planned = planner.plan(*asked)
            assert isinstance(planned.extras, SearchExtras)
            return carry, change(planned)

        return planner._replace(plan=plan)

    monkeypatch.setattr(joint, "make", broken)
    assert refused("runner_args.num_envs=16") == [told.format(B=16)]


def test_a_planners_metric_is_one_number_for_each_environment(monkeypatch):
    make = joint.make

    def broken(*inputs):
        planner = make(*inputs)

        def plan(*asked):
            carry, planned = planner.plan(*asked)
            return carry, planned.replace(metrics={"sure": jnp.max(planned.extras.policy), "b": planned.extras.value})

        return planner._replace(plan=plan, metric_names=("sure", "b"))

    monkeypatch.setattr(joint, "make", broken)
    told = "planner 'joint': `plan` returns the metric sure float32[]; it has to be float32[16]"
    assert refused("runner_args.num_envs=16") == [told]


LEARNER_FAULTS = {
    "a metric that it does not name": (
        lambda state, metrics, priorities: (state, metrics | {"train/odd": jnp.zeros(())}, priorities),
        "learner 'mazero': `update` returns metrics that differ from its metric_names: it has 'train/odd' besides",
    ),
    "a metric that is missing": (
        lambda state, metrics, priorities: (state, {k: v for k, v in metrics.items() if k != "train/loss"}, priorities),
        "learner 'mazero': `update` returns metrics that differ from its metric_names: it lacks 'train/loss'",
    ),
    "a metric for each row": (
        lambda state, metrics, priorities: (state, metrics | {"train/loss": priorities}, priorities),
        "learner 'mazero': `update` returns the metric train/loss float32[7]; it has to be float32[]",
    ),
    "no priorities": (
        lambda state, metrics, priorities: (state, metrics, jnp.zeros(())),
        "learner 'mazero': `update` returns priorities float32[]; it has to be float32[7]",
    ),
    "steps counted in floats": (
        lambda state, metrics, priorities: (state.replace(step=state.step + 1.0), metrics, priorities),
        "learner 'mazero': `update` returns a state whose step float32[]; `init`'s is int32[]",
    ),
}


@pytest.mark.parametrize("fault", LEARNER_FAULTS)
def test_a_learner_whose_updates_are_not_as_promised_is_refused(fault, monkeypatch):
    change, told = LEARNER_FAULTS[fault]
    make = mazero.make

    def broken(*inputs):
        learner = make(*inputs)
        return learner._replace(update=lambda *given: change(*learner.update(*given)))

    monkeypatch.setattr(mazero, "make", broken)
    assert refused("replay_args.batch_size=7") == [told]


def test_a_part_that_is_as_promised_is_not_complained_of():
    config = loader.load("mazero_joint", "matrix_game", ())
    assert build.build(config).plan.extras.value == jax.ShapeDtypeStruct((), jnp.float32)


def test_a_network_that_cannot_read_pictures_is_refused_where_the_environment_shows_them(monkeypatch):
    break_env(monkeypatch, change_spec=lambda spec: dataclasses.replace(spec, obs=Image((8, 6, 3))))
    (told,) = refused()
    assert told == (
        "network 'world_model' reads observations of the kind vector, "
        "and those of env 'matrix_game' are of the kind image; choose network=actor_critic or q_network or "
        "q_behaviour"
    )
