"""Recipes: shipped ones load, extends and overrides do what they say, mistakes are refused with a hint."""

import pytest

from featherbit import recipes
from featherbit.errors import RecipeError
from featherbit.train import Recipe

MINIMAL = """
name = "tiny"
batch_size = 10
epochs = 1
[model]
hidden_features = 8
hidden_layers = 1
[data]
kind = "digits"
[optimizer]
learning_rate = 1e-3
[schedule]
final_learning_rate = 1e-4
"""


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        return path

    return write


def test_the_papers_experiments_are_shipped():
    assert set(recipes.names()) >= {"digits-mlp", "mnist-mlp-2048", "mnist-mlp-4096", "cifar10-convnet", "svhn-convnet"}


def test_the_k_bit_variants_differ_from_the_narrow_network_in_their_bits_alone():
    for weight_bits, activation_bits in ((1, 2), (2, 2), (4, 4), (8, 8)):
        recipe = recipes.load(f"cifar10-convnet-narrow-w{weight_bits}a{activation_bits}")
        assert (recipe.model.weight_bits, recipe.model.activation_bits) == (weight_bits, activation_bits)
        one_bit = recipes.load("cifar10-convnet-narrow")
        same = {"activation": "linear", "weight_bits": 1, "activation_bits": 1}
        assert recipe.model.model_copy(update=same) == one_bit.model
        assert (recipe.epochs, recipe.optimizer, recipe.schedule) == (
            one_bit.epochs,
            one_bit.optimizer,
            one_bit.schedule,
        )


@pytest.mark.parametrize("smoke", [False, True])
@pytest.mark.parametrize("name", recipes.names())
def test_every_shipped_recipe_loads_under_its_own_name(name, smoke):
    recipe = recipes.load(name, smoke=smoke)
    assert recipe.name == name
    assert recipe.description
    assert recipe.expected.figure is not None
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_the_papers_network_differs_from_its_parent_in_what_it_names_only():
    small, large = recipes.load("mnist-mlp-2048"), recipes.load("mnist-mlp-4096")
    assert (small.model.hidden_features, large.model.hidden_features) == (2048, 4096)
    assert large.data == small.data


def test_overrides_change_one_setting_each_and_read_toml_values():
    recipe = recipes.load(
        "mnist-mlp-2048",
        ("optimizer.learning_rate=1e-3", "data.path=/some/where", 'schedule.kind="cosine"', "data.download=true"),
    )
    assert recipe.optimizer.learning_rate == 1e-3
    assert (recipe.data.path, recipe.data.download) == ("/some/where", True)
    assert recipe.schedule.kind == "cosine"
    assert recipe.schedule.final_learning_rate == recipes.load("mnist-mlp-2048").schedule.final_learning_rate


def test_the_smoke_table_applies_before_overrides():
    assert recipes.load("digits-mlp", smoke=True).epochs == 2
    assert recipes.load("digits-mlp", ["epochs=1"], smoke=True).epochs == 1


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("optimizer.lerning_rate=1", "unknown setting optimizer.lerning_rate, did you mean 'optimizer.learning_rate'"),
        ("epoch=1", "unknown setting epoch, did you mean 'epochs'"),
        ("data.split_sed=1", "unknown setting data.split_sed, did you mean 'data.split_seed'"),
        ("modell.hidden_layers=1", "unknown setting modell"),
        ("smoke=1", "unknown setting smoke"),
        ("extends=other", "unknown setting extends"),
        ("epochs=0", "epochs: .*greater than or equal to 1, got 0"),
        ("epochs=many", "epochs: .*got 'many'"),
        ("optimizer.learning_rate=-1", r"optimizer\.learning_rate: .*got -1"),
        ("optimizer.learning_rate=nan", r"optimizer\.learning_rate"),
        ("data.kind=mnits", "data: .*mnits"),
        ("model.input_dropout=1.0", r"model\.input_dropout"),
        ("epochs", "an override reads key=value, got 'epochs'"),
        ("=1", "an override reads key=value"),
        ("a..b=1", "an override reads key=value"),
    ],
)
def test_impossible_overrides_are_refused_with_a_hint(override, hint):
    with pytest.raises(RecipeError, match=hint):
        recipes.load("digits-mlp", [override])


def test_an_unknown_recipe_is_refused_with_a_suggestion():
    with pytest.raises(RecipeError, match="no recipe 'digits-mpl', did you mean 'digits-mlp'"):
        recipes.load("digits-mpl")


def test_a_recipe_of_the_users_own_is_loaded_by_path(write):
    assert recipes.load(write("tiny", MINIMAL)).name == "tiny"


def test_a_recipe_may_extend_a_shipped_one_or_one_beside_it(write):
    write("tiny", MINIMAL)
    child = write("child", 'extends = "tiny.toml"\nname = "child"\n[model]\nhidden_layers = 2\n')
    recipe = recipes.load(child)
    assert (recipe.name, recipe.model.hidden_layers, recipe.model.hidden_features) == ("child", 2, 8)
    assert recipes.load(write("shipped", 'extends = "digits-mlp"\nseed = 7\n')).seed == 7


def test_another_kind_of_data_drops_the_settings_of_the_old_kind(write):
    path = write("idx", 'extends = "digits-mlp"\n[data]\nkind = "idx"\npath = "x"\n')
    assert recipes.load(path).data.kind == "idx"
    assert recipes.load(path, ["data.kind=mnist"]).data.path is None


def test_recipes_that_extend_each_other_in_a_circle_are_refused(write):
    write("one", 'extends = "two.toml"\n')
    path = write("two", 'extends = "one.toml"\n')
    with pytest.raises(RecipeError, match="in a circle: two -> one -> two"):
        recipes.load(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name = ", "cannot be read as TOML"),
        ("extends = 3", "extends must be the name"),
        ('extends = "nowhere"', "no recipe 'nowhere'"),
        ('name = "x"', "batch_size is missing"),
        (MINIMAL + "momentum = 1\n", "unknown setting schedule.momentum"),
    ],
)
def test_faulty_recipe_files_are_refused(write, text, reason):
    with pytest.raises(RecipeError, match=reason):
        recipes.load(write("faulty", text))


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        recipes.load("digits-mlp").epochs = 3
