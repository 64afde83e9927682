"""The report as a reader gets it: complete, self-contained, harmless, and honest."""

import json
import re
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.helpers.made_rows import against_baseline, made_comparison, made_row, spreads

from crossview.core.errors import UserError
from crossview.reporting.page import write_report

MakeRun = Callable[..., Path]
Journal = Callable[..., list[dict[str, Any]]]
EVIL = "<script>alert(1)</script>"
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Content of a page as a browser would see it: elements, texts, links, open tags."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.faults: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def values(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]


def page_of(run: Path, **arguments: Any) -> Page:
    page = Page(write_report(run, **arguments).read_text(encoding="utf-8"))
    assert page.faults == []
    assert page.open == []
    return page


def test_a_whole_run(make_run: MakeRun, journal: Journal) -> None:
    rows = journal([0.5, 0.7], [0.72, 0.75, 0.8], views={"view1": 0.8, "view2": 0.78})
    page = page_of(
        make_run(journal=rows, dice={"b": [0.95, 0.9], "a": [0.8, 0.7], "c": [0.9, 0.9]})
    )
    for part in (
        "CML on demo",
        "4 labelled scans",
        "20 unlabelled scans",
        "seed 7",
        "90.36",
        "88.90 to 91.60",
        "6.06",
        "1.68",
    ):
        assert part in page.text
    for part in (
        "class 1",
        "class 2",
        "Made of phantoms.",
        "How the numbers were made.",
        "pretrain_steps = 400",
        "crossview train demo",
    ):
        assert part in page.text
    assert "weights of the last step" in page.text
    assert "unfinished" not in page.text
    charts = [
        label
        for label in page.values("aria-label")
        if "Dice" in label or "Loss" in label or "rate" in label
    ]
    assert len(charts) == 4  # cases, validation, loss, learning rate


def test_it_needs_no_other_file(make_run: MakeRun, journal: Journal) -> None:
    page = page_of(
        make_run(
            journal=journal([0.5, 0.7], [0.8, 0.8, 0.8]), dice={"a": [0.8], "b": [0.9], "c": [0.7]}
        )
    )
    loads = [
        value
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "srcset", "poster", "data")
    ]
    loads += [attributes["href"] or "" for tag, attributes in page.tags if tag in ("link", "base")]
    assert len(loads) >= 3
    assert all(value is not None and value.startswith("data:") for value in loads)
    assert not [tag for tag, _ in page.tags if tag in ("script", "iframe", "object", "embed")]
    text = write_report(make_run(name="other", dice={"a": [0.8]})).read_text(encoding="utf-8")
    assert not re.search(r"(?i)(url\(|@import|https?://)", text)


def test_every_link_leads_somewhere(make_run: MakeRun, journal: Journal) -> None:
    page = page_of(
        make_run(
            journal=journal([0.5, 0.7], [0.8]), dice={f"case {n}": [0.5 + n / 20] for n in range(8)}
        )
    )
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    links = [link for link in page.values("href") if link.startswith("#")]
    assert len(links) > 20
    assert {link[1:] for link in links} <= set(ids)


def test_markup_in_names_is_text(make_run: MakeRun, evaluation_writer: Callable[..., None]) -> None:
    environment = {"command": EVIL, EVIL: EVIL, "notes": [EVIL], "device": EVIL, "labelled": [EVIL]}
    rows = [
        {"kind": "stage", "stage": EVIL, "index": 0, "steps": 20, "total_step": 0},
        {
            "kind": "step",
            "stage": EVIL,
            "total_step": 20,
            "loss": 1,
            "terms": {EVIL: 1, 'a"b': 2},
            "health": {EVIL: 0.0},
        },
        {
            "kind": "validation",
            "stage": EVIL,
            "total_step": 20,
            "mean": 0.5,
            "classes": {EVIL: 0.4, "2": 1},
            "views": {EVIL: {"mean": 0.1}},
        },
        {"kind": "warning", "text": EVIL},
    ]
    run = make_run(
        journal=rows, environment=environment, setting=EVIL.replace('"', ""), method="cml"
    )
    evaluation_writer(
        run / "evaluation" / "test",
        {EVIL.replace("/", "-"): [0.0], "<b>&amp;": [0.5], "'\"onload=": [0.7]},
        pictures=False,
        notes=[EVIL],
        convention=EVIL,
        unit=EVIL,
        clean_up=EVIL,
        empty=[
            {"case": EVIL, "class": EVIL, "kind": EVIL},
            {"case": EVIL, "class": "1", "kind": "missed"},
        ],
        classes={"1": {"name": EVIL}},
        views={EVIL: {"mean": {"dice": {"mean": 0.9}}}, "b": {"mean": {"dice": {"mean": 0.5}}}},
    )
    classes = {EVIL: spreads(), "b": spreads()}
    evil = {"setting": EVIL, "selection": EVIL, "unit": EVIL, "empty": {EVIL: 1}}
    table = made_comparison(
        made_row(EVIL, classes=classes, **evil),
        against_baseline(0.0, 0.2, EVIL, **evil),
        notes=(EVIL,),
    )
    page = page_of(run, comparison=table, comparison_title=EVIL)
    assert not [tag for tag, _ in page.tags if tag in ("script", "b&amp;")]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count("alert(1)") > 15


def test_the_command_that_shows_the_cases_can_be_copied(make_run: MakeRun) -> None:
    run = make_run(dice={"a": [0.8], "b": [0.9]})
    assert f"crossview view {run} --split test" in page_of(run).text
    assert "crossview view" not in page_of(make_run(name="unscored")).text


def test_the_worst_case_comes_first(make_run: MakeRun) -> None:
    run = make_run(
        dice={"good": [0.95], "missed": [0.0], "fair": [0.8], "bad": [0.4]},
        empty=[{"case": "missed", "class": "1", "kind": "missed"}],
    )
    page = page_of(run)
    rows = [
        page.text.index(f" {name} ", page.text.index("All cases, worst first"))
        for name in ("missed", "bad", "fair", "good")
    ]
    assert rows == sorted(rows)
    assert "the worst, missed, has 0.00 %" in page.text
    assert "class 1 missed" in page.text
    run = make_run(name="other", dice={"a": [0.9, 0.9], "b": [0.8, 0.0]})
    cases = run / "evaluation" / "test" / "cases.csv"
    cases.write_text(cases.read_text().replace("missed", ""))
    assert "class 2 found only in the wrong place" in page_of(run).text
    alternatives = [alt.rsplit(" ", 1)[1] for alt in page.values("alt")]
    assert alternatives == [
        "fair",
        "missed",
        "bad",
        "good",
    ]  # the median large at the top, then the others, the worst first


@pytest.mark.parametrize("selection", ["test", "validation", "last"])
def test_optimism_is_shown(make_run: MakeRun, selection: str) -> None:
    page = page_of(make_run(selection=selection, dice={"a": [0.8]}, optimistic=selection == "test"))
    assert ("selected on test, optimistic" in page.text) == (selection == "test")
    assert ("Selected on" in page.text) == (selection == "test")


def test_the_counts_are_of_what_was_trained_on(make_run: MakeRun) -> None:
    text = page_of(
        make_run(environment={"labelled": ["a", "b", "c"], "unlabelled": 0, "validation": ["d"]})
    ).text
    assert "3 labelled scans" in text
    assert "4 labelled" not in text
    assert "unlabelled scans" not in text.partition("In plain words")[0]
    assert "4 labelled scans" in page_of(make_run(name="bare", environment={})).text


def test_a_partial_evaluation_and_an_old_one_are_shown(
    make_run: MakeRun, evaluation_writer: Callable[..., None]
) -> None:
    run = make_run(dice={"a": [0.8], "b": [0.9]}, partial=True, step=400)
    evaluation_writer(run / "evaluation" / "test.part", {"z": [0.1]})
    text = page_of(run).text.replace("\u00a0", " ")
    assert "of the first 2 test cases only" in text
    assert "partial evaluation" in text
    assert "scores are from step 400, but the run is now at step 1,000" in text
    assert "test.part" not in text
    plain = page_of(make_run(name="whole", dice={"a": [0.8], "b": [0.9]})).text
    assert "partial evaluation" not in plain
    assert "the run is now at" not in plain


def test_no_evaluation_and_no_end(make_run: MakeRun, journal: Journal) -> None:
    page = page_of(make_run(journal=journal(finished=False)[:30]))
    assert "No evaluation yet" in page.text
    assert "crossview evaluate RUN" in page.text
    assert "it is at step 560 of 1,000" in page.text
    assert "unfinished" in page.text


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"kind": "sta',
        "[1, 2]\nnull\n17\n",
        '{"kind": "step", "terms": 3, "total_step": "x", "health": []}\n',
        "\x00\xff",
    ],
)
def test_odd_journals(make_run: MakeRun, content: str) -> None:
    run = make_run(dice={"a": [0.8]})
    (run / "journal.jsonl").write_bytes(content.encode("latin-1"))
    assert "90.36" in page_of(run).text


def test_a_cut_last_line_and_unknown_kinds_are_tolerated(
    make_run: MakeRun, journal: Journal
) -> None:
    run = make_run(
        journal=[
            *journal([0.5, 0.7], [0.8, 0.8, 0.8]),
            {"kind": "comet", "total_step": 1000, "tail": [1]},
            {"no": "kind"},
        ]
    )
    with (run / "journal.jsonl").open("a") as file:
        file.write('{"kind": "validation", "mean": 0.1, "total_')
    assert "Validation Dice in %" in page_of(run).text


def test_nothing_but_a_recipe(make_run: MakeRun) -> None:
    run = make_run()
    for file in run.iterdir():
        if file.name != "recipe.toml":
            file.unlink()
    page = page_of(run)
    assert "CML" in page.text
    assert "Environment" not in page.text


def test_a_broken_picture_is_left_out(make_run: MakeRun) -> None:
    run = make_run(dice={"a": [0.8], "b": [0.9], "c": [0.7]})
    for name in ("a", "b"):
        (run / "evaluation" / "test" / "pictures" / f"{name}.png").write_bytes(
            b"\x89PNG\r\n\x1a\nhalf"
        )
    assert [alt.rsplit(" ", 1)[1] for alt in page_of(run).values("alt")] == ["c"]


def test_numbers_that_do_not_exist_are_dashes(make_run: MakeRun) -> None:
    nothing = {"mean": None, "sd": None, "ci95": None, "n": 0}
    run = make_run(
        dice={"a": [0.0]},
        mean={
            "dice": {**nothing, "mean": 0.0},
            "jaccard": nothing,
            "hd95": nothing,
            "asd": nothing,
        },
    )
    text = page_of(run).text
    assert "nan" not in text.lower()
    assert "None" not in text
    assert "–" in text


def test_pictures_of_batches_by_stage(make_run: MakeRun) -> None:
    run = make_run()
    (run / "pictures").mkdir()
    for name in (
        "01-pretrain-step-000000",
        "01-pretrain-step-000200",
        "02-train-step-000000",
        "02-train-step-000200",
        "02-train-step-000400",
    ):
        Image.new("RGB", (60, 40)).save(run / "pictures" / f"{name}.png")
    page = page_of(run)
    assert page.values("alt") == [
        "stage pretrain, step 0",
        "stage train, step 0",
        "stage train, step 400",
    ]
    assert "2 more in pictures/" in page.text


def test_several_splits(make_run: MakeRun, evaluation_writer: Callable[..., None]) -> None:
    run = make_run(dice={"t": [0.8], "u": [0.9]})
    evaluation_writer(
        run / "evaluation" / "validation", {"v": [0.5], "t": [0.6]}, split="validation"
    )
    page = page_of(run)
    assert page.text.index("Results on the test cases") < page.text.index(
        "Results on the validation cases"
    )
    assert len(set(page.values("id"))) == len(page.values("id"))


def test_comparison_at_the_top(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(dice={"a": [0.8]})
    table = made_comparison(made_row(), against_baseline(0.01, 0.03))
    page = page_of(
        run, comparison=table, comparison_title="Phantoms", path=tmp_path / "demo" / "report.html"
    )
    assert page.text.index("Phantoms") < page.text.index("Mean Dice on")
    assert (tmp_path / "demo" / "report.html").exists()
    assert not (run / "report.html").exists()


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        write_report(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        write_report(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["recipe.toml", "evaluation/test/summary.json"])
def test_a_damaged_file_is_named(make_run: MakeRun, file: str) -> None:
    run = make_run(dice={"a": [0.8]})
    (run / file).write_text("{ half")
    with pytest.raises(UserError, match=re.escape(file.rsplit("/", 1)[-1])):
        write_report(run)
    assert not list(run.glob("report*"))


def test_a_long_run_with_many_cases_is_quick_and_small(make_run: MakeRun, journal: Journal) -> None:
    """20,000 rows and 40 pictures of noise, the worst that a picture can hold."""
    rows = journal([0.5, 0.7], [0.8, 0.8, 0.8])
    steps = [row for row in rows if row["kind"] == "step"]
    many = rows + [{**steps[-1], "total_step": 1000 + n} for n in range(20_000)]
    run = make_run(
        journal=many, dice={f"case{n:02d}": [0.5 + n / 100] for n in range(40)}, side=600
    )
    started = time.process_time()
    path = write_report(run)
    assert time.process_time() - started < 10  # about 3 s of one core
    assert path.stat().st_size < 8_000_000
    page = Page(path.read_text(encoding="utf-8"))
    shown = sum(tag == "img" for tag, _ in page.tags)
    assert shown == 40 or "more picture" in page.text
    assert max(len(points.split()) for points in page.values("points")) <= 260


def test_the_report_is_replaced_whole(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(dice={"a": [0.8]})
    first = write_report(run).read_text(encoding="utf-8")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    (run / "environment.json").write_text(json.dumps({"device": "other"}))
    with pytest.raises(OSError, match="disk full"):
        write_report(run)
    assert (run / "report.html").read_text(encoding="utf-8") == first


def test_patients_with_several_cases_have_a_table_of_their_own(make_run: MakeRun) -> None:
    dice = {"annika_ED": [0.9], "annika_ES": [0.7], "beatrix_ED": [0.5], "beatrix_ES": [0.3]}
    rows = [
        {"patient": name, "cases": 2, "dice": mean, "jaccard": 0.5, "hd95": 1.0, "asd": None}
        for name, mean in (("annika", 0.8), ("beatrix", 0.4))
    ]
    run = make_run(dice=dice, by_patient=rows)
    cases = run / "evaluation" / "test" / "cases.csv"
    lines = [line.split(",") for line in cases.read_text().splitlines()]
    for line in lines[1:]:
        line[1] = line[0].partition("_")[0]
    cases.write_text("\n".join(map(",".join, lines)))
    text = page_of(run).text
    assert "Mean Dice on 4 test cases of 2 patients" in text
    assert "over 2 patients" in text
    assert "Each patient, worst first" in text
    assert text.index("beatrix 2 40.00") < text.index("annika 2 80.00")
    hidden = write_report(run, names=False).read_text()
    assert "annika" not in hidden
    assert "beatrix" not in hidden
