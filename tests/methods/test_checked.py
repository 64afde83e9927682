"""Mistakes in a plugin: reported with the class, the value found and expected, and the page."""

import gc
import weakref

import pytest
import torch
from tests.helpers import own_method
from tests.helpers.command import crossview as command
from tests.helpers.own_method import NAME, TINY

import crossview
from crossview.core.errors import UserError
from crossview.core.plugins import LOADED
from crossview.methods.method import Method, MethodOptions, Stage
from crossview.methods.plugin import check_views, checked_stages, checked_terms

IMAGE = torch.zeros(2, 1, 8, 8)
VIEWS = 'return {"network": self.network(image).logits}'
TERMS = 'return {"labelled": cross_entropy_dice(self.network(batch.image).logits, batch.label)}'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    with own_method.within(tmp_path, monkeypatch) as here:
        yield here


def train(capsys, *more):
    return command(
        capsys,
        "train",
        "demo",
        "--out",
        "run",
        *TINY,
        "--set",
        "method.steps=2",
        "--plugin",
        NAME,
        *more,
    )


def assert_reported(err, part, found):
    assert f"{NAME}: '{part}' breaks the contract of a method" in err
    assert found in err
    assert "expected:" in err
    assert "see docs/how-to/add-a-method.md" in err


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ("return self.network(image).logits", "a tensor (1, 2, 8, 8, 8)"),
        ("return self.network(image)", "Output"),
        ('return {"network": self.network(image)}', "'network': Output"),
        (
            'return {"network": self.network(image).logits.argmax(1)}',
            "'network': a tensor (1, 8, 8, 8)",
        ),
        ("self.network(image)", "None"),
    ],
)
def test_views_are_tried_before_anything_is_written(capsys, folder, wrong, found):
    own_method.write(folder, (VIEWS, wrong))
    code, _, err = train(capsys)
    assert code == 2
    assert_reported(err, "views", found)
    assert not (folder / "run" / "recipe.toml").exists()


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (TERMS.replace('{"labelled": ', "").replace("}", ""), "a scalar tensor"),
        ("return (self.network(batch.image).logits for _ in range(1))", "a tensor (4, 2, 8, 8, 8)"),
        (
            'return {"labelled": self.network(batch.image).logits}',
            "'labelled': a tensor (4, 2, 8, 8, 8)",
        ),
        ('return {"labelled": 1.0}', "'labelled': float"),
        (
            'return {"labelled": self.network(batch.image).logits.detach().mean()}',
            "no gradient in labelled",
        ),
        ("return {}", "an empty dict"),
        ("self.network(batch.image)", "None"),
    ],
)
def test_a_loss_is_checked_in_the_first_step(capsys, folder, wrong, found):
    own_method.write(folder, (TERMS, wrong))
    code, _, err = train(capsys)
    assert code == 2
    assert_reported(err, "loss", found)


def test_stages_without_property_are_reported_at_once(capsys, folder):
    own_method.write(folder, ("    @property\n", ""))
    code, _, err = command(capsys, "recipe", "demo", "--plugin", NAME)
    assert code == 2
    assert_reported(err, "stages", "a function")
    assert "write @property above it" in err
    assert NAME not in LOADED


def test_stages_that_are_none(capsys, folder):
    own_method.write(folder, ("return self.options.stages", "return self.options.stages[0]"))
    code, _, err = command(capsys, "recipe", "demo", "--plugin", NAME)
    assert code == 2
    assert_reported(err, "stages", "Stage")


def test_options_of_another_kind(capsys, folder):
    own_method.write(folder, ("Options = ConsistencyOptions", "Options = dict"))
    code, _, err = command(capsys, "recipe", "demo", "--plugin", NAME)
    assert code == 2
    assert_reported(err, "Options", "dict")


def test_trying_the_views_changes_nothing(folder, monkeypatch):
    """Runs with and without the trial are bit-equal, with dropout and with random numbers drawn."""
    sets = [text for text in TINY if text != "--set"]
    sets += [f"method.name={NAME}", "method.steps=3", "network.dropout=0.3"]
    own_method.write(
        folder,
        (VIEWS, "torch.rand(3)\n        " + VIEWS),
        ("\nfrom crossview.methods import", "\nimport torch\nfrom crossview.methods import"),
    )
    crossview.load_plugin(NAME)
    weights = []
    for name in ("tried", "plain"):
        if name == "plain":
            monkeypatch.setattr("crossview.runs.train.try_views", lambda method, image: None)
        run, _ = crossview.train("demo", None, folder / name, overrides=sets)
        last = torch.load(run.path / "checkpoints" / "last.pt", weights_only=True)
        weights.append(last["weights"])
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


class Generating(Method):
    """Method that yields two dicts, and records if the first one is freed before the second."""

    stages = (Stage("train", 1, unlabelled=False),)

    def __init__(self) -> None:
        super().__init__(MethodOptions(name="x"), torch.nn.Identity)
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.freed: list[bool] = []

    def loss(self, batch, stage, step):
        term = self.weight * 2
        there = weakref.ref(term)
        yield {"first": term}
        del term
        gc.collect()
        self.freed.append(there() is None)
        yield {"second": self.weight * 3}

    def views(self, image):
        return {"network": image}


def test_a_generator_is_checked_part_by_part_and_frees_each():
    method = Generating()
    parts = checked_terms(method, None, method.stages[0], 0)
    part = next(parts)
    assert list(part) == ["first"]
    del part
    assert list(next(parts)) == ["second"]
    assert method.freed == [True]


def test_correct_values_pass_unchanged():
    method = Generating()
    check_views(method, IMAGE)
    assert checked_stages(method) == Generating.stages
    with torch.no_grad():
        parts = checked_terms(method, None, method.stages[0], 0)
        assert [list(part) for part in parts] == [["first"], ["second"]]


def test_views_that_are_empty_are_refused():
    with pytest.raises(UserError, match="'views'"):
        check_views(type("Empty", (Generating,), {"views": lambda self, image: {}})(), IMAGE)
