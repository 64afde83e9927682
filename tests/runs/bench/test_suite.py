"""Suites as files: what is refused, and that the shipped ones keep to their protocol."""

from pathlib import Path

import pytest

from crossview.core.errors import UserError
from crossview.recipe.layers import shipped_methods
from crossview.recipe.resolve import resolve
from crossview.runs.bench.checks import check_recipes
from crossview.runs.bench.runs import Selection
from crossview.runs.bench.suite import load_suite, parse_suite, shipped_suites, slug

TABLES = {
    "name": "own",
    "about": "Two methods.",
    "protocol": "equal",
    "baseline": "supervised",
    "seeds": [1],
    "total_steps": 100,
    "settings": [{"name": "demo", "recipe": "demo"}],
    "methods": [{"label": "supervised", "name": "supervised"}, {"label": "cml", "name": "cml"}],
}


def of(**changes):
    return parse_suite(
        {key: value for key, value in (TABLES | changes).items() if value is not None}
    )


@pytest.mark.parametrize("name", shipped_suites())
def test_the_shipped_suites_hold_and_keep_to_their_protocol(name):
    suite = load_suite(name)
    assert (suite.name, suite.protocol) == (name, "equal")
    runs = Selection(suite, Path("out")).runs
    check_recipes(runs)
    for run in runs[: len(suite.methods)]:
        assert sum(stage.steps for stage in run.recipe.stages) == suite.total_steps


@pytest.mark.parametrize("name", sorted(set(shipped_suites()) - {"demo"}))
def test_the_shipped_suites_have_every_method_and_both_baselines(name):
    suite = load_suite(name)
    assert {row.name for row in suite.methods} == set(shipped_methods())
    assert {"supervised", "cml labelled only"} <= {row.label for row in suite.methods}
    assert [row.label for row in suite.methods if row.reference] == ["supervised all labels"]


def test_runs_have_seeds_outermost_then_settings_then_rows():
    settings = [{"name": "A b", "recipe": "demo"}, {"name": "two", "recipe": "demo"}]
    rows = [TABLES["methods"][0], {"label": "cml (own)", "name": "cml", "settings": ["two"]}]
    runs = Selection(of(seeds=[3, 1], settings=settings, methods=rows), Path("out")).runs
    assert [str(run.path) for run in runs] == [
        f"out/{folder}-seed{seed}"
        for seed in (3, 1)
        for folder in ("A-b/supervised", "two/supervised", "two/cml-own")
    ]


def test_later_texts_win_and_the_steps_are_the_suites():
    settings = [
        {
            "name": "demo",
            "recipe": "demo",
            "set": ["training.momentum=0.2", "training.weight_decay=0.2"],
        }
    ]
    rows = [
        TABLES["methods"][0],
        {
            "label": "cml",
            "name": "cml",
            "set": ["training.weight_decay=0.3", "method.pretrain_steps=30"],
        },
    ]
    common = ["training.momentum=0.1", "training.weight_decay=0.1", "training.learning_rate=0.1"]
    _, run = Selection(of(common=common, settings=settings, methods=rows), Path("out")).runs
    recipe = run.recipe
    assert (
        recipe.training.learning_rate,
        recipe.training.momentum,
        recipe.training.weight_decay,
    ) == (0.1, 0.2, 0.3)
    assert (recipe.training.seed, recipe.method.pretrain_steps, recipe.method.train_steps) == (
        1,
        5,
        95,
    )


def test_published_leaves_each_method_its_own_steps():
    suite = of(protocol="published", total_steps=None)
    check_recipes(Selection(suite, Path("out")).runs)
    assert [
        sum(stage.steps for stage in run.recipe.stages)
        for run in Selection(suite, Path("out")).runs
    ] == [720, 720]


def test_equal_rows_are_equal_but_for_what_they_say():
    def check(*sets, common=()):
        rows = [TABLES["methods"][0], {"label": "cml", "name": "cml", "set": list(sets)}]
        check_recipes(Selection(of(methods=rows, common=list(common)), Path("out")).runs)

    check()
    check("training.learning_rate=0.2")  # says so
    check(common=["training.unlabelled_batch=8"])  # of no use to supervised


def test_methods_whose_published_schedules_differ_must_be_given_one():
    la = {"settings": [{"name": "la", "recipe": "la-8"}]}
    rows = [{"label": name, "name": name} for name in ("supervised", "ua_mt")]
    with pytest.raises(UserError) as error:
        check_recipes(Selection(of(**la, methods=rows), Path("out")).runs)
    for key in ("training.labelled_batch", "training.schedule"):
        assert f"rows differ in '{key}'" in str(error.value)
    common = ["training.labelled_batch=4", "training.schedule=polynomial", "training.decay_after=0"]
    check_recipes(Selection(of(**la, methods=rows, common=common), Path("out")).runs)


def test_what_is_left_to_a_plan_is_refused():
    with pytest.raises(
        UserError,
        match=r"leaves keys to be planned(?s:.*)data\.patch(?s:.*)crossview recipe folder",
    ):
        check_recipes(
            Selection(of(settings=[{"name": "own", "recipe": "folder"}]), Path("out")).runs
        )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sedes": [1]}, "did you mean seeds"),
        ({"methods": [{"label": "cml", "name": "cml", "sett": []}]}, "did you mean set"),
        ({"settings": [{"name": "demo"}]}, "'recipe' is missing"),
        ({"settings": {"name": "demo"}}, "not a list of tables"),
        ({"methods": []}, "'methods' has a wrong value"),
        ({"protocol": "fair"}, "'equal' or 'published'"),
        ({"protocol": "published"}, "does not fit the protocol"),
        ({"total_steps": None}, "does not fit the protocol"),
        ({"baseline": "supervized"}, "did you mean supervised"),
        ({"seeds": [1, 1]}, "more than once"),
        ({"seeds": [-1]}, "seeds"),
        ({"methods": [{"label": "supervised, all", "name": "supervised"}]}, "label"),
        (
            {"methods": [*TABLES["methods"], {"label": "CML", "name": "cml"}]},
            "labels name the same folder, or none",
        ),
        (
            {"methods": [*TABLES["methods"], {"label": "c", "name": "cml", "settings": ["dmo"]}]},
            "did you mean demo",
        ),
        ({"common": ["training.seed=4"]}, "use the suite's 'seeds'"),
        ({"common": ["method.name=cml"]}, "use the row's 'name'"),
        ({"common": ["momentum"]}, "TABLE.KEY=VALUE"),
    ],
)
def test_mistakes_are_told(changes, told):
    with pytest.raises(UserError) as error:
        of(**changes)
    assert told in str(error.value)


def test_all_mistakes_at_once():
    with pytest.raises(UserError) as error:
        of(sedes=[1], settings=[{"nam": "demo", "recipe": "demo"}], methods=[{"label": "cml"}])
    assert len(error.value.problems) == 4


def test_a_planned_recipe_leaves_nothing_open_and_its_batch_is_every_rows(tmp_path):
    """As `recipe folder --data DATA` prints it; a row's method would else bring its own batch."""
    planned = [
        "data.patch=[32,32,32]",
        "data.classes=2",
        "data.augmentation=none",
        "data.spacing=[1.0,1.0,1.0]",
        "network.name=vnet",
    ]
    planned += [
        "network.levels=3",
        "inference.stride=[16,16,16]",
        "training.labelled_batch=2",
        "training.unlabelled_batch=2",
    ]
    (tmp_path / "plan.toml").write_text(resolve("folder", planned).toml())
    settings = [{"name": "mine", "recipe": str(tmp_path / "plan.toml")}]
    runs = Selection(of(settings=settings), Path("out")).runs
    check_recipes(runs)
    assert [
        (run.recipe.training.labelled_batch, run.recipe.training.unlabelled_batch) for run in runs
    ] == [(2, 2)] * 2
    (other, _) = Selection(
        of(settings=settings, common=["training.labelled_batch=6"]), Path("out")
    ).runs
    assert other.recipe.training.labelled_batch == 6


def test_files(tmp_path):
    with pytest.raises(UserError, match="did you mean phantom"):
        load_suite("phantm")
    with pytest.raises(UserError, match=r"own\.toml"):
        load_suite(tmp_path / "own.toml")
    (tmp_path / "own.toml").write_text("name = ")
    with pytest.raises(UserError, match="not a TOML file"):
        load_suite(tmp_path / "own.toml")


def test_a_recipe_file_lies_beside_the_suite(tmp_path):
    import tomli_w

    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "mine.toml").write_text('setting = "demo"\n[data]\nunlabelled = 12\n')
    (tmp_path / "suites" / "own.toml").write_text(
        tomli_w.dumps(TABLES | {"settings": [{"name": "mine", "recipe": "mine.toml"}]})
    )
    run = Selection(load_suite(tmp_path / "suites" / "own.toml"), tmp_path).runs[0]
    assert run.recipe.data.unlabelled == 12


def test_slugs_are_names_of_folders():
    assert [slug(label) for label in ("cml labelled only", "UA-MT (ours)", "../up", "a/b")] == [
        "cml-labelled-only",
        "UA-MT-ours",
        "up",
        "a-b",
    ]
