"""Continuous actions are learned from scratch in seconds: a team's numbers come to add
up to a target that it is shown.
"""

import pytest

from tandem.data import uniform
from tandem.learners import sac
from tandem.models import soft_actor_critic
from tandem.planners.policies import soft_actor
from tandem.runners import jax_sync
from tests.reference.dream_runs import CONTROLS, small_dream_run, under
from tests.reference.run_plans import run_plan
from tests.reference import sum_game
from tests.reference.small_runs import last, small_on_policy_run, without_signal

GAME = sum_game.Config()


@pytest.mark.parametrize("name", ["mappo", "mappo, recurrent", "mappo_ns", "mappo_distil"])
def test_the_sum_game_is_solved(name):
    metrics = last(small_on_policy_run(name, GAME, make=sum_game.make), 1)
    assert metrics["eval/policy/return"] > -0.05  # 0 is best, and playing nothing earns -2.25


def test_with_rewards_drawn_by_lot_it_is_not():
    assert (
        last(small_on_policy_run("mappo", GAME, make=sum_game.make, change=without_signal), 1)["eval/policy/return"]
        < -0.5
    )


def soft_run(change=lambda env: env):
    """Return the run of a soft actor-critic whose critics see all numbers, seed -> generator of (Report, RunState)."""
    env = sum_game.make(GAME)
    network = soft_actor_critic.Config(hidden_size=32, num_layers=1, critic_input="central")
    model = soft_actor_critic.make(network, env.spec)
    planner = soft_actor.make(soft_actor.Config(), model, env.spec, 0.97)
    settings = sac.Config(sequence=1, learning_rate=5e-3, target_rate=0.05, initial_temperature=0.2)
    runner = jax_sync.Config(num_envs=16, rollout_length=8, updates_per_step=1 / 8, report_every=8192)
    return jax_sync.make(
        runner, change(env), planner, {"policy": planner}, sac.make(settings, model, run_plan(env.spec, 0.97, 1024)),
        uniform.make(uniform.Config(capacity=4096, batch_size=64, min_size=512), 16, 1), t_max=8192, max_minutes=0,
        eval_episodes=16, eval_every=8192,
    )  # fmt: skip


@pytest.mark.usefixtures("quick_compiling")
def test_a_soft_actor_critic_solves_the_sum_game_and_its_entropy_falls_towards_the_target():
    metrics = last(soft_run(), 1)
    assert metrics["eval/policy/return"] > -0.05
    # The agents have 2, 1 and 2 numbers, and the target is -1 for each; it begins at about 0.6 for each.
    assert abs(metrics["train/target_entropy"] + 5 / 3) < 1e-3
    assert -3.0 < metrics["train/entropy"] < 0.0  # the mean of the whole run


@pytest.mark.usefixtures("quick_compiling")
def test_with_rewards_drawn_by_lot_a_soft_actor_critic_does_not():
    assert last(soft_run(without_signal), 1)["eval/policy/return"] < -0.5


@pytest.fixture(scope="module")
def dreams(quick_compiling):
    """The run of a team that dreams, with nine choices for each number, so that they can add up exactly."""
    return small_dream_run(GAME, t_max=5120, make=sum_game.make)


def test_the_sum_game_is_solved_in_dreams_by_choices_among_bins(dreams):
    metrics = last(dreams, 1)
    assert metrics["eval/policy/return"] > -0.3 and metrics["imagine/reward_error"] < 0.2


def test_with_rewards_shuffled_over_rows_dreams_teach_nothing(dreams):
    report, _ = list(dreams(1, under(dreams, 1, CONTROLS[1])))[-1]
    assert report.metrics["eval/policy/return"] < -0.5
