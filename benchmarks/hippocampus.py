"""Data of the suite ``hippocampus``: ``python -m benchmarks.hippocampus MSD_FOLDER OUT``.

MSD_FOLDER is MSD's Task04 with imagesTr and labelsTr (Antonelli et al., Nature Communications 2022;
CC-BY-SA 4.0). OUT becomes a plain folder: images/, labels/, dataset.json and split.toml with 21
test and 21 validation cases. Labelled cases are in an order in which fewer are always the first of
more. Only labels of listed cases are written. With --all-labels all training cases are listed, for
the bracket "all labels"; ``data.labelled=8`` then uses the same 8. Case numbers do not show which
cases are of one person.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tomli_w

from crossview.core.errors import Problem, UserError

SEED = 4
HELD_OUT = 21
"""Cases of the validation and of the test list, each."""
SUFFIX = ".nii.gz"


def split(names: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return training cases in labelling order, validation and test cases: one fixed draw."""
    order = [
        sorted(names)[index]
        for index in np.random.Generator(np.random.Philox(SEED)).permutation(len(names))
    ]
    return order[2 * HELD_OUT :], sorted(order[HELD_OUT : 2 * HELD_OUT]), sorted(order[:HELD_OUT])


def make(
    source: Path, out: Path, *, labelled: int = 8, all_labels: bool = False, copy: bool = False
) -> dict[str, list[str]]:
    """Make the folder, of links unless ``copy``, and return its split. UserError: no OUT."""
    names = sorted(
        path.name.removesuffix(SUFFIX) for path in source.glob(f"imagesTr/[!.]*{SUFFIX}")
    )
    problems = [
        Problem("a case has no label", str(source), name)
        for name in names
        if not (source / "labelsTr" / f"{name}{SUFFIX}").is_file()
    ]
    if len(names) < 2 * HELD_OUT + labelled:
        problems.append(
            Problem(
                "too few cases",
                str(source),
                str(len(names)),
                f"{2 * HELD_OUT + labelled} or more in imagesTr",
            )
        )
    if out.exists():
        problems.append(Problem("this is there already", str(out), fix="give another OUT"))
    if problems:
        raise UserError(problems)
    training, validation, test = split(names)
    lists = {
        "labelled": training if all_labels else training[:labelled],
        "validation": validation,
        "test": test,
    }
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for folder, kept in (
        ("images", names),
        ("labels", [name for of_list in lists.values() for name in of_list]),
    ):
        (part / folder).mkdir(parents=True)
        for name in kept:
            _put(
                source / f"{folder}Tr" / f"{name}{SUFFIX}", part / folder / f"{name}{SUFFIX}", copy
            )
    told = {
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "anterior", "2": "posterior"},
        "licence": "CC-BY-SA 4.0",
    }
    (part / "dataset.json").write_text(
        json.dumps({"name": "Hippocampus (MSD Task04)", **told}, indent=1) + "\n", encoding="utf-8"
    )
    (part / "split.toml").write_text(tomli_w.dumps(lists), encoding="utf-8")
    part.rename(out)
    return lists


def _put(file: Path, place: Path, copy: bool) -> None:
    if copy:
        shutil.copyfile(file, place)
    else:
        place.symlink_to(file.resolve())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="MSD_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument(
        "--labelled",
        type=int,
        choices=(4, 8, 16),
        default=8,
        help="cases that have labels to train on",
    )
    parser.add_argument(
        "--all-labels", action="store_true", help="keep the labels of all training cases"
    )
    parser.add_argument(
        "--copy", action="store_true", help="copy the files; by default they are linked"
    )
    given = parser.parse_args()
    try:
        lists = make(
            given.source,
            given.out,
            labelled=given.labelled,
            all_labels=given.all_labels,
            copy=given.copy,
        )
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{given.out}: {', '.join(f'{len(names)} {key}' for key, names in lists.items())}")


if __name__ == "__main__":
    main()
