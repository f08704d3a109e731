"""Sampled joint actions: counts, corrected priors, merged duplicates and marginals, against loops in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Discrete, EnvSpec, Vector
from tandem.ops.distributions import draw
from tandem.ops.masking import NEVER, masked_logits
from tandem.planners.search.joint import make_proposal, marginals, sample_candidates

B, N, A, K = 3, 2, 5, 19


def random_logits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return logits [B, N, A], NEVER where illegal, and legal [B, N, A]."""
    rng = np.random.default_rng(seed)
    legal = rng.random((B, N, A)) < 0.6
    legal[..., seed % A] = True
    return np.array(masked_logits(rng.normal(size=(B, N, A)).astype(np.float32), legal)), legal


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def reference_prior(actions: np.ndarray, policy: np.ndarray, legal: np.ndarray, fraction: float) -> tuple[dict, list]:
    """Return {joint action: corrected prior probability} of one node's candidates [K, N], and where each was first
    drawn.
    """
    weight, first = {}, []
    for k, action in enumerate(map(tuple, actions.tolist())):
        ratio = 1.0
        for agent, a in enumerate(action):
            proposal = (1 - fraction) * policy[agent, a] + fraction / legal[agent].sum()
            ratio *= policy[agent, a] / proposal
        first += [k] if action not in weight else []
        weight[action] = weight.get(action, 0.0) + ratio
    total = sum(weight.values())
    return {action: w / total for action, w in weight.items()}, first


@pytest.mark.parametrize("fraction", [0.0, 0.4])
def test_candidates_carry_their_corrected_share_and_duplicates_are_merged_into_the_first(fraction):
    for seed in range(8):
        logits, legal = random_logits(seed)
        actions, prior, valid = map(np.array, sample_candidates(jax.random.key(seed), jnp.array(logits), K, fraction))
        assert actions.shape == (B, K, N) and actions.dtype == np.int32
        assert np.take_along_axis(legal[:, None], actions[..., None], axis=-1).all()
        shares = softmax(prior)
        for b in range(B):
            expected, first = reference_prior(actions[b], softmax(logits[b]), legal[b], fraction)
            assert np.flatnonzero(valid[b]).tolist() == first and len(first) < K
            assert (prior[b][~valid[b]] == np.float32(NEVER)).all()
            for k in first:
                np.testing.assert_allclose(shares[b, k], expected[tuple(actions[b, k].tolist())], rtol=1e-3)


@pytest.mark.parametrize("fraction", [0.0, 0.4])
def test_candidates_are_drawn_from_the_proposal(fraction):
    logits, legal = random_logits(1)
    num = 20000
    proposal = (1 - fraction) * softmax(logits) + fraction * legal / legal.sum(axis=-1, keepdims=True)
    drawn = np.array(
        draw(jax.random.key(3), jnp.log(jnp.broadcast_to(jnp.array(proposal, jnp.float32), (num, B, N, A))))
    )
    candidates = np.concatenate(
        [np.array(sample_candidates(jax.random.key(seed), jnp.array(logits), 500, fraction)[0]) for seed in range(40)],
        axis=1,
    )
    for frequencies in (np.eye(A)[drawn].mean(axis=0), np.eye(A)[candidates].mean(axis=1)):
        # Standard error at most 0.0036: six of them are a false alarm in less than one of a million runs.
        np.testing.assert_allclose(frequencies, proposal, atol=0.022)


def test_priors_corrected_for_uniform_exploration_add_up_to_the_policy():
    logits, _ = random_logits(2)
    actions, prior, _ = sample_candidates(jax.random.key(0), jnp.array(logits), 1200, 0.5)
    shares = jax.nn.softmax(prior, axis=-1)
    # Importance weights are at most 4: the standard error of a marginal is below 0.04.
    np.testing.assert_allclose(marginals(actions, shares, A), softmax(logits), atol=0.15)


def test_marginals_sum_the_weights_of_the_joint_actions_in_which_an_agent_plays_so():
    rng = np.random.default_rng(0)
    actions, weights = rng.integers(0, A, (B, K, N)), rng.random((B, K)).astype(np.float32)
    expected = np.zeros((B, N, A))
    for b, k, i in np.ndindex(B, K, N):
        expected[b, i, actions[b, k, i]] += weights[b, k]
    np.testing.assert_allclose(marginals(jnp.array(actions), jnp.array(weights), A), expected, rtol=1e-5)


def test_all_joint_actions_are_enumerated_once_there_are_no_more_than_the_samples():
    spec = EnvSpec(
        num_agents=N, obs=Vector(1), state=Vector(1), actions=Discrete(A), episode_limit=1, shared_reward=True
    )
    logits, legal = random_logits(4)
    actions, prior, valid = map(np.array, make_proposal(spec, A**N)(jax.random.key(0), jnp.array(logits), 0.0))
    assert [tuple(row) for row in actions[0].tolist()] == list(itertools.product(range(A), repeat=N))
    joint_legal = (legal[:, 0, :, None] & legal[:, 1, None, :]).reshape(B, -1)
    np.testing.assert_array_equal(valid, joint_legal)
    product = (softmax(logits)[:, 0, :, None] * softmax(logits)[:, 1, None, :]).reshape(B, -1)
    np.testing.assert_allclose(np.where(valid, np.exp(prior), 0.0), product, rtol=1e-4, atol=1e-7)
    assert make_proposal(spec, A**N - 1)(jax.random.key(0), jnp.array(logits), 0.0)[0].shape == (B, A**N - 1, N)
