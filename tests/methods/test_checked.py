"""Mistakes in a method of one's own: told as a user's, with the class, what was found, what is expected, and the page."""

import gc
import weakref

import pytest
import torch

import crossview
import own_method
from command import crossview as command
from crossview.errors import UserError
from crossview.methods import METHODS, Method, Stage
from crossview.methods.checked import Checked, checked
from crossview.methods.method import MethodOptions
from own_method import NAME, TINY

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


def told(err, part, found):
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
    told(err, "views", found)
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
def test_a_loss_is_looked_at_in_the_first_step(capsys, folder, wrong, found):
    own_method.write(folder, (TERMS, wrong))
    code, _, err = train(capsys)
    assert code == 2
    told(err, "loss", found)


def test_stages_without_property_are_told_at_once(capsys, folder):
    own_method.write(folder, ("    @property\n", ""))
    code, _, err = command(capsys, "recipe", "demo", "--plugin", NAME)
    assert code == 2
    told(err, "stages", "a function")
    assert "write @property above it" in err
    assert NAME not in METHODS


def test_stages_that_are_none(capsys, folder):
    own_method.write(folder, ("return self.options.stages", "return self.options.stages[0]"))
    code, _, err = command(capsys, "recipe", "demo", "--plugin", NAME)
    assert code == 2
    told(err, "stages", "Stage")


def test_options_of_another_kind(capsys, folder):
    own_method.write(folder, ("Options = ConsistencyOptions", "Options = dict"))
    code, _, err = command(capsys, "recipe", "demo", "--plugin", NAME)
    assert code == 2
    told(err, "Options", "dict")


def test_trying_the_views_changes_nothing(folder, monkeypatch):
    """Weights, statistics and random numbers: with and without dropout the runs are bit-equal to those of a class that isn't checked."""
    source = (VIEWS, "torch.rand(3)\n        " + VIEWS), ("\nfrom", "\nimport torch\nfrom")
    sets = [text for text in TINY if text != "--set"] + [
        f"method.name={NAME}",
        "method.steps=3",
        "network.dropout=0.3",
    ]
    weights = []
    for name in ("checked", "plain"):
        own_method.write(
            folder,
            source[0],
            (
                source[1][0] + " crossview.methods import",
                source[1][1] + " crossview.methods import",
            ),
        )
        method = crossview.methods.plugin.load(NAME)
        if name == "plain":
            monkeypatch.setitem(METHODS, NAME, method.__bases__[1])
        run, _ = crossview.train("demo", None, folder / name, overrides=sets)
        weights.append(
            torch.load(run.path / "checkpoints" / "last.pt", weights_only=True)["weights"]
        )
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


class Generating(Method):
    """Yields two dicts, each with something that can be seen to go."""

    stages = (Stage("train", 1, unlabelled=False),)

    def __init__(self) -> None:
        super().__init__(MethodOptions(name="x"), torch.nn.Identity)
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.gone: list[bool] = []

    def loss(self, batch, stage, step):
        term = self.weight * 2
        there = weakref.ref(term)
        yield {"first": term}
        del term
        gc.collect()
        self.gone.append(there() is None)
        yield {"second": self.weight * 3}

    def views(self, image):
        return {"network": image}


def test_a_generator_is_looked_at_part_by_part_and_lets_go_of_each():
    method = checked(Generating)()
    assert (type(method).__name__, isinstance(method, Generating), isinstance(method, Checked)) == (
        "Generating",
        True,
        True,
    )
    parts = iter(method.loss(None, method.stages[0], 0))
    part = next(parts)
    assert list(part) == ["first"]
    del part
    assert list(next(parts)) == ["second"]
    assert method.gone == [True]


def test_what_is_right_passes_as_it_is():
    method = checked(Generating)()
    assert method.views(IMAGE)["network"] is IMAGE
    assert method.stages == Generating.stages
    with torch.no_grad():
        assert [list(part) for part in method.loss(None, method.stages[0], 0)] == [
            ["first"],
            ["second"],
        ]


def test_shipped_methods_are_not_looked_at():
    assert not any(
        issubclass(method, Checked) for name, method in METHODS.items() if ":" not in name
    )
    with pytest.raises(UserError, match="'views'"):
        checked(type("Empty", (Generating,), {"views": lambda self, image: {}}))().views(IMAGE)
