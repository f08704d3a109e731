"""`python src/main.py ablation FILE.yaml`: variants on environments under seeds, batch after batch, and their
comparison.
"""

import dataclasses
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from src.commands import arguments, batch, compare, flags
from src.experiments import seeds
from src.config import yaml_files
from src.config.commandline import UsageError
from src.config.schema import LONGEST_NAME, is_file_name
from src.config.values import MOST_OF_A_PATH, shortened, shown, written
from src.hiding import hidden
from src.registry import nearest

DESCRIPTION = """Train every variant of FILE.yaml on every environment under all seeds; --report compares the records.

Each variant on each environment is a seed batch: called again, finished seeds are skipped and those cut off go on.
FILE.yaml says

  name: heads                        # what the ablation is called
  seeds: 3                           # as for batch: a count, a list (1,4,7) or a range (2-5)
  settings: {max_minutes: 5}         # of all runs
  environments:
    spread: {env_config: mpe, settings: {env_args: {num_agents: 5}}}
  variants:
    attention: {config: mazero_seq, settings: {network_args: {policy_head: attention}}}
  report: {metric: eval/policy/return, x: time}   # of compare; may be left out

A variant's name labels its runs. Its settings win over the environment's, and these over those of all runs."""
EXAMPLE = """examples:
  python src/main.py ablation src/config/ablations/heads.yaml --dry-run
  python src/main.py ablation src/config/ablations/heads.yaml
  python src/main.py ablation src/config/ablations/heads.yaml --report"""
KEYS = ("name", "seeds", "settings", "environments", "variants", "report")
PARTS = {"environments": "env_config", "variants": "config"}
REPORT = ("metric", "x", "threshold", "at")
OK, FAILED = 0, 1


@dataclasses.dataclass(frozen=True)
class Cell:
    """A variant on an environment."""

    variant: str
    environment: str
    words: tuple[str, ...]  # the configuration, as `batch` takes it


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a file asks for."""

    name: str
    seeds: str
    cells: tuple[Cell, ...]
    report: Mapping[str, Any]


def main(words: Sequence[str]) -> int:
    """Run the command and return the exit status: 0 all seeds are finished (or reported on), 1 not all, 130
    interrupted.
    """
    own = flags.parser("ablation", DESCRIPTION)
    own.epilog = EXAMPLE
    own.add_argument("file", metavar="FILE.yaml", type=arguments.path, help="what to vary, and on what")
    own.add_argument("--seeds", help="instead of the file's")
    own.add_argument("--jobs", default="", help="runs at once, as for batch; default: $JOBS, or what fits")
    own.add_argument("--report", action="store_true", help="train nothing; compare what is recorded")
    own.add_argument("--dry-run", action="store_true", help="check all configurations and print the batches")
    own.add_argument("--results-dir", default="results", type=arguments.path, help="folder of all records")
    given = own.parse_args(list(words))
    batch.check_jobs(given.jobs or batch.AUTO)
    plan = read(Path(given.file), given.seeds, given.results_dir)
    configs = [checked(cell, builds=not given.report) for cell in plan.cells]
    if given.report:
        return report(plan, configs, Path(given.results_dir))
    commands = [[*cell.words[:2], f"--seeds={plan.seeds}", *jobs(given.jobs), *cell.words[2:]] for cell in plan.cells]
    if given.dry_run:
        print("\n".join("python src/main.py batch " + shlex.join(map(hidden, command)) for command in commands))
        return OK
    return run(plan, commands)


def jobs(given: str) -> list[str]:
    return [f"--jobs={given}"] if given else []


def run(plan: Plan, commands: Sequence[Sequence[str]]) -> int:
    """Run one batch after the other; Ctrl-C ends the one that runs, and no other is started."""
    worst = OK
    for cell, command in zip(plan.cells, commands, strict=True):
        print(f"\n{plan.name}: {cell.variant} on {cell.environment}", flush=True)
        status = batch.main(command)
        if status == batch.INTERRUPTED:
            return status
        worst = max(worst, status)
    return worst


def report(plan: Plan, configs: Sequence[Mapping[str, Any]], results: Path) -> int:
    """Compare all recorded runs of the plan, by the means of `compare`; its files lie under
    results/ablations/<name>.
    """
    wanted = seeds.parse(plan.seeds)
    environments = {}  # of each run, by its folder
    for cell, config in zip(plan.cells, configs, strict=True):
        recorded = seeds.Batch(config, wanted).recorded()
        missing = [str(seed) for seed in wanted if seed not in recorded]
        if missing:
            print(f"note: {cell.variant} on {cell.environment} has no run of seed {', '.join(missing)}")
        environments |= {str(run.folder): cell.environment for run in recorded.values()}
    if not environments:
        raise UsageError(f"ablation: no run of {plan.name} is recorded in {results}; leave --report out to train")
    options = report_words(plan.report)
    out = [f"--out={results / 'ablations' / plan.name}", f"--results-dir={results}"]
    return compare.main([*environments, *options, *out], environments)


def report_words(chosen: Mapping[str, Any]) -> list[str]:
    """Return the section `report` as flags of `compare`."""
    return [f"--{key}={value}" for key, value in chosen.items()]


def checked(cell: Cell, builds: bool = True) -> dict[str, Any]:
    """Return a cell's configuration.

    Args:
      builds: whether its parts are put together, to see that they fit; what is recorded needs no such proof.

    Raises:
      UsageError: it cannot be used, or its parts do not fit each other; the message names variant and environment.
    """
    try:
        return flags.resolve(flags.parse(flags.parser("ablation", ""), cell.words)[1], builds)
    except UsageError as error:
        raise UsageError(f"ablation: variant '{cell.variant}' on '{cell.environment}': {error}") from None


def read(path: Path, chosen_seeds: str | None, results_dir: str) -> Plan:
    """Return what a file asks for.

    Raises:
      UsageError: the file cannot be read, or a key is missing, unknown or of the wrong kind.
    """
    try:
        content = yaml_files.read(path)
    except yaml_files.Unreadable as error:
        raise UsageError(f"ablation: {shortened(str(path), MOST_OF_A_PATH)} cannot be read: {error}") from None
    content = _mapping(path, "the file", content, KEYS)
    for key in PARTS:
        if not content.get(key):
            raise UsageError(f"ablation: {path}: '{key}' names none; see `python src/main.py ablation --help`")
        content[key] = _mapping(path, key, content[key])
    shared = _settings(path, "settings", content.get("settings"))
    number = str(content.get("seeds", "") if chosen_seeds is None else chosen_seeds)
    seeds.parse(number)
    cells = tuple(
        _cell(path, variant, environment, content, shared, results_dir)
        for environment in content["environments"]
        for variant in content["variants"]
    )
    name = str(content.get("name", path.stem))
    if not is_file_name(name):
        wanted = f"a name that files can have, at most {LONGEST_NAME} bytes"
        raise UsageError(f"ablation: {path}: name: got {shown(name)}, expected {wanted}")
    return Plan(name, number, cells, _report(path, content.get("report")))


def _report(path: Path, given: Any) -> dict[str, Any]:
    """Return what the comparison is asked for; a mistake in it is told now, not when all is trained."""
    chosen = _mapping(path, "report", given, REPORT)
    try:
        compare.parser().parse_args(["1", *report_words(chosen)])
    except UsageError as error:
        raise UsageError(f"ablation: {path}: report: {error}") from None
    return chosen


def _cell(path: Path, variant: str, environment: str, content: Mapping, shared: Mapping, results_dir: str) -> Cell:
    """Return a variant on an environment, its settings merged: variant over environment over shared."""
    chosen, merged = {}, dict(shared)
    for family, name in (("environments", environment), ("variants", variant)):
        part = _mapping(path, f"{family}.{name}", content[family][name], (PARTS[family], "settings"))
        chosen[family] = part.get(PARTS[family])
        if not chosen[family]:
            raise UsageError(f"ablation: {path}: {family}.{name} needs '{PARTS[family]}'")
        merged |= _settings(path, f"{family}.{name}.settings", part.get("settings"))
    for key in {"seed", "name", "results_dir"} & merged.keys():
        raise UsageError(
            f"ablation: {path}: '{key}' is not a setting of an ablation: seeds, names and --results-dir say it"
        )
    merged |= {"name": variant, "results_dir": results_dir}
    settings = [f"{key}={written(value)}" for key, value in merged.items()]
    return Cell(
        variant,
        environment,
        (f"--config={chosen['variants']}", f"--env-config={chosen['environments']}", "with", *settings),
    )


def _mapping(path: Path, what: str, value: Any, known: Sequence[str] | None = None) -> dict[str, Any]:
    """Return a section as a dictionary, empty where it is left out.

    Raises:
      UsageError: it is none, or has a key that is not known.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"ablation: {path}: {what}: expected `key: value` lines, got {shown(value)}")
    for key in value:
        if known and key not in known:
            guess = nearest(str(key), known)
            hint = f"did you mean '{guess}'? " if guess else ""
            said = f"{shown(str(key))} is not known; {hint}known: {', '.join(known)}"
            raise UsageError(f"ablation: {path}: {what}: {said}")
    return {str(key): item for key, item in value.items()}


def _settings(path: Path, what: str, value: Any) -> dict[str, Any]:
    """Return a section of settings under dotted keys.

    Raises:
      UsageError: it is no section, or a key stands there both dotted and indented.
    """
    found = list(_flat(_mapping(path, what, value)))
    keys = [key for key, _ in found]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"ablation: {path}: {what}: {shown(key)} is written twice; keep one")
    return dict(found)


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested settings under dotted keys."""
    for key, value in settings.items():
        yield from _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else [(f"{above}{key}", value)]
