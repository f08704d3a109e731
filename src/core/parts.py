"""What a run is put together from, and what parts promise one another."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from tandem.core.arrays import Array, Key, Params, PyTree, pytree
from tandem.core.faces import Distribution
from tandem.core.spaces import EnvSpec
from tandem.core.step import Batch, Plan, Stream, TimeStep, Transition
from tandem.scene import Drawing


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

    step: int  # of the run's clock: environment steps, or updates where it learns from recorded rows
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
    # Policies by hand as (name, act), where act(obs [N, O]) -> action [N] or [N, A] sees the whole team's observations.
    # Pairs, so that an environment can be hashed.
    scripted: tuple[tuple[str, Callable[[Array], Array]], ...] = ()


class HostEnvironment(Protocol):
    """One environment outside JAX (a Python program), its state held inside; the same TimeStep with NumPy leaves.

    Making one is cheap and starts nothing: its program is started by the first `reset`. There is no auto-reset.
    """

    spec: EnvSpec

    def reset(self, seed: int | None) -> TimeStep:
        """Begin an episode; with None go on with the environment's own stream of random numbers."""
        ...

    def step(self, action: np.ndarray) -> TimeStep:
        """Play the actions [N] int, or [N, A] float where `spec.actions.continuous`."""
        ...

    def render(self) -> np.ndarray:
        """Return one RGB frame [H, W, 3] uint8."""
        ...

    def close(self) -> None:
        """End the program; also after it has failed, and more than once."""
        ...


class Alone(NamedTuple):
    """How each agent acts by what it has seen itself, without search: what can be used outside of this program.

    Agent i's outputs depend on `obs[:, i]` and on its own past alone.
    """

    memory: Callable[
        [int], PyTree
    ]  # batch size -> what is remembered at the beginning: leaves [B, ...], or () for none
    # params, memory, obs [B, N, O], first [B] -> memory, outputs [B, N, P]
    outputs: Callable[[Params, PyTree, Array, Array], tuple[PyTree, Array]]
    distribution: Distribution  # what the outputs mean


class Planner(NamedTuple):
    """Chooses joint actions for a batch of environments."""

    init: Callable[[int], PyTree]  # batch size -> carry
    # plan(params, carry, timestep [B, ...], key, explore: bool static, progress [] in [0, 1]) -> carry, Plan
    plan: Callable[..., tuple[PyTree, Plan]]
    plays: str  # what evaluations call this way to play: "search", or "policy" where it does not search
    metric_names: tuple[str, ...] = ()  # keys of Plan.metrics in any order; reports show their means as search/<name>
    alone: Alone | None = None  # the decentralised policy that it is; None: it searches, or agents act in turns
    also: Mapping[str, "Planner"] = {}  # other ways to play what is learned, as evaluations name them

    def players(self) -> dict[str, "Planner"]:
        """Return all ways to play by name, this one first."""
        return {self.plays: self, **self.also}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunPlan:
    """The sizes of a run, as its runner makes them of its settings: what parts are made for,
    and check their own settings by.
    """

    spec: EnvSpec
    discount: float
    clock: str  # what the run counts: "environment steps", or "updates" where it learns from recorded data
    total_steps: int  # of the clock
    total_updates: int  # of the learner, the length of its schedules
    num_envs: int  # E, environments whose rows stand side by side
    rollout_length: int  # L, steps that each of them takes per cycle
    on_policy: bool  # the learner gets each rollout once, whole
    extras: PyTree = ()  # what the planner leaves in one row: a tree of jax.ShapeDtypeStruct


class Learner(NamedTuple):
    """Turns batches into better parameters."""

    init: Callable[[Key], LearnerState]
    # update(state, batch, key) -> LearnerState, metrics {name: []}, priorities [B]
    update: Callable[[LearnerState, Batch, Key], tuple[LearnerState, dict[str, Array], Array]]
    sequence_length: int  # T of the batches it needs; 0 = the newest rollout whole, with one update for each
    metric_names: tuple[str, ...]  # keys of the metrics dict that update returns
    # remarks(a report's metrics) -> {what about: a sentence for people on what goes wrong there, and what to do}
    remarks: Callable[[dict[str, float]], dict[str, str]] = lambda metrics: {}
    rates: Callable[[Array], dict[str, Array]] = (
        lambda step: {}
    )  # optimiser step -> learning rates by the schedules, as metrics
    acting: Callable[[LearnerState], Params] = lambda state: (
        state.params
    )  # the parameters that playing needs, all that players get
    # It reads in the rows' extras what the policy did that made them, which not all recorded rows say.
    reads_behaviour: bool = False
    # LearnerState, episodes [E, L, ...] that were not learned from, without successors and extras -> {metric: []}, sums
    # over decisions, whose number is "count"; None where there is nothing to say
    held_out: Callable[[LearnerState, Transition], dict[str, Array]] | None = None
    # LearnerState.stats, the network's values -> the same in units of the environment's returns
    returns: Callable[[PyTree, Array], Array] = lambda stats, values: values


class Acting(NamedTuple):
    """What acts, apart from what learns: made anew in every process that acts."""

    make_env: Callable[[], Environment | HostEnvironment]
    host: bool  # HostEnvironment
    planner: Planner
    players: dict[str, Planner]  # all ways to play, as evaluations name them


class Store(NamedTuple):
    """Where rows go; functions are traceable and leave their argument to the caller to donate."""

    init: Callable[[Transition], PyTree]  # one example row without [B, T] -> state
    add: Callable[[PyTree, Transition], PyTree]  # rows [B, T, ...]
    overwrite_extras: (
        Callable[[PyTree, Array, Any], PyTree] | None
    )  # index [B], extras [B, ...]: of the sequences' first rows
    # Recorded rows on the host -> the state that holds all of them and no more, instead of `init` and `add`; None where
    # rows are added step by step.
    hold: Callable[[Stream], PyTree] | None = None


class Source(NamedTuple):
    """What batches are drawn from: a store's state, or recorded data to which nothing is added."""

    ready: Callable[[PyTree], Array]  # -> [] bool
    sample: Callable[[PyTree, Key, Array], Batch]  # state, key, progress [] in [0, 1] (beta schedule)
    set_priorities: Callable[[PyTree, Array, Array], PyTree]  # index [B], priorities [B] >= 0
    heeds_priorities: bool  # False: `set_priorities` changes nothing that sampling depends on


class Replay(NamedTuple):
    """Stored rows in device memory: what is added to, and what is sampled from, over one state."""

    store: Store
    source: Source


class RunError(Exception):
    """A run that cannot go on, for reasons that are not the program's; `str` is the message for the user."""


class Runner(Protocol):
    """Drives a run. It never logs and never saves; who consumes it does."""

    clock: str  # what it counts its steps in: "environment steps", or "updates" where nobody acts

    def __call__(self, seed: int, resume: PyTree | None = None):
        """Yield (Report, run state) again and again; with a state that it once yielded, go on from there.

        A run state holds all that decides how the run goes on, and has the field `learner`, a LearnerState.
        """
        ...

    def shapes(self) -> PyTree:
        """Return what the run states look like: the tree with jax.ShapeDtypeStruct for arrays."""
        ...
