"""The parts by name. Entries are strings that are resolved on use, so that listing the parts imports none."""

import dataclasses
import difflib
import importlib
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

from tandem import plugins


@dataclasses.dataclass(frozen=True)
class Entry:
    """A part that a configuration can name. `build` compares the sets: others must provide what one part needs."""

    module: str  # holds `make` and the dataclass `Config`; it may also hold `problems`, see docs/architecture.md
    help: str  # one line
    needs: frozenset[str] = frozenset()  # planner, learner: the faces of a network that it works with
    shows: frozenset[str] = frozenset()  # network: the faces that it has
    leaves: str = ""  # planner: the kind of its extras ("search", "policy"); learner: the kind it learns from
    # Network, planner, learner: the kinds of actions that it can choose, or learn from ("discrete", "numbers").
    actions: frozenset[str] = frozenset({"discrete"})
    # Network: the kinds of observations that it can read ("vector", "image").
    reads: frozenset[str] = frozenset({"vector"})
    # Replay: the data that it returns, learner: the data that it uses ("sequences" of any age, whole new "rollouts")
    data: str = ""
    host: bool = False  # env: a program outside JAX (HostEnvironment); runner: it can drive those
    # Runner: it learns from the rows of an earlier run, and `make` gets a function that reads them; replay: it holds
    # such rows, and nothing can be added to it; env: it shows such rows, and nothing is learned by acting in it
    recorded: bool = False
    origin: str = ""  # the plug-in's package; "" = Tandem itself
    broken: str = ""  # why a plug-in cannot be used, as a sentence for the user

    def config(self) -> type:
        """Return the part's `Config` dataclass, the only schema of its `*_args` section."""
        return self._module().Config

    def make(self, *args: Any, **kwargs: Any) -> Any:
        """Build the part."""
        return self._module().make(*args, **kwargs)

    def problems(self, config: Any, plan: Any) -> list[str]:
        """Return the part's objections to its settings in a run of these sizes, one sentence each."""
        said = self.hook("problems")
        return said(config, plan) if said else []

    def hook(self, name: str) -> Any:
        """Return a function that the part's module may have, or None."""
        return getattr(self._module(), name, None)

    def fault(self) -> str:
        """Return what is wrong with a plug-in's module; "" if nothing is, or if the part is Tandem's own."""
        if not self.origin:
            return ""
        try:
            module = self._module()
        except Exception as error:  # a plug-in's code may raise anything
            return plugins.said(error)
        if not dataclasses.is_dataclass(getattr(module, "Config", None)):
            return f"the module {self.module} has no dataclass `Config` of settings"
        return "" if callable(getattr(module, "make", None)) else f"the module {self.module} has no function `make`"

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
        "tandem.envs.mabrax", "robots in brax, each driven by several agents, continuous actions (env_args.scenario)"
    ),
    "switch_riddle": Entry(
        "tandem.envs.switch_riddle", "prisoners share one light bulb and must find out when all have been in the room"
    ),
    "lbf": Entry("tandem.envs.lbf", "Jumanji's Level-Based Foraging: some food needs several agents at once"),
    "matrix_game": Entry(
        "tandem.envs.matrix_game",
        "matrix games: climbing, penalty, two_step, random (env_args.scenario), or your own (env_args.payoff)",
    ),
    "recorded": Entry(
        "tandem.envs.recorded", "replays a dataset's episodes, for data without their environment", recorded=True
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
        shows=_set("actor_critic"), actions=ANY_ACTIONS, reads=_set("vector image"),
    ),
    "q_network": Entry(
        "tandem.models.q_network", "Q-values of each agent, and a mixer: IQL, VDN, QMIX",
        shows=_set("q_values"), reads=_set("vector image"),
    ),
    "q_behaviour": Entry(
        "tandem.models.q_behaviour", "as q_network, with an estimate of the policy that produced recorded data",
        shows=_set("q_values behaviour"), reads=_set("vector image"),
    ),
    "soft_actor_critic": Entry(
        "tandem.models.soft_actor_critic", "a policy and two Q-functions for each agent, their own or centralised",
        shows=_set("soft_actor_critic"), actions=ANY_ACTIONS,
    ),
    "imagination": Entry(
        "tandem.models.imagination.model", "an actor and critic, and a model of the team's observations to dream in",
        shows=_set("actor_critic sequence_model"), actions=ANY_ACTIONS,
    ),
    "coordination": Entry(
        "tandem.models.coordination", "policies that predict teammates' actions, share skills, or act in turns",
        shows=_set("coordination"),
    ),
    "coordination_q": Entry(
        "tandem.models.coordination_q", "as coordination, with Q-values that know what it knows, and a mixer",
        shows=_set("coordination q_values behaviour"),
    ),
}  # fmt: skip
PLANNERS = {
    "plies": Entry(
        "tandem.planners.search.plies",
        "in turns: a tree with one ply per agent, each given the others' commitments",
        needs=LATENT_PLANNING, leaves="search",
    ),
    "paths": Entry(
        "tandem.planners.search.paths", "in turns: one search for the team; each simulation imagines a joint action",
        needs=LATENT_PLANNING, leaves="search",
    ),
    "root_only": Entry(
        "tandem.planners.search.root_only", "in turns: commitments at the root, and only own actions below it",
        needs=LATENT_PLANNING, leaves="search",
    ),
    "joint": Entry(
        "tandem.planners.search.joint", "search over sampled joint actions, or over all of them if they are few",
        needs=LATENT_PLANNING, leaves="search",
    ),
    "independent": Entry(
        "tandem.planners.search.independent", "each agent searches its own actions; the others follow policies",
        needs=LATENT_PLANNING, leaves="search",
    ),
    "policy": Entry(
        "tandem.planners.policies.policy", "no search: act from the decentralised policy alone",
        needs=_set("latents team_policy"), leaves="policy",
    ),
    "autoregressive": Entry(
        "tandem.planners.policies.autoregressive", "no search: agents act in turn by their policies, given commitments",
        needs=_set("latents team_policy"), leaves="policy",
    ),
    "actor": Entry(
        "tandem.planners.policies.actor", "no search: act from the policy of an actor-critic",
        needs=_set("actor_critic"), leaves="policy", actions=ANY_ACTIONS,
    ),
    "epsilon_greedy": Entry(
        "tandem.planners.policies.epsilon_greedy", "no search: the action of greatest value, or a random one",
        needs=_set("q_values"), leaves="policy",
    ),
    "supported": Entry(
        "tandem.planners.policies.supported", "as epsilon_greedy, among actions that are frequent in recorded data",
        needs=_set("q_values behaviour"), leaves="policy",
    ),
    "soft_actor": Entry(
        "tandem.planners.policies.soft_actor", "no search: act from the policy of a soft actor-critic",
        needs=_set("soft_actor_critic"), leaves="policy", actions=ANY_ACTIONS,
    ),
    "coordinated": Entry(
        "tandem.planners.policies.coordinated", "no search: policies with a skill for the team, at once or in turns",
        needs=_set("coordination"), leaves="policy",
    ),
}  # fmt: skip
LEARNERS = {
    "mazero": Entry(
        "tandem.learners.mazero", "multi-agent MuZero: unrolled policy, value, reward and consistency losses",
        needs=LATENT_PLANNING | {"self_supervision"}, leaves="search", data="sequences",
    ),
    "ppo": Entry(
        "tandem.learners.ppo", "clipped policy gradients over whole rollouts: IPPO and MAPPO",
        needs=_set("actor_critic"), leaves="policy", data="rollouts", actions=ANY_ACTIONS,
    ),
    "ppo_distil": Entry(
        "tandem.learners.ppo_distil", "PPO in a policy, a value and a distillation phase (DNA)",
        needs=_set("actor_critic"), leaves="policy", data="rollouts", actions=ANY_ACTIONS,
    ),
    "q": Entry(
        "tandem.learners.q", "Q-learning from a replay with a target network: IQL, VDN and QMIX by the network's mixer",
        needs=_set("q_values"), leaves="policy", data="sequences",
    ),
    "q_offline": Entry(
        "tandem.learners.q_offline", "Q-learning from recorded data: CQL, BCQ, and backups under the data's policy",
        needs=_set("q_values behaviour"), leaves="policy", data="sequences",
    ),
    "bc": Entry(
        "tandem.learners.bc", "behaviour cloning: imitates the actions of recorded data",
        needs=_set("actor_critic"), leaves="policy", data="sequences", actions=ANY_ACTIONS,
    ),
    "coordination": Entry(
        "tandem.learners.coordination", "behaviour cloning, with predictions of teammates' actions and skills",
        needs=_set("coordination"), leaves="policy", data="sequences",
    ),
    "q_coordination": Entry(
        "tandem.learners.q_coordination", "as q_offline, with the data's policy imitated as in coordination",
        needs=_set("q_values behaviour coordination"), leaves="policy", data="sequences",
    ),
    "pqn": Entry(
        "tandem.learners.pqn", "Q-learning from rollouts by lambda-returns, without replay and target network (PQN)",
        needs=_set("q_values"), leaves="policy", data="rollouts",
    ),
    "sac": Entry(
        "tandem.learners.sac", "soft actor-critic, from a replay",
        needs=_set("soft_actor_critic"), leaves="policy", data="sequences", actions=ANY_ACTIONS,
    ),
    "icq": Entry(
        "tandem.learners.icq", "imitation of recorded actions, weighted by their values, with mixed critics (ICQ)",
        needs=_set("q_values behaviour"), leaves="policy", data="sequences",
    ),
    "sac_offline": Entry(
        "tandem.learners.sac_offline", "soft actor-critic held near the policy of recorded data: BRAC and BEAR",
        needs=_set("soft_actor_critic"), leaves="policy", data="sequences",
    ),
    "marie": Entry(
        "tandem.learners.marie", "a world model of replayed sequences, and PPO in what it imagines",
        needs=_set("actor_critic sequence_model"), leaves="policy", data="sequences", actions=ANY_ACTIONS,
    ),
}  # fmt: skip
REPLAYS = {
    "prioritised": Entry(
        "tandem.data.prioritised",
        "sequences drawn in proportion to priority^alpha, with importance weights",
        data="sequences",
    ),
    "uniform": Entry("tandem.data.uniform", "sequences drawn uniformly", data="sequences"),
    "recorded": Entry(
        "tandem.data.recorded", "all rows of a dataset, in memory once, sequences drawn uniformly: for runner=offline",
        data="sequences", recorded=True,
    ),
    "rollout": Entry("tandem.data.rollout", "the newest rollout, whole and once: on-policy learning", data="rollouts"),
}  # fmt: skip
RUNNERS = {
    "jax_sync": Entry("tandem.runners.jax_sync", "collect, learn and reanalyse in one compiled loop on one device"),
    "ray_async": Entry(
        "tandem.runners.ray_async",
        "actors in separate processes, here or on a Ray cluster; also environments outside JAX",
        host=True,
    ),
    "offline": Entry(
        "tandem.runners.offline", "no acting: updates on the rows of a dataset, or of an earlier run", host=True,
        recorded=True,
    ),
}  # fmt: skip


class Family(MutableMapping[str, Entry]):
    """The parts of one kind by name: Tandem's own, and those of plug-ins.

    Plug-ins are searched when a part is first requested, so that their modules can import this one.
    """

    def __init__(self, group: str, own: dict[str, Entry]):
        self.group = group  # of entry points
        self.own = own
        self._brought: dict[str, Entry] | None = None

    def brought(self) -> dict[str, Entry]:
        """Return the parts of plug-ins. If a plug-in takes the name of Tandem's part, that entry is broken."""
        if self._brought is None:
            brought: dict[str, Entry] = {}
            self._brought = brought  # first, because loading a plug-in may request parts
            for found in plugins.of(self.group):
                brought[found.name] = self._entry(found, brought)
        return self._brought

    def _entry(self, found: plugins.Found, before: dict[str, Entry]) -> Entry:
        """Return the entry of a plug-in with its fault, if any; `before` are those found before."""
        entry, problem = found.value, found.problem
        if not problem and not isinstance(entry, Entry):
            problem = f"its entry point is a {type(entry).__name__}, but must be a tandem.registry.Entry"
        entry = Entry("", "") if problem else entry
        others = [before[found.name].origin] if found.name in before else []
        others += ["Tandem itself"] if found.name in self.own else []
        if others:
            problem = f"the name is also used by {others[0]}; rename it in one package, or uninstall that package"
        sentence = f"the plug-in of the package '{found.origin}' cannot be used: {problem}" if problem else ""
        return dataclasses.replace(entry, origin=found.origin, broken=sentence, help=sentence or entry.help)

    def __getitem__(self, name: str) -> Entry:
        brought = self.brought()
        return brought[name] if name in brought else self.own[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.own, *self.brought()]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __setitem__(self, name: str, entry: Entry) -> None:
        self.own[name] = entry

    def __delitem__(self, name: str) -> None:
        del self.own[name]


FAMILIES = {
    "env": Family("tandem.environments", ENVS),
    "network": Family("tandem.networks", NETWORKS),
    "planner": Family("tandem.planners", PLANNERS),
    "learner": Family("tandem.learners", LEARNERS),
    "replay": Family("tandem.replays", REPLAYS),
    "runner": Family("tandem.runners", RUNNERS),
}
GROUPS = tuple(family.group for family in FAMILIES.values())


# Renamed parts, with what to write instead.
RENAMED = {
    (
        "planner",
        "sequential",
    ): "planner 'sequential' is three planners now, each with its own settings: write planner=plies in place of "
    "planner_args.tree=plies, which was the default, planner=paths for tree=paths or planner=root_only for "
    "tree=root_only, and leave "
    "planner_args.tree out",
}

# Removed settings, with what to write instead.
MOVED = {"planner_args.tree": "each tree is a planner now; write planner=plies, planner=paths or planner=root_only"}


def nearest(name: str, known: Any) -> str | None:
    """Return the known name closest to `name`, or None if nothing is close."""
    matches = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return matches[0] if matches else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the hint for an unknown name: the nearest known one, or else all."""
    known = list(known)
    guess = nearest(name, known)
    return f"did you mean {guess}?" if guess else f"known: {', '.join(known)}"


def find(family: str, name: str) -> Entry:
    """Return the entry called `name` of a family ("planner", ...).

    Raises:
      KeyError: one sentence gives the nearest and all known names, or says why a plug-in cannot be used.
    """
    known = FAMILIES[family]
    if name in known:
        if known[name].broken:
            raise KeyError(f"{family} '{name}': {known[name].broken}")
        return known[name]
    if (family, name) in RENAMED:
        raise KeyError(RENAMED[family, name])
    guess = nearest(name, known)
    hint = f"did you mean '{guess}'? " if guess else ""
    raise KeyError(f"unknown {family} '{name}'; {hint}known: {', '.join(known)}")
