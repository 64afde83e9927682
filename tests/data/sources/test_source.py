"""The registry of sources and the checks of [data]."""

import pytest
from pydantic import ValidationError

from crossview.core.errors import UserError
from crossview.data import sources

CROP = {"source": "la", "labelled": 4, "sampling": "crop", "augmentation": "rot90_flip"}


@pytest.mark.parametrize("name", sources.names())
def test_every_source_has_options_and_splits(name):
    source = sources.find(name)
    assert issubclass(source.Options, sources.DataOptions)
    assert callable(source.splits)


@pytest.mark.parametrize("name", sources.names())
def test_every_key_is_described(name):
    assert [
        key
        for key, field in sources.find(name).Options.model_fields.items()
        if not field.description
    ] == []


def test_an_unknown_source_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"did you mean acdc"):
        sources.find("acd")


def test_an_unknown_key_is_refused():
    with pytest.raises(ValidationError, match="labeled"):
        sources.find("la").Options(**CROP, labeled=3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"validation": 4}, "none of the 4 labelled"),
        ({"patch": (112,)}, "two or three"),
        ({"patch": (112, 0, 80)}, "two or three"),
        ({"sampling": "resize"}, "resize is for slices"),
        ({"augmentation": "rot90_flip_or_rotate"}, "needs sampling = resize"),
        ({"nifti_axes": (0, 0, 1)}, "each axis once"),
        ({"nifti_axes": (0, 1)}, "nifti_axes: three numbers"),
        ({"nifti_axes": (0, 1, 2, 3)}, "nifti_axes: three numbers"),
        ({"labelled": 0}, "greater than or equal to 1"),
        ({"classes": 3}, "less than or equal to 2"),
    ],
)
def test_contradictions_are_refused(changed, message):
    with pytest.raises(ValidationError, match=message):
        sources.find("la").Options(**CROP | changed)
