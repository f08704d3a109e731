"""`python src/main.py tune`: automated hyperparameter search, every trial an ordinary recorded run."""

from collections.abc import Sequence

from tandem.commands import arguments, flags
from tandem.config.commandline import MONGO, Request, UsageError
from tandem.config.values import shown
from tandem.experiments import search_space, tuning
from tandem.hiding import hidden

DESCRIPTION = """Search for good settings with Ray Tune. Every trial is an ordinary run under results/sacred/.

The space is a YAML file, or the name of an example in src/config/spaces/ (mazero, mappo). Each line names a setting:
  learner_args.learning_rate: {log_uniform: [3.0e-4, 3.0e-3]}     also: uniform, int_uniform, log_int_uniform
  planner_args.num_simulations: {choice: [4, 8, 16]}              one is drawn
  learner_args.unroll: [2, 4]                                     a list: each of them is tried with every draw"""
EXAMPLE = "example: python src/main.py tune --config=mazero_seq --env-config=mpe --space=mazero with max_minutes=5"


def main(words: Sequence[str]) -> int:
    """Run the command and return the exit status: 0 a best configuration is written, 1 none, 130 interrupted."""
    return tuning.run(*read(words))


def read(words: Sequence[str]) -> tuple[tuning.Search, Request]:
    """Return what to search for, and the configuration that all trials stand upon.

    Raises:
      UsageError: a flag or value that there is not, or a space that cannot be read.
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
    """Complain of a MongoDB that trials could not be told of without its password being written down."""
    if request.mongo:
        raise UsageError(f"{MONGO}: a sweep's trials take MongoDB from TANDEM_MONGO_URL, or from `with mongo_url=URL`")
    if any(update.key == "mongo_url" and hidden(str(update.raw)) != update.raw for update in request.updates):
        raise UsageError(
            "mongo_url: a sweep stores the command lines of its trials; put a MongoDB with a password into "
            "TANDEM_MONGO_URL"
        )


def parser() -> flags.Parser:
    own = flags.parser("tune", DESCRIPTION)
    own.epilog = EXAMPLE
    own.add_argument(
        "--space", required=True, metavar="FILE", help="what is searched: a YAML file, or an example's name"
    )
    own.add_argument(
        "--samples", type=int, metavar="N", help=f"draws from the space (default: {tuning.SAMPLES}; a grid has none)"
    )
    own.add_argument("--sampler", choices=tuning.SAMPLERS, help="default: random; grid where the space has only lists")
    own.add_argument(
        "--scheduler", choices=tuning.SCHEDULERS, default="asha", help="asha (default) stops poor trials early"
    )
    own.add_argument(
        "--grace",
        type=flags.number,
        default=11.0,
        metavar="PERCENT",
        help="asha: no trial is stopped before this much of its t_max or max_minutes (default: 11)",
    )
    own.take("--metric", help="what is compared (default: eval/search/return, eval/policy/return without search)")
    own.add_argument("--mode", choices=tuning.MODES, default="max", help="whether more or less of it is better")
    own.add_argument(
        "--concurrent", type=int, metavar="N", help="trials at once (default: what the machine has room for)"
    )
    own.add_argument("--ray-address", metavar="HOST:PORT", help="join this Ray cluster (also: with ray_address=...)")
    return own
