"""The next item of the GPU campaign: ``python -m benchmarks.campaign --work DIR --out OUT [--data ZIPS]... [--minutes M] [--item NAME]``.

Takes the first item of campaign.toml (or --items FILE) that has no results yet and whose data is there, does it, and goes on to the
next while there is time. Nothing outlasts --minutes: training is told to stop and saves, and the same command goes on with it as long
as DIR is there. OUT gets results, and what is known of unfinished runs and the ends of their logs (progress.json, written anew again
and again). The package need not be installed: PYTHONPATH=src is enough.
Exit code 0: nothing is left to do; 75: call again; 1: something failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.campaign_item import Context, Failed, NoTimeLeft, results_of, say, train
from benchmarks.campaign_measure import measure, smoke

RESULTS = Path(__file__).parent / "results"
ITEMS = Path(__file__).with_name("campaign.toml")
GO_ON = 75
"""The exit code where work is left: that of a temporary failure, by sysexits.h."""
KINDS = {"smoke": smoke, "measure": measure, "train": train}


def unpack(
    given: Sequence[Path], script: Path | None, work: Path, archives: dict[str, list[str]]
) -> dict[str, Path]:
    """Where each data set lies that is whole: in a folder given, or unpacked from the archives given in this and earlier calls."""
    folders = {name: path / name for path in given for name in archives if (path / name).is_dir()}
    files = [
        file
        for path in given
        for file in ([path] if path.suffix == ".zip" else sorted(path.glob("*.zip")))
    ]
    marks = work / "unpacked"
    marks.mkdir(parents=True, exist_ok=True)
    fresh = [file for file in files if not (marks / file.name).exists()]
    if fresh:
        beside = work / "archives"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        found = script or next(
            (file.with_name("unpack.py") for file in fresh if file.with_name("unpack.py").exists()),
            None,
        )
        if found is None:
            raise Failed("the archives have no unpack.py beside them: give it by --unpack")
        shutil.copy(
            found, beside / "unpack.py"
        )  # it looks for the archives beside itself, links resolved
        for file in fresh:
            (beside / file.name).symlink_to(file.resolve())
        subprocess.run(
            [sys.executable, str(beside / "unpack.py"), str(work / "data")],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for file in fresh:
            (marks / file.name).touch()
    for name, parts in archives.items():
        if name not in folders and all((marks / part).exists() for part in parts):
            folders[name] = work / "data" / name
    say("data: " + (", ".join(folders) or "none"))
    return folders


def left_to_do(items: Sequence[dict[str, Any]], known: Sequence[Path]) -> list[dict[str, Any]]:
    """The items some of whose results are in none of the folders."""
    return [
        item
        for item in items
        if not all(any((folder / name).exists() for folder in known) for name in results_of(item))
    ]


def bring_out(context: Context) -> None:
    """Results that are not in the tree yet go into OUT, those of earlier calls too: a reply may have been lost."""
    for file in sorted(context.results.glob("*.json")):
        if not (RESULTS / file.name).exists():
            shutil.copy(file, context.out)


def do(items: Sequence[dict[str, Any]], context: Context) -> int:
    """The items one after the other; the exit code."""
    code = 0
    for item in items:
        needs = item.get("needs")
        if needs and needs not in context.folders:
            say(f"{item['name']}: left out, the data of {needs} is not here")
            code = max(code, GO_ON)
            continue
        if item.get("official") and context.official is None:
            say(f"{item['name']}: left out, it needs --official")
            continue
        if context.clock.left() < 60 * item["minutes"]:
            say(f"{item['name']}: not begun, {context.clock.left() / 60:.1f} minutes are left")
            return GO_ON
        say(f"{item['name']}: begun")
        try:
            KINDS[item["kind"]](item, context)
            say(f"{item['name']}: done")
        except NoTimeLeft as error:
            say(f"{item['name']}: {error}")
            return GO_ON
        except Failed as error:
            say(f"{item['name']}: FAILED: {error}")
            code = 1
        finally:
            bring_out(context)
    return code


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work",
        type=Path,
        required=True,
        help="folder that stays on the machine: data, run folders, results",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder that is brought back")
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        default=[],
        help="an archive, a folder of archives, or a folder with LA, ACDC",
    )
    parser.add_argument(
        "--unpack",
        type=Path,
        help="the script that unpacks the archives; by default unpack.py beside them",
    )
    parser.add_argument(
        "--official",
        type=Path,
        help="a checkout of CML's release, to be measured in turn with crossview",
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="when to be done by")
    parser.add_argument(
        "--item",
        action="append",
        default=[],
        metavar="NAME",
        help="this item, done or not, in place of the next",
    )
    parser.add_argument(
        "--only-unpack", action="store_true", help="unpack the archives given and do no item"
    )
    parser.add_argument("--items", type=Path, default=ITEMS, help="another table of items")
    parser.add_argument("--device", default="cuda")
    given = parser.parse_args()
    table = tomllib.loads(given.items.read_text(encoding="utf-8"))
    items = table["item"]
    unknown = set(given.item) - {item["name"] for item in items}
    if unknown:
        parser.error(
            f"no such item: {', '.join(sorted(unknown))}; there are {', '.join(item['name'] for item in items)}"
        )
    context = Context.make(given.work.absolute(), given.out.absolute(), given.minutes, given.device)
    context.official = given.official
    signal.signal(signal.SIGTERM, lambda *_: context.clock.end())
    try:
        context.folders = unpack(given.data, given.unpack, context.work, table["archives"])
        if given.only_unpack:
            sys.exit(0)
        todo = [item for item in items if item["name"] in given.item] or left_to_do(
            items, (RESULTS, context.results)
        )
        say(
            f"to do: {', '.join(item['name'] for item in todo)}; commit {os.environ.get('CROSSVIEW_COMMIT', 'not told')}"
        )
        code = do(todo, context)
    except (Failed, subprocess.CalledProcessError) as error:
        say(f"FAILED: {error}")
        code = 1
    bring_out(context)
    say(
        {0: "nothing is left to do", GO_ON: "go on: the same command again"}.get(
            code, "something failed: see above"
        )
    )
    sys.exit(code)


if __name__ == "__main__":
    main()
