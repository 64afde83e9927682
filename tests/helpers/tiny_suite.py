"""A suite of made-up volumes that trains in seconds: two methods and a bracket, two seeds."""

from pathlib import Path

from benchmarks.hold import suite

SUITE = (
    suite.suite_text()
    + """
[[methods]]
label = "all labels"
name = "supervised"
reference = true
set = ["data.labelled=8", "data.unlabelled=0"]
"""
)


def suite_file(folder: Path, *changes: tuple[str, str]) -> Path:
    text = SUITE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return suite.suite_file(folder / "tiny.toml", text)
