"""Full-path simulations: what the trees of a search hold, and that the dynamics are asked once for each simulation."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Discrete, EnvSpec, Vector
from tandem.planners.policies.acting import observe
from tandem.planners.search import paths
from tandem.planners.search.turns import Start
from tests.reference.compiled import quick_jit
from tests.reference.linear_model import linear_model, random_timestep

B, N, A, O, SIMULATIONS = 4, 3, 4, 2, 30
GAMMA = 0.9
SPEC = EnvSpec(num_agents=N, obs=Vector(O), state=Vector(1), actions=Discrete(A), episode_limit=9, shared_reward=True)
MODEL = linear_model(SPEC)


@lru_cache(maxsize=None)
def searched(max_depth: int, **settings):
    """Return (parameters, time step, order, forest, actions [N, B]) of one search."""
    config = paths.Config(num_simulations=SIMULATIONS, max_depth=max_depth, **settings)
    params, timestep = MODEL.init(jax.random.key(1)), random_timestep(SPEC, jax.random.key(2), B)
    order = jnp.asarray(np.argsort(np.random.default_rng(3).random((B, N)), axis=-1), jnp.int32)
    seen = []

    def search(params, key):
        _, latent = observe(MODEL.latents, params, (), timestep)
        own, plan = MODEL.team_policy.begin(params, latent)
        start = Start(
            latent=latent,
            own=own,
            plan=plan,
            action=jnp.zeros((B, N), jnp.int32),
            committed=jnp.zeros((B, N), bool),
            order=order,
            agent=order[:, 0],
            ply=jnp.int32(0),
            legal=timestep.legal,
            later=jnp.ones_like(timestep.legal),
        )
        counting = MODEL.latents._replace(
            imagine=lambda *inputs: (seen.append(inputs), MODEL.latents.imagine(*inputs))[1]
        )
        model = MODEL._replace(latents=counting)
        forest, _ = paths.make_growth(config, model, GAMMA)(params, key, start, True)
        action, _, _ = paths.make_path_search(config, MODEL, GAMMA)(params, key, start, True, jnp.zeros(()))
        return forest, action

    forest, action = quick_jit(search)(params, jax.random.key(4))
    assert len(seen) == 1  # in the body of the loop over simulations
    return jax.tree.map(np.array, (params, timestep, order, forest, action))


def walk(forest, b: int, node: int) -> list[int]:
    """Return the actions from the root to a node, by ply."""
    actions = []
    while node:
        actions.append(int(forest.tree.action_from_parent[b, node]))
        node = int(forest.tree.parents[b, node])
    return actions[::-1]


def outcome(params, obs, order, actions: list[int]) -> tuple[float, np.ndarray]:
    """Return the discounted rewards along a path of whole joint steps and the latent [N, D] at its end."""
    latent, total = np.tanh(obs @ params["obs"]), 0.0
    for step in range(len(actions) // N):
        joint = np.zeros(N, int)
        joint[order] = actions[step * N : (step + 1) * N]
        total += GAMMA**step * sum(params["reward"][j, a] for j, a in enumerate(joint))
        latent = np.tanh(latent @ params["dynamics"] + params["played"][joint])
    return total, latent


@pytest.mark.parametrize("max_depth", [0, 1])
def test_every_simulation_ends_in_a_state_whose_worth_counts_in_every_node_above_it(max_depth):
    params, timestep, order, forest, _ = searched(max_depth)
    tree = forest.tree
    for b in range(B):
        leaves = [
            node for node in range(1, SIMULATIONS * N + 1) if tree.node_visits[b, node] and forest.ply[b, node] == 0
        ]
        gains = {}
        for leaf in leaves:
            actions = walk(forest, b, leaf)
            assert len(actions) % N == 0 and len(actions) <= N * (max_depth or SIMULATIONS)
            total, latent = outcome(params, timestep.obs[b], order[b], actions)
            np.testing.assert_allclose(tree.raw_values[b, leaf], np.sum(latent * params["value"]), rtol=1e-3, atol=1e-3)
            gains[leaf] = total + GAMMA ** (len(actions) // N) * np.sum(latent * params["value"])
        assert len({tuple(walk(forest, b, leaf)) for leaf in leaves}) == len(leaves)
        if max_depth == 0:
            assert len(leaves) == SIMULATIONS  # each found a joint action that was new
            root = (np.sum(np.tanh(timestep.obs[b] @ params["obs"]) * params["value"]) + sum(gains.values())) / (
                SIMULATIONS + 1
            )
            np.testing.assert_allclose(tree.node_values[b, 0], root, rtol=1e-3, atol=1e-3)
        assert tree.node_visits[b, 0] == SIMULATIONS + 1


@pytest.mark.parametrize("backup", ["mean", "best"])
def test_nodes_are_worth_what_an_obvious_account_of_all_simulations_says(backup):
    _, _, _, forest, _ = searched(0, unfinished_backup=backup, interior_value_scale=0.01)
    tree = forest.tree
    shared = 0  # how many nodes inside joint steps had more than one return
    for b in range(B):
        worth, count = {0: tree.raw_values[b, 0]}, {0: 1}
        for simulation in range(SIMULATIONS):
            node = leaf = (simulation + 1) * N
            gain = tree.raw_values[b, leaf]
            worth[leaf], count[leaf] = gain, 1
            while node:
                child, node = node, int(tree.parents[b, node])
                action = tree.action_from_parent[b, child]
                gain = tree.children_rewards[b, node, action] + tree.children_discounts[b, node, action] * gain
                if backup == "best" and forest.ply[b, node] > 0:
                    edges = [(a, c) for a, c in enumerate(tree.children_index[b, node]) if c in worth]
                    gain = max(
                        tree.children_rewards[b, node, a] + tree.children_discounts[b, node, a] * worth[c]
                        for a, c in edges
                    )
                    worth[node] = gain
                else:
                    worth[node] = (worth.get(node, 0.0) * count.get(node, 0) + gain) / (count.get(node, 0) + 1)
                count[node] = count.get(node, 0) + 1
        nodes = sorted(worth)
        np.testing.assert_allclose(tree.node_values[b, nodes], [worth[node] for node in nodes], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(tree.node_visits[b, nodes], [count[node] for node in nodes])
        shared += sum(count[node] > 1 for node in nodes if forest.ply[b, node] > 0)
    assert shared > 10


def test_what_is_known_to_be_illegal_is_never_tried():
    _, timestep, order, forest, action = searched(0)
    for b in range(B):
        for ply in range(N):
            agent = order[b, ply]
            at = (forest.ply[b] == ply) & (forest.steps[b] == 0) & (forest.tree.node_visits[b] > 0)
            tried = forest.tree.children_visits[b][at].sum(axis=0) > 0
            assert not tried[~timestep.legal[b, agent]].any() and timestep.legal[b, agent, action[ply, b]]


def test_the_team_plays_a_joint_action_that_was_imagined():
    *_, forest, action = searched(0)
    for b in range(B):
        node = 0
        for ply in range(N):
            node = forest.tree.children_index[b, node, action[ply, b]]
            assert node > 0
        assert forest.ply[b, node] == 0 and forest.steps[b, node] == 1
