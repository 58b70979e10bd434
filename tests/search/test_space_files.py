"""How space files are read: numbers, durations, other files, the demo, overrides."""

from pathlib import Path

import pytest
from helpers.spaces import mistakes

from search.space import SpaceError, load_space
from search.space.settings import seconds


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "gone.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpaceError, match=r"gone\.yaml: "):
        load_space(path)


def test_aliases_cannot_blow_a_file_up(space_of):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 12)]
    assert "more than" in mistakes(space_of, "\n".join(lines))[0]


# Files


def test_numbers_are_read_as_people_write_them(space_of):
    space = space_of(
        "{training: {learning_rate: 1e-4, weight_decay: 5E-2, gradient_clip: 1.},"
        " constraints: {max_parameters: 40_000_000}}"
    )
    config = next(space.grid())
    assert config.training.learning_rate == 1e-4
    assert config.training.weight_decay == 0.05
    assert space.constraints.max_parameters == 40_000_000


@pytest.mark.parametrize(
    ("written", "expected"),
    [("90", 90), ("8m", 480), ("1h30m", 5400), ("2d", 172800), ("1.5s", 1.5), ("null", None)],
)
def test_durations(space_of, written, expected):
    assert space_of(f"search: {{time_budget: {written}}}").search.time_budget == expected


def test_a_duration_is_not_guessed():
    with pytest.raises(ValueError, match="a duration such as"):
        seconds("1:30")


def test_extends_takes_keys_as_defaults_and_distributions_whole(space_of, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "base.yaml").write_text(
        "{name: base, model: {electrodes: {int: [1, 16]}, mlp_features: {int: [16, 32], step: 8},"
        " encoder: {conv: {layers: 2}}}, training: {epochs: 9}}"
    )
    space = space_of(
        "{extends: shared/base.yaml, model: {electrodes: {choice: [4, 8]}, mlp_features: 24,"
        " encoder: {conv: {kernel: 5}}}}"
    )
    assert space.name == "space"
    assert space.resolved()["model"] == {
        "electrodes": {"choice": [4, 8]},
        "mlp_features": 24,
        "encoder": {"conv": {"layers": 2, "kernel": 5}},
    }
    assert next(space.grid()).training.epochs == 9


def test_a_mistake_in_an_extended_file_names_that_file(space_of, tmp_path):
    (tmp_path / "base.yaml").write_text("training: {epochs: 0}")
    lines = mistakes(space_of, "{extends: base.yaml, training: {batch_size: 0}}")
    assert [Path(line.split(": ")[0]).name for line in lines] == ["base.yaml", "space.yaml"]


@pytest.mark.parametrize(
    ("extends", "expected"),
    [
        ("space.yaml", "circle: space.yaml -> space.yaml"),
        ("/etc/passwd", "must stand in the file's folder or below it"),
        ("../other.yaml", "must stand in the file's folder or below it"),
        ("nowhere.yaml", "does not exist"),
        ("3", "must name a space file"),
    ],
)
def test_extends_stays_in_its_folder_and_ends(space_of, extends, expected):
    [line] = mistakes(space_of, f"extends: {extends}")
    assert expected in line


def test_demo_holds_only_without_data(space_of):
    text = """
    training: {epochs: 50}
    demo: {training: {epochs: 4}, search: {trials: 6}, typist: {sessions: 3, minutes: 1}}
    """
    real, demo = space_of(text), space_of(text, demo=True)
    assert next(real.grid()).training.epochs == 50
    assert real.typist is None
    assert next(demo.grid()).training.epochs == 4
    assert (demo.search.trials, demo.typist.sessions, demo.typist.minutes) == (6, 3, 1)


def test_overrides_come_last_and_may_be_distributions(space_of):
    text = "{training: {epochs: 50}, demo: {training: {epochs: 4}}}"
    space = space_of(
        text,
        demo=True,
        overrides=["training.epochs=7", "model.electrodes={choice: [1, 2]}", "name=mine"],
    )
    assert space.name == "mine"
    assert next(space.grid()).training.epochs == 7
    assert space.size == 2


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs", "must be path.to.key=value"),
        ("training.batch_size=0", "training.batch_size: 0 is not allowed"),
        ("training.epoch=1", "did you mean 'epochs'?"),
        ("training.batch_size=[", "line 1"),
        ("extends=x.yaml", "stands in files only"),
    ],
)
def test_a_mistake_in_an_override_names_it(space_of, override, expected):
    [line] = mistakes(space_of, "{}", overrides=[override])
    assert line.startswith(f"override '{override}': ")
    assert expected in line


def test_a_mistake_in_an_option_is_told_as_it_was_typed(space_of):
    [line] = mistakes(space_of, "{}", overrides=["search.time_budget=60sec"])
    assert line.startswith("--time-budget 60sec: search.time_budget: 60sec is not allowed")
