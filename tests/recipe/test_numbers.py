"""Numbers beyond any use are refused by their key, for every number of a recipe."""

import json
import math

import pytest
from tests.docs.test_recipe_page import models
from tests.helpers.command import SMALL, crossview, sets

from crossview.core.errors import UserError
from crossview.recipe.resolve import parse, resolve

HUGE = {"seed": (2**63, 10**400), "whole": (2**31, 2**64, 10**400), "": (1e31, math.inf, math.nan)}


def numeric(value):
    return type(value) in (int, float) or (
        isinstance(value, list) and bool(value) and numeric(value[0])
    )


def like(value, number):
    return [like(each, number) for each in value] if isinstance(value, list) else number


def keys(model):
    """Yield (key, value) of the keys with a number of a model's table as it is by default."""
    for name, field in model.model_fields.items():
        default = field.default if field.default is not field.get_default else None
        value = json.loads(json.dumps(default, default=lambda _: None))
        whole = "int" in str(field.annotation)
        if value is None and ("float" in str(field.annotation) or whole):
            value = [1, 1] if "tuple" in str(field.annotation) else 1
        if value == [] and "str" not in str(field.annotation):
            value = [1, 1, 1]
        if numeric(value):
            yield name, value, whole


@pytest.mark.parametrize("table", models())
def test_every_huge_number_of_a_table_is_refused(table):
    model, found = models()[table], list(keys(models()[table]))
    for name, value, whole in found:
        for number in HUGE["seed" if name == "seed" else "whole" if whole else ""]:
            with pytest.raises(UserError) as raised:
                parse(model, {name: like(value, number)}, table)
            assert name in str(raised.value), number


def test_every_table_was_tried():
    counts = {name: len(list(keys(model))) for name, model in models().items()}
    assert counts["training"] >= 14
    assert counts["data phantom"] >= 10
    assert counts["network unet"] >= 3
    assert all(counts[name] for name in counts if name not in ("method",))


@pytest.mark.parametrize("change", ["data.patch=[100000000,8,8]", "network.filters=100000000"])
def test_the_command_refuses_them(capsys, tmp_path, change):
    code, _, err = crossview(capsys, "train", "demo", "--out", tmp_path / "run", *sets(change))
    assert code == 2
    assert change.partition("=")[0].partition(".")[2] in err
    assert not (tmp_path / "run").exists()


def test_what_no_memory_holds_is_an_error_for_people(capsys, tmp_path):
    big = sets(*SMALL, "data.patch=[4096,4096,4096]", "training.parallel=off")
    code, _, err = crossview(capsys, "train", "demo", "--out", tmp_path / "run", *big)
    assert code == 2
    assert "not enough memory" in err
    assert "smaller patch" in err


def test_large_numbers_of_use_stay():
    recipe = resolve("demo", ["training.seed=9223372036854775807", "method.train_steps=100000000"])
    assert recipe.training.seed == 2**63 - 1
