from pathlib import Path

import pytest

from search.engine.schedulers import SCHEDULERS, make_scheduler
from search.halving.rungs import defaults
from search.space import SpaceError, load_space

SPACES = Path(__file__).parents[2] / "spaces"


@pytest.mark.parametrize(
    ("space", "override", "size"),
    [
        ("report", "model.electrodes=8", 11),  # three of thirteen have become equal
        ("report", "model.encoder.transformer.heads=4", 13),
        ("published", "model.norm=bin", 18),
        ("augmentation", "training.augmentation.rotation=0", 7),
        ("augmentation", "training.augmentation.time_mask_ms=50", 8),
        ("augmentation", "training.augmentation.rotation={choice: [0, 1]}", 14),
    ],
)
def test_a_key_below_a_choice_goes_into_every_option(space, override, size):
    assert load_space(SPACES / f"{space}.yaml", overrides=override).size == size


def test_a_choice_of_none_goes_on_offering_none():
    start = "training.aligned_start={choice: [null, {epochs: 3}]}"
    overrides = [start, "training.aligned_start.weight=2"]
    space = load_space(SPACES / "beyond.yaml", overrides=overrides)
    start = space.resolved()["training"]["aligned_start"]
    assert start == {"choice": [None, {"epochs": 3, "weight": 2}]}


@pytest.mark.parametrize(
    ("space", "override", "message"),
    [
        ("deep", "training.learning_rate.log=false", "log: true} stands there and takes no keys"),
        ("deep", "training.learning_rate.float=[1e-4, 1e-3]", "replace it as a whole"),
        ("deep", "model.encoder.order.x=1", "{permutation: [transformer, recurrent, conv]} stands"),
        ("deep", "search.trials.x=3", "64 stands there"),
        ("deep", "model.electrodes={randint: [1, 4]}", "did you mean {int: [LOW, HIGH]}?"),
        ("deep", "training.epochs={chioce: [1, 4]}", "did you mean 'choice'?"),
        ("deep", "training.epochs={between: [1, 4]}", "is no distribution: write a value, or one"),
        ("report", "model.encoder.s4.layers=4", "none of its options has that part"),
        ("report", "search.scheduler.grace=3", "scheduler 'none' has no option 'grace'"),
    ],
)
def test_a_key_that_makes_no_sense_there_is_refused_once(space, override, message):
    with pytest.raises(SpaceError) as caught:
        load_space(SPACES / f"{space}.yaml", overrides=[override])
    [line] = caught.value.mistakes
    assert message in line


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_defaults_of_any_length_are_valid_once_written_out(name, epochs):
    for aligned in (0, 1, 3, 8):
        usual = defaults(epochs, aligned)._asdict()
        options = {k: v for k, v in usual.items() if k in SCHEDULERS[name].options}
        assert make_scheduler(name, max_epochs=epochs, **options) is not None
