"""Scripted players: `evaluate --scripted=NAME` and `render --scripted=NAME`, and what is said where there is none."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem import main
from tandem.commands import scripted
from tandem.core import EnvSpec, Numbers, TimeStep, Vector


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command line in an empty folder and returns (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ["JAX_COMPILATION_CACHE_DIR"])

    def typed(*words):
        status = main.main(words)
        return status, *capsys.readouterr()

    return typed


@pytest.mark.jaxmarl
def test_a_scripted_player_is_evaluated_without_a_run(typed, tmp_path):
    words = ("evaluate", "--scripted=optimal", "--env-config=mpe", "with", "env_args.num_agents=2")
    status, out, err = typed(*words, "eval_args.episodes=37", "seed=4")
    assert status == 0, err
    assert "optimal on mpe/simple_spread, seed 4" in out and "return, scripted" in out and "score, scripted" in out
    (path,) = tmp_path.glob("results/scripted/mpe/simple_spread/optimal-*/evaluation-0-*.json")
    found = json.loads(path.read_text())
    assert (found["player"], found["env"], found["episodes"], found["seed"]) == ("optimal", "mpe", 37, 4)
    assert found["env_args"]["num_agents"] == 2
    assert set(found["scripted"]) == {
        "return", "length", "score", "collisions", "landmark_distance", "occupied", "entropy"
    }  # fmt: skip
    # The standard deviation of a score is 0.21, so 0.25 is seven standard errors.
    assert abs(found["scripted"]["score"]["mean"] - 1) < 0.25
    assert typed(*words, "eval_args.episodes=37", "seed=4")[1] == out  # the same episodes again


@pytest.mark.jaxmarl
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # writing a film starts ffmpeg beside JAX
def test_a_scripted_player_is_filmed(typed, tmp_path):
    status, out, err = typed("render", "--scripted=in_turns", "--episodes=1", "with", "env_args.episode_limit=3")
    assert status == 0, err
    paths = sorted(tmp_path.glob("results/scripted/mpe/simple_spread/in_turns-*/*"))
    assert [path.name for path in paths] == ["episodes-0-scripted.gif", "episodes-0-scripted.mp4"]
    assert all(path.stat().st_size > 1000 and f"written: {path.relative_to(tmp_path)}" in out for path in paths)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--scripted=optimall"], ["--scripted=optimall", "mean optimal", "nearest, identity, in_turns, optimal"]),
        (["--scripted=optimal", "with", "env_args.scenario=simple_tag"], ["mpe/simple_tag has no scripted players"]),
        (["--scripted=optimal", "--env-config=matrix_game"], ["matrix_game/climbing has no scripted players"]),
        (["--scripted=optimal", "--env-config=mpee"], ["--env-config", "mpee", "mpe"]),
        (["--scripted=optimal", "with", "learner_args.learning_rate=0.1"], ["learner_args.learning_rate", "leave it"]),
        (["--scripted=optimal", "with", "env_args.num_agent=5"], ["did you mean env_args.num_agents"]),
        (["--scripted=optimal", "--run=1"], ["either a run", "or a scripted policy"]),
        (["--scripted=optimal", "--checkpoint=last"], ["--checkpoint belongs to --run"]),
        (["--run=1", "--env-config=mpe"], ["--env-config belongs to --scripted"]),
        ([], ["--run=RUN", "--scripted=NAME", "--help"]),
    ],
)
@pytest.mark.jaxmarl
def test_what_cannot_be_played_is_said_in_a_sentence(typed, tmp_path, words, expected):
    status, out, err = typed("evaluate", *words)
    assert status == 2 and not out and not list(tmp_path.iterdir())
    for text in expected:
        assert text in err


@pytest.mark.jaxmarl
def test_a_scripted_player_of_a_film_is_not_chosen_a_second_time(typed):
    status, _, err = typed("render", "--scripted=optimal", "--player=policy")
    assert status == 2 and "--player belongs to --run" in err


def test_continuous_actions_are_played_as_they_are():
    spec = EnvSpec(
        num_agents=3, obs=Vector(5), state=Vector(1), actions=Numbers(2), episode_limit=7, shared_reward=False
    )
    timestep = TimeStep(
        **dict.fromkeys(("state", "legal", "present", "alive", "reward", "terminated", "truncated", "first")),
        obs=jnp.arange(60.0).reshape(4, 3, 5),
        metrics={},
    )
    planner = scripted.planner(lambda obs: obs[:, :2] / 100, spec)
    carry, plan = planner.plan({}, planner.init(4), timestep, jax.random.key(0), False)
    np.testing.assert_allclose(plan.action, timestep.obs[..., :2] / 100)
    np.testing.assert_array_equal(plan.extras.policy, plan.action)
    assert carry == () and plan.extras.entropy.shape == (4, 3) and not plan.extras.entropy.any()
