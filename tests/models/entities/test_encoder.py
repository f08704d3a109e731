"""What an encoder of entities computes, against slow loops in NumPy, and what it must not depend on."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.models.entities.config import EntityConfig
from tandem.models.entities.encoder import FAR, Encoder, Pool, Relation
from tandem.models.entities.view import view
from tests.models.entities import problem
from tests.reference.compiled import quick_jit

B = 5
POOLINGS = ("mean", "max", "attention", "attention_max")


@lru_cache(maxsize=None)
def made(**changes):
    """Return (parameters, compiled encoder) for the problem with 3 agents, 4 landmarks and 2 targets."""
    spec = problem.spec()
    encoder = Encoder(EntityConfig(entity_size=6, relation_size=3, **changes))
    params = encoder.init(jax.random.key(0), view(spec.obs, jnp.zeros((1, spec.obs.size))))
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(1), x.shape), params)
    return params, quick_jit(lambda params, obs: encoder.apply(params, view(spec.obs, obs)))


def test_a_view_holds_rows_places_and_who_is_there():
    spec = problem.spec()
    obs = problem.observations(spec, B)
    seen = view(spec.obs, obs)
    assert [kind.name for kind in seen.kinds] == ["landmark", "ally", "enemy"]
    np.testing.assert_array_equal(seen.own, obs[..., :3])
    assert seen.awake is None and seen.kinds[0].shown is None
    for b, i, k in np.ndindex(B, 3, 2):
        row = obs[b, i, 3 + 8 + 8 + 3 * k :][:3]
        np.testing.assert_array_equal(seen.kinds[2].rows[b, i, k], row)
        np.testing.assert_array_equal(seen.kinds[2].place[b, i, k], row[:2])
        assert seen.kinds[2].shown[b, i, k] == row.any()


@pytest.mark.parametrize("other", ["ally", "landmark"])
def test_a_relation_is_what_loops_over_all_pairs_find(other):
    spec = problem.spec()
    seen = view(spec.obs, problem.observations(spec, B)[:, 0])
    kinds = {kind.name: kind for kind in seen.kinds}
    relation = Relation(3)
    params = relation.init(jax.random.key(2), kinds["enemy"], kinds[other])
    found = np.asarray(relation.apply(params, kinds["enemy"], kinds[other]))

    p = jax.tree.map(np.asarray, params["params"])
    who, mine, away = p["who"]["rows"], p["mine"]["rows"]["kernel"][0], p["away"]["rows"]["kernel"][0]
    for b, k in np.ndindex(B, 2):
        place = np.asarray(kinds["enemy"].place[b, k])
        pairs, apart = [], []
        for e in range(kinds[other].rows.shape[1]):
            if kinds[other].shown is not None and not kinds[other].shown[b, e]:
                continue
            distance = np.sqrt(np.sum((place - np.asarray(kinds[other].place[b, e])) ** 2) + 1e-6)
            about = np.asarray(kinds[other].rows[b, e]) @ who["kernel"] + who["bias"]
            pairs.append(np.maximum(about + mine * np.sqrt(np.sum(place**2) + 1e-6) + away * distance, 0.0))
            apart.append(distance)
        nothing = np.zeros(3)
        mean = np.mean(pairs, axis=0) if pairs else nothing
        most = np.max(pairs, axis=0) if pairs else nothing
        expected = [*mean, *most, min(apart, default=FAR), max(apart, default=0.0)]
        np.testing.assert_allclose(found[b, k], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_is_what_loops_over_what_is_shown_find(pooling):
    draw = np.random.default_rng(3)
    tokens = np.abs(draw.normal(size=(B, 7, 4)))
    shown = draw.random((B, 7)) < 0.5
    shown[0] = False
    pool = Pool(pooling)
    params = pool.init(jax.random.key(0), tokens, shown)
    found = np.concatenate(pool.apply(params, tokens, shown), axis=-1)

    for b in range(B):
        there = [tokens[b, c] for c in range(7) if shown[b, c]]
        parts = []
        if "attention" in pooling:
            score = params["params"]["score"]["rows"]
            scores = np.exp([(token @ score["kernel"] + score["bias"])[0] for token in there])
            parts.append(sum((s / scores.sum() * t for s, t in zip(scores, there)), np.zeros(4)))
        if "max" in pooling:
            parts.append(np.max(there, axis=0) if there else np.zeros(4))
        if pooling == "mean":
            parts.append(np.mean(there, axis=0) if there else np.zeros(4))
        np.testing.assert_allclose(found[b], np.concatenate(parts), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"relations": "all"}, {"relations": "none", "pooling": "mean"}])
@pytest.mark.parametrize("kind,order", [("landmark", [2, 0, 3, 1]), ("ally", [1, 0]), ("enemy", [1, 0])])
def test_the_order_of_things_changes_nothing_but_the_order_of_their_tokens(kind, order, changes):
    spec = problem.spec()
    params, encode = made(**changes)
    obs = problem.observations(spec, B)
    features, tokens = encode(params, obs)
    again, moved = encode(params, problem.permuted(spec, obs, kind, order))
    np.testing.assert_allclose(again, features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moved[kind], tokens[kind][..., order, :], rtol=1e-4, atol=1e-5)
    assert np.abs(np.diff(tokens[kind], axis=-2)).max() > 0.01  # there was an order to change


def test_what_is_not_there_adds_nothing():
    """One more teammate of zeros changes nothing."""
    small, large = problem.spec(agents=3), problem.spec(agents=4)
    params, encode = made()
    obs = problem.observations(small, B)[:, 0]
    cut = 3 + 8 + 8  # behind the teammates
    more = np.concatenate([obs[:, :cut], np.zeros((B, 4), np.float32), obs[:, cut:]], axis=1)
    encoder = Encoder(EntityConfig(entity_size=6, relation_size=3))
    np.testing.assert_allclose(
        encoder.apply(params, view(large.obs, more))[0], encode(params, obs)[0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("relations", ["none", "allies", "all"])
def test_relations_are_those_asked_for(relations):
    """A teammate beside a landmark, not a teammate's mere presence, is what a landmark's token learns of."""
    spec = problem.spec()
    params, encode = made(relations=relations)
    obs = problem.observations(spec, B)[:, 0]
    obs[:, 11:15] = 1.0, 2.0, 3.0, 4.0
    moved = obs.copy()
    moved[:, 11] += 0.5
    changed = np.abs(encode(params, moved)[1]["landmark"] - encode(params, obs)[1]["landmark"]).max() > 1e-4
    assert changed == (relations != "none")
