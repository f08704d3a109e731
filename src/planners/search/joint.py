"""Sampled joint search: at every node K joint actions are drawn from the product of the agents' policies.

MAZero (Liu et al. 2024, section 3) over Sampled MuZero (Hubert et al. 2021, section 4.1): duplicates are merged and
priors are corrected for the number and probability of draws. If the team has at most K joint actions, all are
enumerated and nothing is sampled. Candidates cost no network call, so K may well exceed MAZero's 5 to 10.
"""

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import mctx
import numpy as np

from tandem.core import Array, Candidates, EnvSpec, Key, Model, Plan, Planner, SearchExtras, TimeStep, pytree, setting
from tandem.ops.distributions import draw
from tandem.ops.masking import NEVER, masked_logits
from tandem.ops.values import state_value
from tandem.planners.policies import policy
from tandem.planners.policies.acting import decentralised, imagined_legal, observe
from tandem.planners.search.query import Found, Query
from tandem.planners.search.trees import TreeConfig, imagine, make_search, make_worth


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TreeConfig):
    num_samples: int = setting(
        16, "K, joint actions drawn per node; if there are at most K in all, they are enumerated", low=1, high=4096
    )
    keep_candidates: bool = setting(
        False, "store the root's candidates with every step, as learner_args.policy_loss=advantage_weighted needs"
    )
    uniform_fraction: float = setting(
        0.0, "share of the uniform policy in the root's proposal while exploring", low=0.0, high=1.0
    )


@pytree
class Node:
    """A node of B trees over joint actions."""

    latent: Array  # [B, N, D]
    actions: Array  # [B, K, N] int32 its candidates


def make(config: Config, model: Model, spec: EnvSpec, discount: float) -> Planner:
    """Return the planner; see the module's docstring.

    Raises:
      ValueError: there are more candidates than the search tries at its root.
    """
    candidates = min(config.num_samples, spec.actions.size**spec.num_agents)
    if config.search == "gumbel_muzero" and candidates > config.max_considered:
        raise ValueError(
            f"planner_args.num_samples={config.num_samples}: a root would have {candidates} joint actions, of "
            f"which at most planner_args.max_considered={config.max_considered} are tried; set that to {candidates} too"
        )
    search, worth = make_search(config), make_worth(config, model, discount)
    propose = make_proposal(spec, config.num_samples)
    keep = _candidates if config.keep_candidates else lambda actions, found: ()

    def recurrent_fn(later: Array, params, key, chosen: Array, node: Node):
        joint = jnp.take_along_axis(node.actions, chosen[:, None, None], axis=1)[:, 0]
        latent, reward, continues = imagine(model, params, node.latent, joint, key)
        value = worth(params, latent, jax.random.fold_in(key, 2))
        logits = masked_logits(decentralised(model.team_policy, params, latent), later)
        actions, prior, _ = propose(key, logits, 0.0)
        output = mctx.RecurrentFnOutput(reward=reward, discount=discount * continues, prior_logits=prior, value=value)
        return output, Node(latent=latent, actions=actions)

    def plan(params, memory, timestep: TimeStep, key: Key, explore: bool, progress: Array = 0.0):
        propose_key, search_key = jax.random.split(key)
        memory, latent = observe(model.latents, params, memory, timestep)
        logits = masked_logits(decentralised(model.team_policy, params, latent), timestep.legal)
        actions, prior, valid = propose(propose_key, logits, config.uniform_fraction if explore else 0.0)
        value = state_value(model.team_value, params, latent)
        root = mctx.RootFnOutput(prior_logits=prior, value=value, embedding=Node(latent=latent, actions=actions))
        query = Query(root, partial(recurrent_fn, imagined_legal(timestep)), valid, config.max_depth or None)
        found = search(params, search_key, query, explore, progress)
        joint = jnp.take_along_axis(actions, found.action[:, None, None], axis=1)[:, 0]
        extras = SearchExtras(
            policy=marginals(actions, found.weights, spec.actions.size),
            value=found.value,
            rank=jnp.zeros(joint.shape, jnp.int32),
            committed=joint,
            candidates=keep(actions, found),
        )
        return memory, Plan(action=joint, extras=extras)

    also = {"policy": policy.make(policy.Config(), model, spec, discount)}
    return Planner(init=model.latents.memory, plan=plan, plays="search", also=also)


# propose(key, logits [B, N, A], uniform_fraction) -> actions [B, K, N], prior logits [B, K], valid [B, K]
Proposal = Callable[[Key, Array, float], tuple[Array, Array, Array]]


def make_proposal(spec: EnvSpec, num_samples: int) -> Proposal:
    """Return a node's way to get candidates: enumeration if the team has at most K joint actions, else
    sampling.
    """
    if spec.actions.size**spec.num_agents <= num_samples:
        every = np.array(list(itertools.product(range(spec.actions.size), repeat=spec.num_agents)), np.int32)
        return lambda key, logits, uniform_fraction: _enumerate(every, logits)
    return lambda key, logits, uniform_fraction: sample_candidates(key, logits, num_samples, uniform_fraction)


def _enumerate(every: np.ndarray, logits: Array) -> tuple[Array, Array, Array]:
    actions = jnp.broadcast_to(every, (logits.shape[0], *every.shape))
    prior = _joint_log_prob(jax.nn.log_softmax(logits, axis=-1), actions)
    valid = prior > NEVER / 2
    return actions, jnp.where(valid, prior, NEVER), valid


def sample_candidates(key: Key, logits: Array, num_samples: int, uniform_fraction: float) -> tuple[Array, Array, Array]:
    """Return K joint actions drawn from the proposal, their corrected prior logits, and which are not duplicates.

    With policy pi and proposal beta = (1 - f) pi + f uniform over legal actions, a candidate drawn c times gets the
    prior (c / K) pi(a) / beta(a), normalised over the candidates (Hubert et al. 2021, eq. 6).
    """
    policy = jax.nn.softmax(logits, axis=-1)
    legal = logits > NEVER / 2
    uniform = legal / jnp.sum(legal, axis=-1, keepdims=True)
    proposal = jnp.log(jnp.maximum((1.0 - uniform_fraction) * policy + uniform_fraction * uniform, 1e-30))
    proposal = jnp.where(legal, proposal, NEVER)
    repeated = jnp.broadcast_to(proposal[:, None], (proposal.shape[0], num_samples, *proposal.shape[1:]))
    actions = draw(key, repeated)
    same = jnp.all(actions[:, :, None] == actions[:, None], axis=-1)  # [B, K, K]
    valid = jnp.argmax(same, axis=-1) == jnp.arange(num_samples)[None]  # the first of its duplicates
    prior = jnp.log(jnp.sum(same, axis=-1))
    if uniform_fraction > 0.0:
        prior += _joint_log_prob(jnp.log(jnp.maximum(policy, 1e-30)) - proposal, actions)
    return actions, jnp.where(valid, prior, NEVER), valid


def _candidates(actions: Array, found: Found) -> Candidates:
    return Candidates(actions=actions, weights=found.weights, advantages=found.advantage)


def marginals(actions: Array, weights: Array, num_actions: int) -> Array:
    """Return each agent's marginal [B, N, A] of weights [B, K] over joint actions [B, K, N].

    For a policy that factorises over agents the cross-entropy to the marginals equals that to the joint weights.
    """
    return jnp.sum(weights[:, :, None, None] * jax.nn.one_hot(actions, num_actions), axis=1)


def _joint_log_prob(log_probs: Array, actions: Array) -> Array:
    """Return the sum over agents of log_probs [B, N, A] at actions [B, K, N]: [B, K]."""
    chosen = jnp.take_along_axis(log_probs[:, None], actions[..., None], axis=-1)[..., 0]
    return jnp.sum(chosen, axis=-1)
