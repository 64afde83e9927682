"""Recipes: their published numbers, their layers, and what is said of a mistake."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossview.core.errors import UserError
from crossview.methods.method import Stage
from crossview.recipe.layers import (
    STEP_KEYS,
    differences,
    load,
    method_tables,
    parse_set,
    setting_tables,
    shipped_methods,
    shipped_settings,
    with_total_steps,
)
from crossview.recipe.resolve import resolve

PUBLISHED = {
    "la": {
        "data": {
            "patch": (112, 112, 80),
            "classes": 2,
            "sampling": "crop_released",
            "augmentation": "rot90_flip",
        },
        "network": {"name": "vnet", "filters": 16, "levels": 5, "dropout": 0.5},
        "method": {
            "pretrain_steps": 2000,
            "train_steps": 15000,
            "labelled_weight": 1,
            "unlabelled_weight": 1,
            "discrepancy_weight": 0.2,
            "upsample": ("transposed", "linear"),
            "pseudo_labels": "train",
        },
        "training": {
            "labelled_batch": 4,
            "unlabelled_batch": 4,
            "schedule": "step",
            "decay_after": 2000,
            "decay_every": 2500,
        },
        "inference": {"mode": "windows", "stride": (18, 18, 4), "largest_component": True},
    },
    "acdc": {
        "data": {
            "patch": (256, 256),
            "classes": 4,
            "sampling": "resize",
            "augmentation": "rot90_flip_or_rotate",
        },
        "network": {
            "name": "unet",
            "filters": 16,
            "levels": 5,
            "dropout": (0.05, 0.1, 0.2, 0.3, 0.5),
        },
        "method": {
            "pretrain_steps": 10000,
            "train_steps": 30000,
            "labelled_weight": 1,
            "unlabelled_weight": 0.5,
            "discrepancy_weight": 0.1,
            "upsample": ("linear", "transposed"),
            "shared_views": False,
        },
        "training": {"labelled_batch": 12, "unlabelled_batch": 12, "schedule": "constant"},
        "inference": {"mode": "slices", "largest_component": False},
    },
}


PLANNED = [
    *("data.patch=[32, 48, 32]", "data.classes=3", "data.augmentation=mild"),
    *("network.name=vnet", "network.levels=4", "inference.stride=[16, 24, 16]"),
]
"""Keys that "folder" leaves to a plan."""


@pytest.mark.parametrize(
    ("setting", "labelled"), [("la-4", 4), ("la-8", 8), ("la-16", 16), ("acdc-3", 3), ("acdc-7", 7)]
)
def test_published_numbers(setting, labelled):
    recipe = resolve(setting)
    assert recipe.setting == setting
    assert recipe.data.labelled == labelled
    for table, keys in PUBLISHED[setting.split("-")[0]].items():
        for key, value in keys.items():
            assert getattr(getattr(recipe, table), key) == value, f"{table}.{key}"
    training = recipe.training
    assert (training.learning_rate, training.momentum, training.weight_decay) == (0.01, 0.9, 1e-4)
    assert (training.seed, training.evaluate_every, training.selection) == (1337, 200, "last")
    side = recipe.data.patch[0]
    assert int(recipe.method.box * side) == {112: 74, 256: 128}[side]
    if side == 112:
        assert int(recipe.method.box * 80) == 53


def test_stages_of_cml():
    pretrain, train = resolve("la-8").stages
    assert pretrain == Stage("pretrain", 2000, unlabelled=False)
    assert train == Stage("train", 15000, unlabelled=True, from_selected=True, keep_optimiser=True)
    assert [stage.name for stage in resolve("la-8", ["method.train_steps=0"]).stages] == [
        "pretrain"
    ]


def test_released_variant_expands_into_plain_keys():
    la, acdc = (resolve(name, ["method.variant=released"]) for name in ("la-8", "acdc-7"))
    assert la.training.selection == "test"
    assert not la.method.shared_views
    assert acdc.method.shared_views
    assert acdc.training.selection == "validation"
    assert resolve(acdc.tables()) == acdc


@pytest.mark.parametrize("setting", shipped_settings())
@pytest.mark.parametrize("method", shipped_methods())
def test_every_setting_resolves_and_its_toml_gives_it_again(setting, method):
    recipe = resolve(setting, [f"method.name={method}", *(PLANNED if setting == "folder" else ())])
    assert resolve(tomllib.loads(recipe.toml())) == recipe


def test_a_method_brings_its_own_batch_and_schedule_whatever_the_order():
    sets = ["training.labelled_batch=2", "method.name=supervised", "training.seed=5"]
    for order in (sets, sets[::-1]):
        recipe = resolve("la-8", order)
        assert recipe.method.name == "supervised"
        assert recipe.training.labelled_batch == 2
        assert recipe.training.unlabelled_batch == 0
        assert recipe.training.seed == 5


def test_a_file_changes_a_setting(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(
        'setting = "la-8"\n[training]\nseed = 3\nlabelled_batch = 2\n[method]\nbox = 0.5\n'
    )
    recipe = resolve(path)
    assert (recipe.training.seed, recipe.training.labelled_batch, recipe.method.box) == (3, 2, 0.5)
    other = resolve(path, ["method.name=supervised"])
    assert (other.training.seed, other.training.labelled_batch) == (3, 4)


def test_a_resolved_file_can_change_its_method(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(resolve("acdc-7").toml())
    assert resolve(path, ["method.name=supervised"]) == resolve(
        "acdc-7", ["method.name=supervised"]
    )


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["training.sede=1"], ["unknown key 'sede'", "did you mean seed"]),
        (["methods.name=cml"], ["unknown table 'methods'", "method"]),
        (["training.seed=-1"], ["'seed'", "-1", "greater than or equal to 0"]),
        (["training.seed"], ["TABLE.KEY=VALUE"]),
        (
            ["method.upsample=[transposed,linear]"],
            ["key 'upsample'", 'put each text in quotes: ["one", "two"]'],
        ),
        (["data.validation=8"], ["[data]: validation = 8 leaves none of the 8 labelled cases"]),
        (["method.name=cmll"], ["no method 'cmll'", "did you mean cml"]),
        (["method.variant=relased"], ["variant", "'corrected' or 'released'"]),
        (["network.name=vnt"], ["vnt", "vnet"]),
        (["data.source=laa"], ["laa", "la"]),
        (["data.patch=[112,112,81]"], ["81", "80", "16"]),
        (["data.patch=[112,112]"], ["3 sides"]),
        (["training.labelled_batch=3"], ["labelled_batch", "even"]),
        (["training.unlabelled_batch=0"], ["unlabelled_batch", "even"]),
        (["inference.mode=slices"], ["slices", "2D"]),
        (["method.pretrain_steps=0", "method.train_steps=0"], ["no steps"]),
        (["training.selection=best"], ["'last', 'validation' or 'test'"]),
        (["method.steps=3"], ["unknown key 'steps'", "train_steps"]),
        (["method.nme=3", "training.sede=1", "data.lablled=2"], ["nme", "sede", "lablled"]),
    ],
)
def test_mistakes_are_told_with_a_way_out(sets, told):
    with pytest.raises(UserError) as caught:
        resolve("la-8", sets)
    for text in told:
        assert text in str(caught.value)


def test_files_that_are_no_recipes(tmp_path):
    for content, told in (
        ("a = [", "not a TOML file"),
        ("[dta]\n", "did you mean data"),
        ("data = 3\n", "not a table"),
    ):
        path = tmp_path / "bad.toml"
        path.write_text(content)
        with pytest.raises(UserError, match=told):
            resolve(path)
    with pytest.raises(UserError, match="the recipe file does not exist"):
        resolve(tmp_path / "absent.toml")
    with pytest.raises(UserError, match="did you mean la-8"):
        resolve("la_8")


def test_method_tables_ask_for_known_families():
    family, _ = setting_tables("la-8")
    assert family == "la"
    with pytest.raises(UserError, match="no numbers for 'moon'"):
        method_tables("cml", "moon", "corrected")


@given(st.integers(), st.text("abcdefghij ", min_size=1))
def test_set_values_are_toml_else_text(number, text):
    assert parse_set(f"training.seed={number}") == ("training", "seed", number)
    assert parse_set(f"method.name={text}")[2] in (
        text.strip(),
        tomllib.loads(f"a = {text}")["a"] if text.strip().isdigit() else text.strip(),
    )


def test_load_does_not_change_its_input():
    tables = {"setting": "la-8", "training": {"seed": 1}}
    load(tables, ["training.seed=2", "method.name=supervised"])
    assert tables == {"setting": "la-8", "training": {"seed": 1}}


@pytest.mark.parametrize(
    "tables",
    [
        {"setting": 5},
        {"setting": "demo", "trainig": {"seed": 9}},
        {"setting": "demo", "training": 5},
    ],
)
def test_mappings_are_checked_as_files_are(tables):
    with pytest.raises(UserError):
        resolve(tables)


def test_a_folder_is_no_recipe(tmp_path):
    (tmp_path / "a.toml").mkdir()
    with pytest.raises(UserError, match="cannot read"):
        resolve(tmp_path / "a.toml")


@given(st.lists(st.integers(0, 20000), min_size=3, max_size=3).filter(any), st.integers(3, 50000))
def test_steps_sum_to_the_total_in_proportion(steps, total):
    tables = {
        "method": dict(zip(STEP_KEYS, steps, strict=True)) | {"box": 0.5},
        "data": {"patch": [8]},
    }
    scaled = with_total_steps(tables, total)
    found = [scaled["method"][key] for key in STEP_KEYS]
    assert sum(found) == total
    assert [count == 0 for count in found] == [count == 0 for count in steps]
    assert all(
        abs(new - old * total / sum(steps)) <= 2
        for new, old in zip(found, steps, strict=True)
        if old * total >= sum(steps)
    )
    assert (scaled["method"]["box"], scaled["data"]) == (0.5, tables["data"])
    assert tables["method"]["steps"] == steps[0]


@pytest.mark.parametrize(
    ("method", "total"),
    [({}, 100), ({"pretrain_steps": 10, "train_steps": 30}, 1), ({"steps": 0}, 5)],
)
def test_steps_that_can_not_be_shared_out_are_told(method, total):
    with pytest.raises(UserError, match="divide the steps"):
        with_total_steps({"method": method}, total)


def test_every_method_has_4000_steps_for_a_users_own_scans():
    for method in shipped_methods():
        tables = load("folder", [f"method.name={method}"])
        assert sum(tables["method"].get(key, 0) for key in STEP_KEYS) == 4000, method


def test_a_key_that_is_newer_than_a_stored_recipe_is_no_difference():
    new = resolve("la-8").tables()
    old = resolve("la-8").tables()
    del old["inference"]["flips"], old["data"]["spacing"]
    assert differences(old, new) == []
    assert [
        problem.where
        for problem in differences(old | {"network": {**old["network"], "filters": 4}}, new)
    ] == ["[network] filters"]
