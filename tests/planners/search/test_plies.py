"""Every node of a tree of plies against a walk in NumPy: prior, value of the unfinished joint step,
reward, discount.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.core import Discrete, EnvSpec, Vector
from tandem.planners.policies.acting import observe
from tandem.planners.search.plies import plies_tree
from tandem.planners.search.trees import TreeConfig, make_worth
from tandem.planners.search.turns import Start
from tests.reference.compiled import quick_jit
from tests.reference.linear_model import linear_model, random_timestep

B, N, A, O = 6, 3, 4, 2
GAMMA = 0.9
SPEC = EnvSpec(num_agents=N, obs=Vector(O), state=Vector(1), actions=Discrete(A), episode_limit=9, shared_reward=True)
BEGUN = 1  # agents that committed before the tree begins


class Walk:
    """One tree's path, by the linear model's own formulas."""

    def __init__(self, params, obs, legal, order):
        self.params, self.legal, self.order = (
            {name: np.array(x, np.float64) for name, x in params.items()},
            legal,
            order,
        )
        self.latent, self.committed, self.at_root = np.tanh(obs @ self.params["obs"]), {}, True

    def value(self, committed) -> float:
        told = sum(self.params["committed"][j, a] for j, a in committed.items())
        return float((self.latent * self.params["value"]).sum() + told)

    def logits(self, agent: int) -> np.ndarray:
        logits = self.latent[agent] @ self.params["policy"] + sum(
            self.params["seen"][j, a] for j, a in self.committed.items()
        )
        return np.where(self.legal[agent] | (not self.at_root), logits, -1e9)

    def mover(self) -> int:
        return int(self.order[len(self.committed)])

    def reply(self, agent: int, luck: float) -> int:
        """Return the action at a quantile of the agent's policy."""
        weights = np.exp(self.logits(agent) - self.logits(agent).max())
        return int(np.sum(luck * weights.sum() >= np.cumsum(weights)))

    def imagine(self, joint: dict[int, int]) -> float:
        """Go where a joint action leads and return its reward."""
        played = np.stack([self.params["played"][joint[j]] for j in range(N)])
        self.latent = np.tanh(self.latent @ self.params["dynamics"] + played)
        return float(sum(self.params["reward"][j, a] for j, a in joint.items()))

    def outcome(self, luck, expansion: int, on: float) -> tuple[float, float]:
        """Return reward and worth after the joint step that the teammates complete at their quantiles `luck` [N]."""
        joint = {j: self.committed.get(j, self.reply(j, luck[j])) for j in range(N)}
        here, reward = self.latent, self.imagine(joint)
        self.reached, after = self.latent, 0.0
        for k in range(expansion):
            after += (GAMMA * on) ** k * self.imagine(
                dict(enumerate((self.latent @ self.params["policy"]).argmax(axis=-1).tolist()))
            )
        after += (GAMMA * on) ** expansion * self.value({})
        self.latent = here
        return reward, after


def beginning(seed: int, on: float):
    """Return (model, params, start) of trees in which the first agent of each order has committed."""
    model = linear_model(SPEC, continues=on)
    params = model.init(jax.random.key(seed))
    timestep = random_timestep(SPEC, jax.random.key(seed + 1), B)
    order = jnp.asarray(np.argsort(np.random.default_rng(seed).random((B, N)), axis=-1), jnp.int32)
    first = order[:, 0]
    action = jnp.argmax(timestep.legal, axis=-1).astype(jnp.int32)
    _, latent = observe(model.latents, params, (), timestep)
    own, nothing = model.team_policy.begin(params, latent)
    moving = jax.nn.one_hot(first, N, dtype=bool)
    start = Start(
        latent=latent,
        own=own,
        plan=model.team_policy.commit(params, nothing, latent, first, action[jnp.arange(B), first]),
        action=action,
        committed=moving,
        order=order,
        agent=order[:, 1],
        ply=jnp.int32(BEGUN),
        legal=timestep.legal,
        later=jnp.ones_like(timestep.legal),
    )
    walks = [Walk(params, *(np.array(x[b]) for x in (timestep.obs, timestep.legal, order))) for b in range(B)]
    for walk, b in zip(walks, range(B), strict=True):
        walk.committed = {int(first[b]): int(action[b, first[b]])}
    return model, params, start, walks


@pytest.mark.parametrize(
    ("kind", "expansion", "on"),  # `on`: the probability that the model lets an episode go on
    [("completion", 0, 1.0), ("conditioned", 0, 0.7), ("parent", 0, 1.0), ("completion", 3, 0.7), ("parent", 1, 1.0)],
)
def test_every_node_on_a_path_of_two_joint_steps_is_as_computed_by_hand(kind, expansion, on):
    model, params, start, walks = beginning(seed=11, on=on)
    root, step = plies_tree(
        kind,
        model,
        make_worth(TreeConfig(value_expansion=expansion), model, GAMMA),
        params,
        jax.random.key(3),
        GAMMA,
        start,
    )
    step, node = quick_jit(step), root.embedding
    parents = [walk.value(walk.committed) for walk in walks]
    np.testing.assert_allclose(root.value, parents, rtol=1e-4)
    np.testing.assert_allclose(root.prior_logits, [walk.logits(walk.mover()) for walk in walks], rtol=1e-4, atol=1e-4)
    draw = np.random.default_rng(5)
    for _ in range(2 * N - BEGUN):
        chosen = [int(draw.choice(np.flatnonzero(walk.logits(walk.mover()) > -1e8))) for walk in walks]
        luck = np.array(node.luck)
        output, node = step(params, jax.random.key(4), jnp.array(chosen), node)
        expected = [
            expect(kind, expansion, on, walk, *rest) for walk, *rest in zip(walks, chosen, luck, parents, strict=True)
        ]
        reward, discount, value, parents = map(list, zip(*expected, strict=True))
        np.testing.assert_allclose(output.reward, reward, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(output.discount, discount)
        np.testing.assert_allclose(output.value, value, rtol=1e-4, atol=1e-4)
        logits = [walk.logits(walk.mover()) for walk in walks]
        np.testing.assert_allclose(output.prior_logits, logits, rtol=1e-4, atol=1e-4)


def expect(
    kind: str, expansion: int, on: float, walk: Walk, chosen: int, luck, parent: float
) -> tuple[float, float, float, float]:
    """Move a walk on by one ply; return the reward, the discount and the value of the node, and what its children's
    parent is.
    """
    walk.committed[walk.mover()] = chosen
    reward, after = walk.outcome(luck, expansion, on)
    if len(walk.committed) == N:
        walk.latent, walk.committed, walk.at_root = walk.reached, {}, False
        return reward, GAMMA * on, after, after
    value = {"completion": reward + GAMMA * on * after, "conditioned": walk.value(walk.committed), "parent": parent}[
        kind
    ]
    return 0.0, 1.0, value, parent
