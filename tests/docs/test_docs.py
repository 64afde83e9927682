"""Tests that the blocks of the documentation run, and that its commands exist.

- ```console: a shell runs the lines that start with "$ ", one page's blocks in one folder, from top
  to bottom. Other lines are the output: each must be in the real output, in that order ("..."
  stands for any lines).
- ```python: this Python runs it in the same folder; with "# file: name.py" as its first line it is
  saved there instead.
- a line "<!-- not run: why -->" before a block: the block is not run, but its crossview commands
  must parse, its Python compile.
- ```sh: never run (set-up of a machine); its crossview commands must parse.
- a line "<!-- continues: page.md -->": the page's blocks run after those of that page of the same
  folder, in its folder.
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(?P<language>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# file: (?P<name>\w+\.py)\n")
NOT_RUN = re.compile(r"<!-- not run: .+ -->\n\Z")
CONTINUES = re.compile(r"^<!-- continues: (?P<page>[\w-]+\.md) -->$", re.MULTILINE)
LANGUAGES = {"console", "python", "sh", "text", "toml", "json", "csv", "bibtex"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; ``line`` is where it begins."""

    page: Path
    line: int
    language: str
    text: str
    run: bool

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Return the commands of a console or sh block, each with the output shown below it."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "sh":
            return [(line, []) for line in lines if line.strip() and not line.startswith("#")]
        commands: list[tuple[str, list[str]]] = []
        for line in lines:
            if line.startswith("$ "):
                commands.append((line[2:], []))
            elif line.strip():
                assert commands, f"{self.name}: a console block begins with '$ '"
                commands[-1][1].append(line)
        return commands


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page=page,
            line=text.count("\n", 0, match.start()) + 1,
            language=match["language"],
            text=match["text"],
            run=match["language"] in ("console", "python")
            and not NOT_RUN.search(text[: match.start()]),
        )
        for match in FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN = {page: [block for block in BLOCKS if block.page == page and block.run] for page in PAGES}


def predecessor(page: Path) -> Path | None:
    """Return the page whose blocks run before those of a page, in the same folder."""
    named = CONTINUES.search(page.read_text(encoding="utf-8"))
    return page.parent / named["page"] if named else None


BEFORE = {page: predecessor(page) for page in PAGES}


def chain(page: Path | None) -> list[Path]:
    """Return a page after all pages that it continues."""
    return [] if page is None else [*chain(BEFORE[page]), page]


LAST = [page for page in PAGES if RUN[page] and page not in BEFORE.values()]
"""Pages that no other page continues: running their chains runs every page once."""


def shown_lines_missing(shown: list[str], output: str) -> list[str]:
    """Return the shown lines that the output lacks, in this order; runs of spaces count as one."""
    lines = iter([" ".join(line.split()) for line in output.splitlines()])
    return [
        line
        for line in shown
        if line.strip() != "..." and not any(" ".join(line.split()) == real for real in lines)
    ]


@pytest.mark.parametrize("page", LAST, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page, tmp_path):
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
    }
    for block in [block for each in chain(page) for block in RUN[each]]:
        if named := FILE.match(block.text):
            (tmp_path / named["name"]).write_text(block.text, encoding="utf-8")
            continue
        steps = (
            [([sys.executable, "-c", block.text], block.text, [])]
            if block.language == "python"
            else [(["sh", "-ec", command], command, shown) for command, shown in block.commands]
        )
        for arguments, written, shown in steps:
            done = subprocess.run(
                arguments,
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, f"{block.name}: {written}\n{done.stdout}"
            missing = shown_lines_missing(shown, done.stdout)
            assert not missing, (
                f"{block.name}: {written}\nshown but not printed: {missing}\n{done.stdout}"
            )


COMMANDS = [
    pytest.param(command, id=f"{block.name} {command[:60]}")
    for block in BLOCKS
    if block.language in ("console", "sh")
    for command, _ in block.commands
    if re.match(r"(\.venv/bin/)?crossview\b", command)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_shown_command_parses(command):
    from typer.main import get_command

    from crossview.cli import app

    words = shlex.split(command, comments=True)[1:]
    words = words[
        : next((i for i, word in enumerate(words) if re.match(r"[|&;>]|2>", word)), len(words))
    ]
    verb = get_command(app)
    if "--help" in words or "--version" in words:
        words = [word for word in words if word not in ("--help", "--version")]
    while words and hasattr(verb, "commands"):
        assert words[0] in verb.commands, f"there is no '{words[0]}' among {sorted(verb.commands)}"
        verb = verb.commands[words.pop(0)]
    if words:
        verb.make_context(verb.name, words)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "python"], ids=lambda block: block.name
)
def test_shown_python_compiles(block):
    compile(block.text, block.name, "exec")


def test_every_block_says_what_it_is():
    assert {block.language for block in BLOCKS} <= LANGUAGES
    fences = sum(page.read_text(encoding="utf-8").count("\n```") for page in PAGES)
    assert fences == 2 * len(BLOCKS), "a fence is not closed, or is indented"


def test_the_pages_have_blocks_that_run():
    assert sum(len(blocks) for blocks in RUN.values()) >= 3


def test_shown_output_is_compared_in_order():
    assert shown_lines_missing(["a  b", "...", "c"], "x\na b\ny\nc\n") == []
    assert shown_lines_missing(["c", "a"], "a\nc\n") == ["a"]
