"""Conditional policies: one causal pass over a joint action says what the plies say one by one, and nobody sees the
future.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Discrete, EnvSpec, Vector
from tandem.models.world_model import Config, make
from tests.reference.compiled import quick_jit

B, N, A, O = 40, 4, 3, 5
SPEC = EnvSpec(num_agents=N, obs=Vector(O), state=Vector(2), actions=Discrete(A), episode_limit=4, shared_reward=True)
HEADS = ("sum", "attention", "gru")


@lru_cache(maxsize=None)
def program(head: str):
    """Return (parameters without zeros, compiled function of params, obs, action, order -> logits in every form)."""
    model = make(
        Config(latent_size=6, hidden_size=8, encoder_size=9, attention="none", policy_head=head, policy_layers=2), SPEC
    )
    draw = np.random.default_rng(1).normal
    params = jax.tree.map(
        lambda x: draw(scale=0.7, size=x.shape).astype(x.dtype), jax.eval_shape(model.init, jax.random.key(0))
    )

    def forms(params, obs, action, order):
        latent = model.latents.represent(params, (), obs, jnp.ones(obs.shape[:-2], bool))[1]
        rank = jnp.argsort(order, axis=-1)
        own, plan = model.team_policy.begin(params, latent)
        alone, plies = model.team_policy.reply(params, own, plan), []
        for ply in range(N):
            agent = order[:, ply]
            plies.append(model.team_policy.reply(params, jax.vmap(lambda x, i: x[i][None])(own, agent), plan)[:, 0])
            plan = model.team_policy.commit(params, plan, latent, agent, action[jnp.arange(B), agent])
        nobody = jnp.zeros((B, N, N), bool)
        return {
            "causal": model.team_policy.logits(params, latent, action, rank[:, None, :] < rank[:, :, None]),
            "plies": jnp.take_along_axis(jnp.stack(plies, axis=1), rank[..., None], axis=1),
            "alone": alone,
            "hidden": model.team_policy.logits(params, latent, action, nobody),
        }

    return params, quick_jit(forms)


def run(head: str, *, order=None, action=None) -> dict[str, np.ndarray]:
    """Return every form's logits [B, N, A]: observations that differ by row, and random orders and actions if none
    are given.
    """
    draw = np.random.default_rng(2)
    obs = draw.normal(size=(B, N, O)).astype(np.float32)
    drawn = orders(), draw.integers(0, A, (B, N))
    order, action = (
        np.broadcast_to(y if x is None else x, (B, N)) for x, y in zip((order, action), drawn, strict=True)
    )
    params, forms = program(head)
    return jax.tree.map(np.array, forms(params, obs, action, order))


def orders() -> np.ndarray:
    return np.argsort(np.random.default_rng(3).random((B, N)), axis=-1)


@pytest.mark.parametrize("head", HEADS)
def test_one_causal_pass_says_what_the_plies_say_one_after_another(head):
    out = run(head)
    np.testing.assert_allclose(out["causal"], out["plies"], rtol=1e-4, atol=1e-4)
    assert np.abs(out["causal"] - out["alone"]).max() > 0.1  # there was something to see


@pytest.mark.parametrize("head", HEADS)
def test_an_action_changes_the_plies_after_it_and_none_before(head):
    order, action = orders(), np.zeros((B, N), np.int32)
    rank = np.argsort(order, axis=-1)
    base = run(head, action=action)["causal"]
    for j in range(N):
        other = action.copy()
        other[:, j] = 1
        changed = (np.abs(run(head, action=other)["causal"] - base) > 1e-6).any(axis=-1)  # [B, N]
        later = rank > rank[:, [j]]
        assert not changed[~later].any()
        assert changed[later].mean() > 0.9


@pytest.mark.parametrize("head", HEADS)
def test_with_nothing_visible_a_policy_is_that_of_an_agent_alone(head):
    out = run(head)
    np.testing.assert_allclose(out["hidden"], out["alone"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("head", "remembers"), [("sum", False), ("attention", False), ("gru", True)])
def test_only_a_recurrent_plan_knows_the_order_of_the_commitments(head, remembers):
    first, second = (run(head, order=order)["causal"][:, 3] for order in ([0, 1, 2, 3], [2, 1, 0, 3]))
    assert (np.abs(first - second).max() > 1e-3) == remembers


def test_heads_that_do_not_divide_the_policys_width_are_refused_by_name():
    with pytest.raises(ValueError, match="network_args.attention_heads=4 .*network_args.hidden_size=10"):
        make(Config(policy_head="attention", hidden_size=10, attention_heads=4), SPEC)
