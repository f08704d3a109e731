"""The data that flows from environments through planners to learners, one record for each stage.

Axes, everywhere: `B` environment or sequence, `T` time, `N` agents, `A` actions of one agent, `O` observation features,
`S` global-state features, `D` latent width, `U` unroll steps, `K` sampled joint actions, `V` support bins.
Shapes below are those of one environment; stored data puts `[B, T]` in front.
"""

import dataclasses

from tandem.core.arrays import Array, PyTree, pytree


@pytree
class TimeStep:
    """What an environment shows after `reset` or `step`."""

    obs: Array  # [N, O] float32, zero-padded; pictures are [N, height, width, channels]
    state: Array  # [S] float32 global state
    legal: Array  # [N, A] bool, True = may be played (continuous: counts, the others are padding); never all False
    present: Array  # [N] bool: belongs to this episode's team; False at all steps for padding
    alive: Array  # [N] bool: present, and able to act
    reward: Array  # [N] float32, for the action that led here; zero after reset
    terminated: Array  # [] bool: the task ended here, do not bootstrap
    truncated: (
        Array  # [] bool: cut off by the time limit, bootstrap from this step's obs; never together with terminated
    )
    first: Array  # [] bool: first step of an episode, reset recurrent carries
    metrics: dict[str, Array]  # {name: []} float32, meaningful at an episode's last step


@pytree
class Candidates:
    """The joint actions that a search compared at its root."""

    actions: Array  # [B, K, N] int32
    weights: Array  # [B, K] float32 improved policy over them, zero for duplicates and what is illegal
    advantages: Array  # [B, K] float32 Q minus the model's value of the state; zero for untried actions


@pytree
class SearchExtras:
    """Data for learning from a planner that searches."""

    policy: Array  # [B, N, A] float32 improved policy, rows sum to one, zero on illegal actions, free of noise
    value: Array  # [B] float32 root value of the search, in units of the (scaled) team return
    rank: Array  # [B, N] int32: agent i saw the committed action of agent j if and only if rank[j] < rank[i]
    candidates: Candidates | tuple = ()  # () if they are not stored
    committed: Array  # [B, N] int32 the committed actions; in a re-planned row they may differ from those played


@pytree
class PolicyExtras:
    """Data for learning from a planner without search."""

    log_prob: Array  # [B, N] float32 log-probability of the chosen actions
    policy: Array  # [B, N, A] float32 probabilities; means if actions are continuous
    entropy: Array  # [B, N] float32 of the policy, in nats
    # [B, ...] memory of a recurrent model before this step; () without a memory
    memory: PyTree = ()


@pytree
class Plan:
    """A planner's answer."""

    action: Array  # [B, N] int32; if actions are continuous, [B, N, A] float32
    extras: SearchExtras | PolicyExtras
    metrics: dict[str, Array] = dataclasses.field(
        default_factory=dict
    )  # {name: [B]} float32, those of Planner.metric_names


@pytree
class Transition:
    """One stored environment step: observation, action, and outcome, read BEFORE any reset."""

    obs: Array  # [N, O]
    state: Array  # [S]
    legal: Array  # [N, A] bool
    present: Array  # [N] bool
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
    next_alive: Array  # [N] bool
    env_step: Array  # [] int32 environment steps of the run when this row was made; gives the age of data


def transition(seen: TimeStep, plan: Plan, outcome: TimeStep, env_step: Array) -> Transition:
    """Return the row of a step from its time step, plan and true outcome; any leading axes."""
    return Transition(
        obs=seen.obs,
        state=seen.state,
        legal=seen.legal,
        present=seen.present,
        alive=seen.alive,
        first=seen.first,
        action=plan.action,
        extras=plan.extras,
        reward=outcome.reward,
        terminated=outcome.terminated,
        truncated=outcome.truncated,
        next_obs=outcome.obs,
        next_state=outcome.state,
        next_legal=outcome.legal,
        next_alive=outcome.alive,
        env_step=env_step,
    )


@pytree
class Stream:
    """R recorded rows in order, and the successors of those E rows that the next row does not follow."""

    rows: Transition  # [1, R, ...]; its next_* are of the ends alone, [1, E, ...]
    end: Array  # [R] int32: which of the ends a row is, or -1


@pytree
class Batch:
    """A sample of stored sequences."""

    traj: Transition  # [B, T, ...]
    index: Array  # [B] int32 position in the replay, for set_priorities and overwrite
    weight: Array  # [B] float32 importance weights, 1 for uniform sampling
    priority: Array  # [B] float32 sampling probability's unnormalised value, for reports
