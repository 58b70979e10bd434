import pickle

import pytest
import yaml
from pydantic import ValidationError

from emgmodels.config import (
    Config,
    ConvConfig,
    EncoderConfig,
    ModelConfig,
    dump_config,
    load_config,
    share_sections,
)


def test_yaml_round_trip_keeps_every_value(tmp_path):
    config = Config.model_validate(
        {
            "name": "x",
            "seed": 7,
            "model": {
                "electrodes": 8,
                "encoder": {"order": ["recurrent", "conv"], "recurrent": {"cell": "lstm"}},
            },
            "training": {"gradient_clip": None, "aligned_start": {"epochs": 2}},
        }
    )
    path = tmp_path / "c.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config
    assert "gradient_clip: null" in path.read_text()
    assert "transformer" not in path.read_text()


def test_stages_of_zero_layers_are_absent():
    plain = EncoderConfig.model_validate({"order": ["recurrent"], "recurrent": {"hidden": 64}})
    other = EncoderConfig.model_validate(
        {
            "order": ["transformer", "recurrent", "conv"],
            "transformer": {"layers": 0, "heads": 2},
            "recurrent": {"hidden": 64},
            "conv": ConvConfig(layers=0),
        }
    )
    assert plain == other
    assert hash(plain) == hash(other)
    assert [name for name, _ in other.stages()] == ["recurrent"]


def test_repeats_are_numbered_from_input_to_output_whichever_are_absent():
    plain = EncoderConfig.model_validate(
        {"order": ["recurrent", "conv", "recurrent_2"], "conv": {}, "recurrent_2": {"layers": 2}}
    )
    other = EncoderConfig.model_validate(
        {
            "order": ["conv", "recurrent", "conv_2", "recurrent_2", "recurrent_3"],
            "conv": {"layers": 0},
            "conv_2": {"layers": 4},
            "recurrent_2": {"layers": 2},
            "recurrent_3": {"layers": 0},
        }
    )
    assert plain == other
    assert hash(plain) == hash(other)
    assert other.order == ("recurrent", "conv", "recurrent_2")
    assert other.kinds() == ["recurrent", "conv", "recurrent"]


def test_a_repeat_is_written_read_and_travels(tmp_path):
    values = {
        "order": ["conv", "recurrent", "conv_2"],
        "conv_2": {"layers": 2, "channels": [8, 16], "kernel": "32+8"},
    }
    config = Config.model_validate({"model": {"encoder": values}})
    (tmp_path / "c.yaml").write_text(dump_config(config))
    read = load_config(tmp_path / "c.yaml")
    assert read == config == pickle.loads(pickle.dumps(config))
    assert Config.model_validate_json(config.model_dump_json()) == share_sections(config)
    assert read.model.encoder.conv_2 == ConvConfig(layers=2, channels=(8, 16), kernel="8+32")
    assert read.model.encoder.conv_2.kernels == (8, 32)


def test_what_earlier_versions_wrote_means_what_it_did():
    old = ModelConfig.model_validate_json('{"share_bands": true, "encoder": {"order": ["conv"]}}')
    assert old == ModelConfig.model_validate({"share_bands": "mlp"})
    assert ConvConfig(kernel="8+8") == ConvConfig(kernel=8)


def test_a_stage_in_order_without_a_section_has_defaults():
    assert EncoderConfig.model_validate({"order": ["conv"]}).conv == ConvConfig()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoder": {"order": ["conv", "conv"]}}, "names a stage twice.* a second conv is conv_2"),
        ({"encoder": {"order": ["conv", "conv_2"]}}, "no section of that name: add conv_2"),
        ({"encoder": {"order": ["s4", "conv_2"], "conv_2": {}}}, "conv_2 and no conv before it"),
        (
            {"encoder": {"order": ["conv"], "conv_2": {}}},
            "'conv_2' is configured and is not in ord",
        ),
        (
            {"encoder": {"order": ["conv", "s4", "conv_2"], "conv_2": {"kernl": 3}}},
            r"encoder.conv_2.kernl\n.*Extra inputs",
        ),
        ({"encoder": {"order": ["conv_1"]}}, "'s4' or 'pretrained'"),
        ({"encoder": {"conv": {"kernel": [8, 32]}}}, r"several side by side, as in 8\+32"),
        ({"encoder": {"order": ["conv"], "recurrent": {}}}, "is not in order"),
        ({"encoder": {"order": ["wavelet"]}}, "transformer"),
        ({"electrodes": 17}, "less than or equal to 16"),
        ({"electrode": 4}, "Extra inputs"),
        ({"features": {"bins": 34}}, "34 are more than the 33 frequencies"),
        (
            {"features": {"hop": 48}, "encoder": {"order": ["conv1d"], "conv1d": {"stride": 3}}},
            r"hop of 48 samples and strides of 9 leave 4.63 frames.* is 432 .* at most 200",
        ),
        (
            {"encoder": {"order": ["conv1d"], "conv1d": {"channels": [8, 8]}}},
            "in which they differ",
        ),
    ],
)
def test_mistakes_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        ModelConfig.model_validate(values)


def test_load_config_reports_every_mistake_with_file_and_path(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({"model": {"electrodes": 0}, "training": {"epoch": 3}}))
    with pytest.raises(ValueError, match=r"model\.electrodes") as error:
        load_config(path)
    assert str(error.value).count(str(path)) == 2
    assert "training.epoch" in str(error.value)


@pytest.mark.parametrize("content", ["a: [1", "\t- x: :", "!!python/object:os.system {}"])
def test_load_config_refuses_what_is_not_plain_yaml(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"bad\.yaml"):
        load_config(path)


def test_load_config_names_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        load_config(tmp_path / "none.yaml")


def test_more_frequencies_may_have_more_bins():
    model = ModelConfig.model_validate({"features": {"bins": 60, "n_fft": 128}})
    assert model.features.bins == 60


def test_equal_electrodes_are_equal_configurations():
    def model(**values):
        return ModelConfig.model_validate(values)

    assert model(electrode_choice="contiguous") == model()
    assert model(electrode_choice="contiguous", electrodes=1) == model(electrodes=1)
    assert model(electrode_choice="contiguous", electrodes=8) != model(electrodes=8)
    assert model(electrode_choice="left", share_bands=True) == model(electrode_choice="left")


def test_equal_sections_of_many_configurations_exist_once():
    texts = [Config(seed=seed).model_dump_json() for seed in (1, 2)]
    first, second = (share_sections(Config.model_validate_json(text)) for text in texts)
    assert first.model is second.model
    assert (first.seed, second.seed) == (1, 2)
    other = share_sections(Config.model_validate({"model": {"mlp_features": 7}}))
    assert other.model.features is first.model.features
    assert other == Config.model_validate({"model": {"mlp_features": 7}})
