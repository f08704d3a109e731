"""What holds for every tree search, and for two planners without, whatever the model says: targets free of noise,
what each agent saw.
"""

import dataclasses
from functools import lru_cache
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Discrete, EnvSpec, Vector
from tandem.registry import PLANNERS, find
from tests.reference.compiled import quick_jit
from tests.reference.linear_model import indifferent, linear_model, random_timestep

B, N, A, O = 5, 3, 4, 2
EVERY = A**N  # joint actions: few enough to enumerate


def spec_of(num_agents: int) -> EnvSpec:
    return EnvSpec(
        num_agents=num_agents, obs=Vector(O), state=Vector(1), actions=Discrete(A), episode_limit=9, shared_reward=True
    )


GUMBEL = [  # every order with either search, every tree with either search, every way to value an unfinished joint step
    ("plies", dict(order="fixed", unfinished_value="conditioned")),
    ("plies", dict(order="random")),
    ("root_only", dict(order="most_certain_first")),
    ("paths", dict(order="random")),
    ("joint", dict(num_samples=EVERY, max_considered=EVERY)),
    ("joint", dict(num_samples=13, uniform_fraction=0.3)),
    ("independent", dict(others="sample")),
    ("independent", dict(others="argmax")),
]
MUZERO = [
    ("root_only", dict(order="fixed", search="muzero")),
    ("plies", dict(order="random", search="muzero", unfinished_value="parent")),
    ("plies", dict(order="most_certain_first", search="muzero")),
    ("joint", dict(num_samples=13, search="muzero")),
    ("independent", dict(search="muzero")),
]
WITHOUT_SEARCH = [("policy", {}), ("autoregressive", dict(order="random"))]
# What grows a tree has these settings; of other planners tests/planners/test_every_planner.py says what they owe.
TREE_SEARCHES = [
    name for name, entry in PLANNERS.items()
    if {"num_simulations", "value_expansion"} <= {field.name for field in dataclasses.fields(entry.config())}
]  # fmt: skip
BY_DEFAULT = [(name, {}) for name in TREE_SEARCHES if name not in dict([*GUMBEL, *MUZERO])]
CASES = [*GUMBEL, *MUZERO, *BY_DEFAULT, *WITHOUT_SEARCH]
ONE_EACH = [GUMBEL[1], GUMBEL[2], GUMBEL[3], GUMBEL[5], GUMBEL[6], MUZERO[1], *BY_DEFAULT, *WITHOUT_SEARCH]
IN_TURNS, AT_ONCE = ("plies", "paths", "root_only"), ("joint", "independent")


def name(case: tuple[str, dict]) -> str:
    return "-".join([case[0], *(str(value) for value in case[1].values())])


@lru_cache(maxsize=None)
def compiled(planner: str, args: tuple, num_agents: int, batch: int, explore: bool, num_simulations: int):
    """Return plan(params, timestep, key) of a planner, compiled once for all tests of its case."""
    entry, spec = find("planner", planner), spec_of(num_agents)
    simulations = {} if entry.leaves == "policy" else {"num_simulations": num_simulations}
    made = entry.make(entry.config()(**dict(args), **simulations), linear_model(spec), spec, 0.9)

    def plan(params, timestep, key):
        return made.plan(params, made.init(batch), timestep, key, explore, jnp.float32(0.5))[1]

    return quick_jit(plan)


def plans(case, *, seeds, num_agents=N, batch=B, explore=True, num_simulations=6, change=lambda params: params):
    """Yield (time step, plan) in NumPy, a random model and random legal actions for every seed."""
    run = compiled(case[0], tuple(case[1].items()), num_agents, batch, explore, num_simulations)
    for seed in seeds:
        spec = spec_of(num_agents)
        params = change(linear_model(spec).init(jax.random.key(1000 + seed)))
        timestep = random_timestep(spec, jax.random.key(2000 + seed), batch)
        yield jax.tree.map(np.array, (timestep, run(params, timestep, jax.random.key(seed))))


def assert_sound(planner: str, timestep, plan) -> None:
    """Assert what is promised of every plan."""
    batch, num_agents, num_actions = timestep.legal.shape
    policy = plan.extras.policy
    assert plan.action.shape == (batch, num_agents) and plan.action.dtype == np.int32
    assert policy.shape == timestep.legal.shape and policy.dtype == np.float32
    assert np.take_along_axis(timestep.legal, plan.action[..., None], axis=-1).all()
    assert (policy[~timestep.legal] == 0).all() and (policy >= 0).all()
    np.testing.assert_allclose(policy.sum(axis=-1), 1.0, atol=1e-5)
    if find("planner", planner).leaves == "policy":
        chosen = np.take_along_axis(policy, plan.action[..., None], axis=-1)[..., 0]
        np.testing.assert_allclose(plan.extras.log_prob, np.log(chosen), rtol=1e-5, atol=1e-6)
        return
    assert np.isfinite(plan.extras.value).all() and plan.extras.value.shape == (batch,)
    np.testing.assert_array_equal(plan.extras.committed, plan.action)
    if planner in (*IN_TURNS, *AT_ONCE):
        turns = np.arange(num_agents) * (planner in IN_TURNS)
        np.testing.assert_array_equal(np.sort(plan.extras.rank, axis=-1), np.tile(turns, (batch, 1)))


def test_every_tree_search_of_the_registry_is_covered():
    without = {planner for planner, _ in WITHOUT_SEARCH}
    assert {planner for planner, _ in CASES} == {planner for planner, _ in ONE_EACH} == without | set(TREE_SEARCHES)
    assert {*IN_TURNS, *AT_ONCE} <= set(TREE_SEARCHES)
    assert {args.get("search", "gumbel_muzero") for _, args in CASES} == {"gumbel_muzero", "muzero"}


@pytest.mark.parametrize("case", CASES, ids=name)
def test_plans_are_legal_and_their_targets_are_distributions(case):
    for timestep, plan in plans(case, seeds=range(20)):
        assert_sound(case[0], timestep, plan)


@pytest.mark.parametrize("case", ONE_EACH, ids=name)
def test_greedy_plans_are_as_sound_as_exploring_ones(case):
    for timestep, plan in plans(case, seeds=range(20), explore=False):
        assert_sound(case[0], timestep, plan)


@pytest.mark.parametrize("case", [case for case in ONE_EACH if "muzero" not in case[1].values()], ids=name)
@pytest.mark.parametrize("num_agents", [1, 8])
def test_one_simulation_will_do_for_one_agent_and_for_eight(case, num_agents):
    for timestep, plan in plans(case, seeds=range(5), num_agents=num_agents, num_simulations=1):
        assert_sound(case[0], timestep, plan)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_plan_depends_on_nothing_but_its_arguments(case):
    first, again = (list(plans(case, seeds=[3])) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, again)


@pytest.mark.parametrize("case", ONE_EACH, ids=name)
def test_an_environment_alone_is_planned_as_the_first_of_many(case):
    run = {batch: compiled(case[0], tuple(case[1].items()), N, batch, True, 6) for batch in (1, B)}
    params = linear_model(spec_of(N)).init(jax.random.key(5))
    for seed in range(6):
        many = random_timestep(spec_of(N), jax.random.key(seed), B)
        alone = jax.tree.map(lambda x: x[:1], many)
        expected = jax.tree.map(lambda x: x[:1], run[B](params, many, jax.random.key(seed)))
        actual = run[1](params, alone, jax.random.key(seed))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4), actual, expected)


def conditional_policy(params, timestep, plan, rank) -> np.ndarray:
    """Return the policy [B, N, A] over legal actions, given the committed actions of lower ranks, in plain loops."""
    seen = np.array(params["seen"])
    logits = np.tanh(timestep.obs @ np.array(params["obs"])) @ np.array(params["policy"])
    for b, i, j in np.ndindex(*logits.shape[:2], logits.shape[1]):
        if rank[b, j] < rank[b, i]:
            logits[b, i] += seen[j, plan.extras.committed[b, j]]
    weights = np.where(timestep.legal, np.exp(logits - logits.max(axis=-1, keepdims=True)), 0.0)
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("case", [case for case in ONE_EACH if case not in WITHOUT_SEARCH], ids=name)
@pytest.mark.parametrize("expansion", [0, 3])
def test_a_new_state_is_worth_the_rewards_of_the_steps_imagined_beyond_it(case, expansion):
    # Every joint action earns 1 and the value head says 0: a simulation finds 1 + 0.9 + ... and is averaged with the
    # root's 0.
    def change(params):
        return indifferent(params) | {"reward": jnp.full_like(params["reward"], 1.0 / N)}

    # With `parent` one simulation finds nothing: it does not come to the end of the joint step.
    found = 0.0 if case[1].get("unfinished_value") == "parent" else sum(0.9**k for k in range(expansion + 1))
    case = (case[0], case[1] | {"value_expansion": expansion})
    for _, plan in plans(case, seeds=range(2), num_simulations=1, change=change):
        np.testing.assert_allclose(plan.extras.value, found / 2.0, rtol=1e-5)


@pytest.mark.parametrize(
    "case", [GUMBEL[3], GUMBEL[6]], ids=name
)  # paths have a search of their own, all others share one
def test_play_without_exploration_may_weigh_q_values_otherwise_and_exploration_does_not_feel_it(case):
    def policies(explore: bool, **scales):
        one = (case[0], case[1] | scales)
        return np.concatenate(
            [np.asarray(plan.extras.policy) for _, plan in plans(one, seeds=range(2), explore=explore)]
        )

    both = {"value_scale": 0.1, "greedy_value_scale": 0.9}
    np.testing.assert_allclose(policies(True, **both), policies(True, value_scale=0.1), rtol=1e-6)
    np.testing.assert_allclose(policies(False, **both), policies(False, value_scale=0.9), rtol=1e-6)
    assert np.abs(policies(False, **both) - policies(False, value_scale=0.1)).max() > 0.01


def test_without_search_each_agent_replies_to_what_those_before_it_play():
    case = ("autoregressive", dict(order="fixed"))
    for seed, (timestep, plan) in enumerate(plans(case, seeds=range(20), explore=False)):
        params = linear_model(spec_of(N)).init(jax.random.key(1000 + seed))
        extras = SimpleNamespace(committed=plan.action)
        turns = np.tile(np.arange(N), (B, 1))
        expected = conditional_policy(params, timestep, SimpleNamespace(extras=extras), turns)
        np.testing.assert_allclose(plan.extras.policy, expected, atol=2e-5)
        np.testing.assert_array_equal(plan.action, expected.argmax(axis=-1))


SHARP = [case for case in GUMBEL if case[1].get("num_samples") != 13]  # sampled candidates are noise of their own


@pytest.mark.parametrize("case", SHARP, ids=name)
def test_where_all_is_worth_the_same_the_target_is_the_prior_given_lower_ranks_and_the_noise_is_in_the_action_alone(
    case,
):
    actions = []
    for seed, (timestep, plan) in enumerate(plans(case, seeds=range(20), change=indifferent)):
        params = linear_model(spec_of(N)).init(jax.random.key(1000 + seed))
        expected = conditional_policy(params, timestep, plan, plan.extras.rank)
        np.testing.assert_allclose(plan.extras.policy, expected, atol=2e-5)
        actions.append(plan.action == expected.argmax(axis=-1))
    assert 0.1 < np.mean(actions) < 0.95  # the action is drawn: neither always nor hardly ever the likeliest


@pytest.mark.parametrize("case", SHARP[:3], ids=name)
def test_agents_commit_in_the_order_that_was_asked_for(case):
    seen = set()
    for seed, (timestep, plan) in enumerate(plans(case, seeds=range(40))):
        params = linear_model(spec_of(N)).init(jax.random.key(1000 + seed))
        order = case[1]["order"]
        seen |= {tuple(row) for row in plan.extras.rank.tolist()}
        if order == "most_certain_first":
            policy = conditional_policy(params, timestep, plan, np.zeros_like(plan.extras.rank))
            entropy = -np.sum(policy * np.log(np.maximum(policy, 1e-30)), axis=-1)
            sure = np.diff(np.sort(entropy, axis=-1), axis=-1).min(axis=-1) > 1e-4
            np.testing.assert_array_equal(plan.extras.rank[sure], entropy.argsort(axis=-1).argsort(axis=-1)[sure])
        elif order == "fixed":
            np.testing.assert_array_equal(plan.extras.rank, np.tile(np.arange(N), (B, 1)))
    # 200 draws miss one of six orders with a probability of 1e-15.
    assert len(seen) == (1 if case[1]["order"] == "fixed" else 6)
