"""Tests that every relative link resolves, headings included, and the index reaches all pages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(?P<title>.+?) *$", re.MULTILINE)


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def links_of(page: Path) -> list[str]:
    """Return the targets of a page's links, those inside code excepted."""
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    return [match["target"] for match in LINK.finditer(text)]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, by GitHub's rule."""
    titles = [
        match["title"]
        for match in HEADING.finditer(without_fences(page.read_text(encoding="utf-8")))
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


LINKS = [
    pytest.param(page, target, id=f"{page.relative_to(ROOT)} {target}")
    for page in PAGES
    for target in links_of(page)
    if not re.match(r"https?://|mailto:", target)
]


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_a_relative_link_resolves(page, target):
    path, _, anchor = target.partition("#")
    linked = (page.parent / path).resolve() if path else page
    assert linked.is_relative_to(ROOT), "the link leaves the repository"
    assert linked.exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"
    if anchor:
        assert anchor in anchors_of(linked), (
            f"{linked.relative_to(ROOT)} has no heading #{anchor}: {sorted(anchors_of(linked))}"
        )


def test_every_page_is_reached_from_the_index():
    reached, waiting = set(), [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        waiting += [
            (page.parent / target.partition("#")[0]).resolve()
            for target in links_of(page)
            if target.partition("#")[0].endswith(".md") and not target.startswith("http")
        ]
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} <= reached
