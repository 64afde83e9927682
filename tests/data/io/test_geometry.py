import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.affines import apply_affine
from nibabel.orientations import aff2axcodes

from crossview.data.io.geometry import Orientation

ORDERS = st.permutations([0, 1, 2]).map(tuple)


@st.composite
def affines(draw):
    """Any turn by 90 degrees and flips, with spacing, a small rotation or shear, and a shift."""
    permutation = np.eye(3)[list(draw(ORDERS))] * np.array(
        [draw(st.sampled_from([-1, 1])) for _ in range(3)]
    )
    disturbance = np.array([[draw(st.floats(-0.15, 0.15)) for _ in range(3)] for _ in range(3)])
    affine = np.eye(4)
    affine[:3, :3] = (permutation + disturbance) @ np.diag(
        [draw(st.floats(0.3, 6)) for _ in range(3)]
    )
    affine[:3, 3] = [draw(st.floats(-200, 200)) for _ in range(3)]
    return affine


@given(affine=affines(), order=ORDERS)
def test_apply_and_undo_are_inverse(affine, order):
    orientation = Orientation.canonical(affine, order)
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(orientation.undo(orientation.apply(array)), array)
    np.testing.assert_array_equal(orientation.apply(array[0]), orientation.apply(array)[0])


@given(affine=affines())
def test_the_canonical_axes_run_to_the_right_the_front_and_the_top(affine):
    orientation = Orientation.canonical(affine)
    world = apply_affine(affine, np.moveaxis(np.indices((3, 4, 5)), 0, -1))
    towards = np.stack(
        [orientation.apply(np.ascontiguousarray(world[..., axis])) for axis in range(3)], -1
    )
    for axis in range(3):
        step = np.diff(towards[..., axis], axis=axis)
        assert (step > 0).all(), aff2axcodes(affine)


def test_spacing_follows_the_order():
    affine = np.diag([-2.0, 3.0, 5.0, 1.0])
    orientation = Orientation.canonical(affine, (2, 1, 0))
    assert orientation.spacing(affine) == (5.0, 3.0, 2.0)
    assert orientation.apply(np.zeros((7, 8, 9))).shape == (9, 8, 7)
    assert orientation.flips == (False, False, True)


def test_an_affine_without_three_directions_leaves_the_axes_as_stored():
    assert Orientation.canonical(np.zeros((4, 4)), (2, 1, 0)) == Orientation((2, 1, 0))


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
def test_plain_orders_need_no_affine(axes):
    array = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(Orientation(axes).apply(array), array.transpose(axes))
