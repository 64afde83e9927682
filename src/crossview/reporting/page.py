"""Report of a run: one HTML file, made from the contents of the run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crossview.core.files import write_text
from crossview.core.plugins import arguments
from crossview.core.text import array, table
from crossview.evaluation.compare import Comparison
from crossview.reporting.anonymous import without_names
from crossview.reporting.comparison import ComparisonSection
from crossview.reporting.content import RunContent, read_content
from crossview.reporting.curves import speed_sentence, training_charts
from crossview.reporting.data_sheet import data_sheet
from crossview.reporting.drafts import draft_rows
from crossview.reporting.headline import headline, headline_score, planned_steps
from crossview.reporting.images import Embedded, embed
from crossview.reporting.results import Pictures, ResultsSection
from crossview.reporting.templates import render
from crossview.reporting.unlabelled import unlabelled_effect
from crossview.reporting.verdict import cautions, result_sentences

BATCH_BUDGET = 1_000_000
MOST_BATCHES = 4


def write_report(
    run: Path,
    *,
    comparison: Comparison | None = None,
    comparison_title: str = "Comparison",
    path: Path | None = None,
    names: bool = True,
) -> Path:
    """Write the report of a run, a page that needs no other file.

    Args:
        run: The run folder.
        comparison: Rows to show at the top, before the run's own result.
        comparison_title: Heading of the comparison.
        path: The file to write; run/report.html by default.
        names: False replaces the names of cases by "case 1", "case 2", ...

    Returns:
        The path of the report.

    Raises:
        UserError: If the folder is not a readable run.
    """
    content = read_content(run) if names else without_names(read_content(run))
    pictures = Pictures.of(content)
    results = [
        ResultsSection(each, index, pictures) for index, each in enumerate(content.evaluations)
    ]
    plugin = arguments(str(content.option("method", "name")))
    html = render(
        "page.html.j2",
        run=content,
        head=headline(content),
        comparison=None if comparison is None else ComparisonSection(comparison),
        comparison_title=comparison_title,
        score=headline_score(content),
        sentences=result_sentences(content.evaluations[0]) if content.evaluations else [],
        unlabelled=unlabelled_effect(content, compared=comparison is not None)
        if content.journal.rows
        else None,
        cautions=cautions(content),
        planned=planned_steps(content),
        plugin="".join(f" {word}" for word in plugin),
        featured=next((case for each in results for case in each.cases if case.featured), None),
        results=results,
        data_sheet=data_sheet(content.plan),
        drafts=draft_rows(content.folder),
        charts=training_charts(content),
        speed=speed_sentence(content),
        batches=_batches(content),
        notes=_notes(content),
        commands=_commands(content),
        environment=_environment(content),
    )
    return write_text(path or run / "report.html", html)


@dataclass(frozen=True)
class Batch:
    """Picture of a training batch, by stage and step."""

    name: str
    image: Embedded


def _batches(run: RunContent) -> list[Batch]:
    """Return each stage's first picture and the last of all.

    Files are named "<stage number>-<stage>-step-<step>".
    """
    firsts: dict[str, Path] = {}
    for path in run.batches:
        firsts.setdefault(path.stem.split("-step-")[0], path)
    chosen = sorted({*list(firsts.values())[: MOST_BATCHES - 1], *run.batches[-1:]})
    return [Batch(_batch_name(path), image) for path, image in embed(chosen, BATCH_BUDGET).items()]


def _batch_name(path: Path) -> str:
    stage, _, step = path.stem.partition("-step-")
    stage = stage.partition("-")[2] or stage
    return f"stage {stage}, step {int(step):,}" if step.isdecimal() else path.stem


def _notes(run: RunContent) -> list[str]:
    """Return the notes that qualify the numbers of the page, each sentence once."""
    notes: list[object] = []
    for evaluation in run.evaluations:
        notes += [*array(evaluation.summary.get("notes")), evaluation.summary.get("convention")]
    if isinstance(run.environment.get("notes"), list):
        notes += run.environment["notes"]
    if run.option("training", "selection") == "last":
        notes.append("The weights are those of the last step (selection 'last').")
    return list(dict.fromkeys(str(note) for note in notes if note))


def _commands(run: RunContent) -> list[str]:
    return [
        str(run.environment.get("command") or "crossview train RECIPE --data DATA --out RUN"),
        *(run.command("evaluate", "--split", each.split) for each in run.evaluations),
        run.command("report"),
    ]


def _environment(run: RunContent) -> list[tuple[str, str]]:
    """Return environment.json without what the page shows elsewhere; lists, tables on one line."""
    shown = []
    for name, value in run.environment.items():
        if name in ("command", "notes") or value in ("", None, [], {}):
            continue
        if isinstance(value, list):
            value = ", ".join(str(item) for item in value)
        elif table(value):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        shown.append((name.replace("_", " "), str(value)))
    return shown
