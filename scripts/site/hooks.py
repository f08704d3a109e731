"""What the documentation site is given beside the pages in docs/: generated reference pages and the changelog."""

import sys
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import reference  # noqa: E402  (the two folders have to be on the path first)

SECTIONS = {"guides": "Guides", "concepts": "Concepts", "results": "Results", "": "Concepts"}  # by folder of docs/
NO_CHANGELOG = "# Changelog\n\nThere is no release yet.\n"


def on_config(config):
    """Add the pages that the navigation does not name to the section of their folder."""
    docs = Path(config.docs_dir)
    named = set(_pages(config.nav))
    for page in sorted(docs.rglob("*.md")):
        own = page.relative_to(docs)
        if str(own) not in named and str(own.parent).replace(".", "", 1) in SECTIONS:
            section = SECTIONS[str(own.parent).replace(".", "", 1)]
            next(one[section] for one in config.nav if section in one).append(str(own))
    return config


def on_files(files: Files, config) -> Files:
    """Add the generated pages."""
    pages = reference.pages() | {"changelog.md": _changelog()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def _pages(nav):
    """Yield the paths that a navigation names, at any depth."""
    for entry in nav:
        for target in entry.values() if isinstance(entry, dict) else [entry]:
            if isinstance(target, str):
                yield target
            else:
                yield from _pages(target)


def _changelog() -> str:
    """Return the changelog, whose links to docs/ become links within the site."""
    path = ROOT / "CHANGELOG.md"
    return path.read_text().replace("](docs/", "](") if path.exists() else NO_CHANGELOG
