"""Ablations: variants on environments with several seeds. Reads the file, trains its batches and compares them."""

import dataclasses
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tandem import program
from tandem.analysis import comparison, full_report, histories
from tandem.config import commandline, yaml_files
from tandem.config.commandline import Request, UsageError
from tandem.config.schema import LONGEST_NAME, is_file_name
from tandem.config.values import MOST_OF_A_PATH, shortened, shown, written
from tandem.experiments import batch, seeds
from tandem.experiments.configuration import resolve
from tandem.hiding import hidden
from tandem.registry import nearest

KEYS = ("name", "seeds", "settings", "environments", "variants", "report")
PARTS = {"environments": "env_config", "variants": "config"}
REPORT = ("metric", "x", "threshold", "at")


@dataclasses.dataclass(frozen=True)
class Cell:
    """A variant on an environment."""

    variant: str
    environment: str
    request: Request  # what to train, apart from the seed

    @property
    def settings(self) -> list[str]:
        """The settings of its runs, key=value."""
        return [f"{update.key}={update.raw}" for update in self.request.updates]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan in a file."""

    name: str
    seeds: str
    cells: tuple[Cell, ...]
    question: full_report.Question


def run(plan: Plan, jobs: str) -> int:
    """Run one batch after the other and return the worst exit status; Ctrl-C ends the batch that
    runs, and no other is started.

    Args:
      jobs: runs at once.
    """
    worst = batch.OK
    for cell in plan.cells:
        print(f"\n{plan.name}: {cell.variant} on {cell.environment}", flush=True)
        status = batch.run(cell.request, seeds.parse(plan.seeds), jobs)
        if status == batch.INTERRUPTED:
            return status
        worst = max(worst, status)
    return worst


def typed(plan: Plan, cell: Cell, jobs: str | None) -> str:
    """Return the command line that would train a cell alone."""
    names = [f"--config={cell.request.config}", f"--env-config={cell.request.env_config}", f"--seeds={plan.seeds}"]
    words = [*names, *([] if jobs is None else [f"--jobs={jobs}"]), "with", *cell.settings]
    return program.named(f"{program.SCRIPT} batch {shlex.join(map(hidden, words))}")


def report(plan: Plan, configs: Sequence[Mapping[str, Any]], results: Path) -> None:
    """Compare all recorded runs of the plan; the results are written to results/ablations/<name>.

    Raises:
      UsageError: there are none, or they cannot be compared.
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
    try:
        found, left_out = histories.from_folders(list(environments), results)
        full_report.write(found, left_out, plan.question, results / "ablations" / plan.name, environments)
    except histories.SourceError as error:
        raise UsageError(f"ablation: {error}") from None


def checked(cell: Cell, builds: bool = True) -> dict[str, Any]:
    """Return a cell's configuration.

    Args:
      builds: whether to build its parts as a check; recorded runs need no such check.

    Raises:
      UsageError: it cannot be used, or its parts do not fit each other; the message names variant and environment.
    """
    try:
        return resolve(cell.request, builds)
    except UsageError as error:
        raise UsageError(f"ablation: variant '{cell.variant}' on '{cell.environment}': {error}") from None


def read(path: Path, chosen_seeds: str | None, results_dir: str) -> Plan:
    """Return the plan in a file.

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
            raise UsageError(f"ablation: {path}: '{key}' is empty; see `python src/main.py ablation --help`")
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
    return Plan(name, number, cells, _question(path, content.get("report")))


def _question(path: Path, given: Any) -> full_report.Question:
    """Return the settings of the comparison; mistakes are reported now, not after all training."""
    chosen = _mapping(path, "report", given, REPORT)
    axis = chosen.get("x", "steps")
    if axis not in comparison.AXES:
        wanted = f"one of {', '.join(comparison.AXES)}"
        raise UsageError(f"ablation: {path}: report: x: got {shown(axis)}, expected {wanted}")
    numbers = {key: _number(path, f"report: {key}", chosen.get(key)) for key in ("at", "threshold")}
    return full_report.Question(str(chosen.get("metric", comparison.RETURN)), axis, **numbers)


def _number(path: Path, what: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"ablation: {path}: {what}: got {shown(value)}, expected a number")
    return number


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
            f"ablation: {path}: '{key}' is not a setting of an ablation; seeds, names and `with results_dir=` set it"
        )
    merged |= {"name": variant, "results_dir": results_dir}
    updates = commandline.updates(f"{key}={written(value)}" for key, value in merged.items())
    config, env_config = str(chosen["variants"]), str(chosen["environments"])
    names = {"--config": config, "--env-config": env_config}
    return Cell(variant, environment, Request("train", (), config, env_config, updates, (), names))


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
