"""Things that are hidden at random in training: how many, from whom, and that they are as if they were not there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Discrete, Group, Model
from tandem.learners import bc, coordination, entity_dropout, icq, q_offline, sac_offline
from tandem.learners.entity_dropout import hidden, make_hide
from tandem.models import actor_critic, coordination as coordinated, q_behaviour, soft_actor_critic
from tandem.models.entities.team import most_things, observed
from tests.models.entities import problem
from tests.reference.compiled import quick_jit
from tests.reference.run_plans import run_plan
from tests.reference.team_rows import batch_of, random_rows

B, T, N, LANDMARKS, TARGETS = 5, 2, 3, 4, 2
OF = problem.spec(N, LANDMARKS, TARGETS)
SMALL = {"encoder": "entities", "entity_size": 4, "relations": "none", "hidden_size": 6, "num_layers": 1}
THINGS = LANDMARKS + N - 1 + TARGETS
LEARNERS = {
    "bc": (bc, actor_critic, {}),
    "coordination": (coordination, coordinated, {"coordination": "skills"}),
    "q_offline": (q_offline, q_behaviour, {"mixer": "monotone"}),
    "sac_offline": (sac_offline, soft_actor_critic, {"critic_input": "central"}),
}


def learner_of(name: str, share: float, encoder: str = "entities"):
    learner, network, own = LEARNERS[name]
    model = network.make(network.Config(**SMALL | own | {"encoder": encoder}), OF)
    return learner.make(learner.Config(sequence=T, entity_dropout=share), model, run_plan(OF, 0.9))


@pytest.fixture(scope="module")
def rows():
    return random_rows(OF, B, T, seed=3)


def test_every_agent_misses_its_own_share_of_things_in_a_whole_sequence(rows):
    model = q_behaviour.make(q_behaviour.Config(**SMALL), OF)
    assert model.things == THINGS
    many = jax.tree.map(lambda x: jnp.tile(x, (400, *[1] * (x.ndim - 1))), rows)
    found = jax.jit(make_hide(0.3, model))(many, jax.random.key(0))
    flags = np.asarray(found.obs[..., OF.obs.size :])
    assert flags.shape == (400 * B, T, N, THINGS) and set(np.unique(flags)) == {0.0, 1.0}
    np.testing.assert_allclose(flags.mean(axis=(0, 1)), 0.3, atol=0.07)  # 6 standard errors of 2000 lots
    np.testing.assert_array_equal(flags, np.repeat(flags[:, :1], T, axis=1))
    np.testing.assert_array_equal(flags, found.next_obs[..., OF.obs.size :])
    assert (flags[:, :, 0] != flags[:, :, 1]).any()
    np.testing.assert_array_equal(found.obs[..., : OF.obs.size], many.obs)


@pytest.fixture(scope="module")
def asked():
    """Return (params, what a network says of observations with 4 landmarks, what it says of those with 2)."""
    first = jnp.zeros((B, T), bool)

    def ask(of):
        face = network_of(of).coordination

        def said(params, obs):
            known = face.see(params, (), obs, first)[1]
            logits = face.logits(params, known, jnp.zeros((B, T, N), jnp.int32), np.zeros((N, N), bool))[..., 0, :]
            return jnp.concatenate([logits, known["context"]], axis=-1)

        return said

    params = quick_jit(network_of(OF).init)(jax.random.key(1))
    return params, ask(OF), ask(problem.spec(N, 2, TARGETS))


def network_of(of):
    own = {"coordination": "neighbours", "policy_gain": 1.0, "context_size": 3}
    own |= {"relations": "allies", "relation_size": 2}
    return coordinated.make(coordinated.Config(**SMALL | own), of)


def test_what_is_hidden_is_as_if_it_were_not_there(asked, rows):
    params, ask, fewer = asked
    large = quick_jit(ask)
    flags = jnp.zeros((B, N, THINGS)).at[..., jnp.array([0, 3])].set(1.0)  # the first and the last landmark
    found = large(params, hidden(flags, rows).obs)
    first = 3  # numbers about the agent come before the landmarks, of two numbers each
    left = np.delete(rows.obs, np.r_[first : first + 2, first + 6 : first + 8], axis=-1)
    np.testing.assert_allclose(found, quick_jit(fewer)(params, left), rtol=1e-4, atol=1e-5)
    everything = large(params, hidden(jnp.zeros_like(flags), rows).obs)
    assert float(jnp.abs(found - everything).max()) > 1e-3


def test_no_gradient_comes_through_what_is_hidden_but_to_an_action_at_it(asked, rows):
    params, ask, _ = asked
    flags = (jnp.arange(THINGS) % 2).astype(jnp.float32)  # every other thing, and the last one, which is a target
    aimed = np.arange(OF.actions.size + 3) == problem.FIRST + TARGETS - 1  # of the logits and the context

    def size(obs, counts):
        return jnp.sum(jnp.where(counts.reshape(1, 1, 1, -1), ask(params, obs), 0.0) ** 2)

    slope = quick_jit(jax.grad(size))
    seen = hidden(jnp.broadcast_to(flags, (B, N, THINGS)), rows).obs
    widths = np.cumsum([3, *[2] * LANDMARKS, *[4] * (N - 1), *[3] * TARGETS])
    for counts in (aimed, ~aimed):
        found = np.abs(np.asarray(slope(seen, counts))).max(axis=(0, 1, 2))
        own, *each = np.split(found[: OF.obs.size], widths[:-1])
        assert (own > 0).all()
        assert [bool(thing.any()) for thing in each[:-1]] == [not flag for flag in flags[:-1].tolist()]
        assert each[-1].any() == (counts is aimed)


def test_agents_of_several_kinds_have_flags_of_their_own():
    spaces = problem.space(2, 1, 1), problem.space(2, 3, 2)
    groups = tuple(
        Group(name=str(i), members=(i,), obs=space, actions=Discrete(3)) for i, space in enumerate(spaces)
    )  # fmt: skip
    wide, things = spaces[1].size, most_things(groups)
    obs = jnp.arange(2.0 * (wide + things)).reshape(2, -1)
    for i, (group, count) in enumerate(zip(groups, (3, 6), strict=True)):
        own = np.concatenate([obs[i, : spaces[i].size], obs[i, wide : wide + count]])
        np.testing.assert_array_equal(observed(groups, group, obs)[0], own)
        np.testing.assert_array_equal(observed(groups, group, obs[:, :wide])[0], own[: spaces[i].size])
    assert things == 6


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_from_recorded_data_hides_things(rows, name, monkeypatch):
    called, learner = [], learner_of(name, 0.5)
    monkeypatch.setattr(entity_dropout, "hidden", lambda flags, traj: called.append(flags.shape) or hidden(flags, traj))
    state = jax.eval_shape(learner.init, jax.random.key(0))
    slope = jax.eval_shape(learner.halves.slope, state, batch_of(rows), jax.random.key(1))
    assert called == [(B, N, THINGS)]
    assert jax.tree.structure(slope.gradients) == jax.tree.structure(state.params)
    with pytest.raises(ValueError, match=r"entity_dropout=0.5: this network reads observations flat.*encoder=entities"):
        learner_of(name, 0.5, encoder="flat")


def test_what_is_hidden_depends_on_the_key_of_the_update(rows):
    def loss(params, batch):
        marks = batch.traj.obs[..., OF.obs.size :]
        return params["x"] ** 2, {"train/loss": jnp.sum(marks.reshape(-1) * jnp.arange(marks.size))}

    model = Model(init=lambda key: {"x": jnp.ones(())}, things=THINGS)
    learner = bc.assemble(bc.Config(sequence=T, entity_dropout=0.5), loss, ("loss",), model, run_plan(OF, 0.9))
    state, batch = learner.init(jax.random.key(0)), batch_of(rows)
    found = [float(learner.halves.slope(state, batch, jax.random.key(i)).metrics["train/loss"]) for i in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_nothing_is_hidden_by_default():
    assert all(learner.Config().entity_dropout == 0.0 for learner in (bc, coordination, icq, q_offline, sac_offline))
    assert make_hide(0.0, actor_critic.make(actor_critic.Config(**SMALL), OF)) is None
