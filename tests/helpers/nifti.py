"""NIfTI files of any header, and where ITK places them."""

import nibabel as nib
import numpy as np
import pytest
from tests.helpers.made_folder import scan

from crossview.data.io import NIFTI, ScanFiles

read, read_header = NIFTI.read, NIFTI.read_header

IMAGE, _ = scan(1)

FORM = np.array([[-0.5, 0, 0, 10], [0, 0.5, 0, -20], [0, 0, 2, 30], [0, 0, 0, 1]])


def stored(path, image=IMAGE, sform=None, qform=None, codes=(1, 1), kind=nib.Nifti1Image, **fields):
    """Write a file of given forms, and then fields of its header as they are, byte for byte."""
    made = kind(image, None)
    if sform is not None:
        made.header["pixdim"][1:4] = np.linalg.norm(sform[:3, :3], axis=0)
        made.set_sform(sform, codes[0])
    if qform is not None:
        made.set_qform(qform, codes[1])
    made.header["pixdim"][4:] = 1
    nib.save(made, path)
    content, header = path.read_bytes(), made.header.copy()
    header["vox_offset"], header["scl_slope"], header["scl_inter"] = (
        len(content) - image.nbytes,
        1,
        0,
    )
    for field, value in fields.items():
        header[field] = value
    path.write_bytes(header.binaryblock + content[len(header.binaryblock) :])
    return path


def read_label(path, scan_file):
    """Return the classes of a label, as a folder's labels are read."""
    return ScanFiles("scan", (scan_file,), path).read_label()


def place_by_itk(path):
    """Return the voxel-to-world matrix in RAS and mm as ITK reads it."""
    sitk = pytest.importorskip("SimpleITK")
    image, affine = sitk.ReadImage(str(path)), np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine
