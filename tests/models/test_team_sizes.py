"""Networks that read entities have the same parameters for a team of any size."""

import jax
import pytest

from tandem import build
from tandem.config import commandline, loader, schema
from tandem.registry import find

pytestmark = pytest.mark.jaxmarl
SPREAD = tuple(f"env_args.num_agents={n}" for n in range(2, 9))
SMAX = tuple(f"env_args.map_name={name}" for name in ("3m", "5m", "8m"))
ALGS = ("mappo", "iql", "vdn", "qmix", "pqn_vdn", "sac", "mazero_seq")


@pytest.fixture(scope="module")
def environment():
    """Return a function that makes an environment once for all algorithms."""
    made = {}

    def environment(env, setting):
        if (env, setting) not in made:
            made[env, setting] = build.environment(loader.load("pqn_vdn", env, commandline.updates([setting])))
        return made[env, setting]

    return environment


def shapes(alg, env, spec, *settings):
    """Return the shapes of a network's parameters; nothing is computed."""
    config = loader.load(alg, env, commandline.updates(["network_args.encoder=entities", *settings]))
    part = find("network", config["network"])
    model = part.make(schema.build(part.config(), config["network_args"]), spec)
    params = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda x: x.shape, params, is_leaf=lambda x: hasattr(x, "shape"))


@pytest.mark.parametrize("alg", ALGS)
@pytest.mark.parametrize(("env", "sizes"), [("mpe", SPREAD), ("smax", SMAX)], ids=["spread", "smax"])
def test_no_parameter_depends_on_the_size_of_the_team(environment, alg, env, sizes):
    first, *others = [shapes(alg, env, environment(env, size).spec) for size in sizes]
    assert first and all(other == first for other in others)


def test_what_reads_flat_or_mixes_flat_depends_on_it(environment):
    flat = [shapes("qmix", "mpe", environment("mpe", size).spec, "network_args.encoder=flat") for size in SPREAD[:2]]
    assert flat[0]["agents"] != flat[1]["agents"] and flat[0]["mixer"] != flat[1]["mixer"]
