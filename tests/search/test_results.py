import shlex
import shutil
from pathlib import Path

import pytest
from helpers.splits import add

from emgmodels.config import Config
from emgmodels.notation import parse_notation
from emgmodels.sessions import find_split, split_text
from search.results import environment
from search.results.facts import training_command
from search.results.folder import RunFolder
from search.results.reading import read_trials
from search.results.record import TrialRecord
from search.results.session_files import session_files


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
    (folder.path / "code").mkdir()  # of its own: runs elsewhere only where that is asked for
    assert training_command(folder.path) == f"{whole} --allow-code"
    assert "--allow-code" not in training_command(folder.path, inside=True)
    folder.write_environment({})
    folder.flush()
    assert "--data DIR" in (folder.path / "best.yaml").read_text()


def test_sessions_of_the_same_names_of_another_user_are_refused(tmp_path):
    """Else a search would go on, and be tested, on what another person typed."""
    for user in ("anna", "bob"):
        add(tmp_path / user, "a", "b", user=user)
    folder = RunFolder.create(tmp_path, "run")
    split = find_split(tmp_path / "anna")
    folder.write_split(split_text(split))
    facts = {"split": {"val": ["/elsewhere/a.hdf5"]}, "subject": "anna"}
    found = session_files(folder.path, facts, "val", tmp_path / "anna")
    assert found == (str(tmp_path / "anna" / "a.hdf5"),)
    with pytest.raises(ValueError, match=r"bob/a\.hdf5: is a session of user bob"):
        session_files(folder.path, facts, "val", tmp_path / "bob")


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
