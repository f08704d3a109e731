"""`python src/main.py tune`: automated hyperparameter search; each trial is an ordinary recorded run."""

from collections.abc import Sequence

from tandem.commands import arguments, flags
from tandem.config.commandline import MONGO, Request, UsageError
from tandem.config.values import shown
from tandem.experiments import search_space, tuning
from tandem.hiding import hidden

DESCRIPTION = """Search for good settings with Ray Tune. Each trial is an ordinary run in results/sacred/.

The space is a YAML file, or the name of an example in src/config/spaces/ (mazero, mappo). Each line names a setting:
  learner_args.learning_rate: {log_uniform: [3.0e-4, 3.0e-3]}     also: uniform, int_uniform, log_int_uniform
  planner_args.num_simulations: {choice: [4, 8, 16]}              one value is drawn
  learner_args.unroll: [2, 4]                                     a list: each value is tried with every draw"""
EXAMPLE = "example: python src/main.py tune --config=mazero_seq --env-config=mpe --space=mazero with max_minutes=5"


def main(words: Sequence[str]) -> int:
    """Run the command and return the exit status: 0 a best configuration is written, 1 none, 130 interrupted."""
    return tuning.run(*read(words))


def read(words: Sequence[str]) -> tuple[tuning.Search, Request]:
    """Return what to search for, and the configuration that all trials share.

    Raises:
      UsageError: a flag or value is unknown, or the space cannot be read.
    """
    given, request = arguments.parse(parser(), words)
    address = [update.raw for update in request.updates if update.key == "ray_address"]
    given.ray_address = given.ray_address or (address or [None])[-1]
    for name in ("samples", "concurrent"):
        number = getattr(given, name)
        if number is not None and not 1 <= number <= tuning.MOST_TRIALS:
            wanted = f"a whole number, 1 or more, at most {tuning.MOST_TRIALS}"
            raise UsageError(f"--{name}={shown(number)}: expected {wanted}")
    if not 0 < given.grace < 100:
        raise UsageError(f"--grace={given.grace:g}: expected a percentage above 0 and below 100")
    _check_mongo(request)
    chosen = vars(given)
    space = search_space.read(chosen["space"])
    chosen |= {"file": chosen["space"], "space": space, "sampler": given.sampler or tuning.default_sampler(space)}
    updates = tuple(one for one in request.updates if one.key != "ray_address")
    return tuning.Search(**chosen), request._replace(updates=updates)


def _check_mongo(request: Request) -> None:
    """Raise if the address of MongoDB would store a password in the command lines of trials."""
    if request.mongo:
        raise UsageError(f"{MONGO}: name the MongoDB of a sweep by TANDEM_MONGO_URL or `with mongo_url=URL` instead")
    if any(update.key == "mongo_url" and hidden(str(update.raw)) != update.raw for update in request.updates):
        raise UsageError(
            "mongo_url: a sweep stores its trials' command lines; put an address with a password into TANDEM_MONGO_URL"
        )


def parser() -> flags.Parser:
    own = flags.parser("tune", DESCRIPTION)
    own.epilog = EXAMPLE
    own.add_argument(
        "--space", required=True, metavar="FILE", help="the search space: a YAML file, or an example's name"
    )
    own.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help=f"number of draws from the space (default: {tuning.SAMPLES}; a grid has none)",
    )
    own.add_argument("--sampler", choices=tuning.SAMPLERS, help="default: random, or grid if the space has only lists")
    own.add_argument(
        "--scheduler", choices=tuning.SCHEDULERS, default="asha", help="asha (default) stops poor trials early"
    )
    own.add_argument(
        "--grace",
        type=flags.number,
        default=11.0,
        metavar="PERCENT",
        help="asha stops no trial before this percentage of its t_max or max_minutes (default: 11)",
    )
    own.take("--metric", help="metric to compare (default: eval/search/return, or eval/policy/return without search)")
    own.add_argument("--mode", choices=tuning.MODES, default="max", help="whether more or less of the metric is better")
    own.add_argument(
        "--concurrent", type=int, metavar="N", help="number of parallel trials (default: as many as fit the machine)"
    )
    own.add_argument("--ray-address", metavar="HOST:PORT", help="join this Ray cluster (also: with ray_address=...)")
    return own
