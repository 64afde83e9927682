"""The minimum volume that scores best, by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from crossview.core.regions import Region
from crossview.data.case import Case, Splits
from crossview.evaluation.bootstrap import paired
from crossview.evaluation.minimum_volume import Found, chosen, found_in


def found(patient, pieces, labelled, smallest=math.nan):
    volumes, voxels, right = (
        map(np.array, zip(*pieces, strict=True)) if pieces else [np.zeros(0)] * 3
    )
    return Found(patient, volumes, voxels, right, labelled, smallest)


def test_what_a_prediction_found_of_each_class():
    label, prediction = np.zeros((2, 12, 10), np.uint8)
    label[:4, :5], label[9, 9], prediction[1:4, :5] = 1, 1, 1  # 15 voxels, all right
    prediction[8:10, 8:10] = 1  # 4, one right
    label[0:2, 7:9] = prediction[0, 7] = 2
    case, splits = Case("a", "p", "a.nii", lambda: None), Splits((), (), (), (), 3, ("", "", ""))
    one, two = found_in(case, label, prediction, splits, voxel=2.5).values()
    assert sorted(zip(one.volumes, one.voxels, one.right, strict=True)) == [
        (10, 4, 1),
        (37.5, 15, 15),
    ]
    assert (one.labelled, one.smallest) == (21, 2.5)
    assert (list(two.volumes), two.labelled, two.smallest) == ([2.5], 4, 10)
    assert one.dice(0) == pytest.approx(2 * 16 / (19 + 21))
    assert one.dice(10) == one.dice(0)
    assert one.dice(10.1) == pytest.approx(2 * 15 / (15 + 21))
    assert one.dice(99) == 0
    regions = (Region("whole", (1, 2), 1), Region("core", (2,), 2))
    whole, core = found_in(case, label, prediction, replace(splits, regions=regions), 2.5).values()
    assert sorted(zip(whole.volumes, whole.voxels, whole.right, strict=True)) == [
        (2.5, 1, 1),
        (10, 4, 1),
        (37.5, 15, 15),
    ]
    assert (whole.labelled, whole.smallest, core) == (25, 2.5, two)


def test_a_case_in_which_rightly_nothing_is_left_counts_as_right():
    spurious = found("a", [(3.0, 3, 0)], labelled=0)
    assert (spurious.dice(0), spurious.dice(4), spurious.dice(2)) == (0, 1, 0)
    assert found("a", [], labelled=0).dice(0) == 1
    assert found("a", [], labelled=5).dice(0) == 0


def test_the_best_volume_and_what_it_gains():
    """A speck of 3 mm3 in each of 12 patients; one has a structure of 4 mm3 that is right."""
    cases = [found(str(n), [(3.0, 3, 0), (90.0 + n, 90, 80)], 100, 100.0) for n in range(12)]
    cases.append(found("small", [(4.0, 4, 4), (50.0, 50, 50)], 60, 4.0))
    choice = chosen("lesion", cases)
    assert choice.tried == (0, 5, 10, 20, 50, 100, 200)
    gain, loss = 160 / 190 - 160 / 193, 100 / 110 - 108 / 114
    assert choice.volume == 5
    assert choice.dice[1] - choice.dice[0] == pytest.approx((12 * gain + loss) / 13)
    # Whoever is left out, 5 is best for the others.
    zero, five = np.array([[each.dice(volume) for each in cases] for volume in (0, 5)])
    by = paired([five[:, None]], [zero[:, None]], [each.patient for each in cases])
    assert choice.difference == by
    assert choice.useful == (by.low > 0)
    assert choice.smallest == 4.0


def test_a_volume_that_helps_one_patient_alone_is_not_advised():
    cases = [found(str(n), [(90.0, 90, 80)], 100) for n in range(12)]
    cases.append(found("odd", [(3.0, 3, 0), (90.0, 90, 80)], 100))
    choice = chosen("lesion", cases)
    assert choice.volume == 5
    # Without that patient, no volume is better than none, so it gets none.
    assert choice.difference.mean == 0
    assert not choice.useful
    assert choice.advised == 0


@pytest.mark.parametrize("cases", [[found("a", [], 5)], [found("a", [(2.0, 2, 2)], 2, 2.0)] * 3])
def test_one_patient_or_nothing_found_advises_nothing(cases):
    choice = chosen("lesion", cases)
    assert choice.difference is None
    assert (choice.volume, choice.advised) == (0, 0)
