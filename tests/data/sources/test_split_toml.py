"""split.toml: lists, patterns and patients, and what is wrong with them."""

import pytest

from crossview.data.sources.split_toml import Split, read_split

NAMES = ["p1_a", "p1_b", "p2_a", "p3_a", "x"]


def read(tmp_path, text, labelled=("p1_a", "p1_b", "p2_a")):
    path = tmp_path / "split.toml"
    path.write_text(text, encoding="utf-8")
    split, problems = read_split(path, NAMES, labelled)
    return split, "\n".join(map(str, problems))


def test_without_a_file_each_case_is_its_own_patient(tmp_path):
    split, problems = read_split(tmp_path / "split.toml", NAMES, [])
    assert (split, problems) == (Split(), [])
    assert split.names("test") is None
    assert split.patient("p1_a") == "p1_a"


def test_lists_keep_their_order(tmp_path):
    split, problems = read(tmp_path, 'labelled = ["p2_a", "p1_a"]\nvalidation = []')
    assert not problems
    assert (split.names("labelled"), split.names("validation"), split.names("test")) == (
        ["p2_a", "p1_a"],
        [],
        None,
    )


def test_patterns_stand_for_cases_of_no_other_list(tmp_path):
    assert read(tmp_path, 'unlabelled = ["*"]')[0].names("unlabelled") == ["p3_a", "x"]
    split, problems = read(tmp_path, 'labelled = ["p1_a"]\nunlabelled = ["p*", "x"]')
    assert not problems
    assert split.names("unlabelled") == ["p1_b", "p2_a", "p3_a", "x"]


@pytest.mark.parametrize(
    ("text", "lists"),
    [
        ('test = ["p1_*"]', {"test": ["p1_a", "p1_b"]}),
        ('test = ["p*"]', {"test": ["p1_a", "p1_b", "p2_a"]}),  # p3_a has no label
        ('validation = ["p2*", "p1_a"]', {"validation": ["p2_a", "p1_a"]}),
        ('test = ["p1_*"]\nlabelled = ["*"]', {"test": ["p1_a", "p1_b"], "labelled": ["p2_a"]}),
        ('labelled = ["p1_*"]\nunlabelled = ["p*"]', {"unlabelled": ["p2_a", "p3_a"]}),
    ],
)
def test_every_list_takes_patterns(tmp_path, text, lists):
    split, problems = read(tmp_path, text)
    assert not problems
    assert {key: split.names(key) for key in lists} == lists


OF_PATIENT = '\n[patient]\npattern = "(p[0-9]).*|x"'


@pytest.mark.parametrize(
    ("text", "lists"),
    [
        ('test_patients = ["p1"]', {"test": ["p1_a", "p1_b"], "labelled": None}),
        (
            'test = ["p1_a"]\ntest_patients = ["p[12]"]',
            {"test": ["p1_a", "p1_b", "p2_a"]},
        ),
        (
            'validation_patients = ["p2"]\nunlabelled = ["*"]\nlabelled = ["p1*"]',
            {"validation": ["p2_a"], "unlabelled": ["p3_a", "x"], "labelled": ["p1_a", "p1_b"]},
        ),
        # The other scan of a test patient is not what a pattern of training stands for.
        ('test = ["p1_a"]\nlabelled = ["*"]', {"test": ["p1_a"], "labelled": ["p2_a"]}),
    ],
)
def test_patients_can_be_held_out_whole(tmp_path, text, lists):
    split, problems = read(tmp_path, text + OF_PATIENT)
    assert not problems
    assert {key: split.names(key) for key in lists} == lists


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('test_patients = ["p9"]' + OF_PATIENT, "'test_patients' lists an unknown patient"),
        ('test_patients = ["p9"]', "[patient] must say whose the cases are"),
        ('test_patients = ["p3"]' + OF_PATIENT, "lists a patient without a labelled case"),
        ('test_patients = ["p1"]\nvalidation = ["p1_a"]' + OF_PATIENT, "validation and test"),
        ('test = ["q*"]', "'test' lists an unknown case"),
        ('test_patients = "p1"', "'test_patients' is not a list of names"),
    ],
)
def test_faults_of_patterns_and_patients_are_named(tmp_path, text, told):
    _, problems = read(tmp_path, text)
    assert told in problems


def test_long_lists_of_names_are_shortened(tmp_path):
    names = [f"case{number:03d}" for number in range(356)]
    path = tmp_path / "split.toml"
    wrong = ", ".join(f'"scan{number}"' for number in range(40))
    path.write_text(f'test = [{wrong}]\nvalidation = ["?"]\n', encoding="utf-8")
    text = "\n".join(map(str, read_split(path, names, names)[1]))
    assert "'test' lists an unknown case (40 of them)" in text
    assert "scan8, scan9 and 30 more" in text
    assert "the cases are case000, case001" in text
    assert len(text) < 1000


@pytest.mark.parametrize(
    ("table", "patients"),
    [
        ('pattern = "(p[0-9])_.*|x"', ["p1", "p1", "p2", "p3", "x"]),
        ('pattern = "p[0-9]|x"', ["p1", "p1", "p2", "p3", "x"]),
        ('p1_a = "Ann"\np1_b = "Ann"', ["Ann", "Ann", "p2_a", "p3_a", "x"]),
        ('x = "Bo"\npattern = "p[0-9]"', ["p1", "p1", "p2", "p3", "Bo"]),
    ],
)
def test_patients(tmp_path, table, patients):
    split, problems = read(tmp_path, f"[patient]\n{table}")
    assert not problems
    assert [split.patient(name) for name in NAMES] == patients


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("test = [", "can't be read"),
        ("tset = []", "did you mean test"),
        ('test = "x"', "'test' is not a list of names"),
        ("test = [1]", "'test' is not a list of names"),
        ('test = ["p1_a", "p1_a"]', "listed more than once"),
        ('test = ["p1_a"]\nvalidation = ["p1_a"]', "in validation and test"),
        ('test = ["x"]', "a case without a label"),
        ('labelled = ["x"]', "a case without a label"),
        ('test = ["p1_c"]', "did you mean p1"),
        ('unlabelled = ["q*"]', "q*"),
        ('test = ["../p1_a"]', "a path instead of a name"),
        ('test = ["/p1_a"]', "a path instead of a name"),
        ('[patient]\npattern = "("', "not a regular expression"),
        ('[patient]\npattern = "p"', "does not match all cases"),
        ('[patient]\nq = "Ann"', "an unknown case"),
        ("[patient]\nx = 1", "not a table of names"),
        ("patient = 1", "not a table of names"),
    ],
)
def test_faults_are_named(tmp_path, text, told):
    _, problems = read(tmp_path, text)
    assert told in problems
    assert "split.toml" in problems


def test_all_faults_at_once(tmp_path):
    _, problems = read(
        tmp_path, 'test = ["x", "q"]\nvalidation = ["p1_a", "p1_a"]\nmore = 1\n[patient]\nq = "Ann"'
    )
    assert problems.count("split.toml") == 5


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_bears_the_name_and_is_no_file_is_told(tmp_path, kind):
    path = tmp_path / "split.toml"
    path.mkdir() if kind == "folder" else path.symlink_to("split.toml")
    (problem,) = read_split(path, NAMES, [])[1]
    assert (problem.what, kind in problem.found) == ("not a regular file", True)


def test_names_that_only_look_alike_are_told(tmp_path):
    composed, apart = "p\u00e9", "pe\u0301"  # é, and e with an accent of its own
    path = tmp_path / "split.toml"
    path.write_text(f'test = ["{apart}"]', encoding="utf-8")
    (problem,) = read_split(path, [composed, "x"], [composed])[1]
    assert "look alike but are composed of different characters" in problem.fix


@pytest.mark.parametrize("written", ["p1_a.png", "p1_a_0000", "p1_a_0001.nii.gz"])
def test_names_with_suffix_or_channel_number_are_told(tmp_path, written):
    told = read(tmp_path, f'test = ["{written}"]')[1]
    assert "write p1_a: names are without suffix and channel number" in told
