"""Recorded rows that are held once: a sample is what the rows say, at the end of an episode as well."""

import jax
import jax.numpy as jnp
import numpy as np

from tandem.data import recorded
from tandem.ops.streams import stream, whole
from tests.datasets import made


def test_samples_are_stretches_of_the_rows_with_their_true_successors():
    rows = jax.tree.map(lambda x: x[None], made.rows())
    replay = recorded.make(recorded.Config(batch_size=200), 1, 3)
    state = replay.store.hold(stream(rows))
    batch = jax.jit(replay.source.sample)(state, jax.random.key(5), jnp.zeros(()))
    at = np.asarray(batch.index)[:, None] + np.arange(3)
    assert set(batch.index.tolist()) == set(range(15))
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, np.asarray(y)[0][at]), batch.traj, rows)


def test_successors_are_held_of_ends_alone_and_can_be_put_back():
    rows = jax.tree.map(lambda x: x[None], made.rows())
    held = stream(rows)
    assert held.rows.next_obs.shape == (1, len(made.LENGTHS), made.AGENTS, made.OBS)
    jax.tree.map(np.testing.assert_array_equal, whole(held), rows)


def test_fewer_rows_than_a_sequence_are_too_few():
    state = recorded.hold(stream(jax.tree.map(lambda x: x[None], made.rows())))
    assert recorded.make(recorded.Config(), 1, 17).source.ready(state)
    assert not recorded.make(recorded.Config(), 1, 18).source.ready(state)
