"""Numbers at the end of file names: channels of one scan, or scans of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from crossview.core.errors import Problem
from crossview.core.text import first_few, listed
from crossview.data.io.channels import CHANNEL


def numbered(files: Collection[str], labels: Collection[str]) -> bool:
    """True if file names end in a channel number.

    Decided from the labels, which have none; without labels, all names must end in _0000 to _0009.
    """
    matches = [CHANNEL.fullmatch(name) for name in files]
    cases = {match["name"] for match in matches if match}
    if labels:
        return sum(name in cases for name in labels) > sum(name in files for name in labels)
    return (
        bool(files)
        and all(match and int(match["channel"]) < 10 for match in matches)
        and all(f"{name}_0000" in files for name in cases)
    )


def doubtful(
    files: Collection[str], labels: Collection[str], folder: Path, stated: int
) -> list[Problem]:
    """Return a problem if scans read one by one look like the channels of fewer scans.

    So they do if each label is named like a first channel, x_0000, and files x_0001 ... lie next to
    it in each of two cases or more.

    Args:
        files: Names of the scans.
        labels: Names of the labels.
        folder: The folder of the labels, for messages.
        stated: Channels that dataset.json states; 0 if it does not.
    """
    groups: dict[str, set[int]] = defaultdict(set)
    for match in filter(None, map(CHANNEL.fullmatch, files)):
        groups[match["name"]].add(int(match["channel"]))
    first = {f"{name}_0000" for name in groups}
    several = {name: numbers for name, numbers in groups.items() if len(numbers) > 1}
    complete = all(numbers == set(range(len(numbers))) for numbers in groups.values())
    if stated == 1 or len(several) < 2 or not complete or not labels or not set(labels) <= first:
        return []
    example = min(several)
    names = [f"{example}_{number:04d}" for number in sorted(several[example])]
    return [
        Problem(
            "the labels are named like the first channel of each scan",
            str(folder),
            f"labels {first_few(sorted(labels), 3)}; {listed(names)} are read as "
            f"{len(names)} scans, of which one has a label",
            f"labels without a channel number, if these are channels of one scan: {example}",
            "rename the labels; or, if each file is a scan of its own, name one channel in "
            'dataset.json: {"channel_names": {"0": "MRI"}}',
        )
    ]
