"""Policies that are also evaluated with their actions drawn, and values that are played among the data's actions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.models import actor_critic, q_behaviour, soft_actor_critic
from tandem.planners.policies import actor, soft_actor, supported
from tests.reference.offline_rows import A, N, SITUATIONS, SPEC, plays

PARTS = {"actor": (actor, actor_critic), "soft_actor": (soft_actor, soft_actor_critic)}


@pytest.mark.parametrize("name", PARTS)
def test_the_second_way_to_play_draws_where_the_first_plays_the_likeliest(name):
    module, network = PARTS[name]
    model = network.make(network.Config(hidden_size=6, num_layers=1), SPEC)
    params = model.init(jax.random.key(0))
    assert list(module.make(module.Config(), model, SPEC, 0.9).players()) == ["policy"]
    players = module.make(module.Config(also_sampled=True), model, SPEC, 0.9).players()
    assert list(players) == ["policy", "sampled"]
    played = {
        name: np.stack([plays(player, params, A, seed)[0] for seed in range(30)]) for name, player in players.items()
    }
    assert (played["policy"] == played["policy"][0]).all()
    assert all(len(set(played["sampled"][:, s, i])) > 1 for s in range(SITUATIONS) for i in range(N))


def test_what_the_data_hardly_ever_play_is_not_played_whatever_it_seems_to_be_worth():
    model = q_behaviour.make(q_behaviour.Config(hidden_size=6, num_layers=1), SPEC)
    params = model.init(jax.random.key(0))
    for part, bias in (("agents", [0.0, 1.0, 9.0]), ("behaviour", [3.0, 3.0, 0.0])):
        head = (params["behaviour"]["agents"] if part == "behaviour" else params["agents"])["head"]["rows"]
        head["bias"] = jnp.array(bias)
    for threshold, best in ((0.3, 1), (0.0, 2)):
        planner = supported.make(supported.Config(support_threshold=threshold), model, SPEC, 0.9)
        assert (plays(planner, params, A)[0] == best).all() and planner.alone is None
    assert (plays(planner, params, 1)[0] == 0).all()  # the one legal action
