"""Both replays: whole sequences of one environment, in order, and nothing else, whatever was added before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.data import prioritised, sequences, uniform
from tests.data.rows import assert_same, block, example, tagged

NUM_ENVS, NUM_SLOTS, LENGTH, BATCH = 3, 17, 4, 128
CAPACITY = NUM_ENVS * NUM_SLOTS + 2  # not a multiple: the rest is left out
MODULES = [prioritised, uniform]
ADDS = {
    "before it is full": [4, 1, 1, 5, 3],
    "exactly full, then on": [5, 12, 1, 1],
    "all at once, twice": [17, 17],
    "wrapped several times": [7, 7, 7, 7, 7, 13, 1, 16, 1, 4],
}


def make(module, **settings):
    config = module.Config(capacity=CAPACITY, batch_size=BATCH, min_size=1, **settings)
    replay = module.make(config, NUM_ENVS, LENGTH)
    store = replay.store._replace(
        add=jax.jit(replay.store.add, donate_argnums=0),
        overwrite_extras=jax.jit(replay.store.overwrite_extras, donate_argnums=0),
    )
    source = replay.source._replace(
        sample=jax.jit(replay.source.sample), set_priorities=jax.jit(replay.source.set_priorities, donate_argnums=0)
    )
    return replay._replace(store=store, source=source)


@pytest.fixture(scope="module", params=MODULES, ids=["prioritised", "uniform"])
def replay(request: pytest.FixtureRequest):
    return make(request.param)


def empty(replay):
    """Return a new state whose every row, still unwritten, is marked by environment -7."""
    state = replay.store.init(example())
    unwritten = tagged(np.full((NUM_ENVS, NUM_SLOTS), -7), np.full((NUM_ENVS, NUM_SLOTS), -7))
    return state.replace(experience=jax.tree.map(jnp.asarray, unwritten))


def filled(replay, lengths):
    """Return the state after blocks of these lengths, and how many rows each environment has been given."""
    state, written = empty(replay), 0
    for length in lengths:
        state = replay.store.add(state, block(NUM_ENVS, written, length))
        written += length
    return state, written


def draw(replay, state, num_batches: int):
    """Return `num_batches` batches as one, with the leading axes merged."""
    keys = jax.random.split(jax.random.key(0), num_batches)
    batches = [replay.source.sample(state, key, jnp.float32(0.5)) for key in keys]
    return jax.tree.map(lambda *x: np.concatenate(x), *batches)


def check_alignment(batch, written: int) -> set[tuple[int, int]]:
    """Assert that each sequence is one environment's, consecutive and stored; return the
    (environment, time) it began at.
    """
    start = batch.traj.env_step[:, 0]
    env = batch.traj.extras.rank[:, 0, 0]
    assert np.all((env >= 0) & (env < NUM_ENVS))
    assert np.all(start >= max(0, written - NUM_SLOTS)) and np.all(start + LENGTH <= written)
    times = start[:, None] + np.arange(LENGTH)
    assert_same(batch.traj, tagged(np.repeat(env[:, None], LENGTH, 1), times))
    np.testing.assert_array_equal(batch.index, env * NUM_SLOTS + start % NUM_SLOTS)
    return set(zip(env.tolist(), start.tolist(), strict=True))


@pytest.mark.parametrize("lengths", ADDS.values(), ids=ADDS.keys())
def test_every_sequence_is_one_environments_consecutive_stored_rows_and_all_are_drawn(replay, lengths: list[int]):
    state, written = empty(replay), 0
    for length in lengths:
        state = replay.store.add(state, block(NUM_ENVS, written, length))
        written += length
        drawn = check_alignment(draw(replay, state, num_batches=20), written)
        # Of at most 42 sequences one is missed by 2560 uniform draws with probability below 1e-24.
        starts = range(max(0, written - NUM_SLOTS), written - LENGTH + 1)
        assert drawn == {(env, start) for env in range(NUM_ENVS) for start in starts}


def test_sequences_stay_aligned_while_priorities_change_and_rows_are_overwritten():
    replay = make(prioritised)
    state, written = filled(replay, [13])
    rng = np.random.default_rng(0)
    for length in [1, 5, 1, 9, 2, 2, 2, 17, 1, 1, 1, 16, 3]:
        batch = replay.source.sample(state, jax.random.key(written), jnp.float32(0.5))
        state = replay.store.add(state, block(NUM_ENVS, written, length))
        written += length
        # By now some of these sequences are gone, and the write head stands in others.
        state = replay.source.set_priorities(
            state, batch.index, jnp.asarray(rng.exponential(size=BATCH) ** 3, jnp.float32)
        )
        check_alignment(draw(replay, state, num_batches=5), written)


def test_ready_waits_for_enough_rows_and_one_whole_sequence():
    for module in MODULES:
        large = module.make(module.Config(capacity=CAPACITY, batch_size=5, min_size=17), NUM_ENVS, LENGTH)
        small = module.make(module.Config(capacity=CAPACITY, batch_size=5, min_size=1), NUM_ENVS, LENGTH)
        state, answers, add = large.store.init(example()), [], jax.jit(large.store.add)
        for time in range(7):
            state = add(state, block(NUM_ENVS, time, 1))
            answers.append((bool(small.source.ready(state)), bool(large.source.ready(state))))
        assert [small for small, _ in answers] == [False] * 3 + [True] * 4
        assert [large for _, large in answers] == [False] * 5 + [True] * 2  # 15 rows after five steps, 18 after six
        assert large.source.ready(add(state, block(NUM_ENVS, 7, 17)))


def test_overwrite_extras_touches_the_first_rows_of_the_sequences_and_nothing_else(replay):
    state, written = filled(replay, [9, 13])
    before = jax.tree.map(np.array, state.experience)
    index = replay.source.sample(state, jax.random.key(1), jnp.float32(0.5)).index[:11]
    marks = -1 - np.arange(11)
    new = tagged(marks, marks).extras
    after = jax.tree.map(np.asarray, replay.store.overwrite_extras(state, index, new).experience)
    expected = jax.tree.map(np.copy, before.extras)
    for position, where in enumerate(np.asarray(index)):  # one after the other: the last of repeated ones stays
        for stored, put in zip(jax.tree.leaves(expected), jax.tree.leaves(new), strict=True):
            stored[where // NUM_SLOTS, where % NUM_SLOTS] = put[position]
    assert_same(after, before.replace(extras=expected))


def test_the_last_of_repeated_indices_is_told_from_the_others():
    index = jnp.array([4, 7, 4, 4, 9, 7, 0])
    np.testing.assert_array_equal(sequences.last_occurrence(index), [False, False, False, True, True, True, True])


@pytest.mark.parametrize("module", MODULES, ids=["prioritised", "uniform"])
def test_state_keeps_its_types_and_its_memory_in_a_loop(module):
    replay = module.make(module.Config(capacity=CAPACITY, batch_size=31, min_size=1), NUM_ENVS, LENGTH)

    def cycle(state, key):
        state = replay.store.add(state, block(NUM_ENVS, 0, 5))

        def update(state, key):
            batch = replay.source.sample(state, key, jnp.float32(0.5))
            state = replay.source.set_priorities(state, batch.index, batch.traj.reward[:, 0, 0] * batch.weight)
            extras = jax.tree.map(lambda x: x[:, 0], batch.traj.extras)
            return replay.store.overwrite_extras(state, batch.index, extras), jnp.sum(batch.traj.next_obs)

        return jax.lax.scan(update, state, jax.random.split(key, 3))

    state = jax.tree.map(jnp.copy, replay.store.init(example()))
    compiled = jax.jit(cycle, donate_argnums=0).lower(state, jax.random.key(0)).compile()
    kept = {f"[{NUM_ENVS},{NUM_SLOTS}"} | (
        {"[127]"} if module is prioritised else set()
    )  # the ring, the tree over its 51 rows
    assert {
        size for size in kept if size in compiled.as_text()
    } == kept  # or the search for copies would look for nothing
    assert "copy(" in compiled.as_text()  # of other, smaller things: so copies are written
    for size in kept:
        copies = [
            line for line in compiled.as_text().splitlines() if " copy(" in line and size in line.split(" copy(")[0]
        ]
        assert not copies, copies
    where = state.experience.obs.unsafe_buffer_pointer()
    state, _ = compiled(state, jax.random.key(0))
    assert state.experience.obs.unsafe_buffer_pointer() == where


@pytest.mark.parametrize("module", MODULES, ids=["prioritised", "uniform"])
def test_sizes_that_cannot_work_are_refused(module):
    with pytest.raises(ValueError, match="capacity=20 is 6 rows for each of 3 environments.*21 or more"):
        module.make(module.Config(capacity=20, min_size=1), 3, 7)
    with pytest.raises(ValueError, match="min_size=61 is more than the capacity of 60 rows"):
        module.make(module.Config(capacity=62, min_size=61), 3, 7)


def test_a_sequence_across_an_episode_that_was_given_up_tells_where(replay):
    rows = block(NUM_ENVS, 0, 9)
    first, never = np.zeros((NUM_ENVS, 9), bool), np.zeros((NUM_ENVS, 9), bool)
    first[:, 5] = True
    state = replay.store.add(empty(replay), rows.replace(first=first, terminated=never, truncated=never))
    traj = draw(replay, state, 2).traj
    seen = np.arange(LENGTH - 1)[None] == 4 - traj.env_step[:, :1]  # row 4, where its successor is in the sequence
    np.testing.assert_array_equal(traj.truncated[:, :-1], seen)
    assert seen.any() and not traj.truncated[:, -1].any() and not traj.terminated.any()
