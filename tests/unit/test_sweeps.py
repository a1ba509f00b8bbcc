"""Sweep files: cases and grids become validated runs, and what is wrong with a file is said before any run starts."""

import pytest

from featherbit import recipes
from featherbit.errors import RecipeError
from featherbit.recipes import load_sweep, sweep_names

CASES = """
recipe = "digits-mlp"
seeds = [0, 1]
[cases.batch]
[cases.shift]
model.norm = "shift"
epochs = 7
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="some"):
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("smoke", [False, True])
@pytest.mark.parametrize("name", sweep_names())
def test_every_shipped_sweep_loads(name, smoke):
    sweep = load_sweep(name, smoke=smoke)
    assert sweep.name == name
    assert sweep.description
    assert sweep.baseline in sweep.cases
    assert len({run.recipe.model_dump_json() for run in sweep.runs}) == len(sweep.runs)


def test_a_sweep_is_no_recipe():
    assert set(sweep_names()) >= {"mnist-mlp-ablation", "mnist-mlp-rates"}
    assert "mnist-mlp-rates" not in recipes.names()


def test_the_ablations_are_trained_equally_long_on_equal_data():
    runs = load_sweep("mnist-mlp-ablation").runs
    alike = {(run.recipe.epochs, run.recipe.batch_size, run.recipe.data, run.recipe.schedule) for run in runs}
    assert len(alike) == 1


def test_each_case_is_its_recipe_with_its_settings_for_each_seed(write):
    sweep = load_sweep(write(CASES))
    assert (sweep.name, sweep.cases, sweep.baseline) == ("some", ("batch", "shift"), "batch")
    assert [(run.case, run.recipe.seed) for run in sweep.runs] == [
        ("batch", 0),
        ("shift", 0),
        ("batch", 1),
        ("shift", 1),
    ]
    assert sweep.runs[0].recipe == recipes.load("digits-mlp")
    assert sweep.runs[3].recipe == recipes.load("digits-mlp", ["model.norm=shift", "epochs=7", "seed=1"])
    assert sweep.runs[3].changes == {"model.norm": "shift", "epochs": 7}


def test_a_grid_is_every_combination_and_is_named_by_its_values(write):
    text = """
    recipe = "digits-mlp"
    [grid]
    optimizer.learning_rate = [1e-3, 0.5]
    model.input_dropout = [0.0, 0.25, 0.5]
    """
    sweep = load_sweep(write(text))
    assert sweep.cases == (
        "learning_rate=0.001,input_dropout=0",
        "learning_rate=0.001,input_dropout=0.25",
        "learning_rate=0.001,input_dropout=0.5",
        "learning_rate=0.5,input_dropout=0",
        "learning_rate=0.5,input_dropout=0.25",
        "learning_rate=0.5,input_dropout=0.5",
    )
    settings = [(run.recipe.optimizer.learning_rate, run.recipe.model.input_dropout) for run in sweep.runs]
    assert settings == [(1e-3, 0.0), (1e-3, 0.25), (1e-3, 0.5), (0.5, 0.0), (0.5, 0.25), (0.5, 0.5)]
    assert sweep.runs[1].point == {"optimizer.learning_rate": 1e-3, "model.input_dropout": 0.25}


def test_settings_that_end_alike_are_named_whole(write):
    text = 'recipe = "digits-mlp"\n[grid]\nmodel.kind = ["mlp"]\nschedule.kind = ["constant", "cosine"]'
    assert load_sweep(write(text)).cases == (
        "model.kind=mlp,schedule.kind=constant",
        "model.kind=mlp,schedule.kind=cosine",
    )


def test_each_case_is_run_at_each_point_of_a_grid_also_with_another_kind_of_optimizer(write):
    text = """
    recipe = "digits-mlp"
    [cases.adam]
    [cases.shift]
    optimizer.kind = "shift_adamax"
    [grid]
    optimizer.learning_rate = [0.25, 0.5]
    """
    sweep = load_sweep(write(text))
    assert sweep.cases == (
        "adam,learning_rate=0.25",
        "adam,learning_rate=0.5",
        "shift,learning_rate=0.25",
        "shift,learning_rate=0.5",
    )
    optimizers = [run.recipe.optimizer for run in sweep.runs]
    assert [(each.kind, each.learning_rate) for each in optimizers] == [
        ("adam", 0.25),
        ("adam", 0.5),
        ("shift_adamax", 0.25),
        ("shift_adamax", 0.5),
    ]


def test_a_list_is_a_value_of_a_grid(write):
    text = """
    recipe = "cifar10-convnet"
    [grid]
    model.channels = [[4, 8], [8, 8, 16]]
    """
    sweep = load_sweep(write(text))
    assert sweep.cases == ("channels=4-8", "channels=8-8-16")
    assert [run.recipe.model.channels for run in sweep.runs] == [(4, 8), (8, 8, 16)]


def test_overrides_come_last_and_seeds_instead_of_the_files(write):
    sweep = load_sweep(write(CASES), ["epochs=3"], seeds=[5])
    assert [(run.case, run.recipe.epochs, run.recipe.seed) for run in sweep.runs] == [("batch", 3, 5), ("shift", 3, 5)]


def test_smoke_settings_come_before_those_of_the_cases(write):
    path = write(CASES + "[smoke]\nepochs = 1\nbatch_size = 60\n")
    smoke = recipes.load("digits-mlp", smoke=True)
    batch, shift = load_sweep(path, seeds=[0], smoke=True).runs
    assert (batch.recipe.epochs, shift.recipe.epochs) == (1, 7)
    assert (batch.recipe.batch_size, batch.recipe.model.hidden_features) == (60, smoke.model.hidden_features)
    assert load_sweep(path).runs[0].recipe.batch_size == recipes.load("digits-mlp").batch_size


def test_a_sweep_varies_a_recipe_beside_it(write):
    write('extends = "digits-mlp"\nname = "own"\nepochs = 9\n', "own")
    sweep = load_sweep(write('recipe = "own.toml"\n[cases.only]\n'))
    assert (sweep.runs[0].recipe.name, sweep.runs[0].recipe.epochs) == ("own", 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('recipe = "digits-mlp"', r"needs \[cases.NAME\] tables, a \[grid\], or both"),
        ("[cases.a]", "recipe is missing"),
        ('recipe = "digts-mlp"\n[cases.a]', "case a: no recipe 'digts-mlp', did you mean 'digits-mlp'"),
        ('recipe = "digits-mlp"\nseed = 1\n[cases.a]', "unknown key seed, did you mean 'seeds'"),
        ('recipe = "digits-mlp"\nfigure = "last.tset"\n[cases.a]', "figure: .*'last.test'.* got 'last.tset'"),
        ('recipe = "digits-mlp"\nseeds = []\n[cases.a]', r"seeds must be different numbers, at least one, got \[\]"),
        ('recipe = "digits-mlp"\nseeds = [1, 1]\n[cases.a]', r"seeds must be different .* got \[1, 1\]"),
        ('recipe = "digits-mlp"\nseeds = [-1]\n[cases.a]', "seeds.0: .* got -1"),
        (
            'recipe = "digits-mlp"\nbaseline = "b"\n[cases.a]\n[cases.bb]',
            "baseline 'b' is no case, .*; cases are a, bb",
        ),
        ('recipe = "digits-mlp"\n[cases.a]\nepoch = 3', "case a: .*unknown setting epoch, did you mean 'epochs'"),
        ('recipe = "digits-mlp"\n[cases.a]\n[cases.b]\nepochs = 0', "case b: .*epochs: .* got 0"),
        ('recipe = "digits-mlp"\n[cases.a]\nseed = 3', "case a sets seed"),
        ('recipe = "digits-mlp"\n[cases."../a"]', r"letters and digits.* got '\.\./a'"),
        ('recipe = "digits-mlp"\n[cases]\na = 3', "cases.a: .* got 3"),
        ('recipe = "digits-mlp"\n[grid]\nepochs = 3', "grid.epochs must be a list of values, got 3"),
        ('recipe = "digits-mlp"\n[grid]\nepochs = []', r"grid.epochs must be a list of values, got \[\]"),
        ('recipe = "digits-mlp"\n[grid]\nepochs = [1, 1]', "two cases are called epochs=1"),
        ('recipe = "digits-mlp"\n[cases', "cannot be read as TOML"),
    ],
)
def test_a_bad_sweep_file_is_refused_with_what_is_wrong(write, text, message):
    with pytest.raises(RecipeError, match=message):
        load_sweep(write(text))


def test_an_unknown_sweep_is_refused_with_a_hint():
    with pytest.raises(RecipeError, match="no sweep 'mnist-mlp-rate', did you mean 'mnist-mlp-rates'"):
        load_sweep("mnist-mlp-rate")
