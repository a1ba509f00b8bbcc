"""Learned steps of quantizers move in proportion to their size, whatever the weights' rate."""

import pytest
import torch

from featherbit import recipes

OVERRIDES = ("model.weight=lsq", "model.weight_bits=3", "optimizer.learning_rate=0.01")


def test_each_learned_step_has_a_rate_in_proportion_and_all_else_keeps_its_own():
    torch.manual_seed(0)
    recipe = recipes.load("digits-mlp", OVERRIDES, smoke=True)
    model = recipe.model.build((8, 8), 10)
    optimizer = recipe.optimizer.build(model)
    steps = {f"{path}.step": module.step for path, module in model.named_modules() if hasattr(module, "step")}
    groups = {group["layer"]: group for group in optimizer.param_groups}
    assert len(steps) == 4
    for path, step in steps.items():
        assert groups[path]["params"] == [step]
        assert groups[path]["lr"] == pytest.approx(0.01 * step.item())
    assert optimizer.param_groups[-1]["lr"] == 0.01
    every = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert {id(parameter) for parameter in every} == {id(parameter) for parameter in model.parameters()}
    assert len(every) == len(list(model.parameters()))


def test_a_step_moves_by_the_learning_rate_relative_to_itself():
    torch.manual_seed(0)
    recipe = recipes.load("digits-mlp", OVERRIDES, smoke=True)
    model = recipe.model.build((8, 8), 10)
    optimizer = recipe.optimizer.build(model)
    step = model.linear2.weight_quantizer.step
    before = step.item()
    step.grad = torch.tensor(123.0)
    optimizer.step()
    assert step.item() == pytest.approx(before * (1 - 0.01), rel=1e-4)  # Adam's first update is its rate


def test_a_model_without_learned_steps_has_the_groups_it_had():
    recipe = recipes.load("digits-mlp", smoke=True)
    layers = [group["layer"] for group in recipe.optimizer.build(recipe.model.build((8, 8), 10)).param_groups]
    assert layers == ["linear1", "linear2", "linear3", "linear4", ""]
