"""nnU-Net gets the data in its own layout."""

import json

from benchmarks.versus_nnunet import folders, prepare


def test_the_data_is_laid_out_as_nnunet_reads_it(tmp_path, labels, save):
    truth, _ = labels
    for folder in ("images", "labels"):
        save(tmp_path / "data" / folder, truth)
    about = {"labels": {"0": "background", "1": "anterior", "2": "posterior"}}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(about))
    tool = tmp_path / "env" / "nnUNetv2_plan_and_preprocess"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "$@" > "$nnUNet_raw/asked"\n')
    tool.chmod(0o755)
    here = folders(tmp_path / "nnunet")
    prepare(tmp_path / "data", here, ["a"], ["b"], tool.with_name("python"))
    raw = tmp_path / "nnunet" / "raw"
    found = sorted(str(path.relative_to(raw / "Dataset100_few")) for path in raw.rglob("*.nii.gz"))
    assert found == ["imagesTr/a_0000.nii.gz", "imagesTs/b_0000.nii.gz", "labelsTr/a.nii.gz"]
    written = json.loads((raw / "Dataset100_few" / "dataset.json").read_text())
    assert written["labels"] == {"background": 0, "anterior": 1, "posterior": 2}
    assert (raw / "asked").read_text().split()[:4] == ["-d", "100", "-c", "3d_fullres"]
