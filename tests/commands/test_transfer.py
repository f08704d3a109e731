"""`transfer`: recorded runs play with teams of other sizes, and what does not fit is refused in a sentence."""

import json
import os
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem import main
from tandem.commands import evaluate, scripted, transfer_play
from tandem.config.commandline import UsageError
from tandem.core import Discrete, EnvSpec, Numbers, TimeStep, Vector
from tests.reference import stored_policies
from tests.reference.compiled import quick_jit

SMALL = ("network_args.hidden_size=8", "network_args.num_layers=1", "env_args.episode_limit=2")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Runs 1 and 2 of one configuration, with the scenario's own three agents; run 4 reads flat."""
    folder = tmp_path_factory.mktemp("transfer") / "results"
    entities = (*SMALL, "network_args.entity_size=4", "network_args.encoder=entities")
    with jax.numpy_rank_promotion("allow"):
        for run_id in (1, 2):
            stored_policies.write(folder, run_id, "pqn_vdn", "mpe", *entities, f"seed={run_id}")
        stored_policies.write(folder, 4, "pqn_vdn", "mpe", *SMALL, "network_args.encoder=flat")
    return folder


@pytest.fixture
def typed(results, monkeypatch, capsys):
    """Return a function that runs `transfer` beside the runs and returns (status, stdout, stderr)."""
    monkeypatch.chdir(results.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ["JAX_COMPILATION_CACHE_DIR"])

    def typed(*words):
        status = main.main(("transfer", *words))
        return status, *capsys.readouterr()

    return typed


@pytest.fixture
def quick(monkeypatch):
    """Compile without optimisation, for programs that run once."""
    parts = {"jit": quick_jit, "device_get": jax.device_get, "random": jax.random}
    monkeypatch.setattr(evaluate, "jax", SimpleNamespace(**parts))


@pytest.mark.jaxmarl
def test_a_matrix_of_runs_and_sizes(typed, quick, tmp_path):
    words = ("--run=1,2", "--sizes=2,3", "--experts=2", "--episodes=5", f"--out={tmp_path / 'out'}")
    status, out, err = typed(*words)
    assert status == 0, err
    assert "playing: random play, 2 agents\n" in err and "playing: run 2, 3 agents\n" in err
    assert "│ pqn_vdn, 3 agents " in out and "│ 2 seeds " in out and "run 2" in out and "optimal" in out
    found = json.loads((tmp_path / "out" / "transfer.json").read_text())
    (row,) = found["rows"]
    assert row["home"] == "3 agents" and [run["run"] for run in row["runs"]] == ["1", "2"]
    assert row["runs"][0]["step"] == 77
    assert [found["tasks"][name]["expert_name"] for name in ("2 agents", "3 agents")] == ["optimal", "run 2"]
    earned = {
        (name, run["run"]): run["played"][name]["return"]["mean"] for name in found["tasks"] for run in row["runs"]
    }
    assert len({round(value, 3) for value in earned.values()}) == 4  # each set of parameters plays as itself
    for name, task in found["tasks"].items():
        low, high = (task[who]["return"]["mean"] for who in ("random", "expert"))
        scores = [(earned[name, run] - low) / (high - low) for run in ("1", "2")]
        assert row["scores"][name] == pytest.approx(np.mean(scores)) if high > low else row["scores"][name] is None
    assert earned["3 agents", "2"] == found["tasks"]["3 agents"]["expert"]["return"]["mean"]
    assert (tmp_path / "out" / "transfer.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "out" / "transfer.csv").read_text().splitlines()) == 5


@pytest.mark.jaxmarl
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--run=4", "--sizes=3,5"], ["run 4 does not fit: learner.params.agents", "--sizes=5", "encoder=entities"]),
        (["--run=1", "--sizes=8m"], ["env_args.map_name", "--sizes=8m", "no such setting"]),
        (["--run=1", "--sizes=env_args.num_agents=2+seed=4"], ["'seed=4' is no setting of the environment"]),
        (["--run=1", "--sizes=2,2"], ["--sizes", "different words"]),
        (["--run=1"], ["--sizes"]),
        (["--run=9", "--sizes=2"], ["no run '9'"]),
        (["--run=1", "--sizes=2", "--checkpoint=5"], ["no checkpoint '5'"]),
        (["--run=1", "--sizes=2", "--player=search"], ["--player=search", "this run has policy"]),
        (["--run=1", "--sizes=2", "--episodes=0"], ["--episodes", "1 or more"]),
    ],
)
def test_what_cannot_be_played_is_said_in_a_sentence(typed, results, words, expected):
    status, out, err = typed(*words)
    assert status == 2 and not out and not (results / "transfer").exists()
    for text in expected:
        assert text in err


def test_a_size_is_a_number_a_map_or_settings_of_the_environment():
    def said(word):
        return [(update.key, update.value) for update in transfer_play.size(word)]

    assert said("5") == [("env_args.num_agents", 5)] and said("8m") == [("env_args.map_name", "8m")]
    assert said("env_args.num_agents=4+env_args.episode_limit=50") == [
        ("env_args.num_agents", 4), ("env_args.episode_limit", 50)
    ]  # fmt: skip
    with pytest.raises(UsageError, match="expected env_args.KEY=VALUE"):
        transfer_play.size("num_agents=4")


@pytest.mark.parametrize("actions", [Discrete(4), Numbers(2)], ids=["discrete", "continuous"])
def test_play_at_random_draws_from_all_that_is_legal_alike(actions):
    batch, agents = 4000, 3
    spec = EnvSpec(
        num_agents=agents, obs=Vector(5), state=Vector(1), actions=actions, episode_limit=7, shared_reward=False
    )
    legal = jnp.ones((batch, agents, actions.size), bool)
    if not actions.continuous:
        legal = legal.at[:, 1, 0].set(False).at[:, 2, :3].set(False)
    timestep = TimeStep(
        **dict.fromkeys(("obs", "state", "alive", "present", "reward", "terminated", "truncated", "first")),
        legal=legal,
        metrics={},
    )
    planner = scripted.at_random(spec)
    _, plan = jax.jit(planner.plan, static_argnums=4)({}, (), timestep, jax.random.key(3), False)
    if actions.continuous:
        assert plan.action.shape == (batch, agents, 2) and float(jnp.abs(plan.action).max()) <= 1
        np.testing.assert_allclose(plan.action.std(axis=0), 3**-0.5, atol=0.05)
    else:
        shares = np.stack([np.bincount(plan.action[:, i], minlength=4) / batch for i in range(agents)])
        np.testing.assert_allclose(shares, legal[0] / legal[0].sum(-1, keepdims=True), atol=0.05)  # 6 deviations
        np.testing.assert_allclose(plan.extras.entropy[0], np.log([4, 3, 1]), rtol=1e-5)
