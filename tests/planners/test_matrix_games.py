"""With a perfect model, searches play the known optima; what one of them cannot do is written down here too."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import EnvSpec, Plan
from tandem.envs import matrix_game
from tandem.envs.matrix_game import Config
from tandem.registry import find
from tests.reference.compiled import quick_jit
from tests.reference.perfect_models import joint_actions, perfect_model, showing, tables

DISCOUNT = 0.97
# Agents number their moves differently: ties, which go to action 0, are no luck.
CLIMBING, PENALTY = Config(relabel=True), Config(scenario="penalty", penalty=-100.0, relabel=True)
CLIMBING_OF_3, TWO_STEP = Config(num_agents=3, relabel=True), Config(scenario="two_step")


@lru_cache(maxsize=None)
def compiled(planner: str, args: tuple, spec: EnvSpec, batch: int, explore: bool):
    """Return plan(game's tables, situations [B], key); games of one size share it."""
    entry = find("planner", planner)
    plan = entry.make(entry.config()(**dict(args)), perfect_model(spec), spec, DISCOUNT).plan

    def first_plan(game, situation, key):
        return plan(game, (), showing(spec, situation), key, explore, jnp.zeros(()))[1]

    return quick_jit(first_plan)


def play(planner: str, game: Config, *, batch: int, explore: bool, **args) -> Plan:
    """Return the plans at the start of a game; every row of the batch draws its own numbers."""
    run = compiled(planner, tuple(args.items()), matrix_game.make(game).spec, batch, explore)
    return run(tables(game, DISCOUNT), jnp.zeros(batch, jnp.int32), jax.random.key(7))


def is_best(action, game: Config) -> np.ndarray:
    """Return [B] bool: whether each joint action [B, N] at the start can lead to the optimum, by value iteration."""
    table = {name: np.array(x) for name, x in tables(game, DISCOUNT).items()}
    worth = table["reward"]
    for _ in range(3):
        worth = table["reward"] + DISCOUNT * worth.max(axis=1)[table["following"]]
    best = np.array(joint_actions(matrix_game.make(game).spec))[np.isclose(worth[0], worth[0].max())]
    return (np.array(action)[:, None] == best[None]).all(-1).any(-1)


PLIES, JOINT = ("plies", {"unfinished_value": "completion"}), ("joint", {"num_samples": 27, "max_considered": 27})
SHARP = {"max_depth": 1, "value_scale": 10.0}  # as in matrix_game.yaml
BEST = ("paths", {"unfinished_backup": "best", "interior_value_scale": 0.02, **SHARP})


def rate(planner: str, game: Config, **args) -> float:
    """Return how often a search with 64 simulations plays a best joint action; a standard error is 0.011 at most."""
    return is_best(play(planner, game, batch=2000, num_simulations=64, **args).action, game).mean()


@pytest.mark.parametrize(("planner", "args"), [BEST, JOINT])
@pytest.mark.parametrize("game", [CLIMBING, PENALTY, CLIMBING_OF_3])
def test_coordinated_searches_always_find_the_optimum_of_a_one_shot_game(planner, args, game):
    plan = play(planner, game, batch=97, explore=False, num_simulations=128, **args)
    assert is_best(plan.action, game).all()


@pytest.mark.parametrize("planner", ["plies", "joint"])
def test_coordinated_searches_always_find_the_optimum_behind_a_worse_looking_first_step(planner):
    # Value averages over the tree: game A's sure 7 is left only once game B's 8 outweighs what was tried there before
    # it.
    plan = play(planner, TWO_STEP, batch=31, explore=False, num_simulations=400)
    assert is_best(plan.action, TWO_STEP).all()


def test_in_the_two_step_game_the_best_first_step_looks_worse_to_uniform_play():
    worth = np.array(tables(TWO_STEP, DISCOUNT)["worth"])[0]
    np.testing.assert_allclose(worth, np.array([7.0, 7.0, 2.5, 2.5]) * DISCOUNT, rtol=1e-6)
    np.testing.assert_array_equal(is_best([[0, 0], [0, 1], [1, 0], [1, 1]], TWO_STEP), [False, False, True, True])


def test_muzero_search_over_all_joint_actions_finds_the_optimum_where_it_has_the_simulations():
    plan = play("joint", CLIMBING, batch=97, explore=False, num_simulations=200, search="muzero")
    assert is_best(plan.action, CLIMBING).all()


def test_paths_that_pass_on_the_best_find_the_optimum_of_four_agents_where_those_that_pass_on_means_do_not():
    game = Config(scenario="penalty", num_agents=4, relabel=True)
    args = {"num_simulations": 256, "max_depth": 1, "value_scale": 10.0}
    mean, best = (
        is_best(play("paths", game, batch=97, explore=False, **args, **more).action, game).mean()
        for more in ({}, {"unfinished_backup": "best", "interior_value_scale": 0.02})
    )
    assert best > 0.95 > 0.6 > mean  # measured: 1.0 and 0.39; either setting alone: 0.38 and 0.0


def test_a_known_limit_muzero_search_over_plies_can_stay_with_the_first_movers_safe_action():
    # PUCT rescales Q by the siblings, so an action behind its rival is tried rarely while its average still rises: with
    # 64 simulations 0.31 of the plans were best. This is why gumbel_muzero is the default.
    plan = play("plies", CLIMBING, batch=97, explore=False, num_simulations=64, search="muzero")
    assert not is_best(plan.action, CLIMBING).all()


def test_a_known_limit_a_tree_of_plies_takes_means_which_keep_it_from_the_optimum_more_often_than_not():
    # Measured 0.29 and 0.08: with 7 and 6 about, the mean below an 11 among -30s looks worst for as long as anybody
    # explores.
    plies, independent = (rate(planner, CLIMBING, explore=True) for planner in ("plies", "independent"))
    assert 0.5 > plies > independent + 0.1


def test_a_known_limit_committing_only_at_the_root_coordinates_less_often_than_a_tree_of_plies():
    plies, root_only = (rate(planner, PENALTY, explore=False, **SHARP) for planner in ("plies", "root_only"))
    assert plies > root_only + 0.05  # measured 0.80 and 0.69; in climbing both are at 0.3


def test_an_unfinished_joint_step_is_best_valued_by_completing_it():
    completion, conditioned, parent = (
        rate("plies", PENALTY, explore=False, unfinished_value=kind, **SHARP)
        for kind in ("completion", "conditioned", "parent")
    )
    assert completion > max(conditioned, parent) + 0.2  # measured 0.80, 0.45 and 0.45


@pytest.mark.parametrize(("planner", "args"), [PLIES, JOINT])
def test_the_root_value_rises_from_uniform_plays_towards_the_optimum(planner, args):
    uniform = float(tables(CLIMBING, DISCOUNT)["worth"][0].mean())
    found = np.array(play(planner, CLIMBING, batch=97, explore=False, num_simulations=128, **args).extras.value)
    assert (uniform < found).all() and (found <= 11).all() and found.mean() > 0 > uniform


@pytest.mark.parametrize("planner", ["plies", "root_only"])
def test_the_last_agents_target_is_the_best_reply_to_what_was_committed_before(planner):
    plan = play(planner, Config(), batch=2000, explore=True, num_simulations=64)
    payoff = np.array(matrix_game.CLIMBING)
    rank, committed, policy = np.array(plan.extras.rank), np.array(plan.extras.committed), np.array(plan.extras.policy)
    rows = np.arange(len(rank))
    leader, follower = rank.argmin(axis=-1), rank.argmax(axis=-1)
    replies = np.where(leader[:, None] == 0, payoff[committed[:, 0]], payoff.T[committed[:, 1]])
    np.testing.assert_array_equal(policy[rows, follower].argmax(axis=-1), replies.argmax(axis=-1))
    assert len(set(committed[rows, leader].tolist())) > 1  # there was something to reply to
