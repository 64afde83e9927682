"""The runs of a suite: what each is trained with, whether they keep to the protocol, and whether those that are there still fit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from crossview.core import plugins
from crossview.core.errors import Problem, UserError, nearest, raise_all
from crossview.evaluation.comparable import differing
from crossview.evaluation.finished import membership, read_run
from crossview.evaluation.record import run_or_record
from crossview.recipe.layers import (
    OWNED_BY_METHOD,
    STEP_KEYS,
    Tables,
    layers,
    load,
    parse_set,
    with_total_steps,
)
from crossview.recipe.planned import missing
from crossview.recipe.resolve import Recipe, resolve
from crossview.runs.bench.suite import Entry, Setting, Suite, slug
from crossview.runs.run import Run
from crossview.training.options import CHANGEABLE_ON_RESUME

FREE = frozenset(f"training.{key}" for key in CHANGEABLE_ON_RESUME)


IDLE = {
    "constant": ("decay_after", "decay_every", "decay_factor", "decay_power"),
    "step": ("decay_power",),
    "polynomial": ("decay_every", "decay_factor"),
}
"""Keys of [training] that a schedule does not use."""


MOST_TOLD = 3
"""Runs that are named where many have the same problem."""


@dataclass(frozen=True)
class Planned:
    """One run of a suite: ``crossview train RECIPE --set ... --out path``. record: the file of its record, where records are kept."""

    path: Path
    suite: Suite
    setting: Setting
    row: Entry
    seed: int
    record: Path | None = None

    @property
    def source(self) -> Path:
        """Where its results are read: the record, if it is there, else the folder."""
        return self.record if self.record is not None and self.record.exists() else self.path

    @property
    def name(self) -> str:
        """What it is called in a line."""
        setting = f"{self.setting.name}, " if len(self.suite.settings) > 1 else ""
        return f"{setting}{self.row.label}, seed {self.seed}"

    @property
    def membership(self) -> dict[str, Any]:
        """Its place in the suite, as bench.json has it: the fields of Membership."""
        row, setting = self.row, self.setting
        told = {
            "suite": self.suite.name,
            "protocol": self.suite.protocol,
            "setting": setting.name,
            "label": row.label,
        }
        return {**told, "reference": row.reference}

    @cached_property
    def sets(self) -> tuple[str, ...]:
        """The --set texts. Raises UserError."""
        given = (*self._planned_batch, *self.suite.common, *self.setting.set, *self.row.set)
        own = (f"method.name={self.row.name}", *given, f"training.seed={self.seed}")
        if self.suite.total_steps is None:
            return own
        method = with_total_steps(load(self.setting.recipe, own), self.suite.total_steps)["method"]
        return (*own, *(f"method.{key}={method[key]}" for key in STEP_KEYS if key in method))

    @cached_property
    def _planned_batch(self) -> tuple[str, ...]:
        """The batch of a recipe for one's own scans: it was planned once for the setting, so that a row's method does not change it."""
        tables = load(self.setting.recipe)
        if tables.get("data", {}).get("source") != "folder":
            return ()
        batch = layers(self.setting.recipe)[1].get("training", {})
        return tuple(
            f"training.{key}={batch[key]}"
            for key in ("labelled_batch", "unlabelled_batch")
            if batch.get(key)
        )

    @cached_property
    def asked(self) -> Tables:
        """The raw recipe: what files and texts say, without what code has as defaults. Raises UserError."""
        return load(self.setting.recipe, self.sets)

    @cached_property
    def resolved(self) -> Recipe:
        """The recipe with nothing left open. Raises UserError where it does not hold, or leaves keys to a plan, which may differ by row."""
        _, given = layers(self.setting.recipe, self.sets)
        left = missing(given) if self.asked.get("data", {}).get("source") == "folder" else []
        if left:
            fix = "set them in `common` or the setting: crossview recipe folder --data DATA prints what a plan finds"
            raise UserError(
                Problem("the recipe leaves keys to a plan", found=", ".join(left), fix=fix)
            )
        return resolve(self.setting.recipe, self.sets)


def record_name(setting: str, row: str, seed: int, tag: str = "") -> str:
    """The name of a run's record: "la-8-cml-seed1.json"."""
    return (
        "-".join(part for part in (slug(setting), slug(row), f"seed{seed}", tag) if part) + ".json"
    )


def every_run(suite: Suite, out: Path, records: Path | None = None) -> list[Planned]:
    """All runs of a suite in their order: seeds outermost, then settings, then rows. records: the folder of their records."""

    def planned(setting: Setting, row: Entry, seed: int) -> Planned:
        record = (
            records / record_name(setting.name, row.label, seed) if records is not None else None
        )
        return Planned(
            out / slug(setting.name) / f"{slug(row.label)}-seed{seed}",
            suite,
            setting,
            row,
            seed,
            record,
        )

    return [
        planned(setting, row, seed)
        for seed in suite.seeds
        for setting in suite.settings
        for row in suite.methods
        if not row.settings or setting.name in row.settings
    ]


def chosen_runs(
    suite: Suite,
    out: Path,
    *,
    only: Sequence[str] = (),
    settings: Sequence[str] = (),
    seeds: int | None = None,
    records: Path | None = None,
) -> list[Planned]:
    """A part of :func:`every_run`. only: labels of rows, or their folders' names. settings: their names. seeds: the first so many.

    Raises UserError for what the suite does not have.
    """
    labels, names = (
        [row.label for row in suite.methods],
        [setting.name for setting in suite.settings],
    )
    problems = [*_unknown(only, labels, "--only"), *_unknown(settings, names, "--setting")]
    if seeds is not None and not 1 <= seeds <= len(suite.seeds):
        problems.append(
            Problem(
                "the suite does not have so many seeds",
                "--seeds",
                str(seeds),
                f"1 to {len(suite.seeds)}",
            )
        )
    raise_all(problems)
    rows, parts, first = (
        set(map(slug, only or labels)),
        set(map(slug, settings or names)),
        suite.seeds[:seeds],
    )
    runs = every_run(suite, out, records)
    return [
        run
        for run in runs
        if run.seed in first and slug(run.row.label) in rows and slug(run.setting.name) in parts
    ]


def _unknown(asked: Sequence[str], known: Sequence[str], option: str) -> list[Problem]:
    slugs = set(map(slug, known))
    return [
        Problem(f"the suite has no '{name}'", option, fix=nearest(name, known))
        for name in asked
        if slug(name) not in slugs
    ]


def check_recipes(runs: Sequence[Planned]) -> None:
    """Every recipe must hold, and under the protocol "equal" a setting's rows must be equal but for what a row sets itself.

    Raises one UserError.
    """
    problems: dict[Problem, None] = {}
    resolved: dict[Planned, Recipe] = {}
    first_seed = {(run.setting.name, run.row.label): run for run in reversed(runs)}
    for run in (run for run in runs if run in first_seed.values()):
        try:
            resolved[run] = run.resolved
        except UserError as error:
            places = [
                ": ".join(filter(None, [f"row '{run.row.label}'", problem.where]))
                for problem in error.problems
            ]
            problems |= dict.fromkeys(
                replace(problem, where=place)
                for problem, place in zip(error.problems, places, strict=True)
            )
    raise_all(list(problems))
    for setting in dict.fromkeys(run.setting for run in resolved):
        rows = {
            run: recipe
            for run, recipe in resolved.items()
            if run.setting == setting and not run.row.reference
        }
        raise_all(
            _unequal(setting, rows) if rows and next(iter(rows)).suite.protocol == "equal" else []
        )


def _unequal(setting: Setting, rows: Mapping[Planned, Recipe]) -> list[Problem]:
    """The keys in which rows differ that do not say so."""
    problems = []
    flat = {run: _must_agree(run, recipe) for run, recipe in rows.items()}
    for key in differing(list(flat.values())):
        values = {run.row.label: keys[key] for run, keys in flat.items() if key in keys}
        if len(set(map(repr, values.values()))) > 1:
            found = ", ".join(f"{label} {value}" for label, value in values.items())
            fix = f"put {key}=... into `common`, or into the `set` of each row that departs, which the table then tells"
            problems.append(
                Problem(
                    f"the protocol is equal, and the rows differ in '{key}'",
                    setting.name,
                    found,
                    fix=fix,
                )
            )
    return problems


def _must_agree(run: Planned, recipe: Recipe) -> dict[str, Any]:
    """A recipe's keys that the protocol "equal" asks to agree, without those that the row sets itself and those that do nothing."""
    tables, training = recipe.tables(), recipe.training
    unlabelled = any(stage.unlabelled for stage in recipe.stages())
    idle = {*IDLE[training.schedule], *(() if unlabelled else ("unlabelled_batch",))}
    tables["training"] = {
        key: value
        for key, value in tables["training"].items()
        if key in OWNED_BY_METHOD and key not in idle
    }
    own = {".".join(parse_set(text)[:2]) for text in run.row.set}
    flat = {
        f"{table}.{key}": value
        for table in ("data", "network", "training", "inference")
        for key, value in tables[table].items()
    }
    return {key: value for key, value in flat.items() if key not in own}


def check_unchanged(runs: Sequence[Planned]) -> None:
    """The runs that are there must be of the recipes and of the code of plugins that are asked for now.

    Raises UserError with every key that differs, and all runs of other code.

    Of a run whose record is there the record must be whole and of this suite's run; its folder does not count.
    """
    changes: dict[tuple[str, str, str], list[Path]] = {}
    problems: list[Problem] = []
    for run in runs:
        problems += _unusable_record(run)
        for change in _changes(run):
            changes.setdefault(change, []).append(run.source)
    fix = "put the suite back as it was, give another --out, or delete these folders (or records) to train them anew"
    changed = [
        Problem(
            f"'{key}' has changed in the suite since this was trained",
            told(paths),
            now,
            f"{then}, as it was then",
            fix,
        )
        for (key, now, then), paths in changes.items()
    ]
    raise_all(problems + changed + _other_plugins(runs))


def _other_plugins(runs: Iterable[Planned]) -> list[Problem]:
    """The runs that were trained with other code of a plugin than is loaded now: they can't stand in one table with new ones."""
    others: dict[tuple[str, str], list[Path]] = {}
    for run in runs:
        change = plugins.changed(run.row.name, run_or_record(run.source).environment)
        if change and (run.source != run.path or Run(run.path).trained):
            others.setdefault((run.row.name, change), []).append(run.source)
    fix = "give another --out (and --records), or remove these runs to train them anew"
    return [
        Problem(
            f"the code of {name} has changed since these runs were trained",
            ", ".join(map(str, paths)),
            change,
            "the same code",
            fix,
        )
        for (name, change), paths in others.items()
    ]


def _unusable_record(run: Planned) -> list[Problem]:
    """Why a record that is there can't stand for the run."""
    if run.source == run.path:
        return []
    try:
        found, member = read_run(run.source, "test"), membership(run.source)
    except UserError as error:
        return list(error.problems)
    fix = "move it away, or give another --records"
    if member is None:
        return [Problem("the record is of a run that no suite made", str(run.source), fix=fix)]
    theirs, ours = (
        (member.setting, member.label, found.seed),
        (run.setting.name, run.row.label, run.seed),
    )
    if theirs != ours:
        return [
            Problem("the record is of another run", str(run.source), f"{theirs}", f"{ours}", fix)
        ]
    if found.partial:
        return [Problem("the record is of a partial evaluation", str(run.source), fix=fix)]
    return []


def told(paths: Sequence[Path]) -> str:
    """A few folders by name, and how many more there are."""
    more = f" and {len(paths) - MOST_TOLD} more" if len(paths) > MOST_TOLD else ""
    return ", ".join(map(str, paths[:MOST_TOLD])) + more


def _changes(run: Planned) -> list[tuple[str, str, str]]:
    """(key, value now, value then) of what differs from what the run in the folder was made with."""
    then = membership(run.source)
    if then is None:
        return []  # none is there, or one whose own recipe will be compared when it is gone on with
    asked = run_or_record(run.source).place.get("asked", {})
    before, now = _flat(asked), _flat(json.loads(json.dumps(run.asked)))
    free = FREE | _equal_once_resolved(asked, run)
    changed = [
        (key, _value(now.get(key)), _value(before.get(key)))
        for key in differing([before, now])
        if key not in free
    ]
    if then.protocol != run.suite.protocol:
        changed.append(("protocol", run.suite.protocol, then.protocol))
    return changed


def _equal_once_resolved(asked: Mapping[str, Any], run: Planned) -> frozenset[str]:
    """Keys that one of two recipes leaves to a default which is what the other says: a key that is newer than a run, say."""
    try:
        before, now = _flat(resolve(asked).tables()), _flat(run.resolved.tables())
    except UserError:  # keys of then that are none today
        return frozenset()
    return frozenset(key for key in before.keys() & now.keys() if before[key] == now[key])


def _flat(tables: Mapping[str, Any]) -> dict[str, Any]:
    nested = {
        f"{table}.{key}": value
        for table, keys in tables.items()
        if isinstance(keys, Mapping)
        for key, value in keys.items()
    }
    return nested | {key: value for key, value in tables.items() if not isinstance(value, Mapping)}


def _value(value: Any) -> str:
    return "not set" if value is None else repr(value)
