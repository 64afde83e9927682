"""Labels that leave voxels open, from the folder to the score."""

import json

import numpy as np
import pytest
import torch
from tests.helpers.command import crossview as command
from tests.helpers.made_folder import make_folder, problems_of, scan, write_nifti, write_picture
from tests.runs.test_predict import SMALL

import crossview
from crossview.core.errors import UserError
from crossview.core.partial import IGNORED
from crossview.data.checks.dataset import check
from crossview.data.sources import folder
from crossview.data.sources.folder_cases import find_cases
from crossview.data.store import Store
from crossview.data.stream import Stream
from crossview.recipe.planned import resolve_planned

OPTIONS = {"patch": (4, 4, 4), "classes": 3, "sampling": "crop", "augmentation": "none"}


NAMED = {"background": 0, "left": 1, "right": 2, "spare": 3}


def write_label(root, number, label):
    write_nifti(root / "labels" / f"case{number:02d}.nii.gz", label)


def partly(number, value=IGNORED):
    """Return a label of which only slices 1 and 3 of 5 are labelled."""
    label = scan(number)[1].copy()
    label[..., ::2] = value
    return label


@pytest.fixture
def data(tmp_path):
    """Return five scans: two labelled whole, one in two slices, one without a label, one test."""
    root = make_folder(tmp_path / "scans", labelled=5, unlabelled=0)
    write_label(root, 2, partly(2))
    write_label(root, 4, partly(4))
    (root / "labels/case03.nii.gz").unlink()
    (root / "split.toml").write_text('ignore = 255\ntest = ["case04"]\n')
    return root


def label_of(root, name="case02"):
    found = find_cases(root)
    (case,) = (case for case in (*found.labelled, *found.test) if case.id == name)
    return case.read_label()


def test_one_value_says_that_nobody_labelled_a_voxel(data):
    expected = partly(2)
    np.testing.assert_array_equal(label_of(data), expected)
    write_label(data, 2, partly(2, value=9))
    write_label(data, 4, partly(4, value=9))
    (data / "split.toml").write_text('ignore = 9\ntest = ["case04"]\n')
    np.testing.assert_array_equal(label_of(data), expected)
    (data / "split.toml").unlink()
    labels = {"background": 0, "left": 1, "right": 2, "ignore": 9}
    (data / "dataset.json").write_text(json.dumps({"labels": labels}))
    np.testing.assert_array_equal(label_of(data), expected)
    assert find_cases(data).class_names == ("background", "left", "right")


def test_slices_in_split_toml_say_the_same(data):
    for number in (2, 4):
        write_label(data, number, scan(number)[1])
    text = 'test = ["case04"]\n[slices]\n"case0[24]" = [1, 3]\n'
    (data / "split.toml").write_text(text)
    np.testing.assert_array_equal(label_of(data), partly(2))
    np.testing.assert_array_equal(label_of(data, "case00"), scan(0)[1])


def test_label_values_and_the_ignore_value_go_together(data):
    values = np.zeros(256, np.uint8)
    values[[1, 2, IGNORED]] = 100, 200, 7
    for number in range(3):
        label = scan(number)[1] if number < 2 else partly(2)
        write_label(data, number, values[label])
    write_label(data, 4, values[partly(4)])
    labels = {"background": 0, "left": 100, "right": 200, "ignore": 7}
    (data / "dataset.json").write_text(json.dumps({"labels": labels}))
    (data / "split.toml").write_text('test = ["case04"]\n')
    np.testing.assert_array_equal(label_of(data), partly(2))


def test_a_mask_of_0_and_255_is_no_class_if_255_is_the_ignore_value(tmp_path):
    mask = np.zeros((6, 9), np.uint8)
    mask[2:4, 3:6] = 255
    for name in ("a", "b"):
        picture = np.arange(54, dtype=np.uint8).reshape(6, 9)
        write_picture(tmp_path / "images" / f"{name}.png", picture)
        write_picture(tmp_path / "labels" / f"{name}.png", mask)
    (tmp_path / "split.toml").write_text("ignore = 255\n")
    np.testing.assert_array_equal(find_cases(tmp_path).labelled[0].read_label(), mask)


@pytest.mark.parametrize(
    ("split", "labels", "told"),
    [
        (
            "ignore = 2",
            {"background": 0, "left": 1, "right": 2},
            "the ignore value is also a class",
        ),
        ("ignore = 5", {"background": 0, "a": 5, "b": 9}, "the ignore value is also a class"),
        ("ignore = 2", None, "the ignore value is also a class"),
        ("ignore = 9", {"background": 0, "a": 1, "ignore": 3}, "two ignore values"),
        ("ignore = 0", None, "'ignore' is not a label value"),
        ("ignore = true", None, "'ignore' is not a label value"),
        ("ignore = 256", None, "'ignore' is not a label value"),
        ("[slices]\ncase00 = 3", None, "not a table of labelled slices"),
        ("[slices]\ncase00 = [-1]", None, "not a table of labelled slices"),
        ("[slices]\ncase00 = [5]", None, "case00 (slice 5 of 5)"),
        ("[slices]\nnobody = [1]", None, "an unknown case"),
        ("[slices]\ncase03 = [1]", None, "lists cases without a label"),
        ("[missing]\ncase00 = 3", None, "not a table of classes"),
        ("[missing]\ncase00 = [0]", None, "not a table of classes"),
        ("[missing]\nnobody = [1]", None, "an unknown case"),
        ('[missing]\ncase00 = ["rihgt"]', NAMED, "lists an unknown class"),
        ("[missing]\ncase01 = [1]", None, "was not searched for"),
    ],
)
def test_bad_statements_end_the_check_and_the_training(data, split, labels, told, capsys):
    for number in (2, 4):
        write_label(data, number, scan(number)[1])
    write_label(data, 0, np.minimum(2 * scan(0)[1], 3))  # class 3, so 2 lies among the classes
    (data / "split.toml").write_text(f"{split}\n")
    if labels:
        (data / "dataset.json").write_text(json.dumps({"labels": labels}))
    code, out, _ = command(capsys, "check", data)
    assert code == 2
    assert told in " ".join(out.split())
    with pytest.raises(UserError) as error:
        crossview.train("folder", data, data.parent / "run", overrides=SMALL)
    assert told in problems_of(error)
    assert not (data.parent / "run").exists()


def test_255_is_no_class_unless_it_is_stated(data):
    (data / "split.toml").unlink()
    with pytest.raises(UserError, match="consecutive"):
        crossview.train("folder", data, data.parent / "run", overrides=SMALL)


def test_a_class_of_value_255_is_refused_next_to_another_ignore_value(data):
    (data / "split.toml").write_text("ignore = 9\n")
    with pytest.raises(UserError) as error:
        label_of(data)
    assert "a value that partial labels need" in problems_of(error)


def test_the_check_leaves_ignored_voxels_out(data):
    found = check(data)
    assert not found.errors
    facts = {fact.case.id: fact for of_role in found.facts.values() for fact in of_role}
    assert facts["case02"].ignored == 7 * 6 * 3
    known = scan(2)[1][..., 1::2]
    assert facts["case02"].label_counts == dict(enumerate(np.bincount(known.ravel()).tolist()))
    assert [share.value for share in found.classes()] == [0, 1, 2]
    write_label(data, 2, np.full_like(partly(2), 255))
    assert "has the ignore value in every voxel" in "".join(
        finding.problem.what for finding in check(data).warnings
    )


def stream_of(splits, only_whole=False, **options):
    labelled = Store(splits.labelled, classes=3, channels=1)
    cases = [case.without_label() for case in splits.labelled if case.id in labelled.unsure]
    unlabelled = Store([*splits.unlabelled, *cases], classes=3, channels=1)
    keys = {"patch": (4, 4, 2), "sampling": "crop", "augmentation": "none", "seed": 3}
    return Stream(labelled, unlabelled, labelled_batch=2, unlabelled_batch=2, **keys | options)


def test_every_labelled_crop_holds_a_labelled_voxel(data):
    for number in (0, 1, 2):
        label = np.full_like(partly(number), 255)
        label[3:, 4:, 4] = scan(number)[1][3:, 4:, 4]
        write_label(data, number, label)
    stream = stream_of(folder.splits(data, folder.Options(**OPTIONS)))
    batches = [stream.batch(0, step, unlabelled=True) for step in range(40)]
    assert all((batch.label != IGNORED).flatten(1).any(1).all() for batch in batches)
    assert all(batch.partial is not None for batch in batches)
    # Crops elsewhere are drawn as ever: of some hundred, many hold no more than a few.
    corners = {tuple((batch.label[0] != IGNORED).nonzero()[0].tolist()) for batch in batches}
    assert len(corners) > 5


def test_a_scan_labelled_in_part_is_an_unlabelled_one_too(data):
    found = stream_of(folder.splits(data, folder.Options(**OPTIONS)))
    assert found.labelled.ids == ("case00", "case01", "case02")
    assert found.unlabelled.ids == ("case03", "case02")


def test_of_slices_each_has_its_own_part(data):
    splits = folder.splits(data, folder.Options(**OPTIONS | {"nifti_axes": (2, 0, 1)}))
    label = partly(2)
    label[0, 0, 1] = 255
    write_label(data, 2, label)
    labelled = Store(splits.labelled, classes=3, channels=1, slices=True)
    own = [name for name in labelled.ids if name.startswith("case02")]
    assert own == ["case02 slice 1", "case02 slice 3"]
    cases = [case.without_label() for case in splits.labelled if case.id in labelled.unsure]
    unlabelled = Store(cases, classes=3, channels=1, slices=True, only=labelled.unsure)
    assert unlabelled.ids == tuple(f"case02 slice {k}" for k in (0, 1, 2, 4))
    image = splits.labelled[2].read_image()[:, 4]
    np.testing.assert_array_equal(unlabelled.decode(unlabelled.stored(3), 3), image)


def test_whole_labels_train_as_without_an_ignore_value(data):
    for number in (2, 4):
        write_label(data, number, scan(number)[1])
    batches = []
    for text in ("", "ignore = 255\n"):
        (data / "split.toml").write_text(f'{text}test = ["case04"]\nunlabelled = ["case03"]\n')
        splits = folder.splits(data, folder.Options(**OPTIONS))
        unlabelled = Store(splits.unlabelled, classes=3, channels=1)
        labelled = Store(splits.labelled, classes=3, channels=1)
        keys = {"patch": (4, 4, 4), "sampling": "crop", "augmentation": "mild", "seed": 3}
        stream = Stream(labelled, unlabelled, labelled_batch=2, unlabelled_batch=1, **keys)
        batches.append(stream.batch(0, 5, unlabelled=True))
    assert batches[0].partial is None
    assert batches[1].partial is None
    for name in ("image", "label", "unlabelled"):
        assert torch.equal(getattr(batches[0], name), getattr(batches[1], name))


@pytest.fixture(scope="module")
def ignored_and_hidden(tmp_path_factory):
    """Return two folders: the last label wholly ignored, and not there."""
    roots = []
    for name in ("ignored", "hidden"):
        root = make_folder(tmp_path_factory.mktemp(name) / "scans", labelled=3, unlabelled=1)
        text = 'ignore = 255\nlabelled = ["case00", "case01"LAST]\n'
        (root / "split.toml").write_text(text.replace("LAST", ', "case02"' * (name == "ignored")))
        write_label(root, 2, np.full_like(partly(2), 255))
        roots.append(root)
    return roots


def test_a_wholly_ignored_label_equals_none_bit_for_bit(ignored_and_hidden, tmp_path):
    """The hidden scan is the last of the unlabelled ones, as the ignored one is."""
    losses = []
    for number, root in enumerate(ignored_and_hidden):
        if number:
            (root / "images/case02.nii.gz").rename(root / "images/case04.nii.gz")
            (root / "labels/case02.nii.gz").unlink()
        keys = [key for key in SMALL if "test" not in key]
        run, _ = crossview.train("folder", root, tmp_path / str(number), overrides=keys)
        losses.append([row["terms"] for row in run.journal.of("step")])
    assert losses[0] == losses[1]


def test_ignored_voxels_leave_the_score(data, tmp_path):
    run, _ = crossview.train("folder", data, tmp_path / "run", overrides=SMALL)
    summary = crossview.evaluate(run)
    prediction = crossview.load(run).predict(scan(4)[0], (1.0, 1.5, 2.0)).label
    truth = partly(4)
    for index in (1, 2):
        mine, true = ((array == index) & (truth != 255) for array in (prediction, truth))
        dice = 2 * (mine & true).sum() / (mine.sum() + true.sum())
        assert summary["classes"][str(index)]["dice"]["mean"] == pytest.approx(dice)
    assert any("1 of 1 cases is labelled in part" in note for note in summary["notes"])
    write_label(data, 4, np.full_like(truth, 255))
    with pytest.raises(UserError, match="nobody labelled a voxel"):
        crossview.evaluate(run)


def test_a_method_that_does_not_know_partial_labels_is_refused(data, tmp_path, monkeypatch):
    from crossview.methods.cml import CML

    monkeypatch.setattr(CML, "partial_labels", False)
    with pytest.raises(UserError, match="cannot be trained on partial labels"):
        crossview.train("folder", data, tmp_path / "run", overrides=SMALL)


def test_the_plan_counts_slices_that_somebody_labelled(data):
    """Four of five slices along the third axis are open in one of three scans."""
    label = np.full_like(partly(2), 255)
    label[..., 1] = scan(2)[1][..., 1]
    for number, text in ((2, label), (1, label), (0, label)):
        write_label(data, number, text)
    keys = ["network.name=unet", "data.spacing=[]", "method.name=supervised"]
    recipe, plan = resolve_planned("folder", keys, data)
    assert recipe.data.nifti_axes[0] == 2
    assert recipe.training.labelled_batch == 3
    why = {choice.key: choice.reason for choice in plan.choices}
    assert "no scan is labelled whole" in why["inference.largest_component"]


def test_the_check_names_scans_labelled_in_part(data, capsys):
    code, out, _ = command(capsys, "check", data)
    assert code == 0
    assert out.count("labelled in part") == 1
    assert check(data).as_json()["labelled_in_part"] == {"case02": 0.6, "case04": 0.6}


def test_a_class_that_a_scan_was_not_searched_for(data, tmp_path):
    label = scan(2)[1] * (scan(2)[1] != 2)
    for number in (2, 4):
        write_label(data, number, scan(number)[1] * (scan(number)[1] != 2))
    labels = {"background": 0, "left": 1, "right": 2}
    (data / "dataset.json").write_text(json.dumps({"labels": labels}))
    (data / "split.toml").write_text('test = ["case04"]\n[missing]\n"case0[24]" = ["right"]\n')
    np.testing.assert_array_equal(label_of(data), np.where(label == 0, 254, label))
    found = check(data)
    assert not found.errors
    assert found.facts["labelled"][2].label_counts.keys() == {0, 1}
    run, _ = crossview.train("folder", data, tmp_path / "run", overrides=SMALL)
    assert run.plan["fingerprint"]["largest_component_share"].keys() == {"1", "2"}
    summary = crossview.evaluate(run)
    assert summary["classes"]["1"]["dice"]["n"] == 1
    assert summary["classes"]["2"]["dice"]["n"] == 0
    prediction = crossview.load(run).predict(scan(4)[0], (1.0, 1.5, 2.0)).label
    mine, true = prediction == 1, scan(4)[1] == 1
    dice = 2 * (mine & true).sum() / (mine.sum() + true.sum())
    assert summary["mean"]["dice"]["mean"] == pytest.approx(dice)
