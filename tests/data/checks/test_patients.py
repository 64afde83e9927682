"""Patients in names: as slice exports, scanners and published sets write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossview.data.checks.patients import patient_in, patients_in

OWN = None
"""Each name is a patient of its own."""

SETS = [
    # slice exports
    (["SC-HF-I-12-IM-0001-0100", "SC-HF-NI-3-IM-0002-0007"], ["SC-HF-I-12", "SC-HF-NI-3"]),
    (["SC-HF-I-12", "SC-HF-I-13"], OWN),
    (["patient012_slice_07"], ["patient012"]),
    (["patient003_frame01_slice_3"], ["patient003"]),
    (["p12_s003", "p13_s001", "p13_s002"], ["p12", "p13", "p13"]),
    (["P001-10", "P002-11"], ["P001", "P002"]),
    (["101_05", "102_05"], ["101", "102"]),
    (["IM-0001-0005", "IM-0002-0005"], ["IM-0001", "IM-0002"]),
    (["case101_day20_slice_0001"], ["case101"]),
    (["case_01_012", "case_02_003"], ["case_01", "case_02"]),
    (["volume_1_slice_77", "volume_2_slice_77"], ["volume_1", "volume_2"]),
    (["liver_10_35", "liver_11_35"], ["liver_10", "liver_11"]),
    (["ID_0001_Z_0142", "ID_0002_Z_0142"], ["ID_0001", "ID_0002"]),
    (["img0001-slice02"], ["img0001"]),
    (["TCGA_CS_4941_19960909_1", "TCGA_CS_4941_19960909_2"], ["TCGA_CS_4941"] * 2),
    (["person1_virus_6"], ["person1"]),
    # scans: one per patient
    (["hippocampus_001", "hippocampus_002"], OWN),
    (["case_01", "case_02"], OWN),
    (["la_001", "la_002"], OWN),
    (["06SR5RBREL16DQ6M8LWS", "0RZDK210BSMWAA6467LU"], OWN),
    (["BraTS20_Training_001", "BraTS20_Training_002"], OWN),
    (["BraTS2020_00001", "BraTS2021_00000"], OWN),
    (["KiTS19_001", "KiTS21_001"], OWN),
    (["FLARE22_Tr_0001", "FLARE22_Tr_0002"], OWN),
    (["TCGA-02-0003", "TCGA-06-0003"], OWN),
    (["002_S_0295", "003_S_0295"], OWN),
    (["LIDC-IDRI-0001", "LIDC-IDRI-0002"], OWN),
    (["IXI002-Guys-0828", "IXI012-HH-1211"], OWN),
    (["C3L-00001", "C3N-00001"], OWN),
    (["ct_train_1001", "ct_train_1002"], OWN),
    (["s0011", "s0012"], OWN),
    (["1-001", "1-002"], OWN),
    (["slice_001", "slice_002"], OWN),
    (["1.2.840.113.1", "1.2.840.113.2"], OWN),
    # a number that counts something else
    (["site01_case003", "site02_case003"], OWN),
    (["site_1_003", "site_2_003"], OWN),
    (["center3_012", "center4_012"], OWN),
    (["fold1_003", "fold2_003"], OWN),
    (["Dataset001_12", "Dataset002_12"], OWN),
    (["T1_001", "T2_001"], OWN),
    (["abdomen_20230115_01", "abdomen_20230216_01"], OWN),
    (["2020-01-15", "2020-02-16"], OWN),
    # repeated scans
    (["sub-07_ses-2_T1w"], ["sub-07"]),
    (["BraTS-GLI-00005-100", "BraTS-GLI-00006-000"], ["BraTS-GLI-00005", "BraTS-GLI-00006"]),
    (["BraTS19_2013_10_1", "BraTS19_2013_27_1"], ["BraTS19_2013_10", "BraTS19_2013_27"]),
    (["OAS1_0001_MR1", "OAS1_0002_MR2"], ["OAS1_0001", "OAS1_0002"]),
    (["00000001_000", "00000002_001"], ["00000001", "00000002"]),
    (["A0S9V9_ED", "A0S9V9_ES"], ["A0S9V9"] * 2),
    (["p1", "p1_Eq_1", "p1_Tilt_1"], ["p1"] * 3),
    (["patient012_frame01"], ["patient012"]),
    (["B4_left", "B4-visit2_left"], ["B4"] * 2),
    (["left", "case12", "chest-3", "chest-4"], OWN),
]


@pytest.mark.parametrize(("names", "patients"), SETS, ids=lambda value: str(value)[:40])
def test_patients_of_a_set(names, patients):
    assert list(patients_in(names).values()) == (names if patients is OWN else patients)


def test_a_second_number_is_a_slice_only_if_the_first_varies():
    assert patients_in(["scan7_01", "scan7_02"])["scan7_01"] == "scan7_01"
    assert patients_in(["scan7_01", "scan8_02"])["scan7_01"] == "scan7"


@given(st.integers(1, 999), st.integers(1, 999), st.sampled_from(["_slice_", "_z", "-IM-0001-"]))
def test_every_slice_has_the_patient_of_its_scan(patient, number, between):
    assert patient_in(f"patient{patient}{between}{number}") == f"patient{patient}"


@given(st.lists(st.from_regex(r"[a-z]{1,6}_[0-9]{3}", fullmatch=True), min_size=1, unique=True))
def test_a_word_and_one_number_is_a_patient(names):
    assert patients_in(names) == {name: name for name in names}
