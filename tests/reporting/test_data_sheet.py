"""The part of a report on a user's own scans and the plan made from them."""

import json

import pytest

from crossview.core.run_folder import RunFolder
from crossview.reporting.data_sheet import data_sheet, histogram
from crossview.reporting.page import write_report


def plan(cases):
    choices = [
        {"key": "data.spacing", "value": [1.0, 0.8, 3.25], "reason": "the median of <all> scans"},
        {"key": "inference.largest_component", "value": True, "reason": "one piece"},
    ]
    return {
        "device": "CPU",
        "choices": choices,
        "fingerprint": {"ct": False, "channels": 1, "cases": cases},
    }


def case(labelled, side, bright=900.0):
    percentiles = [[1.0, 400.0, bright]]
    return {
        "case": "a",
        "labelled": labelled,
        "shape": [40, 50, side],
        "spacing": [1.0, 0.8, side / 10],
        "percentiles": percentiles,
    }


def test_what_varies_is_drawn_and_what_does_not_is_said(tmp_path):
    (tmp_path / "plan.json").write_text(
        json.dumps(plan([case(True, 20), case(False, 30), case(False, 36)]))
    )
    sheet = data_sheet(RunFolder(tmp_path).plan)
    assert (
        sheet.about == "1 labelled and 2 unlabelled scans, 1 channel, no absolute intensity scale."
    )
    assert [chart.title for chart in sheet.charts] == [
        "voxels foot to head",
        "mm per voxel foot to head",
    ]
    assert "voxels left to right: 40" in sheet.same
    assert "mm per voxel back to front: 0.8" in sheet.same
    assert ("data.spacing", "1, 0.8, 3.25", "the median of <all> scans") in sheet.choices
    assert ("inference.largest_component", "true", "one piece") in sheet.choices


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_run_without_a_plan_has_no_sheet(tmp_path, content):
    if content is not None:
        (tmp_path / "plan.json").write_text(content)
    assert data_sheet(RunFolder(tmp_path).plan) is None


def test_a_histogram_counts_every_scan_once():
    chart = histogram("voxels", [10, 10, 11, 30, None], [True, False, False, True, True])
    assert "1 labelled, 2 unlabelled" in chart.svg
    assert "1 labelled, 0 unlabelled" in chart.svg
    assert chart.svg.count("<rect") == 3  # two stacked bars and one alone


def test_values_that_span_orders_of_magnitude_are_on_a_logarithmic_axis():
    assert histogram("intensity", [50, 900, 600000], [True] * 3).title == "intensity, logarithmic"
    assert histogram("intensity", [-50, 900, 600000], [True] * 3).title == "intensity"


def test_the_page_shows_the_plan_with_its_reasons(make_run):
    run = make_run()
    (run / "plan.json").write_text(json.dumps(plan([case(True, 20), case(False, 30)])))
    page = write_report(run).read_text()
    assert "the median of &lt;all&gt; scans" in page
    assert 'href="#plan"' in page
    (run / "plan.json").unlink()
    assert 'href="#plan"' not in write_report(run).read_text()
