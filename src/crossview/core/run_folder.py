"""Files of a run folder, read in one place.

recipe.toml is the recipe, resolved; environment.json what the run was made with; journal.jsonl its
journal (core.journal); plan.json the plan of a recipe for a user's own
scans; training-cases.json the cases trained on; bench.json the run's place in a suite;
evaluation/<split>/ the scores of a split.
"""

from __future__ import annotations

import csv
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from crossview.core.errors import UserError, fail
from crossview.core.journal import History, read_journal
from crossview.core.parse import from_json, from_toml
from crossview.core.plugins import arguments
from crossview.core.text import number

Table = dict[str, Any]


RECIPE = "recipe.toml"
ENVIRONMENT = "environment.json"
JOURNAL = "journal.jsonl"
PLAN = "plan.json"
TRAINING_CASES = "training-cases.json"
MEMBERSHIP = "bench.json"
ROUNDS = "rounds.json"
SUMMARY = "summary.json"
CASES = "cases.csv"
EXPECTED = "expected.json"


@dataclass(frozen=True)
class EvaluationFolder:
    """Files of the scores of a split: summary.json, cases.csv and pictures."""

    path: Path

    @property
    def split(self) -> str:
        return self.path.name

    @property
    def again(self) -> str:
        """Command that writes these files again."""
        return RunFolder(self.path.parents[1]).command("evaluate", "--split", self.split)

    def summary(self) -> Table:
        """Return summary.json. Raise UserError if it is missing or damaged."""
        path = self.path / SUMMARY
        if not path.exists():
            fail("there is no evaluation", path, fix=self.again)
        return _json_object(path, "the summary can't be read", f"evaluate again: {self.again}")

    def cases(self) -> list[dict[str, str]] | None:
        """Return the rows of cases.csv, unchecked, or None if it is missing."""
        path = self.path / CASES
        if not path.exists():
            return None
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            return list(csv.DictReader(file))

    @property
    def expected(self) -> Table:
        """Dice that the probabilities of each case promise, next to the true one; {} if missing."""
        return _optional(self.path / EXPECTED)

    @property
    def pictures(self) -> dict[str, Path]:
        """Pictures by the name of their case."""
        return {picture.stem: picture for picture in sorted(self.path.glob("pictures/*.png"))}


@dataclass(frozen=True)
class RunFolder:
    """The files of a run.

    Missing or damaged optional files read as empty. ``tables``, ``require_environment`` and the
    scores of a split raise UserError. The recipe is read once; other files at each access.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # accepts a str as well

    @classmethod
    def require(cls, path: Path | str) -> Self:
        """Return the run in ``path``. Raise UserError if it is not a run folder."""
        run = cls(Path(path))
        if not run.exists:
            missing = "a file" if run.path.exists() else "no such folder"
            fail(
                "this is not a run folder",
                path,
                found="a folder without recipe.toml" if run.path.is_dir() else missing,
                expected="a folder that crossview train wrote",
                fix="give the folder that --out named",
            )
        return run

    @property
    def exists(self) -> bool:
        return (self.path / RECIPE).is_file()

    @property
    def recipe_text(self) -> str:
        return (self.path / RECIPE).read_text(encoding="utf-8", errors="replace")

    @cached_property
    def tables(self) -> Table:
        """Raw tables of recipe.toml. Raise UserError if it is missing or damaged."""
        path = RunFolder.require(self.path).path / RECIPE
        try:
            return from_toml(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            fail(
                "the run's recipe can't be read",
                path,
                found=error,
                expected="TOML",
                fix="restore the file",
            )

    def require_environment(self) -> Table:
        """Return environment.json. Raise UserError if it is missing or damaged."""
        fix = "restore the file, or train again with --overwrite"
        return _json_object(self.path / ENVIRONMENT, "the run's environment can't be read", fix)

    @property
    def environment(self) -> Table:
        return _optional(self.path / ENVIRONMENT)

    @property
    def plan(self) -> Table:
        return _optional(self.path / PLAN)

    @property
    def training_cases(self) -> Table:
        """The cases trained on, by name; {} for a run of an earlier version."""
        return _optional(self.path / TRAINING_CASES)

    @property
    def rounds(self) -> Table:
        """Drafts and corrections of its data when training began; {} if there were none."""
        return _optional(self.path / ROUNDS)

    @property
    def place(self) -> Table:
        """Place in a suite; {} for a run of none, or one trained anew since (--overwrite)."""
        content = _optional(self.path / MEMBERSHIP)
        return content if content.get("started") == self.environment.get("started") else {}

    @property
    def doubts(self) -> dict[str, float]:
        """Doubt of each unlabelled scan, as suggest last found it; {} before."""
        stored = _optional(self.path / "suggest" / "suggest.json").get("doubt")
        scores = stored if isinstance(stored, dict) else {}
        return {
            str(case): doubt for case, text in scores.items() if (doubt := number(text)) is not None
        }

    @property
    def journal(self) -> History:
        """Rows of the journal. A line that a kill cut short is dropped."""
        return History(read_journal(self.path / JOURNAL))

    @property
    def finished(self) -> bool:
        return self.journal.finished

    @property
    def waited_in_vain(self) -> bool:
        """See :class:`History`."""
        return self.journal.waited_in_vain

    @property
    def labelled_stage_only(self) -> bool:
        """True if the run had only the labelled stage of its method, by recipe or by its course."""
        method = self.tables.get("method")
        planned = isinstance(method, dict) and method.get("train_steps") == 0
        return planned or self.waited_in_vain

    def evaluation(self, split: str) -> EvaluationFolder:
        return EvaluationFolder(self.path / "evaluation" / split)

    @property
    def evaluations(self) -> list[EvaluationFolder]:
        """Evaluations that have a summary, test first, then validation."""
        order = {"test": 0, "validation": 1}
        folders = [summary.parent for summary in self.path.glob(f"evaluation/*/{SUMMARY}")]
        whole = [
            EvaluationFolder(folder) for folder in folders if folder.suffix not in (".part", ".old")
        ]
        return sorted(whole, key=lambda found: (order.get(found.split, 2), found.split))

    @property
    def report_is_behind(self) -> bool:
        """True if the report lacks the scores of an evaluation, or was being written."""
        report = self.path / "report.html"
        scored = [(each.path / SUMMARY).stat().st_mtime for each in self.evaluations]
        if not scored or not report.exists():
            return bool(scored)
        aside = report.with_name(f"{report.name}.part")
        return aside.exists() or report.stat().st_mtime < max(scored)

    @property
    def pictures(self) -> tuple[Path, ...]:
        """Pictures of training batches, in the order of their steps."""
        return tuple(sorted(self.path.glob("pictures/*.png")))

    def command(self, verb: str, *more: str) -> str:
        """Return a command on the run, with --plugin if its recipe names one."""
        try:
            method = str(self.tables["method"]["name"])
        except (UserError, KeyError, TypeError):  # a hint must not raise
            method = ""
        return shlex.join(["crossview", verb, str(self.path), *more, *arguments(method)])


def _json_object(path: Path, what: str, fix: str) -> Table:
    """Return a file's JSON object. Raise UserError, saying ``what`` and ``fix``, if it has none."""
    try:
        content = from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fail(what, path, found=error, expected="a JSON object", fix=fix)
    if not isinstance(content, dict):
        found = f"a {type(content).__name__} instead of an object"
        fail(what, path, found=found, expected="a JSON object", fix=fix)
    return content


def _optional(path: Path) -> Table:
    try:
        return _json_object(path, "", "")
    except UserError:
        return {}
