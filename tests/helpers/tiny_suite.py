"""A suite of made-up volumes that trains in seconds: two methods and a bracket, two seeds."""

from pathlib import Path

SUITE = """
name = "tiny"
about = "Two methods and a bracket."
protocol = "equal"
baseline = "supervised"
seeds = [1, 2]
total_steps = 4
common = [
  "data.size=16", "data.patch=[8,8,8]", "data.test=2", "data.unlabelled=4",
  "network.filters=2", "network.levels=2",
  "training.precision=float32", "training.log_every=1",
]

[[settings]]
name = "tiny"
recipe = "demo"

[[methods]]
label = "supervised"
name = "supervised"

[[methods]]
label = "cml labelled only"
name = "cml"
set = ["method.train_steps=0"]

[[methods]]
label = "all labels"
name = "supervised"
reference = true
set = ["data.labelled=8", "data.unlabelled=0"]
"""


def suite_file(folder: Path, *changes: tuple[str, str]) -> Path:
    text = SUITE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "tiny.toml"
    path.write_text(text)
    return path
