"""A comparison of real runs as files."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from tests.helpers.small_run import small

from crossview.core.errors import UserError
from crossview.evaluation.compare import compare
from crossview.reporting.compared import as_table, write_table
from crossview.runs.evaluate import evaluate


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    runs = [
        small(folder / name, *sets)
        for name, sets in {
            "cml": (),
            "labelled": ("method.pretrain_steps=7", "method.train_steps=0"),
        }.items()
    ]
    for run in runs:
        evaluate(run)
    return compare([run.path for run in runs])


@pytest.mark.parametrize(
    ("name", "told"),
    [("t.md", "| cml"), ("t.csv", "cml,demo,1,"), ("t.html", "<svg"), ("t.svg", "<svg xmlns")],
)
def test_the_name_tells_the_format(comparison, tmp_path, name, told):
    path = write_table(comparison, tmp_path / "new" / name)
    assert told in path.read_text()
    assert "labelled only" in path.read_text()


def test_the_plots_alone_are_a_file_that_needs_no_other(comparison, tmp_path):
    root = ElementTree.fromstring(
        write_table(comparison, tmp_path / "plots.svg", "A <title>").read_text()
    )
    name = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{name}title").text == "A <title>"
    assert len(root.findall(f"{name}svg")) == 2, "the means, and the differences"
    assert root.find(f"{name}style") is not None


def test_other_formats_are_refused(comparison, tmp_path):
    with pytest.raises(UserError, match=r"\.md, \.csv, \.html, \.svg"):
        write_table(comparison, tmp_path / "table.docx")
    assert not any(tmp_path.iterdir())


def test_the_baseline_comes_first(comparison):
    table = as_table(comparison)
    assert [row["method"] for row in table.rows] == ["cml labelled only", "cml"]
    assert "difference" not in table.rows[0]
    assert (
        table.rows[1]["difference_low"]
        <= table.rows[1]["difference"]
        <= table.rows[1]["difference_high"]
    )
    assert {point["method"] for point in table.points} == {"cml labelled only", "cml"}
