"""A run that begins with the parameters of another: `init_from=RUN`."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from tandem import build, main
from tandem.commands.resuming import Again
from tandem.config import commandline, loader
from tandem.config.loader import ConfigError
from tandem.records import checkpoint
from tandem.records.checkpoint_folder import Meta, folder

SMALL = (
    "network_args.hidden_size=4",
    "network_args.memory=gru",
    "network_args.num_layers=1",
    "learner_args.sequence=2",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Run 1 of VDN with four units and a memory, all of whose arrays are noise."""
    results = tmp_path_factory.mktemp("begun") / "results"
    config = loader.load("vdn", "matrix_game", commandline.updates(SMALL)) | {"results_dir": str(results)}
    (results / "sacred" / "1").mkdir(parents=True)
    (results / "sacred" / "1" / "config.json").write_text(json.dumps(config))
    shapes = jax.eval_shape(build.build(config).learner.init, jax.random.key(0))
    numbers = np.random.default_rng(5)
    state = jax.tree.map(lambda x: (9 * numbers.random(x.shape)).astype(x.dtype), shapes)
    arrays, names = checkpoint.split({"learner": state})
    path = folder(results, "1") / "77"
    path.parent.mkdir(parents=True)
    checkpoint.write(path, arrays, Meta(77, 7, 1.5, {}, names))
    return results, state


def config(results, *settings, name="1"):
    updates = commandline.updates([*SMALL, f"init_from={name}", *settings])
    return loader.load("vdn", "matrix_game", updates) | {"results_dir": str(results)}


def test_parameters_target_and_units_are_the_other_runs_and_the_optimiser_is_new(results):
    folder, stored = results
    learner = build.build(config(folder), begins=True).learner
    plain = build.build(config(folder, "init_from=''")).learner.init(jax.random.key(2))
    for seed in (2, 3):
        begun = learner.init(jax.random.key(seed))
        for part in ("params", "target", "stats"):
            jax.tree.map(np.testing.assert_array_equal, getattr(begun, part), getattr(stored, part))
        jax.tree.map(np.testing.assert_array_equal, begun.opt, plain.opt)
        assert begun.step == 0
    assert jax.tree.structure(begun) == jax.tree.structure(plain) and jax.tree.leaves(begun.target)


def test_who_looks_at_a_run_or_goes_on_with_it_needs_no_other(results):
    missing = config(results[0], name="9")
    assert build.build(missing).learner.init is not None
    with pytest.raises(ConfigError, match="no run '9'"):
        build.build(missing, begins=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["network_args.hidden_size=5"], "init_from=1: learner.params.agents.* is float32.* in that run and float32"),
        (["network_args.dueling=true"], "situation.* is absent in that run and wanted in this one"),
        (["network_args.memory=none"], "agents.gru.* is there in that run and absent in this one"),
    ],
)
def test_what_does_not_fit_is_named_in_a_sentence(results, settings, said):
    with pytest.raises(ConfigError, match=said):
        build.build(config(results[0], *settings), begins=True)


@pytest.mark.parametrize(
    ("again", "begins"),
    [
        (None, True),
        (Again(None, {}, resumes=False, path=None), True),  # repeated
        (Again(None, {}, resumes=True, path=Path("77")), False),
        (Again(None, {}, resumes=True, path=None), True),  # killed before it had saved anything
    ],
)
def test_a_run_begins_unless_it_goes_on_from_a_checkpoint(monkeypatch, again, begins):
    class Asked(Exception):
        pass

    def stop(config, begins):
        raise Asked(begins)

    monkeypatch.setattr(build, "build", stop)
    with pytest.raises(Asked) as found:
        main.add_train(None, {}, again)
    assert found.value.args == (begins,)
