"""The matrix games pay what the papers say, and their optima are what `optimum` says."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.envs import matrix_game
from tandem.envs.matrix_game import Config

GAMES = [("climbing", 2), ("climbing", 3), ("penalty", 2), ("penalty", 4), ("two_step", 2), ("two_step", 3)]


def returns(config: Config) -> dict[tuple, tuple[float, float]]:
    """Return {joint plan: (return, metric "optimal")} over every sequence of joint actions."""
    env = matrix_game.make(config)
    joint = list(itertools.product(range(env.spec.actions.size), repeat=config.num_agents))
    plans = list(itertools.product(joint, repeat=env.spec.episode_limit))

    def play(plan):
        state, timestep = env.reset(jax.random.key(0))
        total, over = 0.0, []
        for action in plan:
            state, timestep = env.step(jax.random.key(1), state, action)
            total += timestep.reward[0]
            over.append(timestep.terminated)
        return total, timestep.metrics["optimal"], jnp.stack(over)

    total, optimal, over = jax.jit(jax.vmap(play))(jnp.array(plans))
    np.testing.assert_array_equal(
        over, np.tile(np.arange(1, env.spec.episode_limit + 1) == env.spec.episode_limit, (len(plans), 1))
    )
    return {plan: (float(t), float(o)) for plan, t, o in zip(plans, total, optimal, strict=True)}


@pytest.mark.parametrize(("scenario", "num_agents"), GAMES)
def test_the_optimum_is_the_largest_return_and_is_flagged_as_such(scenario, num_agents):
    config = Config(scenario=scenario, num_agents=num_agents)
    paid = returns(config)
    best = max(total for total, _ in paid.values())
    assert best == matrix_game.optimum(config)
    assert all(flag == float(total == best) for total, flag in paid.values())


def test_climbing_pays_the_table():
    table = [[11, -30, 0], [-30, 7, 6], [0, 0, 5]]
    assert {plan[0]: total for plan, (total, _) in returns(Config()).items()} == {
        (i, j): table[i][j] for i in range(3) for j in range(3)
    }


def test_penalty_pays_k_in_its_corners():
    paid = returns(Config(scenario="penalty", penalty=-7.5))
    table = [[10, 0, -7.5], [0, 2, 0], [-7.5, 0, 10]]
    assert {plan[0]: total for plan, (total, _) in paid.items()} == {
        (i, j): table[i][j] for i in range(3) for j in range(3)
    }


def test_one_deviator_costs_a_large_team_as_much_as_a_pair():
    paid = returns(Config(num_agents=3))
    assert paid[((0, 0, 0),)][0] == 11 and paid[((0, 1, 0),)][0] == -30 and paid[((1, 2, 2),)][0] == 5


@pytest.mark.parametrize(("scenario", "num_agents"), [("climbing", 2), ("penalty", 3)])
def test_with_labels_of_their_own_the_same_habit_is_not_the_same_move(scenario, num_agents):
    plain = returns(Config(scenario=scenario, num_agents=num_agents))
    paid = returns(Config(scenario=scenario, num_agents=num_agents, relabel=True))
    for (action,), outcome in paid.items():
        assert outcome == plain[(tuple((a + 1 + i) % 3 for i, a in enumerate(action)),)]
    assert not any(paid[((habit,) * num_agents,)][1] for habit in range(3))


def test_at_ten_agents_the_optimum_is_where_all_play_one_end():
    env = matrix_game.make(Config(scenario="penalty", num_agents=10))
    state, _ = env.reset(jax.random.key(0))
    ends, middle = (
        jnp.array([[0] * 10, [2] * 10]),
        jnp.array([[1] * 10, [0] * 9 + [1], [0] * 9 + [2], [2] * 4 + [0] * 6]),
    )
    paid = jax.vmap(lambda action: env.step(jax.random.key(0), state, action)[1])(jnp.concatenate([ends, middle]))
    np.testing.assert_array_equal(paid.reward[:, 0], [10, 10, 2, 0, -100, -100])
    np.testing.assert_array_equal(paid.metrics["optimal"], [1, 1, 0, 0, 0, 0])


def test_two_step_pays_seven_in_game_a_and_the_table_in_game_b():
    paid = returns(Config(scenario="two_step"))
    table = [[0, 1], [1, 8]]
    for (first, second), (total, _) in paid.items():
        assert total == (7 if first[0] == 0 else table[second[0]][second[1]])


def test_observations_tell_agents_and_situations_apart():
    env = matrix_game.make(Config(scenario="two_step", num_agents=3))
    state, start = env.reset(jax.random.key(0))
    seen = [start]
    for action in ([0, 1, 1], [1, 0, 1]):
        seen += [env.step(jax.random.key(0), state, jnp.array(action))[1]]
    rows = np.concatenate([timestep.obs for timestep in seen])
    assert len({tuple(row) for row in rows.tolist()}) == len(rows) == 9
    assert len({tuple(np.asarray(timestep.state)) for timestep in seen}) == 3


def test_wrong_settings_are_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="'climing' is not known; did you mean 'climbing'"):
        matrix_game.make(Config(scenario="climing"))
    with pytest.raises(ValueError, match="at least 2 agents, got 1"):
        matrix_game.make(Config(num_agents=1))
    with pytest.raises(ValueError, match="must be 0 or less"):
        matrix_game.make(Config(scenario="penalty", penalty=3.0))


def own_table(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).permutation(np.prod(shape)).reshape(shape) - 5.0


@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 3)])
def test_a_table_of_your_own_pays_its_entries_and_its_largest_is_the_optimum(shape):
    table = own_table(*shape)
    config = Config(payoff=tuple(table.tolist()), num_agents=9)
    env = matrix_game.make(config)
    state, start = env.reset(jax.random.key(0))
    np.testing.assert_array_equal(start.legal, np.arange(max(shape))[None] < np.array(shape)[:, None])
    joint = np.array(list(np.ndindex(*shape)))
    after, paid = jax.vmap(lambda action: env.step(jax.random.key(0), state, action))(jnp.array(joint))
    np.testing.assert_array_equal(paid.reward, np.tile(table.reshape(-1, 1), (1, len(shape))))
    np.testing.assert_array_equal(paid.metrics["optimal"], table.reshape(-1) == table.max())
    assert matrix_game.optimum(config) == table.max() and paid.terminated.all() and (after.situation == 1).all()


def test_relabelled_moves_of_a_table_go_around_each_agents_own_number_of_actions():
    table = own_table(2, 4, 3)
    env = matrix_game.make(Config(payoff=tuple(table.tolist()), relabel=True))
    state, _ = env.reset(jax.random.key(0))
    joint = np.array(list(np.ndindex(*table.shape)))
    paid = jax.vmap(lambda action: env.step(jax.random.key(0), state, action)[1].reward[0])(jnp.array(joint))
    np.testing.assert_array_equal(paid, [table[(i + 1) % 2, (j + 2) % 4, (k + 3) % 3] for i, j, k in joint])


@pytest.mark.parametrize(
    ("payoff", "told"),
    [
        ((3.0, 2.0), "env_args.payoff: one list is a game of one agent, expected 2 or more; nest a list for each"),
        (
            ([1, 2], [3]),
            r"payoff\[1\]: it is a list of shape 1, but env_args.payoff\[0\] is a list of shape 2; give them the",
        ),
        (([1, 2], 3), r"payoff\[1\]: it is a number, but env_args.payoff\[0\] is a list of shape 2"),
        (([1, "two"], [3, 4]), r"payoff\[0\]\[1\]: got 'two', expected a finite number"),
        (([1, True], [3, 4]), r"payoff\[0\]\[1\]: got True, expected a finite number"),
        (([1, 2], [float("nan"), 4]), r"payoff\[1\]\[0\]: got nan, expected a finite number"),
        (([], []), r"payoff\[0\]: the list is empty, expected an entry for each action"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence_that_names_the_place(payoff, told):
    with pytest.raises(ValueError, match=told):
        matrix_game.make(Config(payoff=payoff))


def test_random_games_differ_by_number_and_a_number_is_always_the_same_game():
    def paid(number: int) -> dict:
        return returns(Config(scenario="random", num_agents=3, num_actions=2, game_seed=number))

    first, again, other = paid(4), paid(4), paid(5)
    assert first == again != other
    totals = np.array([total for total, _ in first.values()])
    np.testing.assert_array_equal(
        totals, np.random.default_rng(4).uniform(-10, 10, (2, 2, 2)).astype(np.float32).ravel()
    )
    assert [flag for _, flag in first.values()] == (totals == totals.max()).tolist()
    assert matrix_game.optimum(Config(scenario="random", num_agents=3, num_actions=2, game_seed=4)) == totals.max()


def test_a_random_game_that_is_too_large_is_refused():
    with pytest.raises(ValueError, match="env_args.num_actions=5: 9 agents have 1,953,125 joint actions"):
        matrix_game.make(Config(scenario="random", num_agents=9, num_actions=5))


def test_a_tables_picture_shows_what_the_first_two_agents_get_given_the_others():
    table = own_table(2, 4, 3)
    env = matrix_game.make(Config(payoff=tuple(table.tolist())))
    state, _ = env.reset(jax.random.key(0))
    scene = env.drawing.scene(state, np.array([1, 3, 2]))
    assert [box.label for box in scene.figures[:8]] == [f"{value:g}" for value in table[:, :, 2].ravel()]
    (framed,) = [box for box in scene.figures if box.frame == "chosen"]
    assert (framed.left, framed.bottom) == (3, 0) and "agents 2 and up play 2" in scene.caption
    over = env.drawing.scene(state, None)
    (best,) = [box for box in over.figures if box.colour == "good"]
    assert best.label == f"{table.max():g}" and over.caption.startswith("over")
    assert [len(names) for names in env.drawing.actions] == [2, 4, 3]
