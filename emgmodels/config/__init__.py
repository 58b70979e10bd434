"""The frozen configuration of a model and of its training, and its YAML form.

One tree of pydantic models is the only configuration technology of the project. A space file is
checked against it. A suggestion of the search becomes one, a checkpoint carries one, and
``best.yaml`` is one. Unknown keys are errors, sizes that follow from others are derived, never
configured.
"""

from emgmodels.config.base import (
    BAND_ELECTRODES,
    BANDS,
    LEAST_FRAME_RATE,
    SAMPLE_RATE,
    Count,
    Frozen,
    PerLayer,
    PositiveInt,
    Probability,
    Whole,
    section_kind,
    share_sections,
)
from emgmodels.config.files import (
    dump_config,
    explain,
    load_config,
    meant,
    similar,
    unknown_key,
    validated,
)
from emgmodels.config.model import FeaturesConfig, ModelConfig
from emgmodels.config.own import SOURCES, OwnPart, code_of, own_sections, settings_of, with_sources
from emgmodels.config.recipes import RECIPES, RecipeName, defaults_of, displaced
from emgmodels.config.stages import (
    STAGE_NAMES,
    ConformerConfig,
    Conv1dConfig,
    ConvConfig,
    EncoderConfig,
    OwnStage,
    PretrainedConfig,
    RecurrentConfig,
    S4Config,
    StageConfig,
    StageName,
    TransformerConfig,
    stage_name,
)
from emgmodels.config.starting import Factors, StartFrom, parts_of
from emgmodels.config.training import (
    AlignedStart,
    AugmentationConfig,
    Average,
    Config,
    IntermediateCtc,
    TrainingConfig,
)
from emgmodels.config.yaml_text import YamlError, read_yaml, write_yaml, write_yaml_line

__all__ = [
    "BANDS",
    "BAND_ELECTRODES",
    "LEAST_FRAME_RATE",
    "RECIPES",
    "SAMPLE_RATE",
    "SOURCES",
    "STAGE_NAMES",
    "AlignedStart",
    "AugmentationConfig",
    "Average",
    "Config",
    "ConformerConfig",
    "Conv1dConfig",
    "ConvConfig",
    "Count",
    "EncoderConfig",
    "Factors",
    "FeaturesConfig",
    "Frozen",
    "IntermediateCtc",
    "ModelConfig",
    "OwnPart",
    "OwnStage",
    "PerLayer",
    "PositiveInt",
    "PretrainedConfig",
    "Probability",
    "RecipeName",
    "RecurrentConfig",
    "S4Config",
    "StageConfig",
    "StageName",
    "StartFrom",
    "TrainingConfig",
    "TransformerConfig",
    "Whole",
    "YamlError",
    "code_of",
    "defaults_of",
    "displaced",
    "dump_config",
    "explain",
    "load_config",
    "meant",
    "own_sections",
    "parts_of",
    "read_yaml",
    "section_kind",
    "settings_of",
    "share_sections",
    "similar",
    "stage_name",
    "unknown_key",
    "validated",
    "with_sources",
    "write_yaml",
    "write_yaml_line",
]
