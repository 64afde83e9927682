"""Prediction of many files: which ones, where to, and what happens when one of them is bad."""

import os
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from tests.helpers.made_folder import write_picture
from tests.helpers.predicting import predictions

from crossview.core.errors import UserError
from crossview.data.io import nifti_file as stored_nifti
from crossview.data.sources.source import DataOptions
from crossview.inference.files import predict_files
from crossview.inference.inputs import find_scans
from crossview.inference.outputs import Outputs
from crossview.inference.predict import Predictor

SHAPE = (9, 8, 7)
DATA = DataOptions(
    source="folder", labelled=1, patch=(8, 8, 6), classes=2, sampling="crop", augmentation="none"
)


def values(seed=0):
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def nifti_file(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([0.5, 0.5, 2, 1])), path)
    return path


def h5_file(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["image"] = array
    return path


@pytest.fixture
def predict(threshold, predictor):
    """Predicts files with the method that thresholds at zero."""

    def run(inputs, out, maps=(), resume=False, overwrite=False, **callbacks):
        outputs = Outputs(out, maps, resume, overwrite)
        return predict_files(
            predictor(threshold, batch=5), inputs, outputs, data=DATA, channels=1, **callbacks
        )

    return run


def problems_of(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    return caught.value.problems


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_of_scans_is_predicted_in_order_and_by_name(predict, tmp_path):
    for number, name in enumerate(("b.nii.gz", "c.nii", "a.nii.gz")):
        nifti_file(tmp_path / "scans" / name, values(number))
    (tmp_path / "scans" / "notes.txt").write_text("not a scan")
    (tmp_path / "scans" / "._a.nii.gz").write_text("what a Mac leaves behind")
    written = predict([tmp_path / "scans"], tmp_path / "out")
    assert [path.name for path in written] == ["a.nii.gz", "b.nii.gz", "c.nii"]
    for path, number in zip(written, (2, 0, 1), strict=True):
        np.testing.assert_array_equal(np.asarray(nibabel.load(path).dataobj), values(number) > 0)


def test_a_prediction_of_nothing_but_background_is_told(predict, tmp_path):
    scans = [
        nifti_file(tmp_path / "in" / "dark.nii.gz", -abs(values())),
        nifti_file(tmp_path / "in" / "usual.nii.gz", values()),
    ]
    remarks = []
    written = predict(scans, tmp_path / "out", remark=remarks.append)
    assert [path.name for path in written] == ["dark.nii.gz", "usual.nii.gz"]
    assert remarks == [f"{tmp_path / 'out' / 'dark.nii.gz'} is all background"]


def test_the_la_layout_is_found_from_any_of_its_folders(predict, tmp_path):
    root = tmp_path / "LA" / "2018LA_Seg_Training Set"
    for number, case in enumerate(("CASEB", "CASEA")):
        h5_file(root / case / "mri_norm2.h5", values(number))
    for place, count in ((tmp_path / "LA", 2), (root, 2), (root / "CASEA", 1)):
        scans, problems = find_scans([place], 1)
        assert [scan.name for scan in scans] == ["CASEA", "CASEB"][:count]
        assert problems == []
    predict([root], tmp_path / "out")
    with h5py.File(tmp_path / "out" / "CASEA.h5") as file:
        np.testing.assert_array_equal(file["label"], values(1) > 0)


def test_linked_cases_are_found(tmp_path):
    h5_file(tmp_path / "elsewhere" / "mri_norm2.h5", values())
    (tmp_path / "LA").mkdir()
    (tmp_path / "LA" / "linked").symlink_to(tmp_path / "elsewhere")
    (scan,), _ = find_scans([tmp_path / "LA"], 1)
    assert scan.name == "linked"


def test_maps_come_where_they_are_asked_for(predict, tmp_path):
    inputs = [nifti_file(tmp_path / "a.nii.gz", values()), h5_file(tmp_path / "b.h5", values())]
    predict(inputs, tmp_path / "plain")
    predict(inputs, tmp_path / "maps", ("probability", "disagreement", "entropy"))
    assert everything(tmp_path / "plain") == ["a.nii.gz", "b.h5"]
    assert everything(tmp_path / "maps") == [
        "a.nii.gz",
        "b.h5",
        *(f"{name}/a.nii.gz" for name in ("disagreement", "entropy", "probability")),
    ]
    with h5py.File(tmp_path / "maps" / "b.h5") as file:
        shapes = {
            "label": SHAPE,
            "probability": (2, *SHAPE),
            "disagreement": SHAPE,
            "entropy": SHAPE,
        }
        assert {name: file[name].shape for name in file} == shapes
        np.testing.assert_allclose(
            np.asarray(nibabel.load(tmp_path / "maps/probability/a.nii.gz").dataobj),
            np.moveaxis(file["probability"][()], 0, -1),
        )


def test_resume_makes_what_is_missing_and_leaves_the_rest(predict, tmp_path):
    inputs = [
        nifti_file(tmp_path / f"{name}.nii.gz", values(seed)) for seed, name in enumerate("abc")
    ]
    out = tmp_path / "out"
    predict(inputs, out, ("entropy",))
    whole = {name: (out / name).read_bytes() for name in everything(out)}
    (out / "b.nii.gz").unlink()  # as a stop leaves it: the map is there, the label is not yet
    (out / "entropy" / "c.nii.gz").unlink()
    kept = (out / "a.nii.gz").stat()
    assert predict(inputs, out, ("entropy",), resume=True) == [out / "b.nii.gz", out / "c.nii.gz"]
    assert {name: (out / name).read_bytes() for name in everything(out)} == whole
    assert (out / "a.nii.gz").stat() == kept
    assert predict(inputs, out, ("entropy",), resume=True) == []
    (problem,) = problems_of(predict, inputs[:1], out)
    assert "--resume" in problem.fix


def test_each_file_is_told_as_it_is_written_whatever_becomes_of_others(predict, tmp_path):
    bad = tmp_path / "b.nii.gz"
    inputs = [
        nifti_file(tmp_path / "a.nii.gz", values()),
        bad,
        nifti_file(tmp_path / "c.nii.gz", values()),
    ]
    bad.write_bytes(b"no scan")
    told = []
    assert len(problems_of(predict, inputs, tmp_path / "out", done=told.append)) == 1
    assert told == [tmp_path / "out" / "a.nii.gz", tmp_path / "out" / "c.nii.gz"]


def test_the_folder_of_a_data_set_is_no_folder_of_scans(predict, tmp_path):
    nifti_file(tmp_path / "scans" / "images" / "a.nii.gz", values())
    (problem,) = problems_of(predict, [tmp_path / "scans"], tmp_path / "out")
    assert str(tmp_path / "scans" / "images") in problem.fix


def test_channels_in_files_of_their_own_are_one_scan(tmp_path):
    names = ["a_0000.nii.gz", "a_0001.nii.gz", "b.nii.gz", "c_0001.nii.gz"]
    for name in names:
        nifti_file(tmp_path / name, values())
    scans, (incomplete,) = find_scans([tmp_path], 2)
    assert [(scan.name, len(scan.files)) for scan in scans] == [("a", 2), ("b", 1)]
    assert "c.nii.gz" in incomplete.where
    assert (incomplete.found, incomplete.expected) == ("_0001", "_0000, _0001")
    scans, problems = find_scans([tmp_path], 1)
    # A number may be part of a name where there is one channel.
    assert [f"{scan.name}{scan.suffix}" for scan in scans] == names
    assert problems == []


def names_in(folder, channels, numbered=False, **grey):
    scans, problems = find_scans([folder], channels, numbered, **grey)
    return {scan.name: len(scan.files) for scan in scans}, [problem.found for problem in problems]


def test_the_header_decides_if_a_number_is_a_channel(tmp_path):
    both = np.stack([values(), values(1)], -1)
    nifti_file(tmp_path / "one" / "amos_0000.nii.gz", both)
    assert names_in(tmp_path / "one", 2) == ({"amos_0000": 1}, [])
    assert names_in(tmp_path / "one", 2, numbered=True) == ({"amos": 1}, [])
    nifti_file(tmp_path / "one" / "amos_0001.nii.gz", both)
    assert names_in(tmp_path / "one", 2) == ({"amos_0000": 1, "amos_0001": 1}, [])
    for channel in range(2):
        nifti_file(tmp_path / "apart" / f"amos_000{channel}.nii.gz", both[..., channel])
    for numbered in (False, True):
        assert names_in(tmp_path / "apart", 2, numbered) == ({"amos": 2}, [])
    assert names_in(tmp_path / "apart", 3) == ({}, ["_0000, _0001"])
    nifti_file(tmp_path / "apart" / "amos_0001.nii.gz", both)
    assert names_in(tmp_path / "apart", 2) == ({"amos_0001": 1}, ["_0000"])
    assert names_in(tmp_path / "apart", 3) == ({"amos": 2}, [])


def test_the_pixels_of_a_colour_image_are_its_channels(tmp_path):
    for number in range(2):
        write_picture(tmp_path / f"frame_000{number}.png", np.zeros((4, 5, 3), np.uint8))
    assert names_in(tmp_path, 3) == ({"frame_0000": 1, "frame_0001": 1}, [])
    # A model of fewer channels than a colour image has can only read it as grey.
    assert names_in(tmp_path, 2) == ({"frame": 2}, [])
    write_picture(tmp_path / "frame_0002.png", np.zeros((4, 5), np.uint8))
    assert names_in(tmp_path, 3, grey=True) == ({"frame": 3}, [])


def test_channels_may_differ_in_suffix_but_not_in_format(tmp_path):
    for name in ("a_0000.png", "a_0001.tif", "b_0000.tiff", "b_0000.png", "b_0001.png"):
        write_picture(tmp_path / name, np.zeros((4, 5), np.uint8))
    nifti_file(tmp_path / "c_0000.nii", values())
    nifti_file(tmp_path / "c_0001.nii.gz", values())
    nifti_file(tmp_path / "d_0000.nii", values())
    write_picture(tmp_path / "d_0001.png", np.zeros((4, 5), np.uint8))
    scans, problems = names_in(tmp_path, 2)
    assert scans == {"a": 2, "b": 2, "c": 2}
    assert problems == ["_0000", "_0000", "_0001"]


def test_a_number_on_a_file_that_is_no_channel_hides_nothing(tmp_path):
    """Each is read, and so told: a damaged file, and files of too many channels."""
    (tmp_path / "a_0000.nii.gz").write_bytes(b"damaged")
    for channel in range(2):
        nifti_file(tmp_path / f"b_000{channel}.nii.gz", np.stack([values()] * 3, -1))
    assert names_in(tmp_path, 2) == ({"a_0000": 1, "b_0000": 1, "b_0001": 1}, [])
    nifti_file(tmp_path / "a_0001.nii.gz", values())
    assert names_in(tmp_path, 2)[0] == {"a": 2, "b_0000": 1, "b_0001": 1}
    for channel in range(3):
        nifti_file(tmp_path / f"b_000{channel}.nii.gz", np.stack([values()] * 2, -1))
    assert names_in(tmp_path, 3)[0] == {"a_0000": 1, "b": 3}


def test_one_channel_is_named_as_in_training(tmp_path):
    for name in ("p7_0000", "p8", "p9_0001", "q_0000", "q_0001"):
        nifti_file(tmp_path / f"{name}.nii.gz", values())
    assert list(names_in(tmp_path, 1)[0]) == ["p7_0000", "p8", "p9_0001", "q_0000", "q_0001"]
    # Two numbers of one channel: they count cases, not channels.
    assert list(names_in(tmp_path, 1, True)[0]) == ["p7", "p8", "p9_0001", "q_0000", "q_0001"]


def test_images_of_other_formats_are_named(predict, tmp_path):
    nifti_file(tmp_path / "scans" / "a.nii", values())
    (tmp_path / "scans" / "h.img").mkdir()
    others = ["b.mgz", "c.hdr", "c.img", "d.JPG", "e.bmp", "f.img.gz", ".g.mgz"]
    for name in (*others, "notes.txt", "a.json"):
        (tmp_path / "scans" / name).touch()
    remarks = []
    predict([tmp_path / "scans"], tmp_path / "out", remark=remarks.append)
    (line,) = remarks
    assert line.startswith(f"{tmp_path / 'scans'}: 6 files are skipped (b.mgz, c.hdr, ")
    assert "convert volumes to NIfTI" in line
    (tmp_path / "scans" / "a.nii").unlink()
    (problem,) = problems_of(predict, [tmp_path / "scans"], tmp_path / "none")
    assert problem.found.startswith("6 in other formats: b.mgz")
    assert "convert" in problem.fix


def test_a_file_given_twice_is_predicted_once(predict, tmp_path, monkeypatch):
    path = nifti_file(tmp_path / "scans" / "a.nii", values())
    monkeypatch.chdir(tmp_path)
    assert len(predict([path, path.parent, Path("scans/a.nii")], tmp_path / "out")) == 1


def test_bad_files_lose_none_of_the_others_and_are_all_named(predict, tmp_path):
    bad = [
        tmp_path / name for name in ("absent.nii.gz", "text.docx", "b_cut.nii.gz", "d_nan.nii.gz")
    ]
    good = [nifti_file(tmp_path / "scans" / f"{name}.nii.gz", values()) for name in "ace"]
    bad[1].write_text("text")
    bad[2].write_bytes(good[0].read_bytes()[:400])
    nifti_file(bad[3], np.full(SHAPE, np.nan, np.float32))
    counts = []
    inputs = [good[0], *bad[:3], good[1], bad[3], good[2], tmp_path / "scans"]
    problems = problems_of(
        predict, inputs, tmp_path / "out", progress=lambda *numbers: counts.append(numbers)
    )
    assert {problem.where for problem in problems} == {str(path) for path in bad}
    assert everything(tmp_path / "out") == ["a.nii.gz", "c.nii.gz", "e.nii.gz"]
    assert counts == [(1, 5), (2, 5), (3, 5)]


def test_an_empty_folder_is_told(predict, tmp_path):
    (told,) = problems_of(predict, [tmp_path], tmp_path / "out")
    assert "no scan" in told.what


def test_two_scans_of_one_name_are_refused_before_anything_is_written(predict, tmp_path):
    inputs = [nifti_file(tmp_path / folder / "a.nii", values()) for folder in ("x", "y")]
    (told,) = problems_of(
        predict, [*inputs, nifti_file(tmp_path / "b.nii", values())], tmp_path / "out"
    )
    assert all(str(path) in told.found for path in inputs)
    assert not (tmp_path / "out").exists()


def test_existing_predictions_are_kept_unless_told_otherwise(predict, tmp_path):
    inputs = [nifti_file(tmp_path / "scans" / f"{name}.nii", values()) for name in "ab"]
    (tmp_path / "out").mkdir()
    kept = tmp_path / "out" / "b.nii"
    kept.write_text("drawn by hand")
    (told,) = problems_of(predict, inputs, tmp_path / "out")
    assert told.where == str(kept)
    assert kept.read_text() == "drawn by hand"
    assert everything(tmp_path / "out") == ["b.nii"]
    predict(inputs, tmp_path / "out", overwrite=True)
    assert nibabel.load(kept).shape == SHAPE


def test_files_of_earlier_predictions_that_overwrite_leaves_are_named(predict, tmp_path):
    """They are of another format, or maps that are not asked for now; a scan itself is not one."""
    out = tmp_path / "out"
    first = nifti_file(tmp_path / "scans" / "a.nii.gz", values())
    predict([first, nifti_file(tmp_path / "scans" / "b.nii", values())], out, maps=("entropy",))
    second = nifti_file(tmp_path / "a.nii", values(1))
    remarks = []
    predict([second], out, overwrite=True, remark=remarks.append)
    (text,) = remarks
    assert text.endswith("were not replaced: a.nii.gz, entropy/a.nii.gz")
    remarks.clear()
    predict([first], out, maps=("entropy",), overwrite=True, remark=remarks.append)
    assert [text.split(": ")[1] for text in remarks] == ["a.nii"]
    (out / "a.nii").unlink()
    (tmp_path / "b.nii.gz").write_bytes(b"damaged")
    remarks.clear()
    given = [first, tmp_path / "b.nii.gz"]
    problems_of(predict, given, out, maps=("entropy",), overwrite=True, remark=remarks.append)
    assert [text.split(": ")[1] for text in remarks] == ["b.nii, entropy/b.nii"]


def test_overwrite_into_a_new_folder_reports_a_scan_that_cannot_be_read(predict, tmp_path):
    damaged = tmp_path / "a.nii.gz"
    damaged.write_bytes(b"damaged")
    (told,) = problems_of(predict, [damaged], tmp_path / "out", overwrite=True)
    assert told.where == str(damaged)


@pytest.mark.parametrize("link", [False, True])
def test_an_input_is_never_overwritten(predict, tmp_path, link):
    path = nifti_file(tmp_path / "scans" / "a.nii", values())
    before = path.read_bytes()
    given = path
    if link:
        given = tmp_path / "links" / "a.nii"
        given.parent.mkdir()
        given.symlink_to(path)
    (told,) = problems_of(predict, [given], path.parent, overwrite=True)
    assert "overwrite an input" in told.what
    assert path.read_bytes() == before


def test_an_output_that_is_a_file_is_refused(predict, tmp_path):
    path = nifti_file(tmp_path / "a.nii", values())
    (told,) = problems_of(predict, [path], path)
    assert "is a file" in told.found


def test_a_write_that_fails_leaves_nothing_and_the_others_are_done(predict, tmp_path, monkeypatch):
    inputs = [nifti_file(tmp_path / "scans" / f"{name}.nii.gz", values()) for name in "abc"]
    replace = os.replace

    def full(part, path):
        if Path(path).name == "b.nii.gz":
            raise OSError(28, "No space left on device")
        replace(part, path)

    monkeypatch.setattr(os, "replace", full)
    (told,) = problems_of(predict, inputs, tmp_path / "out")
    assert told.where == str(inputs[1])
    assert "No space left" in told.found
    assert everything(tmp_path / "out") == ["a.nii.gz", "c.nii.gz"]


def test_an_interruption_leaves_whole_files_only(predict, tmp_path, monkeypatch):
    inputs = [nifti_file(tmp_path / "scans" / f"{name}.nii.gz", values()) for name in "ab"]

    class Interrupted(stored_nifti.gzip.GzipFile):
        def write(self, data):
            if self.fileobj.name.endswith("b.nii.gz.part"):
                raise KeyboardInterrupt
            return super().write(data)

    monkeypatch.setattr(stored_nifti.gzip, "GzipFile", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(inputs, tmp_path / "out")
    assert everything(tmp_path / "out") == ["a.nii.gz"]
    assert nibabel.load(tmp_path / "out" / "a.nii.gz").get_fdata().shape == SHAPE


def test_a_network_that_answers_with_nan_is_told_and_writes_nothing(logits, predictor, tmp_path):
    inputs = [
        nifti_file(tmp_path / "scans" / f"{name}.nii", values() + add)
        for name, add in (("a", 0), ("b", 100))
    ]
    method = logits(network=[lambda x: x * 0, lambda x: (50 - x).sqrt()])  # NaN above 50
    out = Outputs(tmp_path / "out")
    (told,) = problems_of(predict_files, predictor(method), inputs, out, data=DATA, channels=1)
    assert told.where == str(inputs[1])
    assert "NaN" in told.what
    assert everything(tmp_path / "out") == ["a.nii"]


def test_slices_of_a_nifti_scan_lie_along_its_last_axis(convolution, predictor, tmp_path):
    path = nifti_file(tmp_path / "a.nii", values())
    predict = predictor(convolution(classes=3, axes=2), mode="slices", patch=(16, 16))
    data = DATA.model_copy(update={"nifti_axes": (2, 1, 0)})
    (written,) = predict_files(predict, [path], Outputs(tmp_path / "out"), data=data, channels=1)
    (expected,) = predictions(predict, [values().transpose(2, 1, 0)[None]])
    np.testing.assert_array_equal(
        np.asarray(nibabel.load(written).dataobj), expected.label.transpose(2, 1, 0)
    )


def test_predictions_into_the_folder_of_the_scans_are_refused_on_resume_too(predict, tmp_path):
    path = nifti_file(tmp_path / "a.nii", values())
    before = path.read_bytes()
    (told,) = problems_of(predict, [tmp_path], tmp_path, resume=True)
    assert "overwrite an input" in told.what
    assert path.read_bytes() == before


def test_a_scan_beyond_the_memory_is_named(predict, tmp_path, monkeypatch):
    inputs = [nifti_file(tmp_path / "scans" / f"{name}.nii", values()) for name in "abc"]
    resize = Predictor.parts

    def parts(self, image):
        if (image == values(9)[None]).all():
            raise RuntimeError(
                "DefaultCPUAllocator: not enough memory: you tried to allocate 13271040000 bytes"
            )
        return resize(self, image)

    nifti_file(inputs[1], values(9))
    monkeypatch.setattr(Predictor, "parts", parts)
    too_large, left = problems_of(predict, inputs, tmp_path / "out")
    assert (too_large.what, too_large.where) == ("the scan needs too much memory", str(inputs[1]))
    assert "--resume" in left.what
    predict([inputs[0], inputs[2]], tmp_path / "out", resume=True)
    assert everything(tmp_path / "out") == ["a.nii", "c.nii"]


def test_what_is_no_file_in_a_folder_of_scans_is_told(predict, tmp_path):
    nifti_file(tmp_path / "scans" / "a.nii", values())
    (tmp_path / "scans" / "b.nii.gz").mkdir()
    (told,) = problems_of(predict, [tmp_path / "scans"], tmp_path / "out")
    assert (told.where, told.found) == (str(tmp_path / "scans" / "b.nii.gz"), "a folder")
    assert everything(tmp_path / "out") == ["a.nii"]
