"""`render --run=RUN`: films of greedy episodes by what a recorded run has learned."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax

from src import build
from src.analysis import film
from src.analysis.episodes import make_player
from src.analysis.host_episodes import make_host_player
from src.commands import arguments, restoring
from src.config.commandline import UsageError
from src.core import Environment
from src.recording.curves import add_image
from src.recording.places import title
from src.restored import Restored, restore
from src.runs import StoredRun

PLAYERS = ("search", "autoregressive", "policy")
EPISODES = 3
MOST_EPISODES = 100  # a film of more is watched by nobody, and its frames are held in memory
NAME = "episodes"  # of the files that training leaves


def main(words: Sequence[str]) -> int:
    """Write an mp4 and a gif; return the exit status."""
    parser = restoring.parser("render", "Film greedy episodes: the scene, each agent's action and its policy, the return.")
    parser.add_argument("--episodes", type=_count, default=EPISODES, help=f"how many (default: {EPISODES})")
    parser.add_argument("--player", choices=PLAYERS, default="search", help="who chooses the actions (default: search)")
    out_help = "file to write, without its ending (default: in the run's folder)"
    parser.add_argument("--out", type=arguments.out_file, help=out_help)
    options, _, run, restored = restoring.read(parser, words)
    out = options.out or run.folder / f"{NAME}-{restored.env_step}-{options.player}"
    for path in render(restored, out, options.episodes, options.player):
        print(f"written: {path}", flush=True)
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= MOST_EPISODES:
        raise argparse.ArgumentTypeError(f"'{text}': expected a number of episodes, 1 to {MOST_EPISODES}")
    return int(text)


def render(restored: Restored, out: Path, num_episodes: int = EPISODES, player: str = "search") -> list[Path]:
    """Write `out`.mp4 and `out`.gif; return their paths."""
    return write(make(restored, num_episodes, player), out)


def make(restored: Restored, num_episodes: int, player: str) -> film.Film:
    """Return the film of episodes that the run's seed and the checkpoint's step decide."""
    players = {"search": restored.planner} | restored.players
    if player not in players:
        raise UsageError(f"render: --player={player}: this run has {', '.join(players)}")
    planner = players[player]
    key = jax.random.fold_in(jax.random.key(restored.config["seed"]), restored.env_step)
    if isinstance(restored.env, Environment):
        play, drawing = make_player(restored.env, planner, num_episodes), restored.env.drawing
    else:
        play, drawing = make_host_player(build.remake(restored.config).make_env, planner, num_episodes), None
    episodes = play(restored.params, key)
    return film.make_film(drawing, episodes, f"{title(restored.config)}, step {restored.env_step:,}")


def write(made: film.Film, out: Path) -> list[Path]:
    """Write both files of a film; return their paths."""
    paths = [out.with_name(f"{out.name}.mp4"), out.with_name(f"{out.name}.gif")]
    film.write_mp4(made, paths[0])
    film.write_gif(made, paths[1])
    return paths


def film_at_end(run: StoredRun) -> list[Path]:
    """Write the film that training leaves, of its last checkpoint: into the run's folder, and a strip beside its curves."""
    restored = restore(run, "last")
    made = make(restored, EPISODES, "search")
    curves = run.read("provenance.json").get("curves")
    if curves:
        add_image(run.results / curves, "films/episode", film.strip(made), restored.env_step)
    return write(made, run.folder / NAME)
