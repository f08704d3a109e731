"""The documentation is written in short sentences and short lines, and the README fits a screen or two."""

import ast
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, average, sentences

LONGEST_AVERAGE = 17.0  # words
LONGEST_LINE = 120  # characters
README_LINES = 130
IDIOMS = ("gone on with", "going on with", "given up", "is told", "are told", "wants fewer", "dearer", "of one's own")
CODE_IDIOMS = (*IDIOMS, "gone on", "complain of")
FOLDERS = (
    "analysis", "cluster", "commands", "config", "core", "data", "envs", "experiments", "exports", "learners", "models",
    "ops", "planners", "records", "runners",
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sentences_and_lines_are_short(page):
    text = page.read_text()
    assert average(text) < LONGEST_AVERAGE
    long = [line for line in text.splitlines() if len(line) > LONGEST_LINE]
    assert not long


def test_all_pages_together_have_short_sentences():
    lengths = [len(words) for page in PAGES for words in sentences(page.read_text())]
    assert len(lengths) > 500 and sum(lengths) / len(lengths) < LONGEST_AVERAGE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_private_idioms_stay_out(page):
    text = " ".join(page.read_text().split()).lower()
    assert not [idiom for idiom in IDIOMS if idiom in text]


def docstrings(path: Path) -> list[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    return [text for node in nodes if (text := ast.get_docstring(node))]


def in_words(texts: list[str]) -> list[str]:
    return [" ".join(text.split()).lower() for text in texts]


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_have_short_sentences_without_private_idioms(folder):
    texts = [text for path in sorted((ROOT / "src" / folder).rglob("*.py")) for text in docstrings(path)]
    assert len(texts) > 5 and average("\n\n".join(texts)) < LONGEST_AVERAGE
    assert not [text for text in in_words(texts) if any(idiom in text for idiom in CODE_IDIOMS)]


def test_comments_of_configurations_are_free_of_private_idioms():
    files = sorted((ROOT / "src" / "config").rglob("*.yaml"))
    comments = [line.partition("#")[2] for path in files for line in path.read_text().splitlines() if "#" in line]
    assert len(comments) > 500
    assert not [text for text in in_words(comments) if any(idiom in text for idiom in CODE_IDIOMS)]


def test_the_readme_is_short_and_shows_a_picture_first():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= README_LINES
    assert any(line.startswith("![") for line in lines[:20])


def test_sentences_are_counted_as_a_reader_would():
    text = "# A heading\n\nOne two three. Four `x = 1` six?\n\n    python code here\n\n- an item\n"
    text += "- [two words](x.md) end.\n"
    text += "\n| a | table |\n\n```sh\nnot this\n```\n"
    assert [len(words) for words in sentences(text)] == [3, 3, 2, 3]
