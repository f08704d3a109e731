"""Tokenizers: small errors, codes in use, and nothing that an odd input could break."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tandem.core import Discrete, EnvSpec, Vector
from tandem.models.imagination import tokenizer
from tandem.models.imagination.model import Config

O = 7
SPEC = EnvSpec(num_agents=2, obs=Vector(O), state=Vector(0), actions=Discrete(3), episode_limit=5, shared_reward=True)
RNG = np.random.default_rng(1)
# Seven numbers of which two are free.
OBS = jnp.asarray(np.tanh(RNG.normal(size=(256, 2)) @ RNG.normal(size=(2, O))), jnp.float32)
ONES = jnp.ones(256)


@pytest.mark.parametrize("name,codes", [("fsq", 64), ("vq", 32)])
def test_learned_codes_come_to_stand_for_observations(name, codes):
    made = tokenizer.make(Config(tokenizer=name, tokens=4, codes=codes, tokenizer_size=32, code_size=4), SPEC)
    params, optimiser = made.init(jax.random.key(0)), optax.adam(3e-3)

    def step(carry, _):
        params, opt = carry
        updates, opt = optimiser.update(jax.grad(made.loss)(params, OBS, ONES), opt)
        return (made.settle(optax.apply_updates(params, updates), OBS, ONES), opt), None

    before = tokenizer.metrics(made, params, OBS, ONES)["tokenizer/reconstruction"]
    params = jax.jit(lambda carry: jax.lax.scan(step, carry, None, 300)[0])((params, optimiser.init(params)))[0]
    after = tokenizer.metrics(made, params, OBS, ONES)
    assert float(after["tokenizer/reconstruction"]) < min(0.12, 0.5 * float(before))
    assert float(after["tokenizer/used_codes"]) > 0.2
    again = made.encode(params, OBS)
    assert again.shape == (256, 4) and int(again.min()) >= 0 and int(again.max()) < codes


def test_bins_are_as_wide_as_what_was_seen_and_no_narrower_than_one():
    made = tokenizer.make(Config(tokenizer="bins", codes=33), SPEC)
    obs = OBS.at[:, 3].multiply(5.0)
    params = made.settle(made.init(jax.random.key(0)), obs, ONES.at[0].set(0.0))
    np.testing.assert_allclose(params["limit"], np.maximum(1.0, np.abs(np.asarray(obs)[1:]).max(axis=0)), rtol=1e-6)
    error = jnp.abs(made.decode(params, made.encode(params, obs[1:])) - obs[1:])
    half = 0.5 * np.log1p(np.asarray(params["limit"])) / 16 * (1 + np.asarray(params["limit"]))  # widest where largest
    assert bool((error <= half[None] + 1e-6).all())
    fixed = tokenizer.make(Config(tokenizer="bins", codes=33, bin_limit=2.0), SPEC)
    assert float(fixed.settle(fixed.init(jax.random.key(0)), obs * 9, ONES)["limit"].max()) == 2.0


@pytest.mark.parametrize("name,codes", [("bins", 33), ("fsq", 64), ("vq", 32)])
def test_odd_observations_stay_in_range(name, codes):
    made = tokenizer.make(Config(tokenizer=name, tokens=4, codes=codes, tokenizer_size=32), SPEC)
    params = made.init(jax.random.key(0))
    code = made.encode(params, jnp.array([[1e9] * O, [-1e9] * O, [0.0] * O]))
    assert int(code.min()) >= 0 and int(code.max()) < codes
    assert bool(jnp.isfinite(made.decode(params, code)).all()) and bool(jnp.isfinite(made.features(params, code)).all())


@pytest.mark.parametrize(
    "changes,said",
    [(dict(codes=32), "choose 33"), (dict(tokenizer="fsq", codes=65), "64, 240, 512, 1000"), (dict(heads=3), "width"),
     (dict(width=10), "4 heads"),
     (dict(reward_bins=10), "odd")],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(changes, said):
    from tandem.models.imagination import model

    with pytest.raises(ValueError, match=said):
        model.make(Config(**changes), SPEC)
