"""Runs that memory cannot hold are refused before anything is compiled, with both numbers and the setting to lower."""

import jax
import pytest

from tandem import build, footprint, machine
from tandem.config import commandline, loader
from tandem.config.loader import ConfigError
from tandem.machine import GIB, Limit
from tests.test_main import SMALL

ROOMY = "the memory of a test"


def built(*updates: str, config: str = "mazero_seq", env_config: str = "matrix_game"):
    settings = loader.load(
        config, env_config, commandline.updates([*(SMALL if config == "mazero_seq" else []), *updates])
    )
    return build.build(settings), settings


@pytest.fixture
def free(monkeypatch):
    """Make so many bytes free, and no other limit."""
    return lambda size: monkeypatch.setattr(machine, "limits", lambda: iter([Limit(int(size), ROOMY)]))


def refused(*updates: str, **names) -> str:
    made, settings = built(*updates, **names)
    with pytest.raises(ConfigError) as error:
        footprint.check(made, settings)
    (sentence,) = error.value.mistakes
    assert ROOMY in sentence and "GiB" in sentence and sentence.endswith("lower it")
    return sentence


@pytest.mark.parametrize(
    ("setting", "more"),
    [
        ("replay_args.capacity=100000000", []),
        ("replay_args.capacity=2000000000", []),
        ("replay_args.capacity=1000000000", ["replay=prioritised"]),
        ("eval_args.episodes=2000000000", []),
        ("replay_args.batch_size=90000000", []),
        (
            "runner_args.num_envs=40000000",
            ["t_max=2000000000", "replay_args.capacity=160000000", "runner_args.rollout_length=1"],
        ),
    ],
)
def test_what_makes_a_run_too_large_is_named(free, setting, more):
    free(8 * GIB)
    sentence = refused(setting, *more)
    named = (
        "replay_args.capacity" if setting.startswith("runner_args") else setting
    )  # its rows are more than its states
    assert sentence.startswith(named) and "8.00 GiB are free" in sentence


def test_a_rollout_too_long_is_named_where_nothing_else_is_kept(free):
    free(2 * GIB)
    assert refused("runner_args.rollout_length=4000000", "t_max=900000000", config="mappo").startswith(
        "runner_args.rollout_length="
    )


def test_a_run_that_just_fits_is_let_through(free):
    made, settings = built()
    state = made.run.shapes()
    taken = sum(share.size for share in footprint.shares(made, state, settings)) + footprint.WORKING
    free(taken + footprint.size(state))
    footprint.check(made, settings)
    free(taken)
    footprint.check(made, settings, copies=False)
    with pytest.raises(ConfigError, match="a copy for checkpoints|needs"):
        footprint.check(made, settings)


def test_the_replay_is_counted_to_the_byte():
    made, settings = built()
    (replay,) = [share for share in footprint.shares(made, made.run.shapes(), settings) if share.name == "replay"]
    assert replay.size == sum(x.nbytes for x in jax.tree.leaves(made.run.initial(0).replay))


def test_an_accelerators_memory_is_compared_with_what_is_on_it_alone(free, monkeypatch):
    free(64 * GIB)
    monkeypatch.setattr(footprint, "on_device", lambda: Limit(GIB, "the memory of a test"))
    assert refused("replay_args.capacity=10000000").startswith("replay_args.capacity")
    made, settings = built()
    free(footprint.size(made.run.shapes()) + footprint.WORKING)
    footprint.check(made, settings)


def test_rows_that_32_bits_do_not_count_are_refused_before_anything_is_built():
    with pytest.raises(ConfigError, match="replay_args.capacity .*at most 2147483647"):
        built("replay_args.capacity=3000000000")
