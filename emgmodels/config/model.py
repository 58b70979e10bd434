"""An architecture: electrodes, features, front end and encoder."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from emgmodels.config.base import (
    BAND_ELECTRODES,
    BANDS,
    LEAST_FRAME_RATE,
    SAMPLE_RATE,
    Frozen,
    PositiveInt,
    Whole,
)
from emgmodels.config.stages import ConvConfig, EncoderConfig

_SLOWEST = SAMPLE_RATE // LEAST_FRAME_RATE


_BY_HAND = ("encoder", "encoder_but_last")


def _mlp_if_true(value: Any) -> Any:
    return "mlp" if value is True else value


class FeaturesConfig(Frozen):
    """Log-spectrogram of each electrode, or a learned filter bank in its place."""

    filters: Literal["fixed", "learned"] = "fixed"
    """``learned``: the spectrogram's filters are weights of the model, which trains them from where
    the spectrogram has them (Zeghidour et al. 2018)."""
    n_fft: Annotated[Whole, Field(ge=8, le=1024, multiple_of=2)] = 64
    """Samples in one analysis window; n_fft // 2 + 1 frequencies."""
    bins: Annotated[Whole, Field(ge=1, le=513)] | None = None
    """Frequency bins: power is averaged over bands that widen with frequency. null: one for each
    frequency."""
    hop: Annotated[Whole, Field(ge=1, le=_SLOWEST)] = 16
    """Samples between frames: 16 gives 125 frames a second."""


class ModelConfig(Frozen):
    """An architecture: everything that decides the model's parameters and function."""

    electrodes: Annotated[Whole, Field(ge=1, le=BAND_ELECTRODES)] = 16
    """Electrodes used of each band, the same in training, validation and test."""
    electrode_choice: Literal["spaced", "contiguous", "left", "right"] = "spaced"
    """Which ones: evenly spaced around each wrist, neighbours on each wrist, or evenly spaced
    around one wrist alone."""
    features: FeaturesConfig = FeaturesConfig()
    """Spectrogram settings."""
    norm: Literal["electrode", "bin", "rolling"] = "electrode"
    """What the spectrogram norm brings to one mean and deviation: each electrode as a whole, or
    each of its frequency bins, which trains faster on little data. ``rolling``: each bin by its own
    last seconds instead of by the training set, which carries over to other people."""
    mlp_features: PositiveInt = 384
    """Outputs of each band's rotation-invariant MLP, side by side the encoder's input."""
    mlp_layers: Annotated[Whole, Field(ge=1, le=8)] = 1
    """Layers of the rotation-invariant MLP."""
    share_bands: Annotated[
        Literal[False, "mlp", "encoder", "encoder_but_last"], BeforeValidator(_mlp_if_true)
    ] = False
    """Whose weights left and right hand share: those of the MLP, or of the encoder too. Each hand
    then goes through it alone, and both are joined before the head, or before the encoder's last
    stage. `true` is `mlp`."""
    mirror_left: bool = True
    """Reverse the left band's electrodes where the hands share an encoder, so that both meet it as
    a right hand; false for bands that number them in mirror image."""
    own_hands: bool = False
    """Each hand has weights of its own where `share_bands` would share them: what
    `training.unshare` makes of a model."""
    encoder: EncoderConfig = EncoderConfig(conv=ConvConfig())
    """Stages between MLP and head."""

    @property
    def bands(self) -> int:
        """Wristbands used."""
        return 1 if self.electrode_choice in ("left", "right") else BANDS

    @property
    def hands(self) -> int:
        """Hands that go through the encoder one beside the other, 1 where they go together."""
        return BANDS if self.share_bands in _BY_HAND else 1

    @property
    def shares(self) -> bool:
        """Whether the hands have weights in common."""
        return bool(self.share_bands) and not self.own_hands

    @property
    def stages_by_hand(self) -> int:
        """Stages, the first ones, that each hand goes through alone."""
        stages = len(self.encoder.order)
        if self.share_bands == "encoder_but_last":
            return max(0, stages - 1)
        return stages if self.share_bands == "encoder" else 0

    @property
    def is_around(self) -> bool:
        """Whether the electrodes used go around the wrist, and are no arc of neighbours."""
        return self.electrode_choice != "contiguous"

    @model_validator(mode="before")
    @classmethod
    def _name_alike_what_is_alike(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        if values.get("electrode_choice") == "contiguous" and (
            values.get("electrodes", BAND_ELECTRODES) in (1, BAND_ELECTRODES)
        ):
            # All sixteen side by side are all sixteen. Equal architectures must be equal
            # configurations, or both would be trained.
            del values["electrode_choice"]
        if values.get("electrode_choice") in ("left", "right"):
            # With one band there is nothing to share.
            values.pop("share_bands", None)
        if values.get("share_bands") not in _BY_HAND:
            values.pop("mirror_left", None)
        if not values.get("share_bands"):
            values.pop("own_hands", None)
        return values

    @model_validator(mode="after")
    def _check_frames_and_bins(self) -> ModelConfig:
        features, reduction = self.features, self.encoder.reduction()
        rate = SAMPLE_RATE / (features.hop * reduction)
        # Here and not in the training: a space is then refused before anything starts.
        if rate < LEAST_FRAME_RATE:
            raise ValueError(
                f"a hop of {features.hop} samples and strides of {reduction} leave {rate:.3g} "
                f"frames a second, and CTC needs {LEAST_FRAME_RATE} for as many keys: hop x "
                f"strides is {features.hop * reduction} and may be at most {_SLOWEST}"
            )
        frequencies = features.n_fft // 2 + 1
        if features.bins is not None and features.bins > frequencies:
            raise ValueError(
                f"features.bins: {features.bins} are more than the {frequencies} frequencies of "
                f"n_fft {features.n_fft}: take at most that many, or a larger n_fft"
            )
        return self
