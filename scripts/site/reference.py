"""Reference pages, made from the schema, the YAML files, the commands' help and the modules' docstrings."""

import contextlib
import importlib
import io
import os
from pathlib import Path

from tandem.commands.table import TOOLS
from tandem.config import files, listing, schema
from tandem.registry import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
TITLES = {
    "env": "environments", "network": "networks", "planner": "planners", "learner": "learners", "replay": "replays",
    "runner": "runners",
}  # fmt: skip
COMMANDS = tuple(TOOLS)
API = {  # folders of src/ whose public modules are documented, with what a reader finds there
    "core": "The types that parts exchange: time steps, plans, batches, environments, planners, learners.",
    "ops": "Mathematics that the parts share: returns, losses, distributions, masks, schedules.",
    "data": "Replays: what is stored and how batches are drawn.",
    "datasets": "Recorded data on disk: written, read, described, and taken over from other formats.",
    "models": "Networks and the parts that they are made of.",
    "planners": "How actions are chosen, with search and without.",
    "learners": "How networks are trained.",
    "runners": "What drives environments, planner, replay and learner.",
    "records": "What a run leaves, and how it is read back.",
    "analysis": "Comparisons, figures and films.",
}
WITH_SOURCE = "    options: {show_source: true}\n"  # in which comments give the shapes of fields
ALONE = ("restored", "build", "registry", "contracts")  # modules beside those folders


def pages() -> dict[str, str]:
    """Return the generated pages, Markdown by path."""
    made = {f"reference/settings/{family}.md": family_page(family) for family in FAMILIES}
    made["reference/settings/run.md"] = run_page()
    made["reference/configurations.md"] = configurations_page()
    made["reference/commands.md"] = commands_page()
    made |= {f"reference/api/{folder}.md": api_page(folder, text) for folder, text in API.items()}
    made["reference/api/index.md"] = api_index()
    return made


def run_page() -> str:
    """Return the page of the settings that belong to no part."""
    keys = {"run": schema.RunConfig} | schema.SECTIONS
    text = [
        "# Settings of the run\n",
        "These settings belong to no part. Their values stand in `src/config/default.yaml`. The command",
        "`python src/main.py list run` prints this table.\n",
    ]
    for name, own in keys.items():
        text += [f"## `{name}`\n", settings_table(own)]
    return "\n".join(text)


def family_page(family: str) -> str:
    """Return the page of a family of parts: each part with its settings."""
    text = [
        f"# Settings of {TITLES[family]}\n",
        f"A configuration chooses one with `{family}=NAME` and sets it with `{family}_args.SETTING=VALUE`.",
        f"The command `python src/main.py list {family}.NAME` prints the same table.\n",
    ]
    for name, entry in FAMILIES[family].items():
        text += [f"## `{name}`\n", f"{sentence(entry.help)}\n", settings_table(entry.config())]
    return "\n".join(text)


def settings_table(keys: type) -> str:
    """Return a Markdown table of the settings of a dataclass."""
    if not schema.fields(keys):
        return "It has no settings.\n"
    lines = ["| setting | default | values | meaning |", "|---|---|---|---|"]
    for name, field in schema.fields(keys).items():
        default = schema.default(field)
        shown = "" if default is schema.REQUIRED else f"`{default!r}`"
        cells = (f"`{name}`", shown, schema.describe(keys, name), field.metadata.get("help", ""))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def configurations_page() -> str:
    """Return the page of all YAML files, each as it stands."""
    text = [
        "# Configurations\n",
        "These are the YAML files of `src/config/`, as they stand. Later ones win: `default.yaml`, the environment's,",
        "the algorithm's, then `key=value` on the command line.\n",
        "## `default.yaml`\n",
        _block((files.FOLDER / "default.yaml").read_text()),
    ]
    for folder, flag in (("algs", "--config"), ("envs", "--env-config"), ("spaces", "--space"), ("ablations", "file")):
        text.append(f"## `{folder}/` ({flag})\n")
        for path in sorted((files.FOLDER / folder).glob("*.yaml")):
            text += [f"### `{path.stem}`\n" if folder != "spaces" else f"### `{folder}/{path.stem}`\n"]
            text.append(_block(path.read_text()))
    return "\n".join(text)


def commands_page() -> str:
    """Return the page of the commands' help texts."""
    text = ["# Commands\n", "`python src/main.py --help` prints this:\n", _block(listing.usage(), "text")]
    for command in COMMANDS:
        text += [f"## `{command}`\n", _block(_help(command), "text")]
    return "\n".join(text)


def _help(command: str) -> str:
    """Return what a command prints for --help, in 100 columns."""
    module = importlib.import_module(f"tandem.commands.{command}")
    printed, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            module.main(["--help"])
    finally:
        os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)
    return printed.getvalue()


def api_index() -> str:
    """Return the page that leads to the API's pages."""
    lines = ["# Python API\n", "These pages are made from the docstrings. The letters in shapes are explained in"]
    lines += ["[Architecture](../../architecture.md#axes).\n"]
    lines += [f"- [`tandem.{folder}`]({folder}.md): {text}" for folder, text in API.items()]
    lines += ["", *(f"::: tandem.{name}\n" for name in ALONE)]
    return "\n".join(lines)


def api_page(folder: str, about: str) -> str:
    """Return the page of a folder's modules, which mkdocstrings fills."""
    text = [f"# `tandem.{folder}`\n", about + "\n"]
    for path in sorted((ROOT / "src" / folder).rglob("*.py")):
        if path.name != "__init__.py" and not path.name.startswith("_"):
            module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
            text.append(f"::: tandem.{module}\n{WITH_SOURCE if folder == 'core' else ''}")
    return "\n".join(text)


def sentence(text: str) -> str:
    """Return a help text as a sentence."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _block(text: str, language: str = "yaml") -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"
