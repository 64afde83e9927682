"""The runs of a suite: their recipes, their folders, and the part of a suite to work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from crossview.core.errors import Problem, fail, nearest, raise_all
from crossview.evaluation.finished import Membership
from crossview.recipe.layers import layers, with_total_steps
from crossview.recipe.planned import open_keys
from crossview.recipe.resolve import Recipe, typed
from crossview.runs.bench.equal_time import steps_in_time
from crossview.runs.bench.suite import Entry, Setting, Suite, pace_row, row_of, slug


@dataclass(frozen=True)
class SuiteRun:
    """One run of a suite.

    record: the file of its record; None if no records are kept. fold: the fold that it is tested
    on, from 1; 0 in a suite without folds.
    """

    path: Path
    suite: Suite
    setting: Setting
    row: Entry
    seed: int
    record: Path | None = None
    fold: int = 0

    @property
    def source(self) -> Path:
        """The path of its results: the record if it exists, else the folder."""
        return self.record if self.record is not None and self.record.exists() else self.path

    @property
    def name(self) -> str:
        """Its name in a line of output."""
        setting = f"{self.setting.name}, " if len(self.suite.settings) > 1 else ""
        fold = f", fold {self.fold} of {self.suite.folds}" if self.fold else ""
        return f"{setting}{self.row.label}, seed {self.seed}{fold}"

    @property
    def membership(self) -> Membership:
        """Its place in the suite."""
        suite, row = self.suite, self.row
        return Membership(suite.name, suite.protocol, self.setting.name, row.label, row.reference)

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe.

        Of a row with ``time_of`` it has the suite's steps until its own are known. Raises UserError
        if it is invalid, or leaves keys to a plan, which may differ between rows.
        """
        steps = self.steps_in_time
        return self._recipe if steps is None else self._over(steps)

    @property
    def steps_in_time(self) -> int | None:
        """The steps of a row with ``time_of``; None for others and as long as they are unknown."""
        rows = self.timed_by
        return rows and steps_in_time(
            self.row.label, self.sources_of(self.row), *map(self.sources_of, rows)
        )

    @property
    def timed_by(self) -> tuple[Entry, Entry] | None:
        """The row whose time a row with ``time_of`` gets, and the row whose pace it has."""
        if self.row.time_of is None:
            return None
        pace = pace_row(self.suite, self.row)
        assert pace is not None  # as the suite has been checked
        return row_of(self.suite, self.row.time_of), pace

    def sources_of(self, row: Entry) -> list[Path]:
        """Return the records or folders of all runs of a row in this setting."""
        records = None if self.record is None else self.record.parent
        return [
            run_of(self.suite, self.setting, row, seed, fold, self.path.parent, records).source
            for seed in self.suite.seeds
            for fold in self.suite.fold_numbers
        ]

    @cached_property
    def _recipe(self) -> Recipe:
        return self._over(self.suite.total_steps)

    def _over(self, steps: int | None) -> Recipe:
        """Return the recipe over a number of steps; None for its own."""
        sets = (
            f"method.name={self.row.name}",
            *self._planned_batch(),
            *self.suite.common,
            *self.setting.set,
            *self.row.set,
            f"training.seed={self.seed}",
            *([f"data.fold=[{self.fold}, {self.suite.folds}]"] if self.fold else []),
        )
        read = layers(self.setting.recipe, sets)
        if left := open_keys(read):
            fail(
                "the recipe leaves keys to be planned",
                found=", ".join(left),
                fix="set them in `common` or in the setting; "
                "crossview recipe folder --data DATA prints planned values",
            )
        return typed(read.tables if steps is None else with_total_steps(read.tables, steps))

    def _planned_batch(self) -> list[str]:
        """Return the batch of a recipe "folder", planned per setting, the same for all methods."""
        read = layers(self.setting.recipe)
        if read.tables.get("data", {}).get("source") != "folder":
            return []
        batch = read.own.get("training", {})
        keys = ("labelled_batch", "unlabelled_batch")
        return [f"training.{key}={batch[key]}" for key in keys if batch.get(key)]


@dataclass(frozen=True)
class Selection:
    """The part of a suite to work on.

    Attributes:
        suite: The suite.
        out: The folder of the runs and of their table.
        data: The folder of the data; None if the source needs none.
        only: Labels of the rows, or their folder names. Default: all.
        settings: Names of the settings. Default: all.
        seeds: Number of seeds, from the first. Default: all.
        records: A folder that gets a record of each run. A run with a record counts as finished
            and needs no run folder.
    """

    suite: Suite
    out: Path
    data: Path | None = None
    only: Sequence[str] = ()
    settings: Sequence[str] = ()
    seeds: int | None = None
    records: Path | None = None

    @cached_property
    def every_run(self) -> list[SuiteRun]:
        """All runs in order: seeds outermost, then settings, folds and rows."""
        return [
            run_of(
                self.suite, setting, row, seed, fold, self.out / slug(setting.name), self.records
            )
            for seed in self.suite.seeds
            for setting in self.suite.settings
            for fold in self.suite.fold_numbers
            for row in self.suite.methods
            if not row.settings or setting.name in row.settings
        ]

    @cached_property
    def runs(self) -> list[SuiteRun]:
        """The selected runs, in order.

        Raises UserError for a row, setting or number of seeds that the suite does not have.
        """
        suite = self.suite
        labels = [row.label for row in suite.methods]
        names = [setting.name for setting in suite.settings]
        problems = [*_unknown(self.only, labels, "--only")]
        problems += _unknown(self.settings, names, "--setting")
        if self.seeds is not None and not 1 <= self.seeds <= len(suite.seeds):
            what = "the suite does not have this number of seeds"
            problems.append(Problem(what, "--seeds", str(self.seeds), f"1 to {len(suite.seeds)}"))
        raise_all(problems)
        rows, settings = set(map(slug, self.only)), set(map(slug, self.settings))
        return [
            run
            for run in self.every_run
            if run.seed in suite.seeds[: self.seeds]
            and (not rows or slug(run.row.label) in rows)
            and (not settings or slug(run.setting.name) in settings)
        ]


def run_of(
    suite: Suite,
    setting: Setting,
    row: Entry,
    seed: int,
    fold: int,
    folder: Path,
    records: Path | None,
) -> SuiteRun:
    """Return the run of a row, seed and fold in the folder of its setting."""
    tag = f"fold{fold}" if fold else ""
    path = folder / "-".join(filter(None, (slug(row.label), f"seed{seed}", tag)))
    record = records and records / record_name(setting.name, row.label, seed, tag)
    return SuiteRun(path, suite, setting, row, seed, record, fold)


def record_name(setting: str, row: str, seed: int, tag: str = "") -> str:
    """Return the file name of a run's record: "la-8-cml-seed1.json"."""
    parts = (slug(setting), slug(row), f"seed{seed}", tag)
    return "-".join(filter(None, parts)) + ".json"


def _unknown(asked: Sequence[str], known: Sequence[str], option: str) -> list[Problem]:
    slugs = set(map(slug, known))
    return [
        Problem(f"the suite has no '{name}'", option, fix=nearest(name, known))
        for name in asked
        if slug(name) not in slugs
    ]
