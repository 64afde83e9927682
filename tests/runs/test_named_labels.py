"""Labels of named segments from training to the predicted file."""

import numpy as np
import pytest
from tests.data.sources.test_segments import segmentation
from tests.helpers.made_folder import make_folder, problems_of, scan
from tests.runs.test_predict import SMALL

import crossview
from crossview.core.errors import UserError

sitk = pytest.importorskip("SimpleITK")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = make_folder(tmp_path_factory.mktemp("named") / "scans", labelled=4, unlabelled=1)
    for number, values in enumerate([(0, 1, 2), (0, 2, 1), (0, 9, 4), (0, 1, 2)]):
        (root / f"labels/case{number:02d}.nii.gz").unlink()
        segments = [("wall", values[1], 0), ("chamber", values[2], 0)]
        label = np.array(values, np.uint8)[scan(number)[1]]
        segmentation(root / f"labels/case{number:02d}.seg.nrrd", [label], segments)
    (root / "split.toml").write_text('test = ["case03"]')
    return root


@pytest.fixture(scope="module")
def run(data):
    return crossview.train("folder", data, data.parent / "run", overrides=SMALL)[0]


def test_a_run_of_named_segments_is_that_of_their_values(data, run):
    assert run.recipe.data.label_values == (0, "wall", "chamber")
    assert run.plan["choices"][0]["key"] == "data.label_values"
    plain = make_folder(data.parent / "plain", labelled=4, unlabelled=1)
    (plain / "split.toml").write_text('test = ["case03"]')
    same = crossview.train("folder", plain, data.parent / "same", overrides=SMALL)[0]
    one, two = (crossview.evaluate(each)["classes"] for each in (run, same))
    assert [each["name"] for each in one.values()] == ["wall", "chamber"]
    for mine, others in zip(one.values(), two.values(), strict=True):
        assert {**mine, "name": ""} == {**others, "name": ""}


@pytest.mark.parametrize("form", ["nifti", "nrrd", "mha", "seg.nrrd"])
def test_a_prediction_is_written_in_the_format_asked_for(data, run, tmp_path, form):
    scans = [data / "images/case04.nii.gz"]
    (path,) = crossview.predict(run, scans, tmp_path, form=form, probabilities=True)
    assert path.name == f"case04.{'nii.gz' if form == 'nifti' else form}"
    image = sitk.ReadImage(str(path))
    expected = crossview.load(run).predict(scan(4)[0], (1.0, 1.5, 2.0)).label
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, expected)
    source = sitk.ReadImage(str(scans[0]))
    for fact in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(image, fact)(), getattr(source, fact)(), atol=1e-6)
    if form == "seg.nrrd":
        names = [image.GetMetaData(f"Segment{number}_Name") for number in (0, 1)]
        assert names == ["wall", "chamber"]
    assert (tmp_path / "probability/case04.nii.gz").exists()
    assert crossview.predict(run, scans, tmp_path, form=form, probabilities=True, resume=True) == []


def test_an_unknown_format_is_refused_before_anything_is_written(data, run, tmp_path):
    with pytest.raises(UserError) as error:
        crossview.predict(run, [data / "images"], tmp_path / "out", form="seg.nrd")
    assert "unknown format of predictions" in problems_of(error)
    assert "seg.nrrd" in problems_of(error)
    assert not (tmp_path / "out").exists()
