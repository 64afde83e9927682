"""Patients whom only names tell: a note where ``data.validation`` or a fold divides them."""

import pytest
from tests.helpers.made_folder import scan, write_nifti

from crossview.data import sources
from crossview.data.sources import folder
from crossview.data.sources.divided import BEGIN


def of_names(root, names, **options):
    """Return the notes on divided patients of a folder with these labelled cases."""
    for number, name in enumerate(names):
        for kind, array in zip(("images", "labels"), scan(number), strict=True):
            write_nifti(root / kind / f"{name}.nii.gz", array)
    common = {"patch": (4, 4, 4), "classes": 3, "sampling": "crop", "augmentation": "none"}
    found = sources.find_splits(folder.Options(**common, **options), root)
    return [note for note in found.notes if note.startswith(BEGIN)]


SLICES = [f"p{patient}_s{number:03d}" for patient in range(3) for number in range(3)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"validation": 2}, "p2 (training: p2_s000; validation: p2_s001 and 1 more)"),
        ({"fold": (1, 2)}, "p0 (training: p0_s001; test: p0_s000 and 1 more)"),
    ],
)
def test_a_patient_on_two_sides_is_noted(tmp_path, options, expected):
    (note,) = of_names(tmp_path, SLICES, **options)
    assert expected in note
    assert "[patient] of split.toml" in note


def test_nothing_is_noted_where_patients_are_known_or_names_tell_none(tmp_path):
    (tmp_path / "split.toml").write_text('[patient]\npattern = "(p[0-9]+)_.*"')
    assert of_names(tmp_path, SLICES, validation=1) == []
    names = [f"hippocampus_{number:03d}" for number in range(5)]
    assert of_names(tmp_path / "other", names, validation=2) == []
