"""The learning rate of a training, held to its formulas."""

import math
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from emgmodels.config import Config, TrainingConfig, load_config
from emgmodels.training.learning_rate import learning_rate
from emgmodels.training.state import Training

STEPS = 7
"""Steps an epoch."""


def rates(**settings):
    """Return the learning rate of each step."""
    training = TrainingConfig(**{"learning_rate": 1e-3, **settings})
    return [
        learning_rate(training, 1 + step // STEPS, step, STEPS)
        for step in range(training.epochs * STEPS)
    ]


def by_epoch(**settings):
    """Return the learning rate of each epoch, which is that of all of its steps."""
    found = rates(schedule_by="epoch", **settings)
    epochs = [found[low : low + STEPS] for low in range(0, len(found), STEPS)]
    assert all(len(set(epoch)) == 1 for epoch in epochs)
    return [epoch[0] for epoch in epochs]


def cosine(share, peak=1e-3, final=0.0):
    return final + (peak - final) * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize(("recipe", "epochs"), [("emg2qwerty", 150), ("report", 50)])
def test_the_published_schedule_epoch_by_epoch(recipe, epochs):
    """Linear from 1e-8 to 1e-3 in epochs 1 to 10, then a cosine to 1e-6 at the last."""
    found = by_epoch(recipe=recipe)
    rising = [1e-8 + (1e-3 - 1e-8) * (epoch - 1) / 9 for epoch in range(1, 11)]
    falling = [cosine((epoch - 10) / (epochs - 10), final=1e-6) for epoch in range(11, epochs + 1)]
    assert found == pytest.approx([*rising, *falling], rel=1e-9)
    assert (found[0], found[9], found[-1]) == pytest.approx((1e-8, 1e-3, 1e-6))


def test_what_was_the_schedule_is_still_the_default():
    found = rates(epochs=10, warmup_steps=20)
    total = 10 * STEPS
    expected = [
        1e-3 * (step + 1) / 20 if step < 20 else cosine((step - 20) / (total - 20))
        for step in range(total)
    ]
    assert found == pytest.approx(expected, rel=1e-12)
    assert max(rates(epochs=2, warmup_steps=1000)) == 1e-3, "a warm-up takes half of all at most"


@pytest.mark.parametrize("by", ["step", "epoch"])
@pytest.mark.parametrize(
    "schedule", ["cosine", "one_cycle", "constant", "step", "warmup_stable_decay"]
)
def test_every_schedule_begins_peaks_and_ends_where_it_is_told(schedule, by):
    settings = {"schedule": schedule, "epochs": 20, "warmup_epochs": 4}
    ends = {"start_learning_rate": 1e-5, "final_learning_rate": 1e-4}
    found = rates(schedule_by=by, **settings, **ends)
    units = found[:: STEPS if by == "epoch" else 1]
    warmup = 4 if by == "epoch" else 4 * STEPS
    assert units[0] == pytest.approx(1e-5)
    assert units[warmup - 1] == max(units) == pytest.approx(1e-3)
    assert all(a < b for a, b in pairwise(units[:warmup]))
    falling = units[warmup - 1 :]
    assert all(a >= b for a, b in pairwise(falling))
    assert units[-1] == pytest.approx(1e-3 if schedule == "constant" else 1e-4)


def test_one_cycle_rises_along_a_cosine():
    found = by_epoch(schedule="one_cycle", epochs=10, warmup_epochs=5, start_learning_rate=1e-4)
    rising = [cosine(1 - epoch / 4, final=1e-4) for epoch in range(5)]
    assert found[:5] == pytest.approx(rising)
    assert found[5:] == pytest.approx([cosine(epoch / 5) for epoch in range(5)])


def test_step_and_stable_decay_by_their_formulas():
    found = by_epoch(schedule="step", epochs=8, warmup_steps=0)
    assert found == pytest.approx([1e-3] * 4 + [1e-4] * 2 + [1e-5] * 2)
    floor = by_epoch(schedule="step", epochs=8, warmup_steps=0, final_learning_rate=5e-5)
    assert floor == pytest.approx([1e-3] * 4 + [1e-4] * 2 + [5e-5] * 2)
    found = by_epoch(schedule="warmup_stable_decay", epochs=20, warmup_epochs=2)
    assert found == pytest.approx([5e-4, 1e-3] + [1e-3] * 15 + [7.5e-4, 5e-4, 2.5e-4], rel=1e-9)


def test_no_step_but_an_asked_for_one_is_wasted_at_a_rate_of_zero():
    for schedule in ("cosine", "one_cycle", "step", "warmup_stable_decay"):
        for by in ("step", "epoch"):
            assert min(rates(schedule=schedule, schedule_by=by, epochs=6, warmup_steps=3)) > 0


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"warmup_steps": 5, "warmup_epochs": 3}, "warmup_steps 5 and warmup_epochs 3 are two"),
        ({"epochs": 5, "warmup_epochs": 6}, "more than the training's 5: take at most 5"),
        ({"warmup_epochs": 60}, "more than the training's 50"),
        ({"recipe": "emg2qwerty", "epochs": 9}, "10 epochs of warm-up are more than"),
        ({"start_learning_rate": 0.1}, "start_learning_rate: 0.1 is above the peak"),
        ({"learning_rate": 1e-4, "final_learning_rate": 1e-3}, "final_learning_rate: 0.001"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(training, message):
    with pytest.raises(ValidationError, match=message):
        Config.model_validate({"training": training})


def test_a_warm_up_in_epochs_takes_the_place_of_one_in_steps():
    training = TrainingConfig(warmup_epochs=3)
    assert training.warmup_steps is None
    assert TrainingConfig.model_validate_json(training.model_dump_json()) == training
    assert TrainingConfig(warmup_epochs=None, warmup_steps=4).warmup_steps == 4


def test_the_published_settings_are_these():
    """emg2qwerty's configuration, value by value."""
    published = {
        "epochs": 150,
        "batch_size": 32,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "schedule_by": "epoch",
        "warmup_steps": None,
        "warmup_epochs": 10,
        "start_learning_rate": 1e-8,
        "final_learning_rate": 1e-6,
        "weight_decay": 0.0,
        "gradient_clip": None,
        "window_seconds": 4.0,
        "past_seconds": 0.9,
        "future_seconds": 0.1,
        "aligned_start": None,
    }
    augmentation = {
        "rotation": 1,
        "band_jitter_ms": 60.0,
        "time_masks": 3,
        "time_mask_ms": 200.0,
        "frequency_masks": 2,
        "frequency_mask_bins": 4,
        "mask_scope": "electrode",
        "mask_fill": "zero",
        "window_jitter": True,
        "random_crop": 1.0,
    }
    for recipe, epochs in (("emg2qwerty", 150), ("report", 50)):
        training = TrainingConfig(recipe=recipe).model_dump()
        assert {key: training[key] for key in published} == {**published, "epochs": epochs}
        found = {key: training["augmentation"][key] for key in augmentation}
        assert found == augmentation


def test_single_keys_override_a_recipe_and_files_hold_plain_keys(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "training: {recipe: emg2qwerty, epochs: 30, warmup_steps: 500, augmentation: {rotation: 0}}"
    )
    config = load_config(path)
    training, whole = config.training, TrainingConfig(recipe="emg2qwerty")
    assert (training.epochs, training.warmup_steps, training.warmup_epochs) == (30, 500, None)
    assert training.augmentation == whole.augmentation.model_copy(update={"rotation": 0})
    assert training.final_learning_rate == 1e-6
    assert "recipe" not in config.model_dump_json()
    path.write_text("training: {recipe: emg2qwert}")
    with pytest.raises(ValueError, match=r"training\.recipe: Input should be 'emg2qwerty'"):
        load_config(path)


def test_gradients_are_clipped_only_where_asked(monkeypatch):
    """The recipe's steps are taken with gradients as they are."""
    clipped = []
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *words: clipped.append(words[1]))
    for training in ({"recipe": "report"}, {"gradient_clip": None}, {"gradient_clip": 0.5}):
        model = {"mlp_features": 4, "encoder": {"order": ["conv"], "conv": {"channels": 1}}}
        run = Training(
            Config.model_validate({"model": model, "training": training}), torch.device("cpu")
        )
        for weight in run.trained:
            weight.grad = torch.ones_like(weight)
        run.update()
    assert clipped == [0.5]
