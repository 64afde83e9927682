"""Plugins: methods imported because --plugin says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.command import crossview
from tests.helpers.tiny_suite import suite_file

from crossview import methods
from crossview.core.errors import UserError
from crossview.core.plugins import LOADED
from crossview.methods import plugin
from crossview.recipe.layers import load as load_recipe
from crossview.recipe.resolve import resolve

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "add-a-method.md"
NAME = "entropy:EntropyMinimisation"


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Write the methods of the documentation to files of the current folder."""
    text = PAGE.read_text(encoding="utf-8")
    for block in text.split("```python\n")[1:]:
        (tmp_path / block.split("# file: ")[1].split("\n")[0]).write_text(block.split("```", 1)[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    LOADED.pop(NAME, None)
    sys.modules.pop("entropy", None)


def test_it_becomes_a_method_with_the_stream_and_schedule_of_cml(example):
    plugin.load("entropy:EntropyMinimisation")
    recipe = resolve("la-8", ["method.name=entropy:EntropyMinimisation", "method.steps=70"])
    assert (recipe.training.labelled_batch, recipe.training.schedule) == (4, "step")
    assert [stage.steps for stage in recipe.stages] == [70]
    assert resolve(recipe.tables()).tables() == recipe.tables()


@pytest.mark.parametrize(("setting", "steps"), [("la-8", 17000), ("acdc-7", 40000), ("demo", 720)])
def test_its_steps_are_the_sum_of_cmls(example, setting, steps):
    plugin.load(NAME)
    assert sum(stage.steps for stage in resolve(setting, ["method.name=cml"]).stages) == steps
    assert resolve(setting, [f"method.name={NAME}"]).method.steps == steps
    assert resolve(setting, [f"method.name={NAME}", "method.steps=7"]).method.steps == 7
    assert resolve({"setting": setting, "method": {"name": NAME, "steps": 8}}).method.steps == 8


def test_stages_named_as_cmls_are_as_long(example):
    (example / "mine.py").write_text(
        "from crossview.methods import CML\n\nclass Mine(CML):\n    pass\n"
    )
    try:
        plugin.load("mine:Mine")
        assert [stage.steps for stage in resolve("acdc-7", ["method.name=mine:Mine"]).stages] == [
            10000,
            30000,
        ]
    finally:
        LOADED.pop("mine:Mine", None), sys.modules.pop("mine", None)


@pytest.mark.parametrize("word", ["entropy", "EntropyMinimisation"])
def test_a_part_of_its_name_suggests_the_whole(capsys, example, word):
    code, _, err = crossview(
        capsys, "recipe", "demo", "--plugin", NAME, "--set", f"method.name={word}"
    )
    assert code == 2
    assert f"did you mean {NAME}?" in err
    plugin.load(NAME)
    with pytest.raises(UserError, match=NAME):
        resolve("demo", ["method.name=nothing like it"])


def test_a_recipe_alone_imports_nothing(example):
    tables = load_recipe("la-8", ["method.name=entropy:EntropyMinimisation"])
    with pytest.raises(UserError, match=r"--plugin entropy:EntropyMinimisation"):
        resolve(tables)
    assert "entropy" not in sys.modules


def test_a_wrong_option_is_reported_by_its_name(example):
    plugin.load("entropy:EntropyMinimisation")
    with pytest.raises(UserError, match="consistency_weight"):
        resolve("la-8", ["method.name=entropy:EntropyMinimisation", "method.consistency_wait=1"])


def test_a_row_of_a_suite(capsys, example):
    row = 'name = "entropy:EntropyMinimisation"\n\n[[methods]]\nlabel = "cml'
    suite = suite_file(example, ('name = "supervised"\n\n[[methods]]\nlabel = "cml', row))
    arguments = ("bench", suite, "--out", "out", "--only", "supervised", "--seeds", 1)
    code, _, err = crossview(capsys, *arguments)
    assert (code, "--plugin entropy:EntropyMinimisation" in err) == (2, True)
    code, out, err = crossview(capsys, *arguments, "--plugin", "entropy:EntropyMinimisation")
    assert code == 0, err
    assert "[1/1] supervised, seed 1: Dice" in out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("entropy", "module:Class"),
        ("entropy:", "module:Class"),
        ("../entropy:EntropyMinimisation", "module:Class"),
        ("entrophy:EntropyMinimisation", "no module is named 'entrophy'"),
        ("entropy:EntropyMinimization", "EntropyMinimisation"),
        ("entropy:Batch", "is not a method"),
        ("entropy:Method", "no stages, no loss, no views"),
        ("entropy:math", "is not a method"),
    ],
)
def test_anything_but_a_plugin_is_refused(example, name, message):
    with pytest.raises(UserError, match=message):
        plugin.load(name)
    assert name not in LOADED
    with pytest.raises(UserError):
        methods.find(name)


@pytest.mark.parametrize(
    ("missing", "fix"),
    [
        ("another_package", "install the package of 'another_package', which needy imports"),
        ("another_package.part", "install the package of 'another_package', which needy imports"),
    ],
)
def test_a_missing_import_of_a_plugin_is_reported_with_its_own_fix(example, missing, fix):
    (example / "needy.py").write_text(f"import {missing}\n")
    with pytest.raises(UserError, match=fix):
        plugin.load("needy:Needy")


@pytest.mark.parametrize("name", [NAME, "fixmatch:FixMatch"])
def test_the_examples_pass_the_contract(example, name):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(ROOT / "tests" / "contract"),
    ]
    paths = [str(example), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    arguments = ["--plugin", name, "-k", f"{name.split(':')[1]} and not slow", "-m", "not slow"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
