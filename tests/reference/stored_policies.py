"""Recorded runs that were never trained: a record, and a checkpoint with random parameters."""

import json
from pathlib import Path

import jax
import numpy as np

from tandem import build
from tandem.config import commandline, loader
from tandem.core import PyTree
from tandem.records import checkpoint
from tandem.records.checkpoint_folder import Meta, folder

STEP = 77


def write(results: Path, run_id: int, alg: str, env: str, *settings: str) -> Path:
    """Write a run into a results folder and return its folder.

    Every parameter is noise, because heads that begin at zero would make all policies alike.
    """
    config = loader.load(alg, env, commandline.updates(settings))
    record = results / "sacred" / str(run_id)
    record.mkdir(parents=True)
    (record / "config.json").write_text(json.dumps(config))
    learner = build.build(config | {"results_dir": str(results)}).learner
    params = random_params(jax.eval_shape(learner.init, jax.random.key(0)).params, run_id)
    arrays, names = checkpoint.split({"learner": {"params": params}})
    path = folder(results, str(run_id)) / str(STEP)
    path.parent.mkdir(parents=True)
    checkpoint.write(path, arrays, Meta(STEP, 7, 1.5, {}, names))
    return record


def random_params(like: PyTree, seed: int) -> PyTree:
    """Return parameters that look like a tree of jax.ShapeDtypeStruct, all of them noise; nothing is compiled."""
    numbers = np.random.default_rng(seed)
    return jax.tree.map(lambda x: 0.3 * numbers.standard_normal(x.shape, x.dtype), like)
