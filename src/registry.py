"""Name -> part. Entries are strings, resolved on use, so that listing the parts imports none of them."""

import dataclasses
import difflib
import importlib
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

from tandem import plugins


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
    # Runner: it learns from the rows of an earlier run, and `make` gets a function that reads them; replay: it holds
    # such rows, and nothing can be added to it; env: it shows such rows, and nothing is learned by acting in it
    recorded: bool = False
    origin: str = ""  # the package of a plug-in that brings it; "" = Tandem itself
    broken: str = ""  # why a plug-in cannot be used: a sentence for whoever asks for it

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

    def fault(self) -> str:
        """Return what is wrong with a plug-in's module; "" if nothing is, or if the part is our own."""
        if not self.origin:
            return ""
        try:
            module = self._module()
        except Exception as error:  # anything may happen in the code of others
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
    "recorded": Entry(
        "tandem.envs.recorded", "a dataset's episodes, shown whatever is done: for data of others", recorded=True
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
        "tandem.models.q_network", "what each agent's actions are worth, and a mixer: IQL, VDN, QMIX",
        shows=_set("q_values"), reads=_set("vector image"),
    ),
    "q_behaviour": Entry(
        "tandem.models.q_behaviour", "as q_network, and beside it an estimate of the policy that made recorded data",
        shows=_set("q_values behaviour"), reads=_set("vector image"),
    ),
    "soft_actor_critic": Entry(
        "tandem.models.soft_actor_critic", "a policy and two Q-functions for each agent, their own or centralised",
        shows=_set("soft_actor_critic"),
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
    "epsilon_greedy": Entry(
        "tandem.planners.policies.epsilon_greedy", "no search: the action of the greatest value, or one by lot",
        needs=_set("q_values"), leaves="policy",
    ),
    "supported": Entry(
        "tandem.planners.policies.supported", "as epsilon_greedy, among actions that recorded data play often enough",
        needs=_set("q_values behaviour"), leaves="policy",
    ),
    "soft_actor": Entry(
        "tandem.planners.policies.soft_actor", "no search: act from the policy of a soft actor-critic",
        needs=_set("soft_actor_critic"), leaves="policy",
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
    "q": Entry(
        "tandem.learners.q", "Q-learning from a replay with a target network: IQL, VDN and QMIX by the network's mixer",
        needs=_set("q_values"), leaves="policy", data="sequences",
    ),
    "q_offline": Entry(
        "tandem.learners.q_offline", "Q-learning from recorded data: CQL, BCQ, and backups under the data's policy",
        needs=_set("q_values behaviour"), leaves="policy", data="sequences",
    ),
    "bc": Entry(
        "tandem.learners.bc", "behaviour cloning: the actions of recorded data are imitated",
        needs=_set("actor_critic"), leaves="policy", data="sequences",
    ),
    "pqn": Entry(
        "tandem.learners.pqn", "Q-learning from rollouts by lambda-returns, without replay and target network (PQN)",
        needs=_set("q_values"), leaves="policy", data="rollouts",
    ),
    "sac": Entry(
        "tandem.learners.sac", "soft actor-critic with discrete actions, from a replay",
        needs=_set("soft_actor_critic"), leaves="policy", data="sequences",
    ),
    "icq": Entry(
        "tandem.learners.icq", "imitation of recorded actions by what they are worth, with mixed critics (ICQ)",
        needs=_set("q_values behaviour"), leaves="policy", data="sequences",
    ),
    "sac_offline": Entry(
        "tandem.learners.sac_offline", "soft actor-critic from recorded data, tied to the data's policy: BRAC and BEAR",
        needs=_set("soft_actor_critic"), leaves="policy", data="sequences",
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
    "recorded": Entry(
        "tandem.data.recorded", "all rows of a dataset, held once, sequences drawn uniformly: for runner=offline",
        data="sequences", recorded=True,
    ),
    "rollout": Entry("tandem.data.rollout", "the newest rollout, whole and once: on-policy learning", data="rollouts"),
}  # fmt: skip
RUNNERS = {
    "jax_sync": Entry("tandem.runners.jax_sync", "collect, learn and reanalyse in one compiled loop on one device"),
    "ray_async": Entry(
        "tandem.runners.ray_async",
        "actors in processes of their own, here or on a Ray cluster; also environments outside JAX",
        host=True,
    ),
    "offline": Entry(
        "tandem.runners.offline", "no acting: updates on the rows of a dataset, or of an earlier run", host=True,
        recorded=True,
    ),
}  # fmt: skip


class Family(MutableMapping[str, Entry]):
    """The parts of one kind by name: our own, and those that plug-ins register.

    Plug-ins are looked for when a part is first asked for, so that a plug-in's modules can import this one.
    """

    def __init__(self, group: str, own: dict[str, Entry]):
        self.group = group  # of entry points
        self.own = own
        self._brought: dict[str, Entry] | None = None

    def brought(self) -> dict[str, Entry]:
        """Return the parts of plug-ins; an own part whose name a plug-in takes is among them, and broken."""
        if self._brought is None:
            brought: dict[str, Entry] = {}
            self._brought = brought  # first, because loading a plug-in may ask for parts
            for found in plugins.of(self.group):
                brought[found.name] = self._entry(found, brought)
        return self._brought

    def _entry(self, found: plugins.Found, before: dict[str, Entry]) -> Entry:
        """Return the entry of a plug-in, with what is wrong with it; `before` are those that were found before."""
        entry, problem = found.value, found.problem
        if not problem and not isinstance(entry, Entry):
            problem = f"its entry point is a {type(entry).__name__}, and has to be a tandem.registry.Entry"
        entry = Entry("", "") if problem else entry
        others = [before[found.name].origin] if found.name in before else []
        others += ["Tandem itself"] if found.name in self.own else []
        if others:
            problem = f"the name is taken by {others[0]} as well; rename it in one package, or uninstall that"
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


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return what to say beside a name that is not known: the nearest of the known ones, or else all."""
    known = list(known)
    guess = nearest(name, known)
    return f"did you mean {guess}?" if guess else f"known: {', '.join(known)}"


def find(family: str, name: str) -> Entry:
    """Return the entry called `name` of a family ("planner", ...).

    Raises:
      KeyError: with one sentence: the nearest and all known names, or why a plug-in cannot be used.
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
