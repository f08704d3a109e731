"""`python src/main.py batch`: trains one configuration with several seeds, as many at once as fit the machine."""

from collections.abc import Sequence

from tandem.commands import arguments, flags
from tandem.config.commandline import UsageError
from tandem.experiments import batch, seeds

DESCRIPTION = """Train one configuration with several seeds, as many at once as fit the machine.

You can call it again: it skips finished seeds and resumes interrupted ones from their last checkpoint, or from the
beginning if they have none. Other settings make another batch. Ctrl-C saves and ends all runs."""
EXAMPLE = "example: python src/main.py batch --config=mazero_seq --env-config=mpe --seeds=5 with max_minutes=20"


def main(words: Sequence[str]) -> int:
    """Run the command and return the exit status: 0 all seeds are finished, 1 not all, 130 interrupted."""
    given, request = arguments.parse(parser(), words)
    wanted = seeds.parse(given.seeds)
    if any(update.key == "seed" for update in request.updates):
        raise UsageError("seed=...: use --seeds for the seeds of a batch (./run.sh CONFIG ENV_CONFIG SEEDS)")
    return batch.run(request, wanted, batch.asked_jobs(given.jobs))


def parser() -> flags.Parser:
    own = flags.parser("batch", DESCRIPTION)
    own.epilog = EXAMPLE
    own.take("--seeds", required=True)
    own.take("--jobs")
    return own
