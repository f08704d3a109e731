"""One run that learns from datasets of teams of two and three, and is evaluated with its own environment's team."""

import jax
import numpy as np
import pytest

from tandem import build
from tandem.config import commandline, loader
from tandem.core import PolicyExtras
from tandem.datasets import store
from tandem.datasets.dataset import from_rows, spec_of
from tandem.ops.streams import FOLLOWED_BY
from tests.reference.team_rows import random_rows

pytestmark = [pytest.mark.jaxmarl, pytest.mark.usefixtures("quick_compiling")]
SMALL = [
    "platform=cpu", "video=False", "compile_cache_dir=", "network_args.hidden_size=4", "network_args.num_layers=1",
    "network_args.entity_size=2", "network_args.relations=none", "network_args.pooling=max", "t_max=8",
    "learner_args.sequence=2", "replay_args.batch_size=3", "runner_args.report_every=4", "eval_args.every=8",
    "eval_args.episodes=2", "env_args.episode_limit=4",
]  # fmt: skip


def configured(*words: str, config: str = "bc", env: str = "mpe") -> dict:
    return loader.load(config, env, commandline.updates([*SMALL, *words]))


def spread(agents: int) -> dict:
    """Return the settings of an environment, and its spec."""
    config = configured(f"env_args.num_agents={agents}")
    return {"env_args": config["env_args"], "spec": build.environment(config).spec}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return the folders of datasets by the size of the team; nobody played, the rows are random."""
    found, rows = {}, 12
    for agents in (2, 3):
        of = spread(agents)
        traj = jax.tree.map(lambda x: np.asarray(x)[0], random_rows_of(of["spec"], rows, agents))
        card = {
            "format": 1, "env": "mpe", "env_args": of["env_args"], "task": f"mpe/spread{agents}", "level": "random",
            "spec": spec_of(of["spec"]), "behaviour_known": False, "references": None, "packages": {}, "origins": [],
        }  # fmt: skip
        found[agents] = tmp_path_factory.mktemp("data") / f"spread-{agents}"
        store.write(found[agents], from_rows(traj, card, {}))
    return found


def random_rows_of(spec, rows: int, seed: int):
    """Return whole episodes of four steps, one after the other."""
    traj = random_rows(spec, 1, rows, seed)
    step = np.arange(rows)[None] % 4
    after = {name: np.roll(np.asarray(getattr(traj, own)), -1, axis=1) for name, own in FOLLOWED_BY.items()}
    extras = PolicyExtras(log_prob=(), policy=(), entropy=())
    return traj.replace(**after, extras=extras, first=step == 0, terminated=step > 4, truncated=step == 3)


def of_both(folders, *words: str, **named: str) -> build.Built:
    return build.build(configured(f"runner_args.rows={folders[2]}, {folders[3]}", *words, **named))


def test_both_are_learned_from_and_going_on_is_like_never_having_stopped(folders):
    built = of_both(folders, "network_args.encoder=entities")
    whole = [(report, jax.device_get(state.learner)) for report, state in built.run(5)]
    assert len(whole) == 2 and whole[1][0].metrics["train/loss"] > 0 and whole[1][0].metrics["replay/weight_mean"] == 1
    assert "eval/policy/return" in whole[1][0].metrics
    first = next(iter(built.run(5)))[1]
    again = built.run(5, first)
    jax.tree.map(np.testing.assert_array_equal, [jax.device_get(s.learner) for _, s in again][-1], whole[1][1])


def test_values_keep_a_scale_of_rewards_for_each_and_a_checkpoint_can_be_read_without_the_data():
    parts = build.parts(configured("runner_args.rows=gone, lost", config="vdn_cql"))
    stats = jax.eval_shape(parts.learner.init, jax.random.key(0)).stats
    assert len(stats) == 2 and jax.tree.structure(stats[0]) == jax.tree.structure(stats[1])


@pytest.mark.parametrize(
    ("words", "named", "told"),
    [
        (["network_args.encoder=flat"], {}, "of 2 agents, does not fit: the parameter actor.body"),
        (["network_args.encoder=flat"], {}, "in this run's environment, of 3; set network_args.encoder=entities"),
        (["runner_args.rows=nowhere, here"], {}, "nowhere is no dataset; several at once have to be folders"),
        (["env_args.scenario=matrix"], {"env": "matrix_game"}, "is of env 'mpe', and this run plays 'matrix_game'"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_datasets_name(folders, words, named, told):
    words = [word for word in words if not word.startswith("env_args")]
    with pytest.raises(loader.ConfigError, match=told):
        if named:
            play = loader.load(
                "bc", "matrix_game", commandline.updates([f"runner_args.rows={folders[2]},{folders[3]}"])
            )
            build.build(play)
        of_both(folders, *words)


def test_a_dataset_of_other_sizes_than_its_settings_say_is_refused_field_by_field(folders, tmp_path):
    data = store.read(folders[2])
    odd = data._replace(card=data.card | {"spec": data.card["spec"] | {"episode_limit": 9}})
    store.write(tmp_path / "odd", odd)
    with pytest.raises(loader.ConfigError, match=r"odd does not fit .*episode_limit 9 against 4"):
        of_both({2: tmp_path / "odd", 3: folders[3]}, "network_args.encoder=entities")
