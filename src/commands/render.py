"""`render --run=RUN`, `render --scripted=NAME`: films of greedy episodes by what a recorded run has learned, or by a
policy by hand.
"""

import contextlib
import math
import os
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jax
from sacred.observers import RunObserver

from tandem import build, program
from tandem.analysis import film, replay_page
from tandem.analysis.episodes import Episode, make_player
from tandem.analysis.host_episodes import make_host_player
from tandem.analysis.opinions import NOBODY, Watcher, make_watcher
from tandem.commands import flags, imagined, restoring
from tandem.config.commandline import UsageError
from tandem.core import Environment
from tandem.core.metrics import AUTOREGRESSIVE, POLICY, SCRIPTED, SEARCH
from tandem.records import provenance
from tandem.records.curves import add_image
from tandem.records.places import title
from tandem.restored import Restored, restore
from tandem.runners.host.envs import time_limit
from tandem.records.runs import StoredRun, find

PLAYERS = (SEARCH, AUTOREGRESSIVE, POLICY)  # of a run
PAGE_HELP = "also write a page that plays the episodes in a browser, with what each agent thinks at each step"
IMAGINED_HELP = (
    "beside each episode what the run's model imagines of it, from the same start and with the same actions; also a "
    "figure of how accurate it is by how many steps it looks ahead"
)
EPISODES = 3
MOST_EPISODES = 100  # a film of more is watched by nobody
SECONDS = 300.0  # that the film at a run's end may take to be played, and to be written
NAME = "episodes"  # of the files that training leaves


def main(words: Sequence[str]) -> int:
    """Write an mp4 and a gif; return the exit status."""
    parser = restoring.parser(
        "render", "Film greedy episodes: the scene, each agent's action and its policy, the return."
    )
    parser.take(
        "--episodes",
        type=flags.count("episodes", MOST_EPISODES),
        default=EPISODES,
        help=f"how many (default: {EPISODES})",
    )
    parser.take("--player", choices=PLAYERS, help="who chooses the actions of a run (default: search if there is one)")
    parser.add_argument("--page", action="store_true", help=PAGE_HELP)
    parser.add_argument("--imagined", action="store_true", help=IMAGINED_HELP)
    out_help = "file to write, without its ending (default: in the run's folder)"
    parser.take("--out", type=flags.out_file, help=out_help)
    options, subject = restoring.read(parser, words)
    if options.player and options.run is None:
        parser.error("--player belongs to --run; a policy by hand plays in one way only")
    if options.imagined and options.run is None:
        parser.error("--imagined belongs to --run; a policy by hand imagines nothing")
    if options.imagined and options.page:
        parser.error("--imagined and --page are two films; call render once for each")
    restored = subject.restored
    player = chosen_player(restored, options.player)
    name = "imagined" if options.imagined else NAME
    out = options.out or subject.folder / f"{name}-{restored.step}-{player}"
    with contextlib.suppress(OSError):
        out.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(out.parent, os.W_OK):
        raise UsageError(f"render: {out.parent} cannot be written; name another place with --out=FILE")
    written = with_dreams if options.imagined else with_page if options.page else render
    for path in written(restored, out, options.episodes, player):
        print(f"written: {path}", flush=True)
    return 0


def chosen_player(restored: Restored, asked: str | None = None) -> str:
    """Return the name of who plays: as asked for, else the way to play that the run is judged by.

    Raises:
      UsageError: the run cannot play in the way that was asked for.
    """
    if asked is not None and asked not in restored.players:
        raise UsageError(f"render: --player={asked}: this run has {', '.join(restored.players)}")
    return asked or next(name for name in (*PLAYERS, SCRIPTED) if name in restored.players)


def render(restored: Restored, out: Path, num_episodes: int = EPISODES, player: str | None = None) -> list[Path]:
    """Write `out`.mp4 and `out`.gif; return their paths."""
    return write(make(restored, num_episodes, player), out)


def make(restored: Restored, num_episodes: int, player: str | None = None, seconds: float = math.inf) -> film.Film:
    """Return the film of episodes that the run's seed and the checkpoint's step decide.

    Raises:
      TimeoutError: they are not played after so many seconds, or the environment does not answer.
    """
    return filmed(restored, played(restored, num_episodes, chosen_player(restored, player), seconds))


def filmed(restored: Restored, episodes: list[Episode]) -> film.Film:
    """Return the film of episodes."""
    return film.make_film(getattr(restored.env, "drawing", None), episodes, heading(restored))


def heading(restored: Restored) -> str:
    """Return what is shown in one line."""
    return f"{title(restored.config)}, step {restored.step:,}"


def played(
    restored: Restored, num_episodes: int, player: str, seconds: float = math.inf, watcher: Watcher = NOBODY
) -> list[Episode]:
    """Return episodes by a player, with what the watcher thinks of their steps.

    Raises:
      TimeoutError: as `make`.
    """
    planner = restored.players[player]
    key = jax.random.fold_in(jax.random.key(restored.config["seed"]), restored.step)
    if isinstance(restored.env, Environment):
        play = make_player(restored.env, planner, num_episodes, until(seconds), watcher)
    else:
        limit = until(seconds, restored.config["runner_args"]["env_timeout"])
        make_env, size = build.remake(restored.config).make_env, (film.PANEL, film.HEIGHT)
        play = make_host_player(make_env, planner, num_episodes, film.MOST_FRAMES, size, limit, watcher)
    return play(restored.params, key)


def with_page(restored: Restored, out: Path, num_episodes: int, player: str) -> list[Path]:
    """Write `out`.html, `out`.mp4 and `out`.gif; return their paths."""
    episodes = played(restored, num_episodes, player, watcher=watcher(restored, player))
    drawing = getattr(restored.env, "drawing", None)
    shown = replay_page.describe(drawing, episodes, heading(restored), player, restored.config["discount"])
    page = replay_page.write(shown, out.with_name(f"{out.name}.html"))
    return [page, *write(filmed(restored, episodes), out)]


def with_dreams(restored: Restored, out: Path, num_episodes: int, player: str) -> list[Path]:
    """Write `out`.mp4 and `out`.gif of real and imagined episodes, `out`.png and `out`.json of how accurate these are;
    return their paths.
    """
    found = imagined.dreamer(restored)
    episodes = played(restored, imagined.num_played(restored, num_episodes), player)
    made, paths = imagined.write(restored, found, episodes, num_episodes, heading(restored), out)
    return [*write(made, out), *paths]


def watcher(restored: Restored, player: str) -> Watcher:
    """Return who looks at what a player does with the run's network; nobody where there is none."""
    if restored.network is None:
        return NOBODY
    network = restored.network()
    alone = restored.players.get(POLICY) if player != POLICY else None
    return make_watcher(network.model, network.state, restored.params, alone, network.returns)


def until(seconds: float, each: float = 0.0) -> Callable[[], AbstractContextManager]:
    """Return limit(), within which TimeoutError is raised `seconds` from now, and `each` (0 = never) from its start."""
    deadline = time.monotonic() + seconds

    def limit() -> AbstractContextManager:
        left = deadline - time.monotonic()
        if left <= 0.0:
            raise TimeoutError(f"the episodes took longer than {seconds:g} seconds")
        return time_limit(min(left, each or math.inf)) if left < math.inf or each else nullcontext()

    return limit


def write(made: film.Film, out: Path) -> list[Path]:
    """Write both files of a film; return their paths."""
    paths = [out.with_name(f"{out.name}.mp4"), out.with_name(f"{out.name}.gif")]
    film.write_mp4(made, paths[0])
    film.write_gif(made, paths[1])
    return paths


def film_at_end(run: StoredRun) -> list[Path]:
    """Write the film that training leaves, of its last checkpoint: into the run's folder, and a strip beside its
    curves.
    """
    restored = restore(run, "last")
    made = make(restored, EPISODES, seconds=SECONDS)
    curves = provenance.curves(run)
    if curves:
        add_image(run.results / curves, "films/episode", film.strip(made), restored.step)
    with time_limit(SECONDS):
        return write(made, run.folder / NAME)


class FilmAtEnd(RunObserver):
    """Makes the film of a finished run, once its record says that it is finished; whatever happens, the
    run stays so.
    """

    priority = 15  # after the file record (20), and before MongoDB (10), which takes the film along

    def __init__(self, records: Path):
        self.records = records

    def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id) -> None:
        self.folder = self.records / str(_id)

    def completed_event(self, stop_time: Any, result: Any) -> None:
        if result is None:  # nothing that was learned can be played
            return
        try:
            for path in film_at_end(find(str(self.folder))):
                print(f"film:    {path}", flush=True)
        except KeyboardInterrupt:
            self._none("interrupted")
        except Exception as error:  # the training is over and recorded
            self._none(f"{type(error).__name__}: {error}")

    def _none(self, why: str) -> None:
        with contextlib.suppress(OSError):  # nobody is left to read it
            again = f"{program.SCRIPT} render --run={shlex.quote(str(self.folder))}"
            print(program.named(f"no film: {why}; try `{again}`"), flush=True)
