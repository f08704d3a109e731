"""The pages of the documentation, and their prose."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])


def sentences(text: str) -> list[list[str]]:
    """Return the words of each sentence of a page's prose: no code, no tables, no headings.

    A sentence ends with a full stop, a question or exclamation mark, and with its paragraph or list item. Code within a
    line, a number and a link's text count as words.
    """
    text = re.sub(r"^(```|~~~).*?^\1[^\n]*$", "\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\A---\n.*?\n---\n|<!--.*?-->", "", text, flags=re.DOTALL)
    kept = [line for line in text.splitlines() if not re.match(r"    (?!.*[a-z]{3}.*[a-z]{3}.*\.$)|\||#|!\[|:::", line)]
    text = re.sub(r"`+[^`]*`+", "code", "\n".join(kept))
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", text)
    blocks = re.split(r"\n\s*\n|\n\s*(?:[-*+]|\d+\.)\s+", "\n" + text)
    found = [one for block in blocks for one in re.split(r"(?<=[.!?])[)*\"']*\s+", " ".join(block.split()))]
    return [words for one in found if len(words := re.findall(r"[\w][\w'/.,-]*", one)) > 1]


def average(text: str) -> float:
    """Return the average number of words of a page's sentences."""
    lengths = [len(words) for words in sentences(text)]
    return sum(lengths) / max(len(lengths), 1)
