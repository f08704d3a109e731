"""`render --run=RUN --imagined`: films of real episodes beside what the run's model imagines of them, and how accurate
it is by how many steps it looks ahead.
"""

from pathlib import Path
from typing import NamedTuple

import jax

from tandem.analysis import film, imagined, imagined_film, open_loop_figure
from tandem.analysis.episodes import Episode
from tandem.config.commandline import UsageError
from tandem.core import Environment
from tandem.registry import FAMILIES, find
from tandem.restored import Network, Restored

FACE = "sequence_model"  # of networks that imagine what agents see
STARTS = 256  # from which the accuracy is measured
PLAYED, PLAYED_OUTSIDE = 48, 6  # episodes for it: in JAX, side by side; outside, one after the other


class Dreamer(NamedTuple):
    """A run's model, and how it dreams in training."""

    network: Network
    context: int
    horizon: int


def dreamer(restored: Restored) -> Dreamer:
    """Return the model of a run.

    Raises:
      UsageError: the run fits none that imagines what agents see.
    """
    learner, settings = restored.config["learner"], restored.config["learner_args"]
    if restored.network is None or FACE not in find("learner", learner).needs:
        able = [name for name, entry in FAMILIES["learner"].items() if FACE in entry.needs and not entry.broken]
        raise UsageError(
            f"render: --imagined: learner={learner} fits no model that imagines what agents see; a run with "
            f"learner={' or '.join(able)} has one. Leave --imagined out to film what is played"
        )
    network = restored.network()
    context = settings.get("context", 1)
    return Dreamer(network, context, settings.get("horizon", network.model.sequence_model.longest - context))


def num_played(restored: Restored, num_filmed: int) -> int:
    """Return how many episodes are played, of which the first are filmed."""
    return max(num_filmed, PLAYED if isinstance(restored.env, Environment) else PLAYED_OUTSIDE)


def write(
    restored: Restored, found: Dreamer, episodes: list[Episode], num_filmed: int, heading: str, out: Path
) -> tuple[film.Film, list[Path]]:
    """Write `out`.png and `out`.json, how accurate the model is on all episodes; return the film of the first ones
    beside what is imagined of them, and the paths.
    """
    world, params = found.network.model.sequence_model, found.network.state.params
    film_key, figure_key = jax.random.split(jax.random.fold_in(jax.random.key(restored.config["seed"]), restored.step))
    shown = episodes[:num_filmed]
    context = imagined.context_of(shown, found.context)
    dreams = imagined.imagine(world, params, shown, context, found.horizon, film_key)
    made = imagined_film.make_film(getattr(restored.env, "drawing", None), shown, dreams, heading)
    context = imagined.context_of(episodes, found.context)
    errors = imagined.open_loop(world, params, episodes, context, found.horizon, STARTS, figure_key)
    about = {"env_step": restored.step, "context": context, "starts": STARTS, "episodes": len(episodes)}
    result = about | open_loop_figure.numbers(errors)
    title = f"{heading}; {STARTS} starts in {len(episodes)} episodes, after {context} real steps"
    return made, open_loop_figure.save(open_loop_figure.draw(result, title), result, out)
