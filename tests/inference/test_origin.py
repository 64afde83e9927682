"""predicted-by.json: which model made which prediction."""

import json

import pytest

from crossview.core.errors import UserError
from crossview.data.io import ScanFiles
from crossview.inference.origin import ORIGIN_FILE, Record
from crossview.inference.outputs import Outputs

A = {"method": "cml", "step": 40, "weights": "aa", "inference": {"flips": False}}
B = {"method": "bcp", "step": 20, "weights": "bb", "inference": {"flips": False}}
NAMES = ("p1.nii.gz", "p2.nii.gz", "p3.nii.gz")


def scan(tmp_path, name):
    return ScanFiles(name.removesuffix(".nii.gz"), (tmp_path / name,))


def predict(tmp_path, origin, names, overwrite=False, stop=99):
    """Write predictions as the verb does, at most ``stop`` of them."""
    (tmp_path / "out").mkdir(exist_ok=True)
    out = Outputs(tmp_path / "out", origin=origin, overwrite=overwrite)
    out.check_origin()
    out.take_over([scan(tmp_path, name) for name in names])
    for name in names[:stop]:
        out.note_origin(out.folder / name)
        (out.folder / name).write_bytes(b"x")


def recorded(tmp_path):
    return json.loads((tmp_path / "out" / ORIGIN_FILE).read_text())


def models(tmp_path):
    record = Record.read(tmp_path / "out")
    return [record.of(name)["method"] for name in NAMES]


def test_a_folder_of_one_model_names_it_once(tmp_path):
    predict(tmp_path, A, NAMES)
    assert recorded(tmp_path) == A


def test_one_prediction_replaced_by_another_model_is_recorded_by_name(tmp_path):
    predict(tmp_path, A, NAMES)
    predict(tmp_path, B, NAMES[1:2], overwrite=True)
    assert recorded(tmp_path) == {**A, "other_models": [{**B, "files": ["p2.nii.gz"]}]}
    predict(tmp_path, A, NAMES[1:2], overwrite=True)
    assert recorded(tmp_path) == A


def test_a_model_that_replaces_all_predictions_is_the_folders(tmp_path):
    predict(tmp_path, A, NAMES)
    predict(tmp_path, B, NAMES, overwrite=True)
    assert recorded(tmp_path) == B


def test_a_stop_on_the_way_leaves_each_file_its_model(tmp_path):
    predict(tmp_path, A, NAMES)
    predict(tmp_path, B, NAMES, overwrite=True, stop=1)
    assert models(tmp_path) == ["bcp", "cml", "cml"]
    predict(tmp_path, B, NAMES, overwrite=True)
    assert recorded(tmp_path) == B


def test_another_model_is_refused_without_overwrite(tmp_path):
    predict(tmp_path, A, NAMES)
    with pytest.raises(UserError, match="predictions of a different model"):
        predict(tmp_path, B, NAMES[:1])


def test_an_unreadable_record_is_an_unknown_model(tmp_path):
    predict(tmp_path, A, NAMES)
    (tmp_path / "out" / ORIGIN_FILE).write_text("[1]")
    predict(tmp_path, B, NAMES[:1], overwrite=True)
    assert models(tmp_path) == ["bcp", "unknown", "unknown"]
