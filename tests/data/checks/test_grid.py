"""What is lost on the grid of training: whole scans, and classes of few voxels."""

import numpy as np
import pytest
from tests.helpers.made_folder import write_nifti

from crossview.core.errors import UserError
from crossview.data.checks.dataset import check
from crossview.data.checks.grid import usual_grid_of
from crossview.recipe.planned import resolve_planned

COARSE, FINE = (2.0, 2.0, 2.0), (0.5, 0.5, 0.5)


def write(root, name, shape, sides, boxes):
    """A scan of noise, its label made of boxes (class, slices)."""
    random = np.random.default_rng(len(list(root.glob("images/*"))))
    label = np.zeros(shape, np.uint8)
    for value, box in boxes.items():
        label[box] = value
    affine = np.diag([*sides, 1.0])
    write_nifti(root / f"images/{name}.nii.gz", random.normal(100, 10, shape), affine)
    write_nifti(root / f"labels/{name}.nii.gz", label, affine)


def box(*starts, side):
    return tuple(slice(start, start + side) for start in starts)


@pytest.fixture
def root(tmp_path):
    """Three coarse scans that show class 1, and a fine one of 80 mm."""
    for number in range(3):
        shape = (24, 24, 20 + number)
        write(tmp_path, f"p{number}", shape, COARSE, {1: box(6, 6, 6 + number, side=8)})
    return tmp_path


def test_a_class_that_no_label_keeps_is_an_error(root):
    boxes = {1: box(20, 20, 20, side=30), 2: box(10, 10, 10, side=2)}
    write(root, "fine", (80, 80, 72), FINE, boxes)
    (error,) = check(root).errors
    assert error.problem.what == "1 label loses class 2 on the training grid, and no label keeps it"
    assert error.problem.found == "fine (voxels stored of class 2: 8)"
    assert error.problem.expected.startswith("at least one voxel of each class at 2 x 2 x 2 mm")


def test_a_class_that_some_labels_keep_is_a_warning(root):
    boxes = {1: box(20, 20, 20, side=30), 2: box(10, 10, 10, side=2)}
    write(root, "fine", (80, 80, 72), FINE, boxes)
    write(root, "p3", (24, 24, 25), COARSE, {1: box(2, 2, 2, side=9), 2: box(15, 15, 15, side=6)})
    (warning,) = (each for each in check(root).findings if "grid" in each.problem.what)
    assert warning.severity == "warning"
    assert warning.cases == ("fine",)


def test_a_class_that_survives_is_no_finding(root):
    boxes = {1: box(20, 20, 20, side=30), 2: box(8, 8, 8, side=8)}
    write(root, "fine", (80, 80, 72), FINE, boxes)
    assert not [each for each in check(root).findings if "grid" in each.problem.what]


def test_training_looks_at_its_own_spacing(root):
    """The median spacing keeps class 2; the user's of 6 mm does not."""
    for number in range(3, 5):
        boxes = {1: box(4, 4, 4, side=9), 2: box(16, 16, 16, side=2)}
        write(root, f"p{number}", (24, 24, 20 + number), COARSE, boxes)
    assert check(root).findings == ()
    resolve_planned("folder", ["method.name=supervised"], root)
    with pytest.raises(UserError, match="2 labels lose class 2 on the training grid"):
        resolve_planned("folder", ["method.name=supervised", "data.spacing=[6,6,6]"], root)


def test_a_scan_that_collapses(root):
    write(root, "dot", (24, 24, 20), (0.002, 0.002, 0.002), {1: box(6, 6, 6, side=8)})
    (error,) = check(root).errors
    what = "1 scan shrinks to a single voxel along two axes or more once resampled for training"
    assert error.problem.what == what
    assert error.problem.found == "dot (24 x 24 x 20 voxels of 0.002 x 0.002 x 0.002 mm)"


def test_a_thin_scan_does_not_collapse(root):
    """Few thin slices become one voxel along one axis, which is no wrong unit."""
    write(root, "thin", (80, 80, 2), (0.6, 0.6, 0.4), {1: (slice(20, 60), slice(20, 60))})
    assert not [each for each in check(root).findings if "once resampled" in each.problem.what]


def test_thick_slices_stay_as_they_are(tmp_path):
    """Slices of 8 mm are segmented one by one, so a class in one slice of three is kept."""
    for number, apart in enumerate([8.0, 8.0, 8.0, 2.0]):
        sides, shape = (1.0, 1.0, apart), (20, 20, 24 + number)
        boxes = {1: box(4, 4, 4, side=9), 2: (slice(15, 19), slice(15, 19), slice(2, 3))}
        write(tmp_path, f"p{number}", shape, sides, boxes)
    found = check(tmp_path)
    assert usual_grid_of(found.facts) == (1.0, 1.0, 0.0)
    assert not [each for each in found.findings if "grid" in each.problem.what]
