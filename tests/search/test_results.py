import shlex
import shutil
from pathlib import Path

from emgmodels.config import Config
from emgmodels.notation import parse_notation
from search.results import environment
from search.results.facts import training_command
from search.results.folder import RunFolder
from search.results.reading import read_trials
from search.results.record import TrialRecord


def test_a_setting_may_be_a_number_in_one_trial_and_a_list_in_another(tmp_path):
    folder = RunFolder.create(tmp_path, "run")
    for number, text in enumerate(("conv1d:2", "conv1d:2(stride=2/1)", "gru:1")):
        config = Config(model=parse_notation(text))
        folder.trials[number] = TrialRecord(number, config)
    folder.flush()
    strides = read_trials(folder.path).column("model.encoder.conv1d.stride").to_pylist()
    assert sorted(map(str, strides)) == ["1", "2 1", "None"]


def test_the_best_names_the_command_that_trains_it_again(tmp_path):
    """With the sessions' folder, quoted as a shell wants it, and right wherever the run moves."""
    data = tmp_path / "my data"
    folder = RunFolder.create(tmp_path, "a run")
    split = {part: [str(data / f"{part}.hdf5")] for part in ("train", "val", "test")}
    folder.write_environment({"split": split, "subject": "anna"})
    trial = folder.trials[0] = TrialRecord(0, Config.model_validate({"name": "a"}))
    trial.add({"epoch": 1, "val_cer": 12.5, "seconds": 1.0})
    folder.flush()
    [line] = [x for x in (folder.path / "best.yaml").read_text().splitlines() if "again" in x]
    words = shlex.split(line.split(":", 1)[1])
    assert words[:3] == ["python", "-m", "emgmodels.training"]
    assert words[3:] == ["best.yaml", "--data", str(data), "--subject", "anna"]
    folder.write_split("user: anna")
    whole = training_command(folder.path)
    assert shlex.split(whole)[3:] == [
        *(str(folder.path / "best.yaml"), "--data", str(data)),
        *("--split", str(folder.path / "split.yaml")),
    ]
    folder.write_environment({})
    folder.flush()
    assert "--data DIR" in (folder.path / "best.yaml").read_text()


def test_a_search_is_told_by_the_source_of_both_packages(tmp_path, monkeypatch):
    root = Path(environment.__file__).parents[2]
    for package in ("emgmodels", "search"):
        shutil.copytree(root / package, tmp_path / package, ignore=shutil.ignore_patterns("*.pyc"))
    known = environment.source_hash()
    monkeypatch.setattr(environment, "_ROOT", tmp_path)
    assert environment.source_hash() == known
    for changed in ("emgmodels/charset.py", "search/runs.py"):
        before = environment.source_hash()
        (tmp_path / changed).write_text("# another")
        assert environment.source_hash() != before
