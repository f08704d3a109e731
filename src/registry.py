"""Name -> part. Entries are strings, resolved on use, so that listing the parts imports none of them."""

import dataclasses
import difflib
import importlib
from typing import Any


@dataclasses.dataclass(frozen=True)
class Entry:
    """A part that a configuration can name. Sets are compared by `build`: what one part needs, others have to give."""

    module: str  # holds `make` and the dataclass `Config`; it may also hold `problems`, see docs/architecture.md
    help: str  # one line
    needs: frozenset[str] = frozenset()  # planner, learner: the faces of a network that it works with
    shows: frozenset[str] = frozenset()  # network: the faces that it has
    leaves: str = ""  # planner: the kind of extras it leaves ("search", "policy"); learner: the kind it learns from
    actions: frozenset[str] = frozenset({"discrete"})  # network, planner: the kinds of actions it can choose
    # Network: the kinds of observations that it can read ("vector", "image").
    reads: frozenset[str] = frozenset({"vector"})
    # Replay: what it hands out, learner: what it learns from ("sequences" of any age, whole new "rollouts")
    data: str = ""
    host: bool = False  # env: a program outside JAX (HostEnvironment); runner: it can drive those
    # Runner: it learns from the rows of an earlier run, and `make` wants to be told how to read them
    recorded: bool = False

    def config(self) -> type:
        """Return the part's `Config` dataclass, the only schema of its `*_args` section."""
        return self._module().Config

    def make(self, *args: Any, **kwargs: Any) -> Any:
        """Build the part."""
        return self._module().make(*args, **kwargs)

    def problems(self, config: Any, plan: Any) -> list[str]:
        """Return what the part says against its settings in a run of these sizes, a sentence each."""
        said = self.hook("problems")
        return said(config, plan) if said else []

    def hook(self, name: str) -> Any:
        """Return a function that the part's module may have, or None."""
        return getattr(self._module(), name, None)

    def _module(self) -> Any:
        return importlib.import_module(self.module)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


LATENT_PLANNING = _set("latents team_policy team_value")
ANY_ACTIONS = _set("discrete numbers")

ENVS = {
    "mpe": Entry("tandem.envs.mpe", "JaxMARL's multi-particle environments (env_args.scenario)"),
    "smax": Entry("tandem.envs.smax", "JaxMARL's StarCraft-like battles against a scripted enemy (env_args.map_name)"),
    "mabrax": Entry(
        "tandem.envs.mabrax", "robots in brax whose joints several agents drive, continuous actions (env_args.scenario)"
    ),
    "switch_riddle": Entry(
        "tandem.envs.switch_riddle", "prisoners who share one light bulb and must know when all have been in the room"
    ),
    "lbf": Entry("tandem.envs.lbf", "Jumanji's Level-Based Foraging: food that needs several agents at once"),
    "matrix_game": Entry(
        "tandem.envs.matrix_game",
        "climbing, penalty, two-step, random games (env_args.scenario), or your own (env_args.payoff)",
    ),
    "pettingzoo": Entry(
        "tandem.envs.pettingzoo",
        "PettingZoo's particle, SISL, butterfly and Atari games (env_args.scenario)",
        host=True,
    ),
    "sc2": Entry("tandem.envs.sc2", "StarCraft II itself, through smac or smacv2 (env_args.map_name)", host=True),
}
NETWORKS = {
    "world_model": Entry(
        "tandem.models.world_model", "per-agent latents, attention in the dynamics, conditioned heads",
        shows=LATENT_PLANNING | {"self_supervision"},
    ),
    "actor_critic": Entry(
        "tandem.models.actor_critic", "a policy per agent and a critic, feed-forward or with a GRU, shared or not",
        shows=_set("actor_critic"), actions=ANY_ACTIONS,
    ),
    "imagination": Entry(
        "tandem.models.imagination.model", "an actor and critic, and a model of the team's observations to dream in",
        shows=_set("actor_critic sequence_model"),
    ),
}  # fmt: skip
PLANNERS = {
    "plies": Entry(
        "tandem.planners.search.plies",
        "in turns: a tree of one ply per agent, each given what the others committed to",
        needs=LATENT_PLANNING, leaves="search",
    ),
    "paths": Entry(
        "tandem.planners.search.paths", "in turns: one search for the team; every simulation imagines a joint action",
        needs=LATENT_PLANNING, leaves="search",
    ),
    "root_only": Entry(
        "tandem.planners.search.root_only", "in turns: commitments at the root, below it the agent's own actions",
        needs=LATENT_PLANNING, leaves="search",
    ),
    "joint": Entry(
        "tandem.planners.search.joint", "search over sampled joint actions; over all of them where they are few",
        needs=LATENT_PLANNING, leaves="search",
    ),
    "independent": Entry(
        "tandem.planners.search.independent", "each agent searches its own actions, the others follow their policy",
        needs=LATENT_PLANNING, leaves="search",
    ),
    "policy": Entry(
        "tandem.planners.policies.policy", "no search: act from the decentralised policy alone",
        needs=_set("latents team_policy"), leaves="policy",
    ),
    "autoregressive": Entry(
        "tandem.planners.policies.autoregressive", "no search: agent after agent by its policy, given the commitments",
        needs=_set("latents team_policy"), leaves="policy",
    ),
    "actor": Entry(
        "tandem.planners.policies.actor", "no search: act from the policy of an actor-critic",
        needs=_set("actor_critic"), leaves="policy", actions=ANY_ACTIONS,
    ),
}  # fmt: skip
LEARNERS = {
    "mazero": Entry(
        "tandem.learners.mazero", "multi-agent MuZero: unrolled policy, value, reward and consistency losses",
        needs=LATENT_PLANNING | {"self_supervision"}, leaves="search", data="sequences",
    ),
    "ppo": Entry(
        "tandem.learners.ppo", "clipped policy gradients over whole rollouts: IPPO and MAPPO",
        needs=_set("actor_critic"), leaves="policy", data="rollouts",
    ),
    "ppo_distil": Entry(
        "tandem.learners.ppo_distil", "PPO in a policy, a value and a distillation phase (DNA)",
        needs=_set("actor_critic"), leaves="policy", data="rollouts",
    ),
    "marie": Entry(
        "tandem.learners.marie", "a world model of replayed sequences, and PPO in what it imagines",
        needs=_set("actor_critic sequence_model"), leaves="policy", data="sequences",
    ),
}  # fmt: skip
REPLAYS = {
    "prioritised": Entry(
        "tandem.data.prioritised",
        "sequences drawn in proportion to priority^alpha, with importance weights",
        data="sequences",
    ),
    "uniform": Entry("tandem.data.uniform", "sequences drawn uniformly", data="sequences"),
    "rollout": Entry("tandem.data.rollout", "the newest rollout, whole and once: on-policy learning", data="rollouts"),
}
RUNNERS = {
    "jax_sync": Entry("tandem.runners.jax_sync", "collect, learn and reanalyse in one compiled loop on one device"),
    "ray_async": Entry(
        "tandem.runners.ray_async",
        "actors in processes of their own, here or on a Ray cluster; also environments outside JAX",
        host=True,
    ),
    "offline": Entry(
        "tandem.runners.offline", "no acting: updates on the rows that an earlier run stored", recorded=True
    ),
}  # fmt: skip

FAMILIES = {
    "env": ENVS,
    "network": NETWORKS,
    "planner": PLANNERS,
    "learner": LEARNERS,
    "replay": REPLAYS,
    "runner": RUNNERS,
}


# Parts that have another name now: what to write instead.
RENAMED = {
    (
        "planner",
        "sequential",
    ): "planner 'sequential' is three planners now, each with its own settings: write planner=plies in place of "
    "planner_args.tree=plies, which was the default, planner=paths for tree=paths or planner=root_only for "
    "tree=root_only, and leave "
    "planner_args.tree out",
}

# Settings that are no more: what to write instead.
MOVED = {"planner_args.tree": "every tree is a planner now; write planner=plies, planner=paths or planner=root_only"}


def nearest(name: str, known: Any) -> str | None:
    """Return the known name closest to `name`, or None if nothing is close."""
    matches = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return matches[0] if matches else None


def find(family: str, name: str) -> Entry:
    """Return the entry called `name` of a family ("planner", ...).

    Raises:
      KeyError: with one sentence naming the nearest and all known names.
    """
    known = FAMILIES[family]
    if name in known:
        return known[name]
    if (family, name) in RENAMED:
        raise KeyError(RENAMED[family, name])
    guess = nearest(name, known)
    hint = f"did you mean '{guess}'? " if guess else ""
    raise KeyError(f"unknown {family} '{name}'; {hint}known: {', '.join(known)}")
