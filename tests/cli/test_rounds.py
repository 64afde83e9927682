"""Rounds of labelling through the command: drafts, corrections, and what the report says."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from tests.helpers.command import crossview, sets
from tests.helpers.made_folder import make_folder, write_nifti

from crossview.runs import drafts

SETS = sets(
    "network.filters=2",
    "network.levels=2",
    "data.patch=[8,8,8]",
    "method.name=supervised",
    "method.steps=1",
    "training.precision=float32",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two labelled and three unlabelled scans, and a run of them."""
    here = tmp_path_factory.mktemp("rounds")
    make_folder(here / "scans", labelled=2, unlabelled=3)
    (here / "scans/split.toml").write_text(
        'labelled = ["case00", "case01"]\nunlabelled = ["case02", "case03", "case04"]\n'
    )
    from crossview.runs.train import train

    train("folder", here / "scans", here / "one", overrides=SETS[1::2])
    return here


@pytest.fixture
def here(made, tmp_path):
    shutil.copytree(made / "scans", tmp_path / "scans")
    shutil.copytree(made / "one", tmp_path / "one")
    about = tmp_path / "one/environment.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"data": str(tmp_path / "scans")}))
    return tmp_path


def suggest(capsys, here, drafts, *more, form="nifti"):
    form = ("--format", form) if form else ()
    return crossview(capsys, "suggest", here / "one", "--drafts", drafts, *form, *more)


def corrected(here, name, voxels):
    """Save a draft as the scan's label, with this many background voxels made class 1."""
    image = nib.load(here / "scans/drafts" / f"{name}.nii.gz")
    label = np.asanyarray(image.dataobj).copy()
    places = np.argwhere(label == 0)[:voxels]
    label[tuple(places.T)] = 1
    label[-1, -1, -1] = 2  # so that no label is empty
    changed = int((label != np.asanyarray(image.dataobj)).sum())
    for folder in ("labels", "drafts"):  # as Slicer does: into the file that was opened, too
        write_nifti(here / "scans" / folder / f"{name}.nii.gz", label)
    return label, changed


def test_a_round_from_drafts_to_a_warm_run_and_its_report(capsys, here):
    drafts = here / "scans/drafts"
    code, out, err = suggest(capsys, here, drafts, "-n", 2)
    assert code == 0, err
    assert (
        f"crossview train folder --from {here / 'one'} --set method.name=supervised --out NEW_RUN"
        in out
    )
    (first,) = json.loads((here / "scans/rounds.json").read_text())["rounds"]
    assert first["drafts"] == "drafts"
    assert first["labelled"] == ["case00", "case01"]
    one, two = sorted(first["cases"])
    scan = nib.load(here / f"scans/images/{one}.nii.gz")
    for file in (drafts / f"{one}.nii.gz", drafts / f"entropy/{one}.nii.gz"):
        assert nib.load(file).shape == scan.shape
        np.testing.assert_array_equal(nib.load(file).affine, scan.affine)
    before = np.asanyarray(nib.load(drafts / f"{one}.nii.gz").dataobj).copy()
    label, changed = corrected(here, one, 7)
    code, _, err = crossview(
        capsys, "train", "folder", "--from", here / "one", "--out", here / "two", *SETS
    )
    assert code == 0, err
    assert f"trained on with labels that came after a draft: {one}" in err
    assert "equal their drafts" not in err
    about = json.loads((here / "two/environment.json").read_text())
    assert about["labelled"] == ["case00", "case01", one]
    found = json.loads((here / "scans/rounds.json").read_text())["rounds"][0]["cases"]
    assert (found[two]["labelled"], found[two]["changed"]) == ("", None)
    assert (found[one]["changed"], found[one]["voxels"]) == (changed, (label > 0).sum())
    dice = [
        2 * ((before == k) & (label == k)).sum() / ((before == k).sum() + (label == k).sum())
        for k in (1, 2)
        if (before == k).any() or (label == k).any()
    ]
    assert found[one]["dice"] == pytest.approx(np.mean(dice))
    page = (here / "two/report.html").read_text()
    assert "Drafts and corrections" in page
    assert f"<td>2</td><td>1</td><td>{100 * np.mean(dice):.2f}</td><td>{changed}</td>" in page
    assert "Voxels are counted, not clicks or minutes" in page
    crossview(capsys, "report", here / "two", "--no-names")
    anonymous = (here / "two/report-no-names.html").read_text()
    section = anonymous[anonymous.index('id="drafts"') :].split("</section>")[0]
    assert "case0" not in section
    assert "Drafts and corrections" not in (here / "one/report.html").read_text()
    warnings = json.loads(crossview(capsys, "check", here / "scans", "--json")[1])["warnings"]
    assert "1 scan that split.toml does not list as labelled is trained on" in str(warnings)


def test_a_draft_with_segments_may_be_corrected_as_nifti(capsys, here):
    """Of a folder whose labels are numbers, so that nothing names the segments."""
    pytest.importorskip("nrrd")
    assert suggest(capsys, here, here / "drafts", "-n", 1, form="seg.nrrd")[0] == 0
    ((name, _),) = json.loads((here / "scans/rounds.json").read_text())["rounds"][0][
        "cases"
    ].items()
    scan, out = here / f"scans/images/{name}.nii.gz", here / "out"
    assert crossview(capsys, "predict", here / "one", scan, "--out", out)[0] == 0
    draft = np.asanyarray(nib.load(out / f"{name}.nii.gz").dataobj)
    label = draft.copy()
    label[:2] = [[[1]], [[2]]]
    write_nifti(here / f"scans/labels/{name}.nii.gz", label)
    assert crossview(capsys, "check", here / "scans")[0] == 0
    code, _, err = crossview(
        capsys, "train", "folder", "--from", here / "one", "--out", here / "two", *SETS
    )
    assert code == 0, err
    found = json.loads((here / "two/rounds.json").read_text())["rounds"][0]["cases"][name]
    assert found["changed"] == (draft != label).sum()
    dice = [
        2 * ((draft == k) & (label == k)).sum() / ((draft == k).sum() + (label == k).sum())
        for k in (1, 2)
    ]
    assert found["dice"] == pytest.approx(np.mean(dice))


def test_a_draft_is_a_segmentation_and_its_correction_is_read_by_name(capsys, here):
    sitk = pytest.importorskip("SimpleITK")
    drafts = here / "scans/drafts"
    code, _, err = suggest(capsys, here, drafts, "-n", 1, form=None)
    assert code == 0, err
    ((name, found),) = json.loads((here / "scans/rounds.json").read_text())["rounds"][0][
        "cases"
    ].items()
    assert found["draft"] == f"as-suggested/{name}.seg.nrrd"
    assert (drafts / f"entropy/{name}.nii.gz").is_file()
    draft = sitk.ReadImage(str(drafts / f"{name}.seg.nrrd"))
    assert [draft.GetMetaData(f"Segment{n}_Name") for n in (0, 1)] == ["class 1", "class 2"]
    colours = {draft.GetMetaData(f"Segment{n}_Color") for n in (0, 1)}
    assert len(colours) == 2
    before = sitk.GetArrayFromImage(draft)
    after = before.copy()
    after[tuple(np.argwhere(before == 0)[:5].T)] = 1
    after[-1, -1, -1] = 2
    # The editor gives the segments other values.
    label = sitk.GetImageFromArray(np.array([0, 7, 4], np.uint8)[after])
    label.CopyInformation(draft)
    for key in draft.GetMetaDataKeys():
        label.SetMetaData(key, draft.GetMetaData(key))
    label.SetMetaData("Segment0_LabelValue", "7")
    label.SetMetaData("Segment1_LabelValue", "4")
    sitk.WriteImage(label, str(here / f"scans/labels/{name}.seg.nrrd"))
    code, _, err = crossview(
        capsys, "train", "folder", "--from", here / "one", "--out", here / "two", *SETS
    )
    assert code == 0, err
    assert "taken network" in err
    assert "new heads" not in err
    compared = json.loads((here / "two/rounds.json").read_text())["rounds"][0]["cases"][name]
    assert compared["changed"] == (before != after).sum()
    assert compared["voxels"] == (after > 0).sum()


def test_a_remark_names_a_draft_by_its_place_at_the_end(capsys, here, monkeypatch):
    def emptied(*of, remark, **more):
        written = predict(*of, remark=remark, **more)
        remark(f"{written[0]} is all background")
        return written

    predict = drafts.predict
    monkeypatch.setattr(drafts, "predict", emptied)
    code, _, err = suggest(capsys, here, here / "drafts", "-n", 1)
    assert code == 0
    (draft,) = (here / "drafts").glob("*.nii.gz")
    assert f"remark: {draft} is all background" in err
    assert ".part" not in err


def test_the_format_of_drafts_is_the_one_asked_for_or_the_best_there_is(capsys, here, monkeypatch):
    code, _, err = suggest(capsys, here, here / "mha", "-n", 1, form="mha")
    assert (code, len([*(here / "mha").glob("case0?.mha")])) == (0, 1), err
    monkeypatch.setattr("crossview.data.io.extras.find_spec", lambda name: None)
    code, _, err = suggest(capsys, here, here / "plain", "-n", 1, form=None)
    assert (code, len([*(here / "plain").glob("case0?.nii.gz")])) == (0, 1), err
    assert err.count('install "crossview[formats]"') == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--format", "seg.nrrd"), "--format is the format of drafts"),
        (("--drafts", "new", "--format", "seg.nrd"), "unknown format of predictions"),
        (("--drafts", "new", "--format", "dicom-seg"), "written for DICOM scans only"),
    ],
)
def test_a_format_that_does_not_fit_is_refused_before_anything_is_written(
    capsys, here, monkeypatch, options, told
):
    monkeypatch.chdir(here)
    code, _, err = crossview(capsys, "suggest", here / "one", *options)
    assert (code, told in err) == (2, True), err
    assert not (here / "new").exists()
    assert not (here / "one/suggest").exists()
    assert not (here / "scans/rounds.json").exists()


def test_the_second_round_names_other_scans_and_keeps_what_was_measured(capsys, here):
    drafts = here / "scans/drafts"
    suggest(capsys, here, drafts, "-n", 2)
    (first,) = json.loads((here / "scans/rounds.json").read_text())["rounds"]
    for name in first["cases"]:
        shutil.copy(drafts / f"{name}.nii.gz", here / "scans/labels")
    code, _, err = suggest(capsys, here, here / "second", "-n", 2)
    assert code == 0, err
    assert "only 1 unlabelled scan" in err
    first, second = json.loads((here / "scans/rounds.json").read_text())["rounds"]
    assert not {*first["cases"]} & {*second["cases"]}
    assert second["drafts"] == "../second"
    assert [case["changed"] for case in first["cases"].values()] == [0, 0]
    shutil.rmtree(drafts)  # measured already
    _, _, err = crossview(capsys, "train", "folder", "--data", here / "scans", "--out",
                          here / "two", *SETS)  # fmt: skip
    assert LOOKED_AT in err
    kept, _ = json.loads((here / "two/rounds.json").read_text())["rounds"]
    assert kept == first


LOOKED_AT = "these labels equal their drafts in every voxel; were they looked at?"


def taken_unchanged(capsys, here, scans):
    """Two drafts that became labels as they were, and a run of them; their names."""
    suggest(capsys, here, here / "scans/drafts", "-n", scans)
    names = sorted(cases_of_round(here / "scans"))
    for name in names:
        shutil.copy(here / f"scans/drafts/{name}.nii.gz", here / "scans/labels")
    assert f"{LOOKED_AT} {', '.join(names)}" in train(capsys, here, "two")
    return names


def cases_of_round(folder):
    return json.loads((folder / "rounds.json").read_text())["rounds"][0]["cases"]


def train(capsys, here, out, *more):
    code, _, err = crossview(
        *(capsys, "train", "folder", "--data", here / "scans", "--out", here / out, *SETS, *more)
    )
    assert code == 0, err
    return err


def without_digests(folder):
    """Make rounds.json what earlier versions wrote."""
    rounds = json.loads((folder / "rounds.json").read_text())
    for each in rounds["rounds"]:
        for case in each["cases"].values():
            del case["digest"], case["outdated"]
    (folder / "rounds.json").write_text(json.dumps(rounds))


@pytest.mark.parametrize("earlier", [False, True])
def test_a_label_that_has_changed_is_compared_again(capsys, here, earlier):
    one, two = taken_unchanged(capsys, here, 2)
    first = cases_of_round(here / "scans")
    if earlier:
        without_digests(here / "scans")
    label, changed = corrected(here, one, 7)
    err = train(capsys, here, "three")
    assert f"{LOOKED_AT} {two}\n" in err
    found = cases_of_round(here / "scans")
    assert (found[one]["changed"], found[one]["voxels"]) == (changed, (label > 0).sum())
    assert found[one]["dice"] < 1
    assert found[one]["labelled"] == first[one]["labelled"]
    assert found[two] == first[two]
    assert cases_of_round(here / "three") == found
    corrected(here, two, 5)
    code, _, err = suggest(capsys, here, here / "second", "-n", 1)
    assert code == 0, err
    assert cases_of_round(here / "scans")[two]["changed"] > 0
    shutil.copy(here / f"scans/drafts/as-suggested/{one}.nii.gz", here / "scans/labels")
    assert f"{LOOKED_AT} {one}\n" in train(capsys, here, "four")


@pytest.mark.parametrize("earlier", [False, True])
def test_a_label_that_changed_after_its_draft_was_gone_keeps_its_figures(capsys, here, earlier):
    one, two = taken_unchanged(capsys, here, 2)
    first = cases_of_round(here / "scans")
    if earlier:
        without_digests(here / "scans")
    as_drafted = (here / f"scans/labels/{one}.nii.gz").read_bytes()
    corrected(here, one, 7)
    shutil.rmtree(here / "scans/drafts")
    assert f"{LOOKED_AT} {two}\n" in train(capsys, here, "three")
    found = cases_of_round(here / "scans")
    assert found[one]["outdated"]
    assert (found[one]["dice"], found[one]["changed"]) == (1, 0)
    assert found[two] == first[two]
    page = (here / "three/report.html").read_text()
    assert "1 label changed after the draft was gone" in page
    assert "<td>1</td></tr>" in page  # taken unchanged
    (here / f"scans/labels/{one}.nii.gz").write_bytes(as_drafted)
    assert f"{LOOKED_AT} {one}, {two}\n" in train(capsys, here, "four")
    assert cases_of_round(here / "scans") == first


def test_a_draft_that_was_taken_unchanged_and_given_back_is_not_doubted(capsys, here):
    """Its label is removed, hidden, or a correction of a later draft."""
    (name,) = taken_unchanged(capsys, here, 1)
    assert LOOKED_AT not in train(capsys, here, "hidden", *sets("data.labelled=2"))
    (here / f"scans/labels/{name}.nii.gz").unlink()
    assert LOOKED_AT not in train(capsys, here, "removed")
    code, _, err = suggest(capsys, here, here / "second", "-n", 3)
    assert code == 0, err
    label = np.asanyarray(nib.load(here / f"second/{name}.nii.gz").dataobj).copy()
    label[0, 0, :3] = 1 + (label[0, 0, :3] == 1)
    write_nifti(here / f"scans/labels/{name}.nii.gz", label)
    assert LOOKED_AT not in train(capsys, here, "three")
    rounds = json.loads((here / "scans/rounds.json").read_text())["rounds"]
    assert [each["cases"][name]["changed"] for each in rounds] == [0, 3]


def test_a_lost_draft_and_a_recipe_that_hides_labels_are_told(capsys, here):
    drafts = here / "scans/drafts"
    suggest(capsys, here, drafts, "-n", 1)
    (name,) = json.loads((here / "scans/rounds.json").read_text())["rounds"][0]["cases"]
    corrected(here, name, 3)
    shutil.rmtree(drafts)
    code, _, err = crossview(
        *(capsys, "train", "folder", "--data", here / "scans", "--out", here / "two"),
        *(*SETS, *sets("data.labelled=2")),
    )
    assert code == 0, err
    assert f"data.labelled hides the labels of 1 corrected draft: {name}" in err
    code, _, err = crossview(
        capsys, "train", "folder", "--data", here / "scans", "--out", here / "three", *SETS
    )
    assert code == 0, err
    assert "1 label could not be compared" in (here / "three/report.html").read_text()


def test_what_a_correction_leaves_open_is_not_compared(capsys, here):
    drafts = here / "scans/drafts"
    suggest(capsys, here, drafts, "-n", 1)
    (name,) = json.loads((here / "scans/rounds.json").read_text())["rounds"][0]["cases"]
    label, _ = corrected(here, name, 7)
    before = np.asanyarray(nib.load(drafts / "as-suggested" / f"{name}.nii.gz").dataobj).copy()
    label[:3] = 255
    write_nifti(here / "scans/labels" / f"{name}.nii.gz", label)
    with (here / "scans/split.toml").open("a") as split:
        split.write("ignore = 255\n")
    code, _, err = crossview(
        capsys, "train", "folder", "--data", here / "scans", "--out", here / "two", *SETS
    )
    assert code == 0, err
    found = json.loads((here / "two/rounds.json").read_text())["rounds"][0]["cases"][name]
    assert found["changed"] == (before[3:] != label[3:]).sum()
    assert found["voxels"] == (label[3:] > 0).sum()
    assert found["dice"] < 1


def test_drafts_of_several_channels(capsys, tmp_path):
    from crossview.runs.train import train

    make_folder(tmp_path / "scans", channel="_0000")
    make_folder(tmp_path / "scans", channel="_0001")
    train("folder", tmp_path / "scans", tmp_path / "one", overrides=SETS[1::2])
    code, _, err = suggest(capsys, tmp_path, tmp_path / "drafts", "-n", 1)
    assert code == 0, err
    assert len(list((tmp_path / "drafts").glob("case0?.nii.gz"))) == 1


def test_wrong_places_are_refused_before_anything_is_written(capsys, here):
    labels = sorted((here / "scans/labels").iterdir())
    code, _, err = suggest(capsys, here, here / "scans/labels")
    assert (code, "would be taken for scans or labels" in err) == (2, True)
    assert sorted((here / "scans/labels").iterdir()) == labels
    (here / "full").mkdir()
    (here / "full/mine.nii.gz").touch()
    code, _, err = suggest(capsys, here, here / "full")
    assert (code, "is not empty: corrections may be in it" in err) == (2, True)
    (here / "scans/rounds.json").write_text('{"rounds": [{"run": 1}]}')
    code, _, err = suggest(capsys, here, here / "drafts")
    assert (code, "the record of the drafts can't be read" in err) == (2, True)
    assert not (here / "drafts").exists()
    assert not (here / "one/suggest").exists()


def test_only_scans_of_ones_own_get_drafts(capsys, tmp_path):
    from tests.helpers.small_run import small

    run = small(tmp_path / "one", max_steps=1)
    code, _, err = crossview(capsys, "suggest", run.path, "--drafts", tmp_path / "drafts")
    assert (code, "drafts are written for a folder of your own scans" in err) == (2, True)


@pytest.mark.parametrize("recorded", [False, True])
def test_drafts_that_a_kill_cut_short_are_drawn_again(capsys, here, monkeypatch, recorded):
    """A kill while drafts are copied, and between the record of the round and the folder."""

    def stop(*arguments):
        if recorded:
            write(*arguments)
        raise KeyboardInterrupt

    write = drafts._record_round
    monkeypatch.setattr(drafts, "_record_round", stop)
    assert suggest(capsys, here, here / "scans/drafts", "-n", 1)[0] == 130
    assert not (here / "scans/drafts").exists()
    (here / "scans/drafts.part").mkdir()
    (here / "scans/drafts.part/case00.nii.gz").write_text("")  # a kill does not tidy up
    monkeypatch.undo()
    code, _, err = suggest(capsys, here, here / "scans/drafts", "-n", 1)
    assert code == 0, err
    assert len(json.loads((here / "scans/rounds.json").read_text())["rounds"]) == 1
    assert not (here / "scans/drafts.part").exists()
