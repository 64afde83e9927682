"""The grid of a DICOM series: its slices in order along the normal, and what makes them no grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossview.core.errors import fail
from crossview.core.text import count, first_few
from crossview.data.io.dicom_slices import Slice
from crossview.data.io.geometry import TOLERANCE
from crossview.data.io.scan import LARGEST

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From DICOM's axes (left, back, head) to those of NIfTI (right, front, head)."""

TURNED = 1e-3
"""Largest accepted difference of two directions, as a share of their length."""

VARIED = (
    *("EchoTime", "InversionTime", "TemporalPositionIdentifier", "TriggerTime"),
    *("DiffusionBValue", "AcquisitionNumber", "ImageType"),
)
"""Tags in which images at one position differ, the most telling first."""


@dataclass(frozen=True, eq=False)
class Series:
    """The slices of a series on a regular grid.

    Attributes:
        path: The folder, zip file or file.
        slices: In order along the normal of rows and columns.
        affine: Voxel (column, row, slice) to mm, towards right, front and head.
    """

    path: Path
    slices: tuple[Slice, ...]
    affine: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows and slices."""
        tags = self.slices[0].tags
        return tags["Columns"], tags["Rows"], len(self.slices)

    @property
    def frame_of_reference(self) -> str:
        """UID of the space in which positions are measured, "" if it is not stated."""
        return str(self.slices[0].tags.get("FrameOfReferenceUID", ""))


def stacked(path: Path, slices: Sequence[Slice]) -> Series:
    """Return the slices as a grid. UserError at ``path`` if they are none.

    Slices are ordered by their position, whatever their names and numbers are.
    """
    _check_alike(path, slices)
    normal = np.cross(*slices[0].axes)
    ordered = sorted(slices, key=lambda each: float(each.place @ normal))
    places = np.array([each.place for each in ordered])
    heights = places @ normal
    if len(ordered) == 1:
        step = normal * _thickness(path, ordered[0])
    else:
        _check_single(path, ordered, heights)
        _check_even(path, heights)
        _check_straight(path, places, normal, ordered[0])
        step = (places[-1] - places[0]) / (len(ordered) - 1)
    affine = np.eye(4)
    affine[:3, :2] = (slices[0].axes * slices[0].sides[:, None]).T
    affine[:3, 2], affine[:3, 3] = step, places[0]
    return Series(path, tuple(ordered), TO_RAS @ affine)


def _check_alike(path: Path, slices: Sequence[Slice]) -> None:
    """Raise UserError unless all slices have one size, orientation, spacing and space."""
    first = slices[0]
    turned = max(float(np.abs(each.axes - first.axes).max()) for each in slices)
    lengths = np.linalg.norm(first.axes, axis=1)
    if abs(first.axes[0] @ first.axes[1]) > TURNED or np.abs(lengths - 1).max() > TURNED:
        fail(
            "the orientation of the slices is invalid",
            f"{path}/{first.file}",
            found="rows and columns that are not at right angles, or directions of no length",
            expected="two perpendicular unit vectors",
            fix="export the series again",
        )
    kinds: dict[str, Counter[str]] = {
        "pixels": Counter(f"{each.tags['Columns']} x {each.tags['Rows']}" for each in slices),
        "spacing": Counter(" x ".join(f"{side:.5g}" for side in each.sides) for each in slices),
        "frames of reference": Counter(
            str(each.tags.get("FrameOfReferenceUID")) for each in slices
        ),
    }
    for noun, found in kinds.items():
        if len(found) > 1:
            shown = first_few([f"{value} in {n}" for value, n in found.most_common()])
            if noun == "frames of reference":
                shown = f"{len(found)} frames of reference"
            fail(
                f"the slices of a DICOM series differ in {noun}",
                path,
                found=shown,
                expected="slices of one scan",
                fix=ONE_SCAN,
            )
    if turned > TURNED:
        fail(
            "the slices of a DICOM series have different orientations",
            path,
            found=f"directions that differ by up to {np.degrees(np.arcsin(min(1, turned))):.1f} "
            "degrees",
            expected="parallel slices",
            fix=f"{ONE_SCAN} (localisers hold several orientations)",
        )
    voxels = first.tags["Columns"] * first.tags["Rows"] * len(slices)
    if first.sides.min() <= 0 or not 0 < voxels <= LARGEST:
        fail(
            "the header contains an invalid size or spacing",
            f"{path}/{first.file}",
            found=f"{voxels:,} voxels, {' x '.join(f'{side:g}' for side in first.sides)} mm",
            expected=f"1 to {LARGEST:,} voxels, a spacing above 0",
            fix="export the series again",
        )


ONE_SCAN = "keep the files of one scan, and move the others elsewhere"


def _thickness(path: Path, only: Slice) -> float:
    """Return the spacing of a single slice."""
    if only.thickness > 0:
        return only.thickness
    fail(
        "the slice has no thickness",
        f"{path}/{only.file}",
        found="neither SliceThickness nor SpacingBetweenSlices above 0",
        expected="a series of several slices, or one slice of known thickness",
        fix="export the series again",
    )


def _check_single(path: Path, ordered: Sequence[Slice], heights: NDArray[np.float64]) -> None:
    """Raise UserError if several images lie at one position."""
    span = float(heights[-1] - heights[0])
    same = np.diff(heights) <= max(1e-4, 1e-3 * span / len(ordered))
    if not same.any():
        return
    uids = Counter((each.tags.get("SOPInstanceUID"), each.frame) for each in ordered)
    twice = [uid for uid, number in uids.items() if number > 1]
    if twice:
        files = [
            each.file
            for each in ordered
            if (each.tags.get("SOPInstanceUID"), each.frame) == twice[0]
        ]
        fail(
            "a DICOM series holds the same image twice",
            path,
            found=f"{count(len(twice), 'image')} in several files, such as {first_few(files)}",
            expected="each image once",
            fix="remove the copies",
        )
    positions = int((~same).sum()) + 1
    varied = [key for key in VARIED if len({str(each.tags.get(key)) for each in ordered}) > 1]
    by = f"; they differ in {', '.join(varied)}" if varied else ""
    fail(
        "a DICOM series holds several images at one position",
        path,
        found=f"{len(ordered)} images at {positions} positions{by}",
        expected="one image per position: one phase, echo, time or b-value",
        fix="keep the images of one volume, or give each volume a folder of its own",
    )


def _check_even(path: Path, heights: NDArray[np.float64]) -> None:
    """Raise UserError unless the slices are evenly spaced, up to a tenth of their distance."""
    even = np.linspace(heights[0], heights[-1], len(heights))
    gaps = np.diff(heights)
    if np.abs(heights - even).max() <= TOLERANCE * gaps.min():
        return
    usual = float(gaps.min())
    steps = np.rint(gaps / usual)
    if np.abs(gaps / usual - steps).max() <= TOLERANCE:
        missing = int(steps.sum()) - len(gaps)
        where = [f"{gaps[gap]:.4g} mm after slice {gap + 1}" for gap in np.flatnonzero(steps > 1)]
        fail(
            f"a DICOM series has {count(missing, 'missing slice')}",
            path,
            found=f"gaps of {first_few(where)}; other slices are {usual:.4g} mm apart",
            expected=f"{len(heights) + missing} slices, {usual:.4g} mm apart",
            fix="copy the series again, with all of its files",
        )
    fail(
        "the slices of a DICOM series are unevenly spaced",
        path,
        found=f"gaps from {gaps.min():.4g} to {gaps.max():.4g} mm",
        expected="equal gaps, up to a tenth",
        fix="use a series with even slices, or resample it and save it as NIfTI",
    )


def _check_straight(
    path: Path, places: NDArray[np.float64], normal: NDArray[np.float64], first: Slice
) -> None:
    """Raise UserError if the slices are shifted against each other within their planes."""
    offsets = places - places[0]
    heights = offsets @ normal
    sideways = np.linalg.norm(offsets - heights[:, None] * normal, axis=1)
    if sideways.max() <= TOLERANCE * min(*first.sides, heights[-1] / (len(places) - 1)):
        return
    angle = np.degrees(np.arctan2(sideways[-1], heights[-1]))
    fail(
        "the slices of a DICOM series are shifted sideways (gantry tilt)",
        path,
        found=f"up to {sideways.max():.4g} mm, {angle:.1f} degrees from the normal",
        expected="slices stacked along their normal",
        fix="correct the tilt (dcm2niix does) and give the scan as NIfTI",
    )
