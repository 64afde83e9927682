"""Names, paths and users: every byte of what is written is searched for planted words.

CASE and PATIENT are in the names of scans and in their headers, USER in every folder's path, in the
environment and in the current folder.
"""

import base64
import gzip
import io
import json
import re
import zipfile
import zlib

import h5py
import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tests.helpers.command import crossview, sets
from tests.helpers.dicom import write_series
from tests.helpers.made_folder import scan, write_nifti

from crossview.data.io import BY_SUFFIX, dicom_seg, seg_nrrd
from crossview.reporting.viewer.server import STATIC, Server
from crossview.runs.run import Run
from crossview.runs.view.of_run import gallery_of_run

CASE, PATIENT, USER = "Zyxwvut", "Wvutsrq", "Qponmlk"

EVERY = (CASE, PATIENT, USER)

SUFFIX = ".nii.gz"

KEYS = (
    "data.patch=[8,8,8]",
    "data.validation=1",
    "network.filters=2",
    "network.levels=2",
    "method.pretrain_steps=1",
    "method.train_steps=1",
    "training.precision=float32",
    "training.log_every=1",
)


def contents(data: bytes) -> list[bytes]:
    """Return the bytes, and those of the packed and embedded parts within them."""
    parts = [data]
    for at in [match.start() for match in re.finditer(rb"\x1f\x8b\x08", data)]:
        parts += _inflated(data[at:], zlib.MAX_WBITS | 16)
    for embedded in re.findall(rb"base64,([A-Za-z0-9+/=]+)", data):
        parts += contents(base64.b64decode(embedded))
    for at in [match.start() for match in re.finditer(rb"IDAT|zTXt|iTXt|iCCP", data)]:
        parts += _inflated(data[at + 4 :], zlib.MAX_WBITS)
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                parts += [name.encode(), *contents(archive.read(name))]
    return parts


def _inflated(data: bytes, kind: int) -> list[bytes]:
    try:
        return [zlib.decompressobj(kind).decompress(data)]
    except zlib.error:
        return []


def found_in(data: bytes, words=EVERY) -> list[str]:
    """Return where one of the words is."""
    found = []
    for part in contents(data):
        for word in words:
            for code in (word.encode(), word.encode("utf-16-le"), word.encode("utf-16-be")):
                if (at := part.find(code)) >= 0:
                    found.append(str(part[max(0, at - 60) : at + 60]))
    return found


def assert_clean(paths, words=EVERY):
    """Fail if one of the words is in one of the files, or in the files of a folder."""
    paths = list(paths)
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    assert files
    for file in files:
        if file.is_file():
            assert not (at := found_in(file.read_bytes(), words)), (file.name, at[0])


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Return a home where the words are in every name."""
    home = tmp_path_factory.mktemp("home") / f"{USER}-home"
    private = {"descrip": CASE, "aux_file": PATIENT, "db_name": USER, "intent_name": PATIENT}
    for number in range(8):
        image, label = scan(number, (12, 11, 10))
        name = f"{CASE}_{number}{SUFFIX}"
        write_nifti(home / "data" / "images" / name, image, **private)
        if number < 5:
            write_nifti(home / "data" / "labels" / name, label, **private)
    # The last scan is of the validation patient, so a note tells that it is not used.
    patients = "".join(
        f'{CASE}_{number} = "{PATIENT}-{name}"\n' for number, name in enumerate("ABCDEFGD")
    )
    split = f'test = ["{CASE}_4"]\n[patient]\n{patients}'
    (home / "data" / "split.toml").write_text(split)
    return home


@pytest.fixture(autouse=True)
def user(monkeypatch, planted):
    for name in ("USER", "LOGNAME", "USERNAME", "HOSTNAME"):
        monkeypatch.setenv(name, USER)
    monkeypatch.chdir(planted)


@pytest.fixture(scope="module")
def made():
    """Return what was made already."""
    return {}


@pytest.fixture
def home(planted, capsys, made):
    """Two rounds: a run, drafts of its suggestions, one corrected, and a run from the first."""
    if not made:
        data, first, second = planted / "data", planted / "first", planted / "second"

        def call(*arguments):
            code, _, err = crossview(capsys, *arguments)
            assert code == 0, err

        call("train", "folder", "--data", data, "--out", first, *sets(*KEYS))
        call("suggest", first, "-n", "1", "--drafts", data / "drafts")
        (draft,) = (data / "drafts").glob("*.seg.nrrd")
        _, label = scan(9, (12, 11, 10))
        write_nifti(data / "labels" / draft.name.replace(".seg.nrrd", SUFFIX), label)
        hides = sets(*KEYS, "data.labelled=4")
        call("train", "folder", "--from", first, "--out", second, *hides)
        call("evaluate", second)
        call("report", second, "--no-names")
        call("predict", second, data / "images", "--out", planted / "out")
        call("export", second, "--to", second / "model.onnx")
        call("track", second, "--to", "tensorboard", "--out", planted / "curves")
        made["done"] = True
    return planted


def test_nothing_that_is_shared_has_a_name_in_it(home):
    run = home / "second"
    shared = [run / name for name in ("report-no-names.html", "model.pt", "model.onnx")]
    pictures = list(run.rglob("*.png"))
    assert len(pictures) >= 2
    assert_clean([*shared, *pictures, home / "curves", home / "out"])
    page = shared[0].read_text()
    for text in ("Training starts from the weights of", "not used for training", "data.labelled"):
        assert text in page  # notes that were made with names


def test_drafts_say_of_which_scan_they_are_and_no_more(home):
    drafts = home / "data" / "drafts"
    assert len(list(drafts.rglob("*.seg.nrrd"))) == 2
    assert_clean([drafts])
    for rounds in (home / "data" / "rounds.json", home / "second" / "rounds.json"):
        assert_clean([rounds], (USER, PATIENT))
        (each,) = json.loads(rounds.read_text())["rounds"]
        assert (each["run"], each["drafts"]) == ("first", "drafts")
        assert all(name.startswith(CASE) for name in each["cases"])


def test_the_viewer_sends_names_of_cases_and_no_path(home):
    gallery = gallery_of_run(Run.open(home / "second"))
    server = Server(gallery)
    try:
        of_case = ["0.json", *(f"0/{layer}.nii" for layer in range(3))]
        for name in ("gallery.json", "progress.json", *STATIC, *of_case):
            answer = server.answer(f"/{server.token}/{name}")
            assert answer is not None, name
            words = (USER, PATIENT) if name == "gallery.json" else EVERY
            assert not found_in(answer[1], words), name
    finally:
        server.server_close()
    assert CASE in str(gallery.facts())


@pytest.mark.slow
def test_no_name_is_in_the_database_of_mlflow(home, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    code, _, err = crossview(
        capsys, "track", home / "second", "--to", "mlflow", "--out", home / "flow"
    )
    assert code == 0, err
    assert_clean([home / "flow"])


def planted_scan(folder, suffix):
    """Write a scan of a format with a word in every free text of its header."""
    path, (image, _) = folder / f"{CASE}{suffix}", scan(1)
    flat, grid = image[:, :, 0].astype(np.uint8), "1 0 0 0 1 0 0 0 1"
    if suffix in (".nii", ".nii.gz"):
        write_nifti(path, image, descrip=CASE, aux_file=PATIENT, db_name=USER)
        made = nib.load(path)
        made.header.extensions.append(nib.nifti1.Nifti1Extension("comment", PATIENT.encode()))
        nib.save(nib.Nifti1Image(image, made.affine, made.header), path)
    elif suffix in (".nrrd", ".nhdr"):
        fields = (
            f"NRRD0005\n# {USER}\ncontent: {CASE}\ntype: int16\ndimension: 3\n"
            "space: left-posterior-superior\nsizes: 7 6 5\n"
            "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nendian: little\n"
            f"encoding: raw\nPatient:={PATIENT}\n"
        )
        voxels = image.tobytes(order="F")
        (folder / "voxels.raw").write_bytes(voxels)
        end = b"data file: voxels.raw\n\n" if suffix == ".nhdr" else b"\n" + voxels
        path.write_bytes(fields.encode() + end)
    elif suffix in (".mha", ".mhd"):
        fields = (
            f"Comment = {USER} {CASE}\nPatientName = {PATIENT}\nNDims = 3\nBinaryData = True\n"
            f"TransformMatrix = {grid}\nOffset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = 7 6 5\n"
            "ElementType = MET_SHORT\nElementDataFile = "
        )
        voxels = image.tobytes(order="F")
        (folder / "voxels.raw").write_bytes(voxels)
        end = b"voxels.raw\n" if suffix == ".mhd" else b"LOCAL\n" + voxels
        path.write_bytes(f"ObjectType = Image\n{fields}".encode() + end)
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["image"], file.attrs["Patient"] = image.astype(np.float32), PATIENT
    elif suffix == ".png":
        text = PngInfo()
        text.add_text("Comment", f"{CASE} {USER}")
        text.add_itxt("Patient", PATIENT, zip=True)
        Image.fromarray(flat).save(path, pnginfo=text)
    else:
        tifffile.imwrite(path, flat, description=f"{CASE} {PATIENT}", software=USER)
    return path


PLAIN = [name for name in BY_SUFFIX if name not in (".seg.nrrd", ".dcm", ".zip", "/")]


@pytest.mark.parametrize("suffix", PLAIN)
def test_no_text_of_a_scans_header_is_in_its_prediction(tmp_path, suffix):
    source = planted_scan(tmp_path, suffix)
    assert found_in(source.read_bytes())
    form, out = BY_SUFFIX[suffix], tmp_path / f"out{suffix}"
    header = form.read_header(source)
    form.write(out, {"label": np.ones(header.shape, np.uint8)}, header)
    assert_clean([out])
    if not (form.flat or form.published):
        label, segments = np.ones(header.shape, np.uint8), tmp_path / "out.seg.nrrd"
        seg_nrrd.write(segments, label, header, {1: "organ"}, {1: (255, 0, 0)}, "cml")
        assert_clean([segments])


def test_only_a_dicom_seg_repeats_its_patient(tmp_path):
    def private(dataset, number):
        dataset.PatientName = dataset.PatientID = PATIENT
        dataset.SeriesDescription = dataset.InstitutionName = CASE
        dataset.StationName = dataset.OperatorsName = USER

    values = scan(1)[0].astype(np.int16)
    series = write_series(tmp_path / f"{USER}-series", values, change=private)
    header = BY_SUFFIX["/"].read_header(series)
    label, names, colours = np.ones(values.shape, np.uint8), {1: "organ"}, {1: (255, 0, 0)}
    BY_SUFFIX["/"].write(tmp_path / "out.nii.gz", {"label": label}, header)
    seg_nrrd.write(tmp_path / "out.seg.nrrd", label, header, names, colours, "cml")
    assert_clean([tmp_path / "out.nii.gz", tmp_path / "out.seg.nrrd"])
    dicom_seg.write(tmp_path / "out.dcm", label, header, names, colours)
    assert found_in((tmp_path / "out.dcm").read_bytes(), (PATIENT,))
    assert_clean([tmp_path / "out.dcm"], (CASE, USER))


def test_the_search_finds_what_is_planted(tmp_path):
    packed = gzip.compress(CASE.encode())
    page = b"data:image/png;base64," + base64.b64encode(b"front" + packed)
    assert found_in(page)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", packed)
    assert found_in(archive.getvalue())
    assert found_in(USER.encode("utf-16-be"))
    assert not found_in(b"nothing")
