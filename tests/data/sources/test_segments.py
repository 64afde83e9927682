"""Labels of named segments, and label maps of split.toml: read by name, never by chance."""

import numpy as np
import pytest
from tests.helpers.made_folder import AFFINE, SHAPE, make_folder, problems_of, scan

from crossview.core.errors import UserError
from crossview.data.io import BY_SUFFIX
from crossview.data.io.nrrd import write as write_nrrd
from crossview.data.sources import folder
from crossview.data.sources.folder_cases import find_cases

sitk = pytest.importorskip("SimpleITK")


def segmentation(path, layers, segments, start=(0, 0, 0)):
    """Write layers (L, X, Y, Z) as Slicer does, their first voxel at ``start`` of the scan.

    segments: (name, value, layer) of each.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    layers = np.asarray(layers, np.uint8)
    # As Slicer: LPS, the layers first, written by hand.
    origin = (AFFINE @ [*start, 1])[:3] * (-1, -1, 1)
    lines = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {4 if len(layers) > 1 else 3}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, layers.shape if len(layers) > 1 else layers.shape[1:]))}",
        f"space directions: {'none ' if len(layers) > 1 else ''}(-1,0,0) (0,-1.5,0) (0,0,2)",
        f"kinds: {'list ' if len(layers) > 1 else ''}domain domain domain",
        "encoding: raw",
        f"space origin: ({','.join(map(str, origin))})",
        "Segmentation_MasterRepresentation:=Binary labelmap",
        f"Segmentation_ReferenceImageExtentOffset:={' '.join(map(str, start))}",
    ]
    for number, (name, value, layer) in enumerate(segments):
        lines += [
            f"Segment{number}_ID:=Segment_{number}",
            f"Segment{number}_Name:={name}",
            f"Segment{number}_LabelValue:={value}",
            f"Segment{number}_Layer:={layer}",
        ]
    voxels = layers if len(layers) > 1 else layers[0]
    path.write_bytes("\n".join([*lines, "", ""]).encode() + voxels.tobytes(order="F"))
    return path


def replaced(root, number, layers, segments, start=(0, 0, 0)):
    (root / f"labels/case{number:02d}.nii.gz").unlink()
    return segmentation(root / f"labels/case{number:02d}.seg.nrrd", layers, segments, start)


def labels(root, **options):
    return [case.read_label() for case in find_cases(root, **options).labelled]


def told(root) -> str:
    with pytest.raises(UserError) as error:
        labels(root)
    return problems_of(error)


def one(number=0):
    """The label of a case with values 7 for the first class and 4 for the second."""
    return np.array([0, 7, 4], np.uint8)[scan(number)[1]][None]


NAMES = [("Läsion", 7, 0), ("liver", 4, 0)]


def test_values_that_differ_between_files_are_read_by_name(tmp_path):
    root = make_folder(tmp_path)
    swapped = np.array([0, 1, 2], np.uint8)[scan(1)[1]][None]
    replaced(root, 0, one(), NAMES)
    replaced(root, 1, swapped, [("liver", 2, 0), ("Läsion", 1, 0)])
    replaced(root, 2, one(2), NAMES)
    cases = find_cases(root)
    assert cases.class_names == ("background", "Läsion", "liver")
    for number, label in enumerate(labels(root)):
        np.testing.assert_array_equal(label, scan(number)[1])
    assert folder.stated_classes(root).entries == (0, "Läsion", "liver")


def test_a_segmentation_smaller_than_its_scan_lies_at_its_place(tmp_path):
    root = make_folder(tmp_path)
    label = scan(0)[1]
    label[0] = 0
    cut = np.array([0, 7, 4], np.uint8)[label[1:6, 1:, 1:]][None]
    (root / "split.toml").write_text('[labels]\na = [1, "Läsion"]\nb = [2, "liver"]\n')
    replaced(root, 0, cut, NAMES, (1, 1, 1))
    expected = np.zeros(SHAPE, np.uint8)
    expected[1:6, 1:, 1:] = label[1:6, 1:, 1:]
    found = labels(root)
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(found[1], scan(1)[1])
    replaced_at = segmentation(root / "labels/case00.seg.nrrd", cut, NAMES, (-2, 1, 1))
    assert "the label reaches beyond its scan" in told(root)
    segmentation(replaced_at, cut, NAMES, (1.3, 1, 1))
    assert "not aligned in space" in told(root)


def test_values_and_names_of_several_kinds_are_one_class(tmp_path):
    root = make_folder(tmp_path)
    replaced(root, 0, one(), NAMES)
    (root / "split.toml").write_text(
        '[labels]\nbackground = 2\norgan = [1, "Läsion"]\nliver = 205\n'
    )
    cases = find_cases(root)
    assert cases.class_names == ("background", "organ", "liver")
    np.testing.assert_array_equal(cases.labelled[0].read_label(), scan(0)[1])
    np.testing.assert_array_equal(cases.labelled[1].read_label(), scan(1)[1] == 1)
    merged = find_cases(root, label_values=(0, (1, 2, "Läsion", "liver")))
    np.testing.assert_array_equal(merged.labelled[0].read_label(), scan(0)[1] > 0)
    np.testing.assert_array_equal(merged.labelled[1].read_label(), scan(1)[1] > 0)


def test_overlapping_segments_are_refused_or_resolved_by_the_stated_order(tmp_path):
    root = make_folder(tmp_path, labelled=2)
    for number in (0, 1):
        first, second = np.zeros((2, *SHAPE), np.uint8)
        first[1:4, 1:4, 1:4], second[2:6, 2:5, 2:4] = 1, 1
        replaced(root, number, [first, second], [("organ", 1, 0), ("tumour", 1, 1)])
    text = told(root)
    assert "segments of the label overlap" in text
    assert "8 voxels of organ and tumour" in text
    assert 'overlap = ["tumour", "organ"]' in text
    both = (first > 0) & (second > 0)
    for order, inside in ((["tumour", "organ"], 2), (["organ", "tumour"], 1)):
        (root / "split.toml").write_text(f"overlap = {order}".replace("'", '"'))
        found = labels(root)[0]
        assert np.unique(found[both]).tolist() == [inside]
        np.testing.assert_array_equal(found[~both], (first + 2 * second)[~both])


@pytest.mark.parametrize(
    ("segments", "split", "expected"),
    [
        ([("liver", 7, 0), ("liver", 4, 0)], "", "two segments have the same name"),
        ([("liver", 7, 0), ("spleen", 7, 0)], "", "same value in the same layer"),
        ([("liver", 7, 0)], "", "voxels of the segmentation belong to no segment"),
        (NAMES, "[labels]\nliver = 1\nkidney = 2", "a segment's name is no class"),
        ([("liver", 7, 0), ("Liver", 4, 0)], "", "differ in capitals only"),
        (NAMES, "[labels]\nliver = 1\nkidney = 1", "for two classes"),
        (NAMES, "[labels]\nliver = 1.5", "not a table of values and names"),
        (NAMES, "[labels]\nliver = 1\n[overlap]\na = 1", "'overlap' is not a list"),
    ],
)
def test_what_has_no_clear_meaning_is_refused(tmp_path, segments, split, expected):
    root = make_folder(tmp_path)
    replaced(root, 0, one(), segments)
    (root / "split.toml").write_text(split)
    assert expected in told(root)


def test_predicted_segments_have_names_and_colours_and_are_read_back(tmp_path):
    from crossview.data.io.segments import BY_NAME

    path, label = tmp_path / "a.seg.nrrd", scan(0)[1]
    source = tmp_path / "scan.nrrd"
    header = find_cases(make_folder(tmp_path / "x")) and BY_SUFFIX[".nii.gz"].read_header(
        tmp_path / "x/images/case00.nii.gz"
    )
    write_nrrd(source, {"label": label}, header)
    names, colours = (
        {1: "linke Läsion", 2: "liver", 3: "none"},
        dict.fromkeys((1, 2, 3), (0, 51, 255)),
    )
    BY_NAME["seg.nrrd"].write(path, label, header, names, colours, "cml")
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, label)
    assert image.GetMetaData("Segment0_Name") == "linke Läsion"
    assert image.GetMetaData("Segment0_Color") == "0 0.2 1"
    assert [image.GetMetaData(f"Segment{n}_LabelValue") for n in (0, 1, 2)] == ["1", "2", "3"]
    assert image.GetMetaData("Segment2_Extent") == "0 -1 0 -1 0 -1"
    found, (layer,) = BY_SUFFIX[".nrrd"].read_segments(path, header)
    assert found == ("linke Läsion", "liver", "none")
    np.testing.assert_array_equal(layer, label)
