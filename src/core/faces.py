"""What a network offers: a record of pure functions for each face that it may have.

A network is a `Model`: `init` and the faces that it has. Planners and learners list the faces that they need in the
registry, and `build` compares the sets. A new kind of network brings a new record here, and a field of `Model`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tandem.core.arrays import Array, Key, Params, PyTree, pytree
from tandem.core.step import Transition


@pytree
class Imagined:
    """A model's prediction for one joint action in one state."""

    latent: Array  # [..., N, D] the next state
    reward: Array  # [..., V] logits of the team's reward
    continues: Array  # [...] float32 probability that the episode continues


class Latents(NamedTuple):
    """States in the model's latent space, and how joint actions change them.

    A function takes the memory before the sequence's first step and returns the memory after its last. Where `first` is
    set, the memory is reset before that step. A model without a memory has () instead. It reads each step alone, so the
    axes [B, T] may be any leading axes.
    """

    memory: Callable[[int], PyTree]  # batch size -> what is remembered at the beginning
    # params, memory, obs [B, T, N, O], first [B, T] -> memory, latent [B, T, N, D]
    represent: Callable[[Params, PyTree, Array, Array], tuple[PyTree, Array]]
    # params, latent [..., N, D], action [..., N], key (for stochastic models) -> outcome
    imagine: Callable[[Params, Array, Array, Key], Imagined]
    reward: "Codec"


class Codec(NamedTuple):
    """How a scalar is learned as a distribution over bins."""

    mean: Callable[[Array], Array]  # logits [..., V] -> scalars [...]
    target: Callable[[Array], Array]  # scalars [...] -> distributions [..., V]


class TeamPolicy(NamedTuple):
    """Policies over latents, each of which may see the actions that other agents have committed to.

    `visible[i, j]` says whether agent i's policy sees the action of agent j. It follows from the order in which agents
    committed. If nothing is visible, agent i's policy depends on `obs[i]` alone, so it is the decentralised policy.
    `logits` computes in one pass what `begin`, `commit` and `reply` compute ply by ply.
    """

    logits: Callable[
        [Params, Array, Array, Array], Array
    ]  # params, latent, action [..., N], visible [..., N, N] -> [..., N, A]
    begin: Callable[
        [Params, Array], tuple[PyTree, PyTree]
    ]  # latent -> each agent's own features [..., N, ...], and the empty plan
    commit: Callable[[Params, PyTree, Array, Array, Array], PyTree]  # plan, latent, agent [...], action [...] -> plan
    reply: Callable[
        [Params, PyTree, PyTree], Array
    ]  # some rows of these features [..., R, ...], plan -> logits [..., R, A]


class TeamValue(NamedTuple):
    """The team's value of a latent state, given the actions that some agents have committed to."""

    logits: Callable[
        [Params, Array, Array, Array], Array
    ]  # params, latent, action [..., N], committed [..., N] -> [..., V]
    codec: Codec


class SelfSupervision(NamedTuple):
    """A prediction of the real successor's latent, compared in a space of its own."""

    project: Callable[[Params, Array], Array]  # latent -> consistency target [..., N, P]
    foresee: Callable[[Params, Array], Array]  # latent -> prediction of `project` of the real successor [..., N, P]


class Distribution(NamedTuple):
    """The distribution of an agent's action: pure functions of a policy's outputs [..., P] and of `legal` [..., A].

    A discrete action is [...] int32, and a continuous one is [..., A] float32.
    """

    sample: Callable[[Key, Array, Array], Array]  # key, outputs, legal -> action
    mode: Callable[[Array, Array], Array]  # outputs, legal -> the likeliest action
    log_prob: Callable[[Array, Array, Array], Array]  # outputs, legal, action -> [...]
    entropy: Callable[[Array, Array], Array]  # outputs, legal -> [...] in nats
    kl_divergence: Callable[
        [Array, Array, Array], Array
    ]  # outputs of p, outputs of q, legal -> KL(p || q) [...] in nats
    describe: Callable[[Array, Array], Array]  # outputs, legal -> [..., A] for display: probabilities, or means


class ActorCritic(NamedTuple):
    """A policy and a value function of a team, pure functions over params and over whole sequences (one step is T = 1).

    `params` and `memory` are dicts with the entries "actor" and "critic". A function takes the memory before the
    sequence's first step and returns the memory after its last. Where `first` is set, it is reset before that step.
    Agent i's policy depends on `obs[i]` and agent i's own past alone. `distribution` interprets its outputs [P]. Values
    are in the units that the learner fits.
    """

    memory: Callable[
        [int], PyTree
    ]  # batch size -> what is remembered at the beginning: {"actor": [B, ...], "critic": [B, ...]}
    # params, memory, obs [B, T, N, O], first [B, T] -> memory, policy outputs [B, T, N, P], the actor's own values
    # [B, T, N]
    policy: Callable[[Params, PyTree, Array, Array], tuple[PyTree, Array, Array]]
    # params, memory, obs [B, T, N, O], state [B, T, S], first [B, T] -> memory, values [B, T, N]
    value: Callable[[Params, PyTree, Array, Array, Array], tuple[PyTree, Array]]
    # params, (mean, std) of old units, (mean, std) of new -> params whose values mean the same in the new units
    rescale_values: Callable[[Params, tuple[Array, Array], tuple[Array, Array]], Params]
    distribution: Distribution
    separate_critic: bool  # False: `value` is the actor's own value head
    params_by_agent: bool  # every agent has parameters of its own: leaves of params are [N, ...]
    values_by_agent: bool  # `value` can differ between agents; False: it is one value of the team


class QValues(NamedTuple):
    """The Q-values of each agent's actions, and their mix; pure functions over whole sequences.

    A function takes the memory before the sequence's first step. Where `first` is set, it is reset before that step.
    A network without a memory has () instead. Agent i's values depend on `obs[i]` and agent i's own past alone. Values
    are in the units that the learner fits.
    """

    memory: Callable[[int], PyTree]  # batch size -> what is remembered at the beginning [B, N, ...]
    # params, memory, obs [B, T, N, O], first [B, T], legal [B, T, N, A] -> memory after each step [B, T, N, ...],
    # values [B, T, N, A]; those of illegal actions are undefined
    values: Callable[[Params, PyTree, Array, Array, Array], tuple[PyTree, Array]]
    # params, one value for each agent [B, T, N], obs, state [B, T, S], alive [B, T, N] -> values [B, T, M] that are
    # fitted: M = N where `by_agent`, else M = 1, one of the team. None falls when an agent's value rises, and the
    # dead count as zero.
    mix: Callable[[Params, Array, Array, Array, Array], Array]
    by_agent: bool


class BehaviourPolicy(NamedTuple):
    """An estimate of the policy that produced recorded data, from each agent's observations and memory.

    Its parameters are the entry "behaviour" of `params`. Memories are as those of `QValues`. Agent i's logits depend on
    `obs[i]` and agent i's own past alone.
    """

    memory: Callable[[int], PyTree]  # batch size -> what is remembered at the beginning [B, N, ...]
    # params, memory, obs [B, T, N, O], first [B, T] -> memory after each step [B, T, N, ...], logits [B, T, N, A]
    logits: Callable[[Params, PyTree, Array, Array], tuple[PyTree, Array]]


class SoftActorCritic(NamedTuple):
    """A policy for each agent and K Q-functions of its actions, for single steps with any leading axes.

    `params` is a dict with the entries "actor" and "critics". Agent i's policy depends on `obs[i]` alone.
    `distribution` interprets its outputs [P].
    """

    policy: Callable[[Params, Array], Array]  # params, obs [..., N, O] -> outputs [..., N, P]
    # params, obs, state [..., S], the others' actions [..., N] -> values [K, ..., N, A] of each action of one's own; if
    # actions are continuous, the others' [..., N, A] and one's own [..., N, A] -> values [K, ..., N]
    critics: Callable[..., Array]
    distribution: Distribution
    central: bool  # False: critics see obs[i] alone, without the state and the actions


class Coordination(NamedTuple):
    """The agents' policies, with what they know of coordination: teammates' actions, skills of the team, turns.

    `known` is what `see` says that each agent knows: leaves [B, T, N, ...] that depend on `obs[i]` and agent i's own
    past alone. So do the logits, but for the actions that are visible. `posterior` sees everything; only learning asks.
    """

    memory: Callable[[int], PyTree]  # batch size -> what is remembered at the beginning [B, N, ...]
    # params, memory, obs [B, T, N, O], first [B, T] -> memory after the last step, known: a dict, with "guesses"
    # [B, T, N, N - 1, A], logits of teammates' actions, where it predicts them, and "shown" [B, T, N, N - 1] bool where
    # not all teammates may be seen
    see: Callable[[Params, PyTree, Array, Array], tuple[PyTree, dict[str, Any]]]
    # params, known, action [B, T, N], visible [N, N] bool: agent i sees what j does -> logits [B, T, N, K, A], of each
    # of K skills
    logits: Callable[[Params, dict[str, Any], Array, Array], Array]
    prior: Callable[[Params, dict[str, Any]], Array]  # params, known -> logits [B, T, N, K] of the skill to use
    # params, known, action, alive [B, T, N] -> logits [B, T, K] of the skill that the team used
    posterior: Callable[[Params, dict[str, Any], Array, Array], Array]
    others: np.ndarray  # [N, N - 1] who the teammates of each agent are
    predicts: bool  # teammates' actions
    turns: bool  # agents act one after the other
    num_skills: int = 1  # K


@pytree
class Dreamt:
    """What a sequence model draws of one joint action after what went before."""

    obs: Array  # [B, N, O] what the agents see next, decoded
    reward: Array  # [B] the team's for the action
    continues: Array  # [B] float32 probability that the episode goes on
    legal: Array  # [B, N, A] float32 probability that an action may be played next
    alive: Array  # [B, N] float32 probability that an agent can act next


class SequenceModel(NamedTuple):
    """A model of what a team's observations become, in which whole episodes can be dreamt, and who acts there.

    `agent` is an actor and critic over decoded observations. The same parameters act in the real environment through
    the network's face `actor_critic`, which encodes and decodes what is really seen, so both see the same.
    """

    agent: ActorCritic
    longest: int  # steps of a sequence, or of a context and a dream together
    see: Callable[[Params, Array], Array]  # params, obs [..., N, O] -> encoded and decoded
    # params, traj [B, T, ...], key -> losses {name: []}, metrics {name: []}; of the parameters "world" and "tokenizer"
    losses: Callable[[Params, Transition, Key], tuple[dict[str, Array], dict[str, Array]]]
    loss_names: tuple[str, ...]
    metric_names: tuple[str, ...]
    settle: Callable[[Params, Transition], Params]  # what the tokenizer learns without a gradient (moving averages)
    # params, obs [B, C, N, O], action [B, C - 1, N], first [B, C], room for so many steps -> carry from which `step`
    # goes on, and the last observation as it is seen, on which is acted next
    begin: Callable[[Params, Array, Array, Array, int], tuple[PyTree, Array]]
    # params, carry, action [B, N], alive [B, N], key -> carry, what is drawn; the dead see what they saw
    step: Callable[[Params, PyTree, Array, Array, Key], tuple[PyTree, Dreamt]]


class Model(NamedTuple):
    """A network: its initial parameters, and its faces; missing faces are None."""

    init: Callable[[Key], Params]
    acting: Callable[[Params], Params] = lambda params: params  # without what only learning needs
    latents: Latents | None = None
    team_policy: TeamPolicy | None = None
    team_value: TeamValue | None = None
    self_supervision: SelfSupervision | None = None
    actor_critic: ActorCritic | None = None
    q_values: QValues | None = None
    behaviour: BehaviourPolicy | None = None
    soft_actor_critic: SoftActorCritic | None = None
    sequence_model: SequenceModel | None = None
    coordination: Coordination | None = None
    # Names of parameters at the top: those that say how the world goes on, which can be learned before anybody acts and
    # then be frozen; and those that only the policy has.
    world: tuple[str, ...] = ()
    policy: tuple[str, ...] = ()
    # The most things beside its agent that an observation shows; 0 = it is not read as entities. So many numbers may
    # follow an observation [O + C], in the order of the things: what is marked by 1.0 there is hidden from the agent.
    things: int = 0

    def faces(self) -> frozenset[str]:
        """Return the names of the faces that it has."""
        return frozenset(name for name in FACES if getattr(self, name) is not None)


FACES = tuple(name for name in Model._fields if name not in ("init", "acting", "world", "policy", "things"))
