"""`completion bash|zsh|fish`: a script that lets a shell complete the command `tandem`, made from the schema."""

import contextlib
import importlib
import io
import re
from collections.abc import Callable, Sequence

from tandem.commands import completion_scripts, flags
from tandem.commands.table import COMMANDS, TOOLS
from tandem.config import commandline, files, schema
from tandem.config.commandline import UsageError
from tandem.exports.formats import FORMATS
from tandem.registry import FAMILIES, suggestion

WITHOUT_FLAGS = ("list", "help", "print_dependencies", "completion")
DESCRIPTION = """Print a script that completes commands, flags, configurations and settings in a shell.

  python src/main.py completion bash > ~/.local/share/bash-completion/completions/tandem
  python src/main.py completion zsh > FOLDER/_tandem        (FOLDER is in $fpath)
  python src/main.py completion fish > ~/.config/fish/completions/tandem.fish

The script holds the names that exist now. Print it again after you install a plug-in or update Tandem."""
SHELLS: dict[str, Callable[[completion_scripts.Known], str]] = {
    "bash": completion_scripts.bash, "zsh": completion_scripts.zsh, "fish": completion_scripts.fish,
}  # fmt: skip


def main(words: Sequence[str]) -> int:
    """Print the script of the shell that is named; return the exit status."""
    parser = flags.parser("completion", DESCRIPTION)
    parser.add_argument("shell", metavar="|".join(SHELLS), help="which shell")
    options = parser.parse_args(list(words))
    if options.shell not in SHELLS:
        raise UsageError(f"completion: no script for '{options.shell}'; {suggestion(options.shell, SHELLS)}")
    print(SHELLS[options.shell](known()), end="", flush=True)
    return 0


def known() -> completion_scripts.Known:
    """Return everything that can be completed."""
    own = {command: _flags_of_runs(command) for command in COMMANDS}
    own |= {name: _flags_of(module) for name, module in TOOLS.items() if name not in WITHOUT_FLAGS}
    own |= {name: [] for name in WITHOUT_FLAGS}
    algs, envs = files.names("algs"), files.names("envs")
    values = {"--config": algs, "--env-config": envs, "--format": list(FORMATS), "--checkpoint": ["best", "last"]}
    return completion_scripts.Known(own, values, settings(), topics(), list(SHELLS))


def settings() -> dict[str, list[str]]:
    """Return every setting of the run and of all parts, with its values if they can be listed."""
    found: dict[str, list[str]] = {family: list(parts) for family, parts in FAMILIES.items()}
    found |= _of_section("", schema.RunConfig)
    for section, keys in schema.SECTIONS.items():
        found |= _of_section(f"{section}.", keys)
    for family, parts in FAMILIES.items():
        for entry in parts.values():
            with contextlib.suppress(ImportError):  # a package that the part needs may be missing
                if not entry.broken and not entry.fault():
                    for name, values in _of_section(f"{family}_args.", entry.config()).items():
                        found[name] = list(dict.fromkeys([*found.get(name, ()), *values]))
    return found


def _of_section(prefix: str, keys: type) -> dict[str, list[str]]:
    return {f"{prefix}{name}": _values(keys, name) for name in schema.fields(keys)}


def _values(keys: type, name: str) -> list[str]:
    choices = schema.fields(keys)[name].metadata.get("choices")
    if schema.kind(keys, name) is bool:
        return ["true", "false"]
    return [str(choice) for choice in choices or () if re.fullmatch(r"[\w.+-]+", str(choice))]


def topics() -> list[str]:
    """Return what can follow `list`."""
    return ["run", *FAMILIES, *(f"{family}.{name}" for family, parts in FAMILIES.items() for name in parts)]


def _flags_of_runs(command: str) -> list[str]:
    """Return the flags of a command that trains, or that prints a training configuration."""
    if command in WITHOUT_FLAGS:
        return []
    flags = (*commandline.DEFAULTS, *commandline.RUN_FLAGS.get(command, ()), commandline.MONGO)
    return [f"{flag}=" for flag in flags]


def _flags_of(module: str) -> list[str]:
    """Return the flags in a command's help text; flags that take a value end with =."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        importlib.import_module(module).main(["--help"])
    options = said.getvalue().partition("\noptions:")[2]
    found = re.findall(r"^  (?:-\w, )?(--[a-z][a-z-]*)( \S)?", options, re.MULTILINE)
    return [flag + ("=" if value else "") for flag, value in found]
