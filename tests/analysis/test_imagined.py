"""What is imagined of real episodes, how accurate it is, and the pictures of both."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tandem.analysis import film, imagined, imagined_film, open_loop_figure
from tandem.analysis.episodes import Episode
from tandem.analysis.imagined_panels import colours
from tandem.core import Dreamt, SequenceModel
from tandem.ops.open_loop import Errors, Tally
from tandem.scene import Disc, Drawing, Scene

N, A, OBS, CONTEXT, HORIZON = 2, 3, 5, 3, 4


def begin(params, obs, action, first, room):
    return obs[:, -1], obs[:, -1]


def step(params, carry, action, alive, key):
    """What is seen grows by what is done; an end is expected once the first number is above 30."""
    grown = jnp.where(alive[..., None], carry + action[..., None], carry)
    over = grown[:, 0, 0] > 30
    return grown, Dreamt(
        obs=grown, reward=action.sum(axis=-1).astype(jnp.float32), continues=1.0 - over.astype(jnp.float32),
        legal=jnp.ones((*action.shape, A)), alive=alive.astype(jnp.float32),
    )  # fmt: skip


WORLD = SequenceModel(
    agent=None, longest=CONTEXT + HORIZON, see=lambda params, obs: obs + 0.0, losses=None, loss_names=(),
    metric_names=(), settle=None, begin=begin, step=step,
)  # fmt: skip


def episode(length: int, wrong_from: int = 99, seed: int = 1) -> Episode:
    """An episode that goes as WORLD says, until everything is again as it was at the end of the context."""
    action = np.random.default_rng(seed).integers(1, A, (length, N)).astype(np.int32)
    obs = np.concatenate([np.zeros((1, N)), action.cumsum(axis=0)])[..., None].repeat(OBS, axis=-1).astype(np.float32)
    obs[wrong_from:] = obs[CONTEXT - 1]
    return Episode(
        states=list(obs), action=action, policy=None, legal=np.ones((length, N, A), bool),
        alive=np.ones((length + 1, N), bool), reward=action.sum(axis=-1).astype(np.float32), metrics={}, obs=obs,
        last_legal=np.zeros((N, A), bool),
    )  # fmt: skip


@pytest.fixture(scope="module")
def dreams():
    """Episodes of 14 and of 9 steps; the second falls back at step 6."""
    episodes = [episode(14), episode(9, wrong_from=6, seed=2)]
    return episodes, imagined.imagine(WORLD, (), episodes, CONTEXT, HORIZON, jax.random.key(0))


def test_dreams_go_on_from_themselves_with_the_real_actions(dreams):
    """14 steps are 12 of dreams of 4: what one dream ends with, the next begins with."""
    (whole, _), (found, _) = dreams
    np.testing.assert_allclose(found.obs, whole.obs, atol=1e-5)
    np.testing.assert_allclose(found.error[CONTEXT:], 0.0, atol=1e-5)
    assert np.isnan(found.error[:CONTEXT]).all() and np.isnan(found.reward[: CONTEXT - 1]).all()
    np.testing.assert_allclose(found.reward[CONTEXT - 1 :], whole.reward[CONTEXT - 1 :])
    still = np.abs(whole.obs[CONTEXT - 1] - whole.obs).mean(axis=(1, 2))
    np.testing.assert_allclose(found.still[CONTEXT:], still[CONTEXT:], rtol=1e-5)
    assert found.parted is None and found.ended is None and found.obs.shape == whole.obs.shape


def test_a_dream_parts_where_it_is_half_as_wrong_as_a_still_picture(dreams):
    (_, stopped), (_, found) = dreams
    assert len(found.obs) == 10 and len(found.reward) == 9
    away = np.abs(found.obs - stopped.obs).mean(axis=(1, 2))
    still = np.abs(stopped.obs[CONTEXT - 1] - stopped.obs).mean(axis=(1, 2))
    np.testing.assert_allclose(found.error[CONTEXT:], away[CONTEXT:], rtol=1e-5)
    assert found.parted == next(t for t in range(CONTEXT, 10) if away[t] > still[t] / 2) == 6
    few = np.array([np.nan, 0.4, 0.6, 0.4])
    assert found._replace(error=few, still=np.ones(4)).parted == 2


def test_an_imagined_end_is_where_going_on_is_unlikely():
    (found,) = imagined.imagine(WORLD, (), [episode(40)], CONTEXT, HORIZON, jax.random.key(0))
    assert found.ended == next(t for t in range(41) if found.obs[t, 0, 0] > 30)


def test_starts_are_real_rows_and_what_followed_them():
    episodes = [episode(5), episode(9, seed=2)._replace(cut_off=True)]
    start, real = imagined.starts(episodes, CONTEXT, HORIZON, 300, jax.random.key(4))
    met, possible = set(), [(0, s) for s in range(3)] + [(1, s) for s in range(7)]
    for b in range(300):
        e, s = next(
            (e, s) for e, s in possible
            if np.array_equal(episodes[e].obs[s : s + CONTEXT], start.obs[b])
            and np.array_equal(episodes[e].action[s : s + CONTEXT - 1], start.action[b])
        )  # fmt: skip
        met.add((e, s))
        length = len(episodes[e].reward)
        for h in range(HORIZON):
            t = s + CONTEXT - 1 + h
            if t < length:
                np.testing.assert_array_equal(real.next_obs[b, h], episodes[e].obs[t + 1])
                np.testing.assert_array_equal(real.action[b, h], episodes[e].action[t])
                assert real.reward[b, h] == episodes[e].reward[t]
                assert (real.terminated[b, h], real.truncated[b, h]) == ((t, e) == (4, 0), (t, e) == (8, 1))
        assert start.first[b].tolist() == [s == 0, False, False]
    assert met == set(possible)


def test_of_a_perfect_model_there_is_no_error():
    found = imagined.open_loop(WORLD, (), [episode(12), episode(9, seed=2)], CONTEXT, HORIZON, 50, jax.random.key(1))
    numbers = open_loop_figure.numbers(found)
    np.testing.assert_allclose(numbers["obs_error"]["imagined"], 0.0, atol=1e-4)
    np.testing.assert_allclose(numbers["reward_error"]["imagined"], 0.0, atol=1e-6)
    still = numbers["obs_error"]["nothing_changes"]
    assert len(still) == HORIZON and all(b > a + 1 for a, b in zip(still, still[1:]))


def test_the_figure_and_its_numbers_tell_what_was_not_met(tmp_path):
    met, never = Tally(np.array([2.0, 8.0]), np.array([4.0, 4.0])), Tally(np.zeros(2), np.zeros(2))
    errors = Errors(met, met, met, met, never, met, met, met)
    found = open_loop_figure.numbers(errors)
    assert found["end_probability"]["where_it_ended"] == [None, None]
    assert found["end_probability"]["share_that_ended"] == [0.0, 0.0] and found["obs_error"]["imagined"] == [0.5, 2.0]
    np.testing.assert_allclose(found["reward_error"]["imagined"], [0.4, 1.6])  # the variance is 10 / 8
    figure, png = open_loop_figure.save(open_loop_figure.draw(found, "a title"), found, tmp_path / "a")
    assert figure.stat().st_size > 5000 and json.loads(png.read_text()) == json.loads(json.dumps(found))
    texts = [text.get_text() for axes in open_loop_figure.draw(found, "").axes for text in axes.texts]
    assert texts == ["no episode ended here"]


def scene(state, action) -> Scene:
    """A disc as far to the right as the first number says."""
    return Scene((Disc(float(state[0, 0]), 1.0, 1.0, 0, "x"),), (0.0, -9.0, 30.0, 11.0))


@pytest.mark.parametrize("drawn", [True, False])
def test_frames_show_both_sides_and_the_step_at_which_they_part(dreams, drawn):
    """Where observations say where things are the scene is drawn twice, else they are colours."""
    episodes, found = dreams
    drawing = Drawing(
        agents=("a", "b"),
        actions=(("0", "1", "2"),) * N,
        scene=scene,
        rebuilt=(lambda state, obs: obs) if drawn else None,
    )
    made = imagined_film.make_film(drawing, episodes, found, "a title")
    assert len(made.frames) == 15 + 10 and made.starts == [0, 15]
    whole, parted = made.frames[14], made.frames[24]
    assert whole.shape == (film.HEIGHT, film.WIDTH, 3)
    middle, top, floor = imagined_film.MIDDLE, imagined_film.TOP + imagined_film.NAMES, imagined_film.FLOOR
    left, right = whole[top:floor, :middle], whole[top:floor, middle:]
    assert (left[:, 2:-2] == right[:, 2:-2]).all() == drawn  # the same, for the model is right
    if drawn:
        assert (parted[top:floor, 2 : middle - 2] != parted[top:floor, middle + 2 : -2]).any()
    header = (slice(40, 60), slice(middle, None))
    assert (whole[header] == whole[45, middle]).all() and (parted[header] != whole[45, middle]).any()


def test_colours_say_sign_and_size():
    table = colours(np.array([[-2.0, 0.0, 1.0, 9.0]]), np.array([2.0, 2.0, 2.0, 2.0]))
    assert table.shape == (1, 4, 3) and table.dtype == np.uint8
    assert table[0].tolist() == [[0, 114, 178], [251, 251, 249], [232, 172, 124], [213, 94, 0]]
