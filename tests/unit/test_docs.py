"""The docs say what the code does, and their links lead somewhere."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stash_courier.worker import fields
from stash_courier.worker.destinations import kinds
from stash_courier.worker.destinations.media.notes import NOTES
from tests import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
RECORDED = sorted(ROOT.glob("tests/samples/jellyfin/*.json"))
EVERYWHERE = {"url", "key", "libraries", "absent"}  # fields of which connections.md and the README speak


def read(name: str) -> str:
    """A page without line breaks within its paragraphs."""
    return re.sub(r"\n(?=\S)", " ", (ROOT / name).read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> Iterator[str]:
    """The links of a page to files or headings that don't exist."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if ":" not in name and not (target.exists() and (not anchor or anchor in anchors(target))):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a page or heading of ours exists."""
    assert list(broken(page)) == []


def test_the_source_is_the_same_everywhere() -> None:
    """A person who follows the README adds the source that the release workflow publishes for this repository."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    owner, repository = urls["Homepage"].split("/")[-2:]
    assert urls["Source for Stash"] == f"https://{owner}.github.io/{repository}/index.yml"
    assert yaml.safe_load((ROOT / "stash_plugin.yml").read_text("utf-8"))["url"] == urls["Homepage"]
    for name in ("README.md", "docs/installing.md"):
        assert set(re.findall(r"https://\S+/index\.yml", read(name))) == {urls["Source for Stash"]}


@pytest.mark.parametrize("kind", ["jellyfin", "plex"])
def test_every_switch_is_explained(kind: str) -> None:
    """What a field of a media server does to its items is in the docs, under the name that the owner sees."""
    text = read("docs/connections.md").lower()
    labels = [one.label.lower() for one in fields.of(kinds()[kind].Options) if one.key not in EVERYWHERE]
    assert [label for label in labels if f"*{label}*" not in text] == []


@pytest.mark.parametrize("name", ["README.md", "docs/connections.md"])
def test_the_versions_that_were_run_are_named(name: str) -> None:
    """An owner sees of which versions the recordings are, what may be lost, and what was never run."""
    text = read(name)
    assert RECORDED
    assert [one.stem for one in RECORDED if one.stem.removeprefix("jellyfin-") not in text] == []
    assert "may be lost" in text


def test_every_note_is_in_the_api() -> None:
    """A program can know all codes that status counts."""
    text = read("docs/api.md")
    assert [code for code in NOTES if f"`{code}`" not in text and f"`{code}:`" not in text] == []


@pytest.mark.parametrize("kind", ["plex", "emby"])
def test_what_was_never_run_on_a_real_server_is_experimental(kind: str) -> None:
    """The owner reads that at the connection, in the README, and in the settings on Stash's page."""
    name = kind.capitalize()
    assert "experimental" in kinds()[kind].NAME
    assert f"**{name}** (experimental)" in read("README.md")
    shown = re.findall(r"displayName: (.*)", (ROOT / "stash_plugin.yml").read_text("utf-8"))
    assert [label for label in shown if name in label and "(experimental)" not in label] == []
