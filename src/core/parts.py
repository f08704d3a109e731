"""The parts of a run, and the contracts between them."""

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
    """Everything that learning changes; a checkpoint saves all of it."""

    params: Params
    target: Params
    opt: PyTree
    step: Array  # [] int32 optimiser steps
    stats: PyTree = ()  # running statistics of the data, such as scales of values and rewards


class Slope(NamedTuple):
    """What a batch says of a learner's state."""

    gradients: Params  # of the loss, like the parameters
    stats: PyTree  # LearnerState.stats after the batch
    metrics: dict[str, Array]  # {name: []}
    priorities: Array  # [B]


class Halves(NamedTuple):
    """An update in two halves. So one step can go by the batches of several tasks, each with shapes of its own."""

    slope: Callable[[LearnerState, Batch, Key], Slope]
    # state with the slope's stats, gradients -> the state after the optimiser's step, its metrics {name: []}
    step: Callable[[LearnerState, Params], tuple[LearnerState, dict[str, Array]]]


class Report(NamedTuple):
    """A few numbers on the host; keys are "group/name"."""

    step: int  # of the run's clock: environment steps, or updates if it learns from recorded rows
    update: int
    metrics: dict[str, float]
    histograms: dict[str, np.ndarray] = {}  # values of any shape, to be shown as histograms; few and seldom
    notes: tuple[str, ...] = ()  # messages for the user on errors that did not end the run
    ending: str = ""  # why this report is the last one, where it comes before t_max and max_minutes


class Environment(NamedTuple):
    """One traceable environment, pure, without auto-reset. `state` is any pytree."""

    spec: EnvSpec
    reset: Callable[[Key], tuple[PyTree, TimeStep]]
    step: Callable[[Key, PyTree, Array], tuple[PyTree, TimeStep]]  # action [N] int32, or [N, A] float32
    drawing: Drawing | None = None  # how to draw it
    # Scripted policies as (name, act), where act(obs [N, O]) -> action [N] or [N, A] gets all observations.
    # Pairs, so that an environment can be hashed.
    scripted: tuple[tuple[str, Callable[[Array], Array]], ...] = ()


class HostEnvironment(Protocol):
    """One environment outside JAX (a Python program), its state held inside; the same TimeStep with NumPy leaves.

    Making one is cheap, because only the first `reset` starts its program. There is no auto-reset.
    """

    spec: EnvSpec

    def reset(self, seed: int | None) -> TimeStep:
        """Begin an episode; with None, continue the environment's own stream of random numbers."""
        ...

    def step(self, action: np.ndarray) -> TimeStep:
        """Play the actions [N] int, or [N, A] float where `spec.actions.continuous`."""
        ...

    def render(self) -> np.ndarray:
        """Return one RGB frame [H, W, 3] uint8."""
        ...

    def close(self) -> None:
        """End the program; may be called after a failure, and more than once."""
        ...


class Alone(NamedTuple):
    """The decentralised policy: each agent acts on its own observations, without search. Exports contain it.

    Agent i's outputs depend on `obs[:, i]` and on its own past alone.
    """

    memory: Callable[[int], PyTree]  # batch size -> initial memory: leaves [B, ...], or () for none
    # params, memory, obs [B, N, O], first [B] -> memory, outputs [B, N, P]
    outputs: Callable[[Params, PyTree, Array, Array], tuple[PyTree, Array]]
    distribution: Distribution  # what the outputs mean


class Planner(NamedTuple):
    """Chooses joint actions for a batch of environments."""

    init: Callable[[int], PyTree]  # batch size -> carry
    # plan(params, carry, timestep [B, ...], key, explore: bool static, progress [] in [0, 1]) -> carry, Plan
    plan: Callable[..., tuple[PyTree, Plan]]
    plays: str  # name of this way to play in evaluations: "search", or "policy" if it does not search
    metric_names: tuple[str, ...] = ()  # keys of Plan.metrics in any order; reports show their means as search/<name>
    alone: Alone | None = None  # its decentralised policy; None: it searches, or agents act in turns
    not_alone: str = "no agent acts by its own observations alone"  # how it acts instead, where `alone` is None
    also: Mapping[str, "Planner"] = {}  # other ways to play with the same parameters, by their names in evaluations

    def players(self) -> dict[str, "Planner"]:
        """Return all ways to play by name; this one comes first."""
        return {self.plays: self, **self.also}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunPlan:
    """The sizes of a run, which its runner computes from its settings. Parts are made for these
    sizes, and check their settings against them.
    """

    spec: EnvSpec
    discount: float
    clock: str  # unit of the clock: "environment steps", or "updates" if it learns from recorded data
    total_steps: int  # length of the run by the clock
    total_updates: int  # updates of the learner, which its schedules span
    num_envs: int  # E, environments whose rows are stored in parallel
    rollout_length: int  # L, steps of each environment per cycle
    on_policy: bool  # the learner gets each rollout once, whole
    extras: PyTree = ()  # the planner's extras in one row: a tree of jax.ShapeDtypeStruct


class Pretraining(NamedTuple):
    """What a learner does with recorded rows before anybody acts."""

    rows: str  # a dataset's folder; or a recorded run, its number or its folder
    updates: int
    opt: Callable[[Params], PyTree]  # the optimiser's state that these updates begin with
    # update(state, batch, key) -> LearnerState, metrics {"pretrain/name": []}; nothing is known of who made the rows,
    # so their extras are ()
    update: Callable[[LearnerState, Batch, Key], tuple[LearnerState, dict[str, Array]]]


class Learner(NamedTuple):
    """Turns batches into better parameters."""

    init: Callable[[Key], LearnerState]
    # update(state, batch, key) -> LearnerState, metrics {name: []}, priorities [B]
    update: Callable[[LearnerState, Batch, Key], tuple[LearnerState, dict[str, Array], Array]]
    sequence_length: int  # T of the batches it needs; 0 = one update with each whole rollout
    metric_names: tuple[str, ...]  # keys of the metrics dict that update returns
    # remarks(a report's metrics) -> {topic: a sentence for the user on what goes wrong, and what to do}
    remarks: Callable[[dict[str, float]], dict[str, str]] = lambda metrics: {}
    rates: Callable[[Array], dict[str, Array]] = (
        lambda step: {}
    )  # optimiser step -> learning rates by the schedules, as metrics
    acting: Callable[[LearnerState], Params] = lambda state: (
        state.params
    )  # the parameters that playing needs; players get no others
    # LearnerState, episodes [E, L, ...] that were not learned from, without successors and extras -> {metric: []}, sums
    # over decisions, whose number is "count"; None where there is nothing to say
    held_out: Callable[[LearnerState, Transition], dict[str, Array]] | None = None
    # LearnerState.stats, the network's values -> these values in units of the environment's returns
    returns: Callable[[PyTree, Array], Array] = lambda stats, values: values
    halves: Halves | None = None  # of update; None: it learns from one task at a time
    pretraining: Pretraining | None = None  # comes before acting


class Acting(NamedTuple):
    """The parts that act, without the learner. Each acting process makes its own."""

    make_env: Callable[[], Environment | HostEnvironment]
    host: bool  # HostEnvironment
    planner: Planner
    players: dict[str, Planner]  # all ways to play, by their names in evaluations


class Store(NamedTuple):
    """Stores rows; functions are traceable, and the caller decides on donating their arguments."""

    init: Callable[[Transition], PyTree]  # one example row without [B, T] -> state
    add: Callable[[PyTree, Transition], PyTree]  # rows [B, T, ...]
    overwrite_extras: (
        Callable[[PyTree, Array, Any], PyTree] | None
    )  # index [B], extras [B, ...]: of the sequences' first rows
    # Recorded rows on the host -> the state that holds exactly these, instead of `init` and `add`; None if rows are
    # added step by step.
    hold: Callable[[Stream], PyTree] | None = None


class Source(NamedTuple):
    """Draws batches from a store's state, or from recorded data that does not grow."""

    ready: Callable[[PyTree], Array]  # -> [] bool
    sample: Callable[[PyTree, Key, Array], Batch]  # state, key, progress [] in [0, 1] (beta schedule)
    set_priorities: Callable[[PyTree, Array, Array], PyTree]  # index [B], priorities [B] >= 0
    heeds_priorities: bool  # False: `set_priorities` changes nothing that sampling depends on


class Replay(NamedTuple):
    """Stored rows in device memory: a store and a source over one state."""

    store: Store
    source: Source


class Recorded(NamedTuple):
    """Recorded rows on the host, and what holds them on the device and draws batches of them."""

    rows: Stream
    replay: Replay


class RunError(Exception):
    """A run cannot continue for reasons outside the program; `str` is the message for the user."""


class Runner(Protocol):
    """Drives a run. It never logs and never saves, because its consumer does."""

    clock: str  # unit of its steps: "environment steps", or "updates" if nobody acts

    def __call__(self, seed: int, resume: PyTree | None = None):
        """Yield (Report, run state) until the run ends; given a state that it yielded, continue from there.

        A run state determines how the run continues. Its field `learner` is a LearnerState.
        """
        ...

    def shapes(self) -> PyTree:
        """Return the structure of run states, with jax.ShapeDtypeStruct in place of arrays."""
        ...
