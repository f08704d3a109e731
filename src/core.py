"""Shared types and protocols: what crosses the border between two parts. No logic lives here.

Axes, everywhere: `B` environment or sequence, `T` time, `N` agents, `A` actions of one agent, `O` observation features,
`S` global-state features, `D` latent width, `U` unroll steps, `K` sampled joint actions, `V` support bins.
Shapes below are those of one environment; stored data puts `[B, T]` in front.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from flax import struct

from src.scene import Drawing

Array = jax.Array
Key = jax.Array
Params = Any
PyTree = Any

pytree = partial(struct.dataclass, kw_only=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnvSpec:
    """The static facts of an environment; hashable, so it may be closed over or passed as a static argument."""

    num_agents: int
    obs_size: int
    state_size: int
    num_actions: int  # of one agent to choose from; with `continuous` the numbers that make up one action
    episode_limit: int  # environment steps after which an episode is truncated
    shared_reward: bool  # True: every agent gets the team's reward; False: the team's reward is the sum over agents
    continuous: bool = False  # actions are [N, A] float32 of any size; the environment's range is [-1, 1], to which it clips
    metric_names: tuple[str, ...] = ()  # keys of TimeStep.metrics, each read at the last step of an episode


@pytree
class TimeStep:
    """What an environment shows after `reset` or `step`."""

    obs: Array  # [N, O] float32, zero-padded
    state: Array  # [S] float32 global state
    legal: Array  # [N, A] bool, True = may be played (continuous: counts, the others are padding); never all False
    alive: Array  # [N] bool
    reward: Array  # [N] float32, for the action that led here; zero after reset
    terminated: Array  # [] bool: the task ended here, do not bootstrap
    truncated: Array  # [] bool: cut off by the time limit, bootstrap from this step's obs; never together with terminated
    first: Array  # [] bool: first step of an episode, reset recurrent carries
    metrics: dict[str, Array]  # {name: []} float32, meaningful at an episode's last step


@pytree
class Candidates:
    """The joint actions that a search compared at its root."""

    actions: Array  # [B, K, N] int32
    weights: Array  # [B, K] float32 improved policy over them, zero for duplicates and what is illegal
    advantages: Array  # [B, K] float32 Q less the model's value of the state; zero for what was not tried


@pytree
class SearchExtras:
    """What a planner that searches leaves for learning."""

    policy: Array  # [B, N, A] float32 improved policy, rows sum to one, zero on illegal actions, free of noise
    value: Array  # [B] float32 root value of the search, in units of the (scaled) team return
    rank: Array  # [B, N] int32: agent i saw the committed action of agent j if and only if rank[j] < rank[i]
    candidates: Candidates | tuple = ()  # () where they are not kept
    committed: Array  # [B, N] int32 the actions that were committed to; a re-planned row's may differ from those played


@pytree
class PolicyExtras:
    """What a planner without search leaves for learning."""

    log_prob: Array  # [B, N] float32 log-probability of the chosen actions
    policy: Array  # [B, N, A] float32 probabilities; where actions are continuous, means
    entropy: Array  # [B, N] float32 of the policy, in nats
    memory: PyTree = ()  # [B, ...] what a recurrent model remembered before this step; () where there is nothing to remember


@pytree
class Plan:
    """A planner's answer."""

    action: Array  # [B, N] int32; where actions are continuous, [B, N, A] float32
    extras: SearchExtras | PolicyExtras


@pytree
class Transition:
    """One stored environment step: what was seen, what was done, and what came of it, read BEFORE any reset."""

    obs: Array  # [N, O]
    state: Array  # [S]
    legal: Array  # [N, A] bool
    alive: Array  # [N] bool
    first: Array  # [] bool
    action: Array  # [N] int32, or [N, A] float32
    extras: SearchExtras | PolicyExtras  # without the leading B
    reward: Array  # [N] float32
    terminated: Array  # [] bool
    truncated: Array  # [] bool
    next_obs: Array  # [N, O] true successor, also at the end of an episode
    next_state: Array  # [S]
    next_legal: Array  # [N, A] bool
    env_step: Array  # [] int32 environment steps taken by the run when this row was made; tells the age of data


@pytree
class Batch:
    """A sample of stored sequences."""

    traj: Transition  # [B, T, ...]
    index: Array  # [B] int32 where it lies in the replay, for set_priorities and overwrite
    weight: Array  # [B] float32 importance weights, 1 for uniform sampling
    priority: Array  # [B] float32 sampling probability's unnormalised value, for reports


@pytree
class LearnerState:
    """All that learning changes, saved whole."""

    params: Params
    target: Params
    opt: PyTree
    step: Array  # [] int32 optimiser steps
    stats: PyTree = ()  # running statistics of what was learned from: scales of values and rewards


class Report(NamedTuple):
    """A few numbers on the host; keys are "group/name"."""

    env_step: int
    update: int
    metrics: dict[str, float]
    histograms: dict[str, np.ndarray] = {}  # values of any shape, whose distribution is worth a look; few and seldom
    notes: tuple[str, ...] = ()  # what went wrong meanwhile without ending the run, for people


class Environment(NamedTuple):
    """One traceable environment, pure, without auto-reset. `state` is any pytree."""

    spec: EnvSpec
    reset: Callable[[Key], tuple[PyTree, TimeStep]]
    step: Callable[[Key, PyTree, Array], tuple[PyTree, TimeStep]]  # action [N] int32, or [N, A] float32
    drawing: Drawing | None = None  # how to show it to people


class HostEnvironment(Protocol):
    """One environment outside JAX (a Python program), its state held inside; the same TimeStep with NumPy leaves.

    Making one is cheap and starts nothing: its program is started by the first `reset`. There is no auto-reset.
    """

    spec: EnvSpec

    def reset(self, seed: int | None) -> TimeStep:
        """Begin an episode; with None go on with the environment's own stream of random numbers."""
        ...

    def step(self, action: np.ndarray) -> TimeStep:
        """Play the actions [N] int, or [N, A] float where `spec.continuous`."""
        ...

    def render(self) -> np.ndarray:
        """Return one RGB frame [H, W, 3] uint8."""
        ...

    def close(self) -> None:
        """End the program; also after it has failed, and more than once."""
        ...


class WorldModel(NamedTuple):
    """A learned (or, in tests, exact) model of the team's task; pure functions over params, any leading batch axes.

    `visible[i, j]` says whether agent i's policy sees the action of agent j; `committed[j]` whether the value does. What is
    visible comes from an order in which agents committed. With nothing visible, agent i's policy depends on `obs[i]` alone:
    that is the decentralised policy. `policy` is the same function in one pass that `begin`, `commit` and `reply` are ply by
    ply.
    """

    init: Callable[[Key], Params]
    represent: Callable[[Params, Array], Array]  # obs [..., N, O] -> latent [..., N, D]
    policy: Callable[[Params, Array, Array, Array], Array]  # latent, action [..., N], visible [..., N, N] -> logits [..., N, A]
    begin: Callable[[Params, Array], tuple[PyTree, PyTree]]  # latent -> what each agent knows [..., N, ...], plan of nobody
    commit: Callable[[Params, PyTree, Array, Array, Array], PyTree]  # plan, latent, agent [...], action [...] -> plan
    reply: Callable[[Params, PyTree, PyTree], Array]  # some rows of what agents know [..., R, ...], plan -> logits [..., R, A]
    value: Callable[[Params, Array, Array, Array], Array]  # latent, action [..., N], committed [..., N] -> value logits [..., V]
    imagine: Callable[[Params, Array, Array], tuple[Array, Array]]  # latent, action -> next latent, reward logits [..., V]
    project: Callable[[Params, Array], Array]  # latent -> consistency target [..., N, P]
    foresee: Callable[[Params, Array], Array]  # latent -> prediction of `project` of the real successor [..., N, P]
    value_mean: Callable[[Array], Array]  # value logits [..., V] -> scalars [...]
    reward_mean: Callable[[Array], Array]
    value_target: Callable[[Array], Array]  # scalars [...] -> distributions [..., V]
    reward_target: Callable[[Array], Array]


class Distribution(NamedTuple):
    """How an agent's action is drawn: pure functions of a policy's outputs [..., P] and of `legal` [..., A].

    An action is [...] int32 where it is one of A, and [..., A] float32 where it is made up of A numbers.
    """

    sample: Callable[[Key, Array, Array], Array]  # key, outputs, legal -> action
    mode: Callable[[Array, Array], Array]  # outputs, legal -> the likeliest action
    log_prob: Callable[[Array, Array, Array], Array]  # outputs, legal, action -> [...]
    entropy: Callable[[Array, Array], Array]  # outputs, legal -> [...] in nats
    kl_divergence: Callable[[Array, Array, Array], Array]  # outputs of p, outputs of q, legal -> KL(p || q) [...] in nats
    describe: Callable[[Array, Array], Array]  # outputs, legal -> [..., A] for people: probabilities, or means


class ActorCritic(NamedTuple):
    """A policy and a value function of a team, pure functions over params and over whole sequences (one step is T = 1).

    `params` and `memory` are dicts with the entries "actor" and "critic". A memory goes in as it was before the sequence's
    first step and comes out as it is after its last; where `first` is set it is forgotten before that step. Agent i's
    policy depends on `obs[i]` and agent i's own past alone; what its outputs [P] mean, `distribution` knows. Values are in
    the units that the learner fits.
    """

    init: Callable[[Key], Params]
    memory: Callable[[int], PyTree]  # batch size -> what is remembered at the beginning: {"actor": [B, ...], "critic": [B, ...]}
    # params, memory, obs [B, T, N, O], first [B, T] -> memory, policy outputs [B, T, N, P], the actor's own values [B, T, N]
    policy: Callable[[Params, PyTree, Array, Array], tuple[PyTree, Array, Array]]
    # params, memory, obs [B, T, N, O], state [B, T, S], first [B, T] -> memory, values [B, T, N]
    value: Callable[[Params, PyTree, Array, Array, Array], tuple[PyTree, Array]]
    # params, (mean, std) of old units, (mean, std) of new -> params whose values mean the same in the new units
    rescale_values: Callable[[Params, tuple[Array, Array], tuple[Array, Array]], Params]
    distribution: Distribution
    params_by_agent: bool  # every agent has parameters of its own: leaves of params are [N, ...]
    values_by_agent: bool  # `value` can differ between agents; False: it is one value of the team


class Planner(NamedTuple):
    """Chooses joint actions for a batch of environments."""

    init: Callable[[int], PyTree]  # batch size -> carry
    # plan(params, carry, timestep [B, ...], key, explore: bool static, progress [] in [0, 1]) -> carry, Plan
    plan: Callable[..., tuple[PyTree, Plan]]


class Learner(NamedTuple):
    """Turns batches into better parameters."""

    init: Callable[[Key], LearnerState]
    # update(state, batch, key) -> LearnerState, metrics {name: []}, priorities [B]
    update: Callable[[LearnerState, Batch, Key], tuple[LearnerState, dict[str, Array], Array]]
    sequence_length: int  # T of the batches it wants; 0 = the newest rollout whole, and one update for each
    metric_names: tuple[str, ...]  # keys of the metrics dict that update returns
    # remarks(a report's metrics) -> {what about: a sentence for people on what goes wrong there, and what to do}
    remarks: Callable[[dict[str, float]], dict[str, str]] = lambda metrics: {}
    rates: Callable[[Array], dict[str, Array]] = lambda step: {}  # optimiser step -> learning rates by the schedules, as metrics


class Acting(NamedTuple):
    """What acts, apart from what learns: made anew in every process that acts."""

    make_env: Callable[[], Environment | HostEnvironment]
    host: bool  # HostEnvironment
    planner: Planner
    players: dict[str, Planner]  # all ways to play, as evaluations name them


class Replay(NamedTuple):
    """Stored sequences in device memory; every function is traceable and leaves its argument to the caller to donate."""

    init: Callable[[Transition], PyTree]  # one example row without [B, T] -> state
    add: Callable[[PyTree, Transition], PyTree]  # rows [B, T, ...]
    ready: Callable[[PyTree], Array]  # -> [] bool
    sample: Callable[[PyTree, Key, Array], Batch]  # state, key, progress [] in [0, 1] (beta schedule)
    set_priorities: Callable[[PyTree, Array, Array], PyTree]  # index [B], priorities [B] >= 0
    overwrite_extras: Callable[[PyTree, Array, Any], PyTree]  # index [B], extras [B, ...]: of the sequences' first rows


class RunError(Exception):
    """A run that cannot go on, for reasons that are not the program's; `str` is the message for the user."""


class Runner(Protocol):
    """Drives a run. It never logs and never saves; who consumes it does."""

    def __call__(self, seed: int, resume: PyTree | None = None):
        """Yield (Report, run state) again and again; with a state that it once yielded, go on from there.

        A run state holds all that decides how the run goes on, and has the field `learner`, a LearnerState.
        """
        ...

    def shapes(self) -> PyTree:
        """Return what the run states look like: the tree with jax.ShapeDtypeStruct for arrays."""
        ...


def setting(
    default: Any, help: str, *, low: float | None = None, high: float | None = None, choices: tuple | None = None,
    decides: bool = True,
):
    """Return a dataclass field for a part's `Config`: its default, its one-line meaning and the values it may take.

    `low` and `high` are inclusive. The configuration loader checks type, range and choices and prints `help`. A setting that
    does not decide what a run computes (`decides=False`) says where and how it is recorded: runs are the same with any value of it.
    """
    metadata = {"help": help, "low": low, "high": high, "choices": choices, "decides": decides}
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)
