"""Datasets of random numbers, for tests."""

import numpy as np

from tandem.core import Discrete, EnvSpec, PolicyExtras, Transition, Vector
from tandem.datasets.dataset import Dataset, from_rows, spec_of

AGENTS, OBS, STATE, ACTIONS = 3, 5, 4, 6
LENGTHS = (4, 1, 7, 3, 2)
SPEC = EnvSpec(
    num_agents=AGENTS, obs=Vector(OBS), state=Vector(STATE), actions=Discrete(ACTIONS), episode_limit=7,
    shared_reward=True, metric_names=("won",),
)  # fmt: skip
REFERENCES = {"random": -1.0, "expert": 3.0}


def rows(seed: int = 1, lengths=LENGTHS) -> Transition:
    """Return whole episodes [R, ...]; the longest is cut off by the limit, the others end by themselves."""
    random, size = np.random.default_rng(seed), sum(lengths)
    last = np.cumsum(lengths) - 1
    ended, cut = np.zeros((2, size), bool)
    ended[last], cut[last] = np.array(lengths) < 7, np.array(lengths) == 7
    fields = {}
    for name, shape in (("obs", (AGENTS, OBS)), ("state", (STATE,))):
        fields[name], fields[f"next_{name}"] = random.normal(size=(2, size, *shape)).astype(np.float32)
    for name, shape in (("legal", (AGENTS, ACTIONS)), ("alive", (AGENTS,))):
        fields[name], fields[f"next_{name}"] = random.random((2, size, *shape)) < 0.7
        fields[name][:, :1], fields[f"next_{name}"][:, :1] = True, True
    for name in ("obs", "state", "legal", "alive"):
        inside = np.setdiff1d(np.arange(size), last)
        fields[f"next_{name}"][inside] = fields[name][inside + 1]
    policy = random.dirichlet(np.ones(ACTIONS), (size, AGENTS)).astype(np.float32)
    action = random.integers(0, ACTIONS, (size, AGENTS)).astype(np.int32)
    extras = PolicyExtras(
        log_prob=np.log(np.take_along_axis(policy, action[..., None], -1)[..., 0]), policy=policy,
        entropy=-(policy * np.log(policy)).sum(-1),
    )  # fmt: skip
    reward = np.repeat(random.normal(size=(size, 1)), AGENTS, axis=1).astype(np.float32)
    return Transition(
        **fields, action=action, extras=extras, reward=reward, terminated=ended, truncated=cut,
        first=np.append(True, (ended | cut)[:-1]), present=np.ones((size, AGENTS), bool),
        env_step=np.arange(size, dtype=np.int32),
    )  # fmt: skip


def card(level: str = "expert") -> dict:
    return {
        "format": 1, "env": "corridor", "env_args": {"length": 3}, "task": "corridor/long", "level": level,
        "spec": spec_of(SPEC), "behaviour_known": True, "references": REFERENCES, "packages": {"jax": "0"},
        "commit": "abc", "origins": [{"run": "1", "level": level, "checkpoint": 50}],
    }  # fmt: skip


def dataset(seed: int = 1, level: str = "expert", lengths=LENGTHS) -> Dataset:
    made = rows(seed, lengths)
    known = {name: getattr(made.extras, name) for name in ("log_prob", "policy", "entropy")}
    data = from_rows(made, card(level), known)
    data.ends["metrics.won"] = (np.arange(len(lengths)) % 2).astype(np.float32)
    return data
