"""The badges of a report: in what a run is not what its setting's name says."""

import pytest

import crossview
from crossview.reporting.content import read_content
from crossview.reporting.headline import changed_keys, headline

SMALL = [
    "data.size=16",
    "data.patch=[8,8,8]",
    "data.unlabelled=4",
    "data.test=2",
    "network.levels=2",
    "inference.stride=[8,8,8]",
]


@pytest.fixture
def trained(tmp_path):
    def made(recipe, *sets):
        run, _ = crossview.train(
            recipe, None, tmp_path / "run", overrides=[*sets, "training.device=cpu"], max_steps=1
        )
        return read_content(run.path)

    return made


def test_changed_keys_are_told_by_name_and_many_by_their_number(trained):
    run = trained("demo", *SMALL, "training.seed=5")
    assert set(changed_keys(run)) == {"size", "patch", "unlabelled", "test", "levels"}, (
        "the seed is no change"
    )
    assert ("changed from demo: 5 keys", "warn") in headline(run).badges


def test_another_method_has_its_own_numbers(trained):
    few = [each for each in SMALL if not each.startswith("data.size")]
    run = trained("demo", "method.name=bcp", "training.learning_rate=0.3", *few)
    assert "learning_rate" in changed_keys(run)
    assert "name" not in changed_keys(run)


def test_a_run_as_shipped_has_no_such_badge(trained, monkeypatch):
    run = trained("demo", *SMALL)
    shipped = crossview.Run.open(run.path).recipe
    monkeypatch.setattr("crossview.reporting.headline.resolve", lambda setting, sets: shipped)
    assert changed_keys(run) == []
    assert not any("changed from" in text for text, _ in headline(run).badges)


@pytest.mark.parametrize("ready", [True, False])
def test_a_run_that_used_no_unlabelled_scan_says_so_in_its_headline(make_run, journal, ready):
    rows = [*journal([0.5], [0.7]), {"kind": "readiness", "step": 400, "ready": ready}]
    found = headline(read_content(make_run(journal=rows)))
    assert found.method == ("CML" if ready else "CML (labelled stage only)")
    assert ("20", f"unlabelled scans{'' if ready else ' not used'}") in found.facts


def test_a_recipe_of_the_labelled_stage_says_so_in_its_headline(make_run, journal):
    path = make_run(journal=journal([0.5]))
    recipe = path / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("train_steps = 600", "train_steps = 0"))
    assert headline(read_content(path)).method == "CML (labelled stage only)"
