"""Films of episodes: what is on them, and that players can read them."""

import functools
import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace

import imageio_ffmpeg
import jax
import numpy as np
import pytest
from PIL import Image

from tandem.analysis import film, panel
from tandem.analysis.canvas import Canvas
from tandem.analysis.episodes import make_player
from tandem.analysis.host_episodes import make_host_player
from tandem.analysis.pictures import Pictures
from tandem.commands import imagined, render
from tandem.config.commandline import UsageError
from tandem.core import Plan, Planner, PolicyExtras
from tandem.envs import matrix_game, mpe, smax
from tandem.models.imagination import model
from tandem.restored import Network, Restored
from tests.reference import dream_runs
from tests.reference.compiled import quick_jit
from tests.reference.host_games import Troubled, hang

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
        return carry, Plan(
            action=action, extras=PolicyExtras(log_prob=policy[..., 0], policy=policy, entropy=policy[..., 0])
        )

    return Planner(init=lambda batch: (), plan=plan, plays="policy")


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
    for first, second in itertools.pairwise(found.frames):
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


def test_of_an_environments_own_pictures_only_some_are_kept_however_long_the_episode_lasts():
    kept = Pictures(most=20, size=(11, 7))
    for step in range(1001):
        kept.append(np.full((14, 33, 3), step % 251, np.uint8))
    assert len(kept) == 1001 and len(kept.kept) <= 20 and kept.stride == 64
    assert kept[1000].max() == 1000 % 251 and kept[64].max() == 64 and kept[0].shape == (5, 11, 3)
    assert kept[127].max() == 64  # the nearest before


@pytest.mark.jaxmarl
def test_a_program_that_hangs_ends_the_film_and_is_closed():
    game = Troubled(ENVS["mpe"](), 3, hang)
    game.reset(0)
    game.step(np.zeros(game.spec.num_agents, np.int32))  # compiled: what is timed below is the game
    limit = render.until(math.inf, 2.0)
    play = make_host_player(lambda: game, random_planner(game.spec), 1, 20, (99, 99), limit)
    with pytest.raises(TimeoutError, match="no answer for 2 seconds"):
        play(None, jax.random.key(1))
    assert game.left == 0 and game.closed == 1


@pytest.mark.jaxmarl
def test_episodes_that_take_too_long_end_the_film():
    env = ENVS["mpe"]()
    play = make_player(env, random_planner(env.spec), 2, render.until(0.0))
    with pytest.raises(TimeoutError, match="took longer than 0 seconds"):
        play(None, jax.random.key(3))


def test_a_film_that_cannot_be_made_changes_nothing_of_the_finished_run(tmp_path, monkeypatch, capsys):
    def fail(run):
        raise raised

    monkeypatch.setattr(render, "find", lambda folder: folder)
    monkeypatch.setattr(render, "film_at_end", fail)
    end = render.FilmAtEnd(tmp_path)
    end.started_event(None, None, None, None, None, None, "7")
    for raised, said in ((ValueError("odd"), "ValueError: odd"), (KeyboardInterrupt(), "interrupted")):
        end.completed_event(None, 1.0)
        assert f"no film: {said}; try `python src/main.py render --run={tmp_path / '7'}`" in capsys.readouterr().out


def test_a_film_that_ffmpeg_does_not_finish_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(film, "_encode", lambda made, path: path.write_bytes(b"only half"))
    with pytest.raises(OSError, match="could not finish the film"):
        film.write_mp4(None, tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_the_measures_at_an_episodes_end_fit_on_the_panel():
    """simple_spread has the most of them: its last, the score, was cut off."""
    end = "end: collisions 12, landmark distance 0.03496, occupied 5, score -0.1234"
    room = (film.PANEL, 10, film.WIDTH - 16, 100)
    canvas = Canvas(film.WIDTH, film.HEIGHT)
    panel.draw_header(canvas, room, "title", ("", "", end), "1.00")
    pixels = canvas.pixels()
    background = pixels[0, 0]
    assert (pixels[:, film.WIDTH - 16 :] == background).all()
    assert (pixels[84:97, film.WIDTH - 140 : film.WIDTH - 16] != background).any()


def dreaming_run() -> Restored:
    """A run of `marie` on the two-step game that has learned nothing yet."""
    game = matrix_game.Config(scenario="two_step")
    parts = dream_runs.parts(game, 800, context=2)
    net = model.make(dream_runs.NETWORK, parts["env"].spec)
    state = quick_jit(parts["learner"].init)(jax.random.key(0))
    return Restored(
        env=parts["env"], planner=parts["planner"], players=parts["players"], params=net.acting(state.params), step=7,
        config={"seed": 1, "name": "marie", "env": "matrix_game", "env_args": {"scenario": "two_step"},
                "learner": "marie", "learner_args": {"context": 2, "horizon": 2}},
        network=lambda: Network(model=net, state=state, returns=parts["learner"].returns),
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_imagined_films_lie_beside_how_accurate_the_model_is(tmp_path, monkeypatch, quick_compiling):
    monkeypatch.setattr(imagined, "PLAYED", 11)
    paths = render.with_dreams(dreaming_run(), tmp_path / "x", 2, "policy")
    assert [path.name for path in paths] == ["x.mp4", "x.gif", "x.png", "x.json"]
    with Image.open(paths[1]) as gif:
        assert gif.n_frames == 6  # two episodes of two steps
    found = json.loads(paths[3].read_text())
    assert (found["context"], found["starts"], found["episodes"]) == (2, 256, 11)
    assert found["rows"] == [256, 0]  # after two real steps an episode has one more to come
    assert found["end_probability"]["share_that_ended"] == [1.0, None]


def test_runs_that_imagine_nothing_are_told_so():
    restored = SimpleNamespace(config={"learner": "ppo", "learner_args": {}}, network=lambda: None)
    with pytest.raises(UsageError, match="learner=ppo fits no model that imagines what agents see; a run with .*marie"):
        imagined.dreamer(restored)


@pytest.mark.parametrize(
    ("chosen", "message"), [({"page": True}, "call render once for each"), ({"run": None}, "imagines nothing")]
)
def test_flags_that_imagined_films_do_not_go_with_are_named(monkeypatch, chosen, message):
    options = SimpleNamespace(**{"player": None, "run": "1", "page": False, "imagined": True, "out": None} | chosen)
    monkeypatch.setattr(render.restoring, "read", lambda parser, words: (options, None))
    with pytest.raises(UsageError, match=message):
        render.main([])
