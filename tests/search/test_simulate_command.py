"""What ``python -m search.simulate`` prints, draws and refuses."""

import pytest
from helpers.curves import made_up, simulate, write_csv


@pytest.fixture
def curves_csv(tmp_path):
    return write_csv(tmp_path / "curves.csv", made_up(0))


@pytest.fixture
def few_curves_csv(tmp_path):
    return write_csv(tmp_path / "few.csv", made_up(0, count=8, epochs=8))


def test_the_command_prints_a_row_a_rule_and_draws_them(curves_csv, tmp_path):
    picture = tmp_path / "frontier.png"
    result = simulate(*(curves_csv, "--compare", "--repeats", 3, "--slots", 2, "--figure", picture))
    assert result.exit_code == 0, result.output
    for row in ("asha grace 4 eta 1.5 by loss", "ray_asha grace 1 eta 3", "median", "none"):
        assert row in result.output
    assert "hours" in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_several_schedulers_stand_in_one_table_each_with_the_options_it_takes(curves_csv):
    names = ("asha", "median", "hyperband", "none", "asha")
    asked = [word for name in names for word in ("--scheduler", name)]
    result = simulate(curves_csv, *asked, "--grace", 3, "--eta", 2, "--repeats", 2)
    assert result.exit_code == 0, result.output
    rows = result.output.splitlines()
    for row in ("asha grace 3 eta 2 by both ", "median grace 3 ", "hyperband eta 2 ", "none "):
        assert sum(line.startswith(row) for line in rows) == 1, row
    own = ("{name: asha, grace: 2, rank_by: null}", "{name: asha, grace: 4}")
    asked = [word for name in own for word in ("--scheduler", name)]
    result = simulate(curves_csv, *asked, "--eta", 2, "--repeats", 2)
    rows = result.output.splitlines()
    for row in ("asha grace 2 eta 2 by both ", "asha grace 4 eta 2 by both "):
        assert sum(line.startswith(row) for line in rows) == 1, row
    refused = simulate(curves_csv, "--scheduler", "none", "--scheduler", "hyperband", "--grace", 3)
    assert refused.exit_code == 2
    assert "scheduler 'none' has no option 'grace'" in refused.stderr


def test_the_command_tunes_and_says_what_to_write_in_a_space_file(few_curves_csv):
    result = simulate(few_curves_csv, "--tune", 30, "--repeats", 2)
    assert result.exit_code == 0, result.output
    assert "  search:\n    scheduler:\n      name: asha\n      grace: " in result.output
    assert "A bound met on some curves need not hold on others." in result.output
    assert result.output.count(": kept") == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--scheduler", "ash"], "scheduler 'ash' is not known: choose one of asha"),
        (["--scheduler", "none", "--eta", 3], "'none' has no option 'eta'; its options: none"),
        (["--scheduler", "{name: asha, eta: low}"], "scheduler 'asha': eta: "),
        (["--scheduler", "{name: median, eta: 3}"], "'median' has no option 'eta'"),
        (["--scheduler", "{grace: 3}"], "--scheduler {grace: 3}: names none: write {name: asha,"),
        (["--scheduler", "{name: asha"], "--scheduler: line 1: is not YAML"),
        (["--grace", 20], "grace 20: the first rung must stand at epoch 1 or later"),
        (["--epochs", 21], "0 of 40 curves have all 21 epochs"),
        (["--trials", 41], "41 are needed: ask for fewer --trials"),
        (
            ["--epochs", 2, "--tune", 1],
            "trainings of 2 epochs leave no rung to choose: they need 3",
        ),
    ],
)
def test_a_wrong_option_ends_the_command_with_one_line(curves_csv, options, says):
    result = simulate(curves_csv, "--repeats", 2, *options)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("run,epoch,val_cer\n", "has no column val_loss; needs run, epoch, val_cer, val_loss"),
        ("run,epoch,val_cer,val_loss\n", "holds no learning curve"),
        ("run,epoch,val_cer,val_loss\na,1,9,9\na,3,8,8\n", "run a: epochs must be 1, 2, 3"),
        ("run,epoch,val_cer,val_loss\na,1,9,x\n", "run a, epoch 1: val_loss is 'x'"),
        ("", "is not a table"),
    ],
)
def test_a_wrong_file_ends_the_command_with_one_line(tmp_path, text, says):
    path = tmp_path / "curves.csv"
    path.write_text(text)
    result = simulate(path)
    assert result.exit_code == 2
    assert says in result.stderr
    assert str(path) in result.stderr


def test_a_missing_file_is_named(tmp_path):
    result = simulate(tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "nowhere: does not exist; give a run folder" in result.stderr
