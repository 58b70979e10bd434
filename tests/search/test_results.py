from emgmodels.config import Config
from emgmodels.factory import parse_notation
from search.results import RunFolder, TrialRecord, read_trials


def test_a_setting_may_be_a_number_in_one_trial_and_a_list_in_another(tmp_path):
    folder = RunFolder.create(tmp_path, "run")
    for number, text in enumerate(("conv1d:2", "conv1d:2(stride=2/1)", "gru:1")):
        config = Config(model=parse_notation(text))
        folder.trials[number] = TrialRecord(number, config)
    folder.flush()
    strides = read_trials(folder.path).column("model.encoder.conv1d.stride").to_pylist()
    assert sorted(map(str, strides)) == ["1", "2 1", "None"]
