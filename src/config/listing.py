"""What `--help` and `list` print."""

import textwrap
from collections.abc import Sequence

from tandem import plugins
from tandem.config import files
from tandem.config.commandline import DEFAULTS, UsageError
from tandem.registry import FAMILIES, GROUPS, find, nearest, suggestion

USAGE = """Tandem: multi-agent planning and world models in JAX.

Usage:
  python src/main.py [COMMAND] [--config=ALGORITHM] [--env-config=ENVIRONMENT] [with KEY=VALUE ...] [flags]

Commands:
  train          train and record a run (the default); --resume=RUN continues one that was interrupted
  rerun          repeat a recorded run as a new one: --run=RUN
  evaluate       play episodes with a trained run: --run=RUN [--checkpoint=best|last|STEP]; or with a scripted policy
                 of an environment: --scripted=NAME --env-config=ENVIRONMENT
  show           print what a run is, where it comes from and what it wrote: --run=RUN
  batch          train several seeds and skip finished ones: --seeds=5 [--jobs=2]; ./run.sh calls it
  compare        make figures and tables of recorded runs: compare RUN ...; `compare --help`
  transfer       play runs with other team sizes and print a matrix of scores: --run=RUN,... --sizes=2,3,5,8
  render         make films of episodes, mp4 and gif: --run=RUN [--checkpoint=...] [--episodes=3]; or --scripted=NAME;
                 --page adds a web page of the episodes with each agent's policies and values
  ablation       train and compare variants of an experiment: FILE.yaml [--report]; `ablation --help`
  tune           search for good settings with Ray Tune: --space=FILE.yaml [--samples=N]; `tune --help`
  zoo            list the trained networks that come with the code; --run=zoo/NAME plays one; `zoo --help`
  export         write a run's policy for programs without Tandem: --run=RUN --format=stablehlo|onnx|npz
  record         write a dataset of episodes of trained runs: --run=RUN --level=expert --out=DIR
  dataset        describe a dataset: dataset DIR; merge, thin, convert and import datasets: `dataset --help`
  list           print algorithms, environments and all parts; `list planner.plies` prints the settings of a part,
                 and `list run` those of the run itself
  print_config   print the configuration with which this command line would train
  save_config    write that configuration to config.json
  upload         put recorded runs into MongoDB: `upload --run=ID`
  completion     print a script for shell completion of `tandem`: completion bash|zsh|fish
  help           print this text

Configuration (later layers override earlier ones):
  src/config/default.yaml < src/config/envs/ENVIRONMENT.yaml < src/config/algs/ALGORITHM.yaml < KEY=VALUE
  ALGORITHM and ENVIRONMENT are names in these folders, or paths of YAML files
  if a KEY is given twice, the last one counts; a file must not contain a key twice
  without the flags: {defaults}

Flags (some of Sacred's are accepted):
  --mongo=URL    record in MongoDB as well (as mongo_url=URL)
  -c TEXT        comment, stored with the run        -u      record nothing with Sacred
  -F DIR         a second folder of records          -D      on a crash, start the debugger
  -l LEVEL       Sacred's messages (INFO, DEBUG)     -p      print the configuration first

Examples:
  python src/main.py --config=mazero_seq --env-config=mpe
  python src/main.py --config=mazero_joint --env-config=smax with seed=2 env_args.map_name=3m max_minutes=5
  python src/main.py --config=mazero_seq --env-config=mpe with env_args.scenario=simple_tag seed=8
  python src/main.py list learner.mazero
"""


def usage() -> str:
    """Return the help text."""
    return USAGE.format(defaults=" ".join(f"{flag}={name}" for flag, name in DEFAULTS.items())).rstrip()


def listing(topics: Sequence[str]) -> str:
    """Return all names, or the settings of the parts in `topics` ("planner.plies", "run").

    Raises:
      UsageError: a topic that does not exist.
    """
    return "\n\n".join(_topic(topic) for topic in topics) if topics else _everything()


def _everything() -> str:
    groups = {
        "--config: algorithms (src/config/algs/)": {n: files.description("algs", n) for n in files.names("algs")},
        "--env-config: environments (src/config/envs/)": {n: files.description("envs", n) for n in files.names("envs")},
    }
    groups |= {f"{family}=": _helps(family) for family in FAMILIES}
    groups |= {"Plug-ins that cannot be used:": lines} if (lines := _strange()) else {}
    return "\n\n".join(_group(title, lines) for title, lines in groups.items())


def _helps(family: str) -> dict[str, str]:
    """Return a line for each part of a family; a plug-in's line names its package."""
    return {
        name: entry.help + (f" [{entry.origin}]" if entry.origin and not entry.broken else "")
        for name, entry in FAMILIES[family].items()
    }


def _strange() -> dict[str, str]:
    """Return a sentence for each unknown group of entry points, and for each folder that does not exist."""
    valid = (*GROUPS, plugins.CONFIGS)
    found = {}
    for group in plugins.groups():
        if group not in valid:
            found[group] = f"no such group of entry points; {suggestion(group, valid)}"
    return found | {f"{plugins.CONFIGS}.{each.name}": each.problem for each in plugins.folders() if each.problem}


def _group(title: str, lines: dict[str, str]) -> str:
    width = max((len(name) for name in lines), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {text}" for name, text in lines.items())])


def _topic(topic: str) -> str:
    """Return a section's settings, or a family's parts."""
    from tandem.config import schema  # imports JAX, so only if settings are asked for

    if topic == "run":
        parts = {"run": schema.RunConfig, "eval_args": schema.EvalConfig, "checkpoint_args": schema.CheckpointConfig}
        return "\n\n".join(_settings(title, keys, schema) for title, keys in parts.items())
    family, _, name = topic.removesuffix("_args").partition(".")
    if family not in FAMILIES:
        guess = nearest(family, FAMILIES)
        hint = f"did you mean '{guess}'? " if guess else ""
        raise UsageError(f"list {topic}: {hint}expected run, {', '.join(FAMILIES)}, or one with a name: planner.plies")
    if not name:
        return _group(f"{family}=", _helps(family))
    try:
        entry = find(family, name)
    except KeyError as error:
        raise UsageError(f"list {topic}: {error.args[0]}") from None
    if fault := entry.fault():
        raise UsageError(f"list {topic}: it comes from the package '{entry.origin}' and cannot be used: {fault}")
    return _settings(f"{family}_args of {family}={name} ({entry.help})", entry.config(), schema)


def _settings(title: str, keys: type, schema) -> str:
    """Return one block per setting: its name, default, valid values and meaning."""
    lines = [title]
    for name, field in schema.fields(keys).items():
        default = schema.default(field)
        shown = "" if default is schema.REQUIRED else f" = {default!r}"
        lines.append(f"  {name}{shown}  ({schema.describe(keys, name)})")
        lines += textwrap.wrap(field.metadata.get("help", ""), 110, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)
