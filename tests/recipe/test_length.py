"""--steps: a recipe over another number of steps."""

import pytest

from crossview.core.errors import UserError
from crossview.recipe.layers import shipped_methods
from crossview.recipe.length import caution, over_steps
from crossview.recipe.resolve import resolve
from crossview.training.optimiser import learning_rate


def shortened(recipe, total, *sets):
    return resolve(recipe, [*sets, *over_steps(recipe, sets, total)])


@pytest.mark.parametrize("method", shipped_methods())
@pytest.mark.parametrize("setting", ["la-8", "acdc-7", "demo"])
def test_every_method_has_the_steps_asked_for(setting, method):
    recipe = shortened(setting, 50, f"method.name={method}")
    assert sum(stage.steps for stage in recipe.stages) == 50


def test_the_schedule_goes_with_the_steps():
    """A tenth of LA: 200 + 1,500 steps, drops after 200 + 250 k."""
    recipe, whole = shortened("la-8", 1700), resolve("la-8")
    assert (recipe.method.pretrain_steps, recipe.method.train_steps) == (200, 1500)
    assert (recipe.training.decay_after, recipe.training.decay_every) == (200, 250)
    for step in range(0, 1700, 50):
        assert learning_rate(recipe.training, step, 1700) == learning_rate(
            whole.training, 10 * step, 17000
        )


def test_steps_between_updates_are_scaled_and_stay_above_zero():
    sets = ["method.name=mean_teacher", "method.variant=released"]
    recipe = shortened("acdc-7", 300, *sets)  # of 30,000
    assert recipe.method.ramp_every == 2  # of 150
    assert recipe.method.consistency_after == 10  # of 1,000
    assert shortened("acdc-7", 30, *sets).method.ramp_every == 1


def test_a_key_that_is_set_keeps_its_value():
    assert shortened("la-8", 1700, "training.decay_every=99").training.decay_every == 99


def test_the_same_number_changes_nothing():
    assert shortened("la-8", 17000) == resolve("la-8")


def test_steps_given_twice_or_too_few():
    with pytest.raises(UserError, match="given twice"):
        over_steps("demo", ["method.train_steps=3"], 100)
    with pytest.raises(UserError, match=r"--steps: cannot divide(?s:.*)1 step for 2 stages"):
        over_steps("demo", [], 1)


def cautioned(setting, total, *overrides):
    short = resolve(setting, [*overrides, *over_steps(setting, overrides, total)])
    return caution(setting, overrides, short)


@pytest.mark.parametrize(
    ("setting", "own", "few", "first"),
    [("demo", "720", 72, "16 steps"), ("la-8", "17,000", 1700, "200 steps")],
)
def test_few_steps_of_a_recipe_whose_labelled_stage_does_not_wait(setting, own, few, first):
    text = cautioned(setting, few)
    assert text.startswith(
        f"{few:,} steps in all are few: this recipe has {own}. Its labelled stage ends"
    )
    assert f"ends after {first}, ready or not" in text
    assert "--set method.ready_dice=0.5 lets that stage run on" in text
    assert text.endswith("Compare with --set method.name=supervised: unlabelled scans may do harm.")


@pytest.mark.parametrize(
    ("few", "override"),
    [(360, "method.name=cml"), (72, "method.ready_dice=0.5"), (72, "method.name=supervised")],
)
def test_no_caution_is_needed(few, override):
    """For half of the steps or more, a stage that waits, and training without unlabelled scans."""
    assert cautioned("demo", few, override) == ""


def test_few_steps_of_a_plan_are_those_of_its_device():
    """Recipe "folder" ships numbers in proportion alone; a plan gives the steps."""
    short = resolve("demo", ["method.name=bcp", *over_steps("demo", ["method.name=bcp"], 700)])
    assert caution("demo", ["method.name=bcp"], short, 1400) == ""
    text = caution("demo", ["method.name=bcp"], short, 1500)
    assert text.startswith("700 steps in all are few: a plan has 1,500.")


def test_a_method_without_a_labelled_stage_is_to_be_compared():
    text = cautioned("demo", 72, "method.name=mean_teacher")
    assert text.startswith("72 steps in all are few: this recipe has 720. Compare with --set")
