"""Tandem: multi-agent planning and world models in JAX.

`tandem.load` returns what a recorded run has learned, ready to act; see docs/guides/python_and_export.md.
"""

from typing import TYPE_CHECKING, Any

from tandem.program import VERSION as __version__

if TYPE_CHECKING:
    from tandem.playing import Policy

__all__ = ["__version__", "load"]


def load(run: Any, checkpoint: str = "best", *, results_dir: str = "results", **settings: Any) -> "Policy":
    """Return the decentralised policy of a recorded run: `action, memory = policy.act(obs, legal, memory)`.

    Args:
      run: a run's folder ("results/sacred/3"), or its id (3), which is looked for in `results_dir`.
      checkpoint: "best" by evaluation, "last", or an environment step ("25600").
      results_dir: the folder of all records.
      settings: of the run, to lay over its own; a section is a dict: `env_args={"num_agents": 5}`.

    Raises:
      ValueError: there is no such run or checkpoint, or the run has no decentralised policy; one sentence.
    """
    from tandem import playing  # brings JAX along, which the command line does without for a while

    return playing.load(run, checkpoint, results_dir=results_dir, settings=settings)
