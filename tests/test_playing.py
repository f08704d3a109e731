"""`tandem.load`: what a recorded run has learned acts from Python as it does inside of Tandem."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tandem
from tandem import playing
from tandem.core import Planner, TimeStep
from tandem.restored import restore
from tandem.records import runs
from tests.reference import stored_policies

RUNS = {
    "search": ("mazero_seq", "matrix_game", "network_args.latent_size=6", "network_args.hidden_size=7"),
    "recurrent": (
        "mappo", "matrix_game", "network_args.actor_memory=gru", "learner_args.chunk_length=0",
        "network_args.hidden_size=9", "network_args.critic_memory=gru",
    ),
    "continuous": ("mappo_continuous", "mpe", "env_args.action_type=continuous", "network_args.hidden_size=8"),
}  # fmt: skip
IDS = {name: i for i, name in enumerate(RUNS, 1)}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("played") / "results"
    for name in RUNS:
        with jax.numpy_rank_promotion("allow"):
            stored_policies.write(folder, IDS[name], *RUNS[name])
    return folder


@pytest.fixture(scope="module")
def policies(results):
    return {name: tandem.load(IDS[name], results_dir=str(results)) for name in RUNS}


def steps(policy, batch: int, seed: int = 0):
    """Return random observations [B, N, O] and legal actions [B, N, A], the last of which is always legal."""
    random, spec = np.random.default_rng(seed), policy.spec
    legal = random.random((batch, spec.num_agents, spec.actions.size)) < 0.5
    legal[..., -1] = True
    return random.standard_normal((batch, spec.num_agents, *spec.obs.shape)).astype(np.float32), legal


def as_step(policy, obs, legal, first) -> TimeStep:
    batch, agents = obs.shape[:2]
    flags, ones = np.zeros(batch, bool), np.ones((batch, agents), bool)
    return TimeStep(
        obs=obs, state=np.zeros((batch, policy.spec.state.size), np.float32), legal=legal, present=ones, alive=ones,
        reward=np.zeros((batch, agents), np.float32), terminated=flags, truncated=flags, first=first, metrics={},
    )  # fmt: skip


@pytest.mark.jaxmarl
@pytest.mark.parametrize("name", ["search", "recurrent", "continuous"])
def test_it_plays_as_evaluations_of_the_policy_alone_do(policies, results, name):
    policy, inside = policies[name], restore(runs.find(str(IDS[name]), results))
    player = inside.players["policy"]
    carry, memory, played = player.init(5), None, []
    for seed in range(3):
        obs, legal = steps(policy, 5, seed)
        first = np.array([seed == 0, seed == 0, seed == 0, seed < 2, seed == 2])
        carry, plan = player.plan(
            inside.params, carry, as_step(policy, obs, legal, first), jax.random.key(0), False, 0.0
        )
        action, memory = policy.act(obs, legal, memory, first=first)
        np.testing.assert_allclose(action, plan.action, atol=1e-6)
        played.append(action)
    assert action.dtype == policy.spec.actions.dtype and len(np.unique(np.round(played, 3))) > 1


def test_one_environment_needs_no_batch_axis_and_batches_do_not_mix(policies):
    policy = policies["recurrent"]
    obs, legal = steps(policy, 4)
    together, _ = policy.act(obs, legal)
    for i in range(4):
        alone, memory = policy.act(obs[i], legal[i])
        np.testing.assert_array_equal(alone, together[i])
    assert alone.shape == (policy.spec.num_agents,) and jax.tree.leaves(memory)[0].shape[0] == 1


def test_memory_matters_and_is_forgotten_where_an_episode_begins(policies):
    policy = policies["recurrent"]
    obs, _ = steps(policy, 3)
    before, memory = policy.outputs(obs)
    later, _ = policy.outputs(obs, memory)
    again, _ = policy.outputs(obs, memory, first=[True, False, True])
    assert np.abs(later - before).max() > 0.01
    np.testing.assert_allclose(again[[0, 2]], before[[0, 2]], atol=1e-6)
    np.testing.assert_allclose(again[1], later[1], atol=1e-6)


def test_a_key_draws_actions_by_their_probabilities(policies):
    policy, draws = policies["search"], 4000
    obs, legal = (np.repeat(x, draws, axis=0) for x in steps(policy, 1, seed=3))
    logits = np.where(legal[0], policy.outputs(obs[0])[0], -1e9)
    action, _ = policy.act(obs, legal, key=jax.random.key(1))
    for agent in range(policy.spec.num_agents):
        found = np.bincount(action[:, agent], minlength=logits.shape[-1]) / draws
        np.testing.assert_allclose(found, jax.nn.softmax(jnp.asarray(logits[agent])), atol=5 * 0.5 / draws**0.5)
    np.testing.assert_array_equal(action, policy.act(obs, legal, key=jax.random.key(1))[0])


def test_settings_are_laid_over_the_runs_own(results):
    policy = tandem.load(results / "sacred" / "1", "last", network_args={"policy_head": "sum"}, seed=5)
    assert policy.config["seed"] == 5 and policy.step == stored_policies.STEP


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"obs": np.zeros((2, 3, 4, 5))}, r"obs has the shape \(2, 3, 4, 5\); expected \(2, "),
        ({"obs": np.array([["a"] * 9] * 2)}, "obs has the shape|obs holds"),
        ({"legal": np.ones((3, 2, 3), bool)}, "legal is of 3 environments, and obs of 4"),
        ({"legal": np.zeros((4, 2, 3), bool)}, "agent 0 of environment 0 has no legal action"),
        ({"memory": ()}, "memory is not of 4 environments"),
        ({"first": [True]}, r"first has the shape \(1,\); expected \(4,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_a_sentence(policies, change, complaint):
    obs, legal = steps(policies["recurrent"], 4)
    with pytest.raises(ValueError, match=complaint):
        policies["recurrent"].act(**{"obs": obs, "legal": legal} | change)


def test_what_cannot_be_loaded_says_why(results):
    with pytest.raises(ValueError, match="no run '9': .* does not exist; in .* there are runs 1, 2, 3"):
        tandem.load(9, results_dir=str(results))
    with pytest.raises(ValueError, match="no checkpoint 'newest' .* choose best, last or one of 77"):
        tandem.load(1, "newest", results_dir=str(results))
    with pytest.raises(ValueError, match=r"planer \(settings\): no such setting; did you mean planner\?"):
        tandem.load(1, results_dir=str(results), planer="policy")
    in_turns = SimpleNamespace(players={"search": Planner(None, None, "search")}, config={"planner": "turns"})
    with pytest.raises(ValueError, match="run 1 acts by planner 'turns', in which no agent acts by its own"):
        playing.of(in_turns, "run 1")
