"""The documentation's site builds without a warning, loads nothing from elsewhere, and names settings and metrics."""

import html
import importlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from tandem.config import files, schema
from tandem.registry import FAMILIES
from tests.docs.pages import PAGES, ROOT

METRIC = re.compile(r'"((?:train|search|replay|time|actors|histograms)/[a-z_]+)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site; --strict makes a dead link, a dead anchor or a page without a place an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Links(HTMLParser):
    """What an HTML page loads, what it links to, and the places in it that links may name."""

    def __init__(self, page: Path):
        super().__init__()
        self.loads, self.links, self.places = [], [], set()
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        named = {name: value or "" for name, value in attrs}
        self.places |= {named[name] for name in ("id", "name") if name in named}
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        if tag in ("script", "img", "iframe", "source"):
            self.loads += [named["src"]] if "src" in named else []
        if tag == "link" and named.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(named["href"])


def test_no_page_loads_anything_from_another_server_and_all_links_lead_somewhere(site):
    pages = {path: Links(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 40
    for path, found in pages.items():
        assert not [name for name in found.loads if re.match(r"(https?:)?//", name)], path
        for link in {*found.loads, *found.links}:
            if re.match(r"[a-z]+:", link) or link in (".", "#"):
                continue
            target, place = urldefrag(unquote(link))
            file = (path.parent / target).resolve() if target else path
            file = file / "index.html" if file.is_dir() else file
            assert file.is_file(), f"{path.relative_to(site)}: {link}"
            assert not place or file not in pages or place in pages[file].places, f"{path.relative_to(site)}: {link}"


def test_style_sheets_load_nothing_from_another_server(site):
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//|@import", sheet.read_text()), sheet


def test_the_reference_has_every_setting_and_every_configuration(site):
    for family, parts in FAMILIES.items():
        page = html.unescape((site / "reference" / "settings" / family / "index.html").read_text())
        for name, entry in parts.items():
            assert f"<code>{name}</code>" in page, name
            missing = [key for key in schema.fields(entry.config()) if f"<code>{key}</code>" not in page]
            assert not missing, (family, name)
    page = (site / "reference" / "configurations" / "index.html").read_text()
    assert all(f"<code>{name}</code>" in page for folder in ("algs", "envs") for name in files.names(folder))


def test_the_page_of_metrics_has_every_metric_that_the_code_names():
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    named = {name for path in (ROOT / "src").rglob("*.py") for name in METRIC.findall(path.read_text())}
    for entry in FAMILIES["learner"].values():
        module = importlib.import_module(entry.module)
        named |= {name if "/" in name else f"train/{name}" for name in getattr(module, "METRICS", ())}
        named |= {f"search/{name}" for name in getattr(module, "SEARCH_METRICS", ())}
    assert len(named) > 30
    assert not {name for name in named if f"`{name}`" not in page}


def test_every_page_has_a_place_in_the_navigation(site):
    home = (site / "index.html").read_text()
    tabs = ("Start", "Guides", "Concepts", "Reference", "Results", "Decisions", "Glossary", "Changelog")
    assert all(re.search(rf">\s*{name}\s*<", home) for name in tabs)
    built = {path.parent.relative_to(site) for path in site.rglob("index.html")}
    for page in PAGES:
        if page.is_relative_to(ROOT / "docs"):
            own = page.relative_to(ROOT / "docs").with_suffix("")
            assert (own.parent if own.name == "index" else own) in built, page


def test_links_of_the_readme_lead_somewhere():
    for page in ROOT.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert link.startswith("http") or (ROOT / link).exists(), f"{page.name}: {link}"
