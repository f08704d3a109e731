"""What every planner of the registry owes, with its default settings: legal play, proper targets, no hidden state."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem import contracts
from tandem.core import Discrete, EnvSpec, Model, Vector
from tandem.registry import NETWORKS, PLANNERS, Entry
from tests.reference.compiled import quick_jit
from tests.reference.linear_model import linear_model, random_timestep

B, N, A, O, S = 7, 3, 4, 5, 2
SPEC = EnvSpec(num_agents=N, obs=Vector(O), state=Vector(S), actions=Discrete(A), episode_limit=9, shared_reward=True)


def model_for(entry: Entry) -> Model:
    """Return the small model of sums where that has the faces that a planner needs, else a network of the registry."""
    small = linear_model(SPEC)
    if entry.needs <= small.faces():
        return small
    network = next(each for each in NETWORKS.values() if entry.needs <= each.shows and "discrete" in each.actions)
    return network.make(network.config()(), SPEC)


@pytest.fixture(scope="module", params=PLANNERS)
def planned(request):
    """Two plans of each kind for a batch, the second going on from the first; `again` asks the same once more."""
    entry = PLANNERS[request.param]
    model = model_for(entry)
    planner = entry.make(entry.config()(), model, SPEC, 0.9)

    def run(params, explore: bool):
        carry, found = planner.init(B), []
        for i in (1, 2):
            seen = random_timestep(SPEC, jax.random.key(i), B)
            carry, plan = planner.plan(params, carry, seen, jax.random.key(10 + i), explore, jnp.float32(0.5))
            found.append((seen, plan))
        return found

    params = model.init(jax.random.key(0))
    kinds = {explore: quick_jit(lambda params, explore=explore: run(params, explore)) for explore in (True, False)}
    first, again = ([jax.tree.map(np.array, kinds[explore](params)) for explore in (True, False)] for _ in range(2))
    return SimpleNamespace(
        entry=entry, name=request.param, model=model, planner=planner, first=sum(first, []), again=sum(again, [])
    )


def test_it_keeps_its_contract(planned):
    extras, broken = contracts.of_planner(planned.name, planned.planner, planned.model, SPEC, B)
    assert broken == [] and type(extras).__name__.lower() == f"{planned.entry.leaves}extras"


def test_it_plays_what_is_legal(planned):
    for seen, plan in planned.first:
        assert np.take_along_axis(seen.legal, plan.action[..., None], axis=-1).all()


def test_its_policies_are_distributions_over_what_is_legal(planned):
    for seen, plan in planned.first:
        policy = plan.extras.policy
        assert (policy[~seen.legal] == 0).all() and (policy >= 0).all()
        np.testing.assert_allclose(policy.sum(axis=-1), 1.0, atol=1e-5)


def test_its_numbers_are_finite(planned):
    assert all(np.isfinite(leaf).all() for _, plan in planned.first for leaf in jax.tree.leaves(plan))


def test_its_log_probabilities_and_entropies_are_those_of_the_policy_that_it_plays_by(planned):
    for _, plan in planned.first:
        if planned.entry.leaves == "policy":
            policy = plan.extras.policy
            chosen = np.take_along_axis(policy, plan.action[..., None], axis=-1)[..., 0]
            np.testing.assert_allclose(plan.extras.log_prob, np.log(chosen), rtol=1e-4, atol=1e-5)
            entropy = -np.sum(policy * np.log(np.where(policy > 0, policy, 1.0)), axis=-1)
            np.testing.assert_allclose(plan.extras.entropy, entropy, rtol=1e-4, atol=1e-5)


def test_a_search_commits_to_what_is_legal_and_its_ranks_are_turns(planned):
    for seen, plan in planned.first:
        if planned.entry.leaves == "search":
            assert np.take_along_axis(seen.legal, plan.extras.committed[..., None], axis=-1).all()
            assert ((0 <= plan.extras.rank) & (plan.extras.rank < N)).all()


def test_its_plans_depend_on_nothing_but_their_arguments(planned):
    jax.tree.map(np.testing.assert_array_equal, planned.first, planned.again)
