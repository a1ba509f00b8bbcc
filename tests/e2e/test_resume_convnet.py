"""A convolutional run with augmentation, bfloat16 and channels-last memory resumes to the same weights."""

import pytest
import torch

from featherbit import recipes
from featherbit.train import fit, load_model
from featherbit.train._lightning import Classifier
from tiny_cifar import write_cifar


@pytest.fixture
def recipe(tmp_path):
    overrides = ("epochs=3", f"data.path={write_cifar(tmp_path / 'data', images_each=12)}", "seed=4")
    return recipes.load("cifar10-convnet-augmented", overrides, smoke=True)


def weights_of(run_dir):
    return load_model(run_dir).state_dict()


def test_an_interrupted_run_resumes_to_the_same_weights(recipe, tmp_path, monkeypatch):
    assert (recipe.precision, recipe.channels_last, recipe.augmentation.flip) == ("bf16-mixed", True, True)
    fit(recipe, tmp_path / "whole", progress=False)
    start = Classifier.on_train_epoch_start

    def stop_at_the_third(self):
        if self.current_epoch == 2:
            raise RuntimeError("the power failed")
        start(self)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "on_train_epoch_start", stop_at_the_third)
        with pytest.raises(RuntimeError, match="the power failed"):
            fit(recipe, tmp_path / "broken", progress=False)
    torch.manual_seed(99)  # the state of another process
    fit(recipe, tmp_path / "broken", progress=False)
    whole, broken = weights_of(tmp_path / "whole"), weights_of(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_augmentation_changes_training_and_not_evaluation(recipe, tmp_path):
    plain = recipe.model_copy(update={"augmentation": recipe.augmentation.model_copy(update={"flip": False})})
    one, other = fit(recipe, tmp_path / "one", progress=False), fit(plain, tmp_path / "other", progress=False)
    assert not torch.equal(weights_of(tmp_path / "one")["conv2.weight"], weights_of(tmp_path / "other")["conv2.weight"])
    again = fit(recipe.model_copy(update={"epochs": 3}), tmp_path / "again", progress=False)
    assert again.last == one.last  # evaluated without chance
    assert other.last.epoch == 2
