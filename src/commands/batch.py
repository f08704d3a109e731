"""`python src/main.py batch`: one configuration under several seeds, as many at once as the machine has room for."""

from collections.abc import Sequence

from tandem.commands import arguments, flags
from tandem.config.commandline import UsageError
from tandem.experiments import batch, seeds

DESCRIPTION = """Train one configuration under several seeds, as many at once as the machine has room for.

It is safe to call again: finished seeds are skipped, those cut off are resumed from their last checkpoint, or from
their beginning if they had not come to one. Other settings make another batch. Ctrl-C ends all runs and saves them."""
EXAMPLE = "example: python src/main.py batch --config=mazero_seq --env-config=mpe --seeds=5 with max_minutes=20"


def main(words: Sequence[str]) -> int:
    """Run the command and return the exit status: 0 all seeds are finished, 1 not all, 130 interrupted."""
    given, request = arguments.parse(parser(), words)
    wanted = seeds.parse(given.seeds)
    if any(update.key == "seed" for update in request.updates):
        raise UsageError("seed=: the seeds of a batch are named by --seeds (./run.sh CONFIG ENV_CONFIG SEEDS)")
    return batch.run(request, wanted, batch.asked_jobs(given.jobs))


def parser() -> flags.Parser:
    own = flags.parser("batch", DESCRIPTION)
    own.epilog = EXAMPLE
    own.take("--seeds", required=True)
    own.take("--jobs")
    return own
