"""The commands' flags: one spelling of each, declared in one place."""

import argparse
import ast
import importlib
from collections import Counter
from pathlib import Path

import pytest

from tandem import main
from tandem.commands import arguments, batch, compare, flags, restoring, upload
from tandem.config import commandline
from tandem.config.commandline import UsageError

COMMANDS = Path(main.__file__).parent / "commands"
URL = "mongodb://127.0.0.1:1/db"


def declared() -> list[str]:
    """Return the flags that the commands declare: those of several, and each file's own."""
    found = list(flags.SHARED)
    for path in COMMANDS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
                found += [word.value for word in node.args if isinstance(word, ast.Constant)]
    return [word for word in found if word.startswith("-")]


def parsers() -> list[flags.Parser]:
    """Return the parsers of all commands that have a function for it."""
    modules = [importlib.import_module(module) for module in main.TOOLS.values()]
    return [module.parser() for module in modules if hasattr(module, "parser")] + [restoring.parser("render", "")]


def test_no_flag_is_declared_in_two_places():
    counts = Counter(declared())
    assert len(counts) > 20 and {flag for flag, count in counts.items() if count > 1} == set()


def test_no_two_flags_of_a_command_mean_the_same_but_for_the_hidden_spellings():
    hidden = {alias for aliases in flags.ALIASES.values() for alias in aliases} | {"--results-dir"}
    for parser in parsers():
        shown = [action for action in parser._actions if action.option_strings and action.help != argparse.SUPPRESS]
        assert all(len(set(action.option_strings) - {"-h"}) == 1 for action in shown)
        names = [action.dest for action in shown]
        assert len(names) == len(set(names)) > 1
        others = {word for action in parser._actions if action not in shown for word in action.option_strings}
        assert others <= hidden and not any(f"{word} " in f"{parser.format_help()} " for word in others)


def test_a_shared_flag_is_taken_by_several_commands_and_a_database_is_named_alike_in_all():
    taken = Counter(word for parser in parsers() for action in parser._actions for word in action.option_strings)
    assert taken["--mongo"] == 2 and taken["--seeds"] == 2 and taken["--jobs"] == 2 and taken["--metric"] == 2
    assert commandline.MONGO in flags.SHARED and flags.ALIASES[commandline.MONGO] == commandline.MONGO_ALIASES


@pytest.mark.parametrize("spelling", ["--mongo", *commandline.MONGO_ALIASES])
def test_a_database_is_taken_in_every_spelling_that_there_has_been(spelling):
    words = [spelling, URL] if spelling == "-m" else [f"{spelling}={URL}"]
    assert compare.parser().parse_args(["1", *words]).mongo == URL
    assert upload.parser().parse_args(["--run=1", *words]).mongo == URL
    assert commandline.parse(["train", *words], ("train",)).mongo == URL
    assert arguments.parse(batch.parser(), ["--seeds=1", *words])[1].mongo == URL


def test_two_spellings_of_one_flag_are_one_flag_given_twice():
    with pytest.raises(UsageError, match="--mongo is given twice"):
        upload.parser().parse_args(["--run=1", f"--mongo={URL}", f"--mongo-url={URL}"])


@pytest.mark.parametrize("words", [["with", "results_dir=runs"], ["--results-dir=runs"], ["--results-dir", "runs"]])
def test_the_folder_of_records_is_a_setting_and_was_a_flag(words):
    assert compare.parser().read_place(["1", *words])[1] == "runs"
    assert compare.parser().read_place(["1"])[1] == "results"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--results-dir=a", "with", "results_dir=b"], "leave one of them out"),
        (["with", "seed=3"], "'seed': only results_dir=FOLDER can follow `with` here"),
        (["with", "results_dir"], "expected key=value"),
    ],
)
def test_what_cannot_follow_with_is_refused(words, said):
    with pytest.raises(UsageError, match=said):
        compare.parser().read_place(["1", *words])
