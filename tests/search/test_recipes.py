"""Recipes of training in space files, and in the spaces that are shipped."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.spaces import mistakes, samples

from emgmodels.config import TrainingConfig
from emgmodels.notation import notation
from search.space import SpaceError, load_space
from search.space.draws import RandomDraw

SPACES = Path(__file__).parents[2] / "spaces"
REPORT = ("baseline", "report", "cnn_transformer", "bilstm_cnn", "gru_cnn", "gpt2", "electrodes")
PUBLISHED = TrainingConfig(recipe="report")


def first(space):
    return next(config for config, _ in samples(space, 1))


@pytest.mark.parametrize("name", REPORT)
def test_the_reports_spaces_train_by_its_recipe_on_real_data(name):
    for config, params in samples(load_space(SPACES / f"{name}.yaml"), 5):
        rate = config.training.learning_rate
        assert config.training == PUBLISHED.model_copy(update={"learning_rate": rate})
        assert rate == 1e-3 or "training.learning_rate" in params
    demo = first(load_space(SPACES / f"{name}.yaml", demo=True)).training
    assert (demo.schedule_by, demo.gradient_clip, demo.start_learning_rate) == ("step", 1.0, None)
    assert demo.augmentation.mask_scope == "window"


def test_augmentations_are_left_out_of_the_published_recipe_one_by_one():
    found = [c.training for c in load_space(SPACES / "augmentation.yaml").grid()]
    assert found[0] == PUBLISHED
    assert {t.augmentation.mask_scope for t in found} == {"electrode"}
    assert [t.augmentation.rotation for t in found].count(0) == 2


def test_keys_beside_a_recipe_and_below_a_choice_win(space_of):
    space = space_of(
        "training: {recipe: emg2qwerty, batch_size: {choice: [16, 32]}, warmup_steps: 9,"
        " augmentation: {choice: [{time_masks: 0}, {mask_fill: mean}]}}"
    )
    found = [config.training for config in space.grid()]
    assert [t.batch_size for t in found] == [16, 16, 32, 32]
    assert {(t.epochs, t.warmup_steps, t.warmup_epochs) for t in found} == {(150, 9, None)}
    kinds = {(a.time_masks, a.mask_fill, a.mask_scope) for a in (t.augmentation for t in found)}
    assert kinds == {(0, "zero", "electrode"), (3, "mean", "electrode")}
    assert "recipe" not in space.resolved()["training"]
    for config in space.grid():
        assert space.params_of(config)["training.batch_size"] == config.training.batch_size


def test_a_recipe_wins_over_what_it_extends_and_gives_way_to_what_comes_later(space_of, tmp_path):
    (tmp_path / "base.yaml").write_text(
        "training: {epochs: 7, warmup_steps: 3, compile: true, aligned_start: {epochs: 2}}"
    )
    text = "{extends: base.yaml, training: {recipe: report}, demo: {training: {warmup_steps: 20}}}"
    assert first(space_of(text)).training == PUBLISHED.model_copy(update={"compile": True})
    demo = first(space_of(text, demo=True)).training
    assert (demo.warmup_steps, demo.warmup_epochs) == (20, None)
    for overrides in (
        ["training.recipe=emg2qwerty", "training.epochs=70"],
        ["training.epochs=70", "training.recipe=emg2qwerty"],
    ):
        assert first(space_of(text, overrides=overrides)).training.epochs == 70


def test_recipes_to_choose_from_are_whole_sections(space_of):
    space = space_of("training: {choice: [{recipe: report}, {epochs: 50, recipe: null}]}")
    assert [c.training for c in space.grid()] == [PUBLISHED, TrainingConfig()]
    [line] = mistakes(space_of, "training: {recipe: {choice: [report, emg2qwerty]}}")
    assert "training: {choice: [{recipe: emg2qwerty}, {...}]}" in line
    [line] = mistakes(space_of, "training: {recipe: reports}")
    assert "training.recipe: reports is not allowed: must be 'emg2qwerty' or 'report'" in line


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ("{warmup_epochs: 9, epochs: 8}", "more than the training's 8: take at most 8"),
        ("{warmup_steps: 9, warmup_epochs: 8}", "two warm-ups: leave one of them out"),
        ("{recipe: report, epochs: {choice: [4, 6]}}", "10 epochs of warm-up are more than"),
        ("{epochs: 5, average: {last_epochs: 6}}", "average.last_epochs: 6 are more than"),
        ("{average: {ema: 0.9, last_epochs: 6}}", "two averages"),
        ("{average: {}}", "says not how"),
        ("{intermediate_ctc: {after: [gru]}}", "'gru' is not among the stages of the encoder"),
        ("{intermediate_ctc: {weight: 0.1}}", "names no stage: name one of the order"),
    ],
)
def test_what_contradicts_itself_in_every_training_is_refused_at_once(space_of, training, message):
    assert all(message in line for line in mistakes(space_of, f"training: {training}"))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ("{epochs: 8, average: {last_epochs: {int: [9, 60]}}}", "take at most 8, or more epochs"),
        ("{epochs: 4, warmup_epochs: {int: [5, 9]}, batch_size: {int: [4, 32]}}", "at most 4"),
        ("{warmup_steps: {int: [50, 900]}, warmup_epochs: {int: [1, 5]}}", "two warm-ups"),
    ],
)
def test_one_of_many_trainings_is_the_example_of_a_contradiction(space_of, training, message):
    [line] = mistakes(space_of, f"training: {training}")
    assert message in line


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ("{epochs: 8, average: {last_epochs: {int: [6, 40]}}}",
         "average.last_epochs: 9, 10, 11 and 29 more: nothing with it can be built: training: "
         "average.last_epochs: 9 are more than the training's 8: take at most 8"),
        ("{epochs: 8, average: {choice: [null, {last_epochs: 9}]}}", "take at most 8"),
        ("{epochs: 12, warmup_epochs: {choice: [2, 30]}}", "30: nothing with it can be built"),
        ("{epochs: {choice: [4, 20]}, warmup_epochs: 10}", "training.epochs: 4: nothing with it"),
        ("{choice: [{warmup_steps: 9, warmup_epochs: 2}, {epochs: 3}]}", "two warm-ups"),
        ("{unshare: {choice: [false, true]}}", "name one with start_from, or leave unshare out"),
    ],
)  # fmt: skip
def test_values_that_no_training_can_have_are_refused_in_one_line(space_of, training, message):
    space = space_of(f"{{training: {training}, model: {{share_bands: mlp}}}}")
    with pytest.raises(SpaceError) as caught:
        space.check()
    [line] = caught.value.mistakes
    assert message in line


def test_another_way_to_average_takes_the_place_of_the_one_there_was(space_of):
    text = "training: {average: {ema: 0.9}}"
    average = first(space_of(text, overrides=["training.average.last_epochs=5"])).training.average
    assert (average.ema, average.last_epochs) == (None, 5)


def test_what_contradicts_a_default_alone_is_no_mistake(space_of):
    space = space_of("training: {epochs: 90, warmup_epochs: 60, start_learning_rate: 0.01,"
                     " learning_rate: 0.02}")  # fmt: skip
    assert first(space).training.warmup_epochs == 60


def test_all_of_it_can_be_searched(space_of):
    space = space_of(
        "{training: {epochs: 20, schedule: {choice: [cosine, one_cycle, constant, step]},"
        " schedule_by: {choice: [step, epoch]}, warmup_epochs: {int: [1, 5]},"
        " start_learning_rate: {choice: [null, 1.0e-8]},"
        " final_learning_rate: {float: [1.0e-7, 1.0e-5], log: true},"
        " augmentation: {mask_scope: {choice: [window, band, electrode]},"
        " mask_fill: {choice: [mean, zero]}},"
        " average: {choice: [null, {ema: {choice: [0.99, 0.999]}}, {last_epochs: {int: [2, 9]}}]},"
        " intermediate_ctc: {choice: [null, {after: {choice: [[conv], [recurrent, conv]]}}]}},"
        " model: {encoder: {order: [recurrent, conv]}}}"
    )
    assert space_of(yaml.safe_dump(space.resolved())) == space
    for config, params in samples(space, 20):
        assert space.params_of(config) == params


def test_public_systems_bring_their_own_training():
    """What is known of each, and emg2qwerty's settings where nothing is."""
    space = load_space(SPACES / "published.yaml")
    found = {notation(c.model): c.training for c in space.grid()}
    assert len(found) == space.size == 18
    assert found["lstm:2(hidden=384) @16ch"] == PUBLISHED
    slow = found["conv:4 gru:3(hidden=384) @16ch"]
    assert slow == PUBLISHED.model_copy(update={"batch_size": 16, "learning_rate": 3e-4})
    assert {t.epochs for t in found.values()} == {50, 100, 250}
    assert space.epochs == 250
    assert [t.optimizer for t in found.values()].count("adamw") == 1
    assert [t.window_seconds for t in found.values()].count(16.0) == 1
    assert [t.augmentation.time_masks for t in found.values()].count(1) == 6
    demo = load_space(SPACES / "published.yaml", demo=True)
    assert (demo.size, demo.epochs, demo.together) == (9, 12, None)


CONFIGURATIONS = """
model:
  choice:
    - "gru:1(hidden=8)"
    - {model: "gru:1(hidden=8)", training: {recipe: report, batch_size: {choice: [4, 8]}}}
    - {model: {encoder: {order: [conv]}}, training: {warmup_epochs: 2}}
training: {epochs: 9, warmup_steps: 5, optimizer: adamw}
search: {scheduler: none}
demo: {training: {batch_size: 3}}
"""


def test_options_among_architectures_may_be_whole_configurations(space_of):
    space = space_of(CONFIGURATIONS)
    found = [c.training for c in space.grid()]
    assert [(t.epochs, t.batch_size, t.optimizer) for t in found] == [
        (9, 32, "adamw"),
        (50, 4, "adam"),
        (50, 8, "adam"),
        (9, 32, "adamw"),
    ]
    assert [t.warmup_epochs for t in found] == [None, 10, 10, 2]
    assert space.size == 4
    assert space.epochs == 50
    again = space_of(yaml.safe_dump(space.resolved()))
    assert again == space
    assert list(again.grid()) == list(space.grid())
    for params, config in space.grid_points():
        assert space.params_of(config) == params
        assert again.suggest(RandomDraw(np.random.default_rng(0), params)) == config
    assert "training.batch_size" in space.parameters()
    with pytest.raises(ValueError, match=r"training\.epochs varies"):
        _ = space_of(CONFIGURATIONS.replace("none", "asha")).epochs


def test_later_keys_win_over_an_architectures_own_training(space_of):
    demo = space_of(CONFIGURATIONS, demo=True, overrides=["training.epochs=12"])
    assert {(t.batch_size, t.epochs) for t in (c.training for c in demo.grid())} == {(3, 12)}
    narrow = space_of(CONFIGURATIONS, overrides=["model.electrodes=4"])
    assert [c.model.electrodes for c in narrow.grid()] == [4] * 4
    assert [c.training for c in narrow.grid()] == [
        c.training for c in space_of(CONFIGURATIONS).grid()
    ]
    other = space_of(CONFIGURATIONS, overrides=["model={choice: [gru:1, gru:2]}"])
    assert {c.training.epochs for c in other.grid()} == {9}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("{choice: [{model: 'gru:1', trainings: {}}]}", "choice[0].trainings: unknown key"),
        ("{choice: [{model: 'gru:1', training: {epochs: 0}}]}", "choice[0].training.epochs: 0"),
        ("{choice: [{model: 'gro:1', training: {}}]}", "choice[0].model: "),
        ("{choice: [{training: 5}]}", "choice[0].training: 5 is not allowed: must be a mapping"),
        ("{choice: [{training: {recipe: x}}]}", "choice[0].training.recipe: x is not allowed"),
        ("{model: 'gru:1', training: {}}", "is an option of model: {choice: [...]}"),
        (
            "{choice: [{model: 'gru:1', training: {epochs: 3, warmup_epochs: 5}}]}",
            "more than the training's 3",
        ),
    ],
)
def test_a_mistake_in_a_whole_configuration_names_its_place(space_of, model, message):
    assert any(message in line for line in mistakes(space_of, f"model: {model}"))


def test_trainings_of_different_lengths_are_forecast_by_their_mean(space_of):
    space = space_of(CONFIGURATIONS)
    assert space.mean_epochs == (9 + 50 + 50 + 9) / 4
    assert space_of("training: {epochs: 7}").mean_epochs == 7


CLIPPED = "training: {recipe: report, aligned_start: {epochs: 4, weight: 3}}"


@pytest.mark.parametrize(
    ("text", "overrides", "clip"),
    [
        (CLIPPED, (), 1.0),
        ("training: {recipe: report}", ("training.aligned_start={epochs: 2}",), 1.0),
        ("training: {recipe: report}", ("training.aligned_start.epochs=2",), 1.0),
        (CLIPPED, ("training.aligned_start=null", "training.gradient_clip=null"), None),
        (CLIPPED, ("training.gradient_clip=0.1",), 0.1),
        (CLIPPED, ("training.gradient_clip=null",), None),
        ("{training: {gradient_clip: 0.1}}", ("training.aligned_start={}",), 0.1),
        ("{training: {recipe: report}, demo: {training: {aligned_start: {}}}}", (), 1.0),
        ("training: {recipe: report, gradient_clip: null, aligned_start: {}}", (), None),
        ("training: {recipe: report, aligned_start: null}", (), None),
        ('{model: {choice: ["gru:1", {model: "gru:2", training: {aligned_start: {epochs: 2}}}]},'
         " training: {choice: [{recipe: report}]}}", (), {None, 1.0}),
    ],
)  # fmt: skip
def test_where_a_recipe_meets_an_aligned_start_gradients_are_clipped(
    space_of, text, overrides, clip
):
    """A recipe has no clipping, and an aligned start fails without it."""
    space = space_of(text, demo="demo" in text, overrides=list(overrides))
    found = {c.training.gradient_clip for c, _ in samples(space, 6)}
    assert found == (clip if isinstance(clip, set) else {clip})


def test_a_configuration_of_a_recipe_with_an_aligned_start_is_clipped_too():
    given = {"recipe": "emg2qwerty", "aligned_start": {"epochs": 2}}
    assert TrainingConfig(**given).gradient_clip == 1.0
    assert TrainingConfig(**given, gradient_clip=None).gradient_clip is None
    assert TrainingConfig(recipe="emg2qwerty").gradient_clip is None


@pytest.mark.parametrize("name", ["deep", "beyond"])
def test_spaces_that_look_for_the_best_start_aligned_on_data(name):
    for config, _ in samples(load_space(SPACES / f"{name}.yaml"), 8):
        start = config.training.aligned_start
        assert (start.epochs, start.weight, start.key_lag_ms) == (4, 3, "auto")
        assert config.training.gradient_clip in (1.0, 0.1)
        assert config.training.schedule == "warmup_stable_decay"
    demo = first(load_space(SPACES / f"{name}.yaml", demo=True)).training
    assert (demo.aligned_start, demo.schedule) == (start, "cosine")
