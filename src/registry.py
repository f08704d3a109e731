"""Name -> part. Entries are strings, resolved on use, so that listing the parts imports none of them."""

import dataclasses
import difflib
import importlib
from typing import Any


@dataclasses.dataclass(frozen=True)
class Entry:
    """A part that a configuration can name."""

    module: str  # holds `make` and the dataclass `Config`
    help: str  # one line
    needs: str = ""  # planner, learner: the kind of model it works with ("world_model")
    provides: str = ""  # network: the kind of model it makes; planner: the kind of extras it leaves ("search", "policy")
    extras: str = ""  # learner: the kind of extras it learns from
    data: str = ""  # replay: what it hands out, learner: what it learns from ("sequences" of any age, whole new "rollouts")
    continuous: bool = False  # planner: it can also choose actions that are made up of numbers

    def config(self) -> type:
        """Return the part's `Config` dataclass, the only schema of its `*_args` section."""
        return importlib.import_module(self.module).Config

    def make(self, *args: Any, **kwargs: Any) -> Any:
        """Build the part."""
        return importlib.import_module(self.module).make(*args, **kwargs)


ENVS = {
    "mpe": Entry("src.envs.mpe", "JaxMARL's multi-particle environments (env_args.scenario)"),
    "mabrax": Entry("src.envs.mabrax", "robots in brax whose joints several agents drive, continuous actions (env_args.scenario)"),
    "smax": Entry("src.envs.smax", "JaxMARL's StarCraft-like battles against a scripted enemy (env_args.map_name)"),
    "matrix_game": Entry("src.envs.matrix_game", "climbing, penalty and two-step games with known optima (env_args.scenario)"),
}
NETWORKS = {
    "world_model": Entry("src.networks.world_model", "per-agent latents, attention in the dynamics, conditioned heads", provides="world_model"),
    "actor_critic": Entry("src.networks.actor_critic", "a policy per agent and a critic, feed-forward or with a GRU, shared or not", provides="actor_critic"),
}
PLANNERS = {
    "sequential": Entry("src.planners.sequential", "a tree of one ply per agent, each given what the others committed to", needs="world_model", provides="search"),
    "joint": Entry("src.planners.joint", "search over sampled joint actions; over all of them where they are few", needs="world_model", provides="search"),
    "independent": Entry("src.planners.independent", "each agent searches its own actions, the others follow their policy", needs="world_model", provides="search"),
    "policy": Entry("src.planners.policy", "no search: act from the decentralised policy alone", needs="world_model", provides="policy"),
    "actor": Entry("src.planners.actor", "no search: act from the policy of an actor-critic", needs="actor_critic", provides="policy", continuous=True),
}
LEARNERS = {
    "mazero": Entry("src.learners.mazero", "multi-agent MuZero: unrolled policy, value, reward and consistency losses", needs="world_model", extras="search", data="sequences"),
    "ppo": Entry("src.learners.ppo", "clipped policy gradients over whole rollouts: IPPO and MAPPO", needs="actor_critic", extras="policy", data="rollouts"),
    "ppo_distil": Entry("src.learners.ppo_distil", "PPO in a policy, a value and a distillation phase (DNA)", needs="actor_critic", extras="policy", data="rollouts"),
}
REPLAYS = {
    "prioritised": Entry("src.replay.prioritised", "sequences drawn in proportion to priority^alpha, with importance weights", data="sequences"),
    "uniform": Entry("src.replay.uniform", "sequences drawn uniformly", data="sequences"),
    "rollout": Entry("src.replay.rollout", "the newest rollout, whole and once: on-policy learning", data="rollouts"),
}
RUNNERS = {
    "jax_sync": Entry("src.runners.jax_sync", "collect, learn and reanalyse in one compiled loop on one device"),
}

FAMILIES = {"env": ENVS, "network": NETWORKS, "planner": PLANNERS, "learner": LEARNERS, "replay": REPLAYS, "runner": RUNNERS}


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
    guess = nearest(name, known)
    hint = f"did you mean '{guess}'? " if guess else ""
    raise KeyError(f"unknown {family} '{name}'; {hint}known: {', '.join(known)}")
