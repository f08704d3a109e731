"""Films of episodes: what is on them, and that players can read them."""

import functools
from pathlib import Path
from types import SimpleNamespace

import imageio_ffmpeg
import jax
import numpy as np
import pytest
from PIL import Image

from src.analysis import film
from src.analysis.episodes import make_player
from src.commands import render
from src.config.commandline import UsageError
from src.core import Plan, Planner, PolicyExtras
from src.envs import matrix_game, mpe, smax

ENVS = {
    "matrix_game": lambda: matrix_game.make(matrix_game.Config(scenario="two_step")),
    "mpe": lambda: mpe.make(mpe.Config(scenario="simple_tag", opponent="flee", episode_limit=5)),
    "smax": lambda: smax.make(smax.Config(map_name="3m", episode_limit=7)),
}


def random_planner(spec):
    """Return a planner that plays legal actions at random and says so."""

    def plan(params, carry, timestep, key, explore, progress):
        policy = timestep.legal / timestep.legal.sum(-1, keepdims=True)
        action = jax.random.categorical(key, np.log(1e-9) * (1 - timestep.legal))
        return carry, Plan(action=action, extras=PolicyExtras(log_prob=policy[..., 0], policy=policy, entropy=policy[..., 0]))

    return Planner(init=lambda batch: (), plan=plan)


@functools.cache
def made(name):
    env = ENVS[name]()
    episodes = make_player(env, random_planner(env.spec), 2)(None, jax.random.key(3))
    return episodes, film.make_film(env.drawing, episodes, name)


@pytest.mark.jaxmarl
@pytest.mark.parametrize("name", ENVS)
def test_every_environment_is_drawn_step_by_step(name):
    episodes, found = made(name)
    assert len(found.frames) == sum(len(episode.reward) + 1 for episode in episodes)
    assert all(frame.shape == (film.HEIGHT, film.WIDTH, 3) and frame.dtype == np.uint8 for frame in found.frames)
    for first, second in zip(found.frames, found.frames[1:]):
        assert (first != second).any()
    scene = found.frames[0][:, : film.PANEL]
    assert len(np.unique(scene.reshape(-1, 3), axis=0)) > 3  # not an empty field


@pytest.mark.jaxmarl
def test_of_long_episodes_only_some_steps_are_shown_and_always_the_ends(monkeypatch):
    episodes, whole = made("mpe")
    monkeypatch.setattr(film, "MOST_FRAMES", 5)
    env = ENVS["mpe"]()
    found = film.make_film(env.drawing, episodes, "mpe")
    lengths = [len(episode.reward) for episode in episodes]
    steps = [[*range(0, length, 2), length] for length in lengths]
    assert lengths == [5, 5] and len(found.frames) == sum(map(len, steps)) and found.starts == [0, len(steps[0])]
    for frame, step in zip(found.frames, steps[0]):
        np.testing.assert_array_equal(frame, whole.frames[step])


@pytest.mark.jaxmarl
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # reading, as writing, starts ffmpeg beside JAX
def test_films_can_be_read_back_with_all_their_frames(tmp_path, monkeypatch):
    _, found = made("mpe")
    monkeypatch.chdir(tmp_path)
    film.write_mp4(found, Path("a:[b].mp4"))  # ffmpeg takes what stands before a colon for a protocol
    (tmp_path / "a:[b].mp4").rename(tmp_path / "a.mp4")
    film.write_gif(found, tmp_path / "a.gif")
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "a.mp4"))
    assert frames == sum(found.repeats) and seconds == pytest.approx(frames / found.fps, abs=0.1)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == len(found.frames) and gif.size == (film.WIDTH, film.HEIGHT)


@pytest.mark.parametrize(("players", "first"), [("search autoregressive policy", "search"), ("policy", "policy")])
def test_who_plays_is_who_the_film_is_named_after(players, first):
    restored = SimpleNamespace(players=dict.fromkeys(players.split()))
    assert render.chosen_player(restored) == first and render.chosen_player(restored, "policy") == "policy"
    if first != "search":
        with pytest.raises(UsageError, match="--player=search: this run has policy"):
            render.chosen_player(restored, "search")


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--run=77"], "no run '77'"), (["--run=1", "--episodes=0"], "expected a number of episodes"), ([], "--run")],
)
def test_what_cannot_be_filmed_is_told(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        render.main(words)
