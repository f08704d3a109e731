"""JaxMARL's multi-particle environments (Lowe et al., 2017, https://arxiv.org/abs/1706.02275), one trained team in
each.

What differs from JaxMARL, and why:

  episodes        exactly `episode_limit` steps, ended by truncation; JaxMARL's take one step more and look like
  terminations
  padding         observations are padded with zeros and actions masked, so that agents of different sizes share a
  network
  opponents       agents outside the trained team act by a policy named in the configuration (src/envs/mpe_opponents.py)
  simple_facmac   its boxes are played by the five moves of the other scenarios; its built-in prey is the opponent
  'builtin'
  pushes          continuous actions are a push to the right and up instead of JaxMARL's five numbers, of which two
  pairs cancel out
  simple_crypto   colours are one-hot vectors as in the original; JaxMARL's are 255 times larger and drown the reward

The global state is the team's observations one after the other, padding included.
"""

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tandem.core import Array, Discrete, EnvSpec, Environment, Key, Numbers, PyTree, TimeStep, Vector, pytree, setting
from tandem.envs import mpe_controllers, mpe_entities, mpe_metrics, mpe_opponents, mpe_padding, mpe_scene
from tandem.envs.groups import alike, common
from tandem.envs.names import check_name
from tandem.envs.jaxmarl_bridge import mpe, strong_types
from tandem.envs.time_limit import ending


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    scenario: str = setting("simple_spread", "MPE scenario, with or without 'MPE_' and a version")
    team: str = setting(
        "", "which side is trained where there are two, 'agents' or 'adversaries'; '' = the scenario's default"
    )
    opponent: str = setting(
        "random", "how everyone outside the team plays: 'random', or a policy by hand that suits the scenario"
    )
    num_agents: int = setting(
        0, "size of the trained team in simple_spread and simple_tag; 0 = the scenario's default", low=0, high=1000
    )
    room_for: int = setting(
        0,
        "in simple_spread: agents that observations have room for, zeros for those who are not there; they are then "
        "not described as entities; 0 = just the team",
        low=0,
        high=1000,
    )
    local_ratio: float = setting(
        0.5,
        "weight of an agent's own reward against the team's, in simple_spread and simple_reference",
        low=0.0,
        high=1.0,
    )
    action_type: str = setting(
        "discrete",
        "discrete: five moves; continuous: a push to the right and one up, each in [-1, 1]",
        choices=("discrete", "continuous"),
    )
    episode_limit: int = setting(25, "steps after which an episode is truncated", low=1)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """The static facts of a scenario that JaxMARL does not tell."""

    world: str  # JaxMARL's class
    kwargs: tuple[tuple[str, Any], ...] = ()
    teams: tuple[str, ...] = ("agents",)  # the first is trained by default
    shared: tuple[str, ...] = ()  # teams whose members always get the same reward
    sized_by: tuple[tuple[str, tuple[str, ...]], ...] = ()  # team -> arguments that its size sets
    local_ratio: bool = False


def _facmac(suffix: str) -> Scenario:
    return Scenario(f"SimpleFacmacMPE{suffix}", teams=("adversaries", "agents"), shared=("adversaries",))


SCENARIOS = {
    "simple": Scenario("SimpleMPE"),
    "simple_spread": Scenario(
        "SimpleSpreadMPE", sized_by=(("agents", ("num_agents", "num_landmarks")),), local_ratio=True
    ),
    "simple_tag": Scenario(
        "SimpleTagMPE",
        teams=("adversaries", "agents"),
        shared=("adversaries",),
        sized_by=(("adversaries", ("num_adversaries",)), ("agents", ("num_good_agents",))),
    ),
    "simple_world_comm": Scenario(
        "SimpleWorldCommMPE", kwargs=(("action_type", "Discrete"),), teams=("adversaries", "agents")
    ),
    "simple_crypto": Scenario("SimpleCryptoMPE", teams=("agents", "adversaries"), shared=("agents",)),
    "simple_speaker_listener": Scenario("SimpleSpeakerListenerMPE", shared=("agents",)),
    "simple_push": Scenario("SimplePushMPE", teams=("agents", "adversaries")),
    "simple_adversary": Scenario("SimpleAdversaryMPE", teams=("agents", "adversaries"), shared=("agents",)),
    "simple_reference": Scenario("SimpleReferenceMPE", local_ratio=True),
    "simple_facmac": _facmac(""),
    "simple_facmac_3a": _facmac("3a"),
    "simple_facmac_6a": _facmac("6a"),
    "simple_facmac_9a": _facmac("9a"),
}
SPEAKING = ("simple_world_comm", "simple_crypto", "simple_speaker_listener", "simple_reference")


@pytree
class MpeState:
    """An episode in progress."""

    world: PyTree  # JaxMARL's state
    num_steps: Array  # [] int32
    totals: dict[str, Array]  # {name: []} float32, what has been counted in this episode


@dataclasses.dataclass(frozen=True)
class Game:
    """A scenario with everything fixed but the actions of the trained team; functions over JaxMARL's state."""

    world: Any  # JaxMARL's environment
    team: tuple[str, ...]  # names of the trained agents
    reset: Callable[[Key], tuple[dict, PyTree]]
    step: Callable[[Key, PyTree, Array], tuple[dict, PyTree, dict]]
    obs: tuple[Vector, ...]  # what each of the team observes, without the padding
    action_sizes: tuple[int, ...]


def short_name(scenario: str) -> str:
    """Return a scenario's key in SCENARIOS: "MPE_simple_spread_v3" -> "simple_spread"."""
    return re.sub(r"_v\d+$", "", scenario.removeprefix("MPE_"))


def make(config: Config) -> Environment:
    """Build a scenario.

    Raises:
      ValueError: for a scenario, team or opponent that does not exist, or an argument that the scenario does not take.
    """
    name = short_name(config.scenario)
    check_name("env_args.scenario", name, SCENARIOS)
    team = config.team or SCENARIOS[name].teams[0]
    check_name(f"env_args.team of {name}", team, SCENARIOS[name].teams)
    game = _make_game(config, name, team)
    bounds = _bounds(config, name, len(game.team))
    count, judge = mpe_metrics.make(name, game.world, bounds)
    kind = Numbers if config.action_type == "continuous" else Discrete
    space = common(game.obs)
    spec = EnvSpec(
        num_agents=len(game.team),
        obs=space,
        state=Vector(len(game.team) * space.size),
        actions=kind(max(game.action_sizes)),
        groups=alike(game.team, game.obs, [kind(size) for size in game.action_sizes]),
        episode_limit=config.episode_limit,
        shared_reward=team in SCENARIOS[name].shared,
        metric_names=mpe_metrics.names(name, bounds),
    )
    legal = jnp.arange(spec.actions.size)[None, :] < jnp.array(game.action_sizes)[:, None]

    def show(obs: dict, state: MpeState, reward: Array) -> TimeStep:
        padded = [jnp.pad(obs[agent], (0, spec.obs.size - own.size)) for agent, own in zip(game.team, game.obs)]
        stacked = jnp.stack(padded)
        terminated, truncated = ending(jnp.array(False), state.num_steps, config.episode_limit)
        return TimeStep(
            obs=stacked,
            state=stacked.reshape(-1),
            legal=legal,
            present=jnp.ones(spec.num_agents, bool),
            alive=jnp.ones(spec.num_agents, bool),
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            first=state.num_steps == 0,
            metrics=state.totals | judge(state.world),
        )

    def reset(key: Key) -> tuple[MpeState, TimeStep]:
        obs, world = strong_types(game.reset(key))
        unpaid = jnp.zeros(spec.num_agents)
        nothing = jax.tree.map(jnp.zeros_like, count(world, unpaid))
        state = MpeState(world=world, num_steps=jnp.int32(0), totals=nothing)
        return state, show(obs, state, unpaid)

    def step(key: Key, state: MpeState, action: Array) -> tuple[MpeState, TimeStep]:
        obs, world, rewards = strong_types(game.step(key, state.world, action))
        reward = jnp.stack([rewards[agent] for agent in game.team]).astype(jnp.float32)
        totals = jax.tree.map(jnp.add, state.totals, count(world, reward))
        state = MpeState(world=world, num_steps=state.num_steps + 1, totals=totals)
        return state, show(obs, state, reward)

    drawing = mpe_scene.make(game.world, game.team, () if spec.actions.continuous else game.action_sizes)
    moves = name == "simple_spread" and not spec.actions.continuous
    scripted = tuple(mpe_controllers.spread().items()) if moves else ()
    env = Environment(spec=spec, reset=reset, step=step, drawing=drawing, scripted=scripted)
    if not config.room_for:
        return env
    if name != "simple_spread":
        raise ValueError(f"env_args.room_for: only simple_spread takes it, and not {name}")
    return mpe_padding.padded(env, config.room_for)


def _bounds(config: Config, name: str, num_agents: int) -> mpe_metrics.Bounds | None:
    """Return the returns that are score 0 and 1 in simple_spread; None with settings that they were not measured
    with.
    """
    measured = (config.action_type, config.local_ratio) == (Config.action_type, Config.local_ratio)
    bounds = mpe_metrics.SPREAD_BOUNDS.get(num_agents) if name == "simple_spread" and measured else None
    return bounds if bounds and bounds.num_steps == config.episode_limit else None


def _make_game(config: Config, name: str, team: str) -> Game:
    """Return the scenario with its opponents inside."""
    scenario = SCENARIOS[name]
    world = getattr(mpe, scenario.world)(**dict(scenario.kwargs), **_arguments(config, name, team))
    world.max_steps = 2**30  # the time limit is ours
    adversaries = tuple(agent for agent in world.agents if "adversary" in agent or agent.startswith("eve"))
    members = {"adversaries": adversaries, "agents": tuple(agent for agent in world.agents if agent not in adversaries)}
    others = tuple(agent for agent in world.agents if agent not in members[team])
    boxes = all(hasattr(space, "shape") and not hasattr(space, "n") for space in world.action_spaces.values())
    sizes = {agent: 5 if boxes else world.action_spaces[agent].n for agent in world.agents}
    oppose = mpe_opponents.make(config.opponent, name, world, others, sizes)
    # JaxMARL's facmac steps replace the prey's actions by a built-in policy; the step of the class above them does not.
    play = world.step_env if config.opponent == "builtin" else functools.partial(mpe.SimpleMPE.step_env, world)
    encode = (lambda action: jax.nn.one_hot(action, 5)) if boxes else (lambda action: action)
    continuous = config.action_type == "continuous"
    reset = functools.partial(_one_hot_colours_reset, world) if name == "simple_crypto" else world.reset

    def step(key: Key, state: PyTree, action: Array) -> tuple[dict, PyTree, dict]:
        actions = {agent: (_push if continuous else encode)(action[i]) for i, agent in enumerate(members[team])}
        if others:
            key, opponent_key = jax.random.split(key)
            actions |= {agent: encode(move) for agent, move in oppose(opponent_key, state).items()}
        obs, state, rewards, _, _ = play(key, state, actions)
        return obs, state, rewards

    obs = tuple(mpe_entities.of_agent(name, world, agent) for agent in members[team])
    action_sizes = tuple(2 if continuous else sizes[agent] for agent in members[team])
    return Game(world, members[team], reset, step, obs, action_sizes)


def _arguments(config: Config, name: str, team: str) -> dict[str, Any]:
    """Return the constructor arguments that the configuration sets, refusing those that the scenario does not take."""
    scenario, arguments = SCENARIOS[name], {}
    if config.num_agents:
        sized_by = dict(scenario.sized_by)
        if team not in sized_by:
            takers = ", ".join(key for key, value in SCENARIOS.items() if value.sized_by)
            raise ValueError(f"env_args.num_agents: {name} has a fixed number of agents; only {takers} take it")
        arguments |= dict.fromkeys(sized_by[team], config.num_agents)
    if scenario.local_ratio:
        arguments["local_ratio"] = config.local_ratio
    elif config.local_ratio != Config.local_ratio:
        takers = ", ".join(key for key, value in SCENARIOS.items() if value.local_ratio)
        raise ValueError(f"env_args.local_ratio: {name} has none; only {takers} take it")
    if config.action_type == "continuous":
        if name in SPEAKING:
            raise ValueError(f"env_args.action_type=continuous: agents of {name} speak, and words are discrete")
        if not name.startswith("simple_facmac"):  # whose boxes are no choice
            arguments["action_type"] = "Continuous"
    return arguments


def _push(force: Array) -> Array:
    """Return JaxMARL's five numbers (nothing, left, right, down, up) for a push [2] to the right and up, clipped to
    [-1, 1].
    """
    right, up = jnp.clip(force, -1.0, 1.0)
    return jnp.maximum(jnp.stack([jnp.zeros(()), -right, right, -up, up]), 0.0)


def _one_hot_colours_reset(world: Any, key: Key) -> tuple[dict, PyTree]:
    """Reset simple_crypto with colours of length one, so that a message can match the goal's colour exactly."""
    _, state = world.reset(key)
    state = state.replace(goal_colour=state.goal_colour / 255.0, private_key=state.private_key / 255.0)
    return world.get_obs(state), state
