"""The network: EMG to log-probabilities of keys, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emgmodels.charset import NUM_CLASSES
from emgmodels.config import SAMPLE_RATE, Frozen, ModelConfig, TrainingConfig
from emgmodels.config.electrodes import mirrored_places
from emgmodels.network.features import make_features
from emgmodels.network.front import RollingNorm, RotationInvariantMLP, SpectrogramNorm
from emgmodels.saying import counted
from emgmodels.stages.flow import Chain, Flow, Valid
from emgmodels.stages.hands import OwnHands
from emgmodels.stages.registry import build_stage
from emgmodels.stages.stage import Stage

ROLLING_SECONDS = 4.0
"""What the rolling norm reaches back (s): a window, so that training sees what use will bring."""


PRIOR_SECONDS = 10.0
"""What a norm's statistics of training count for where they follow a session (s)."""


@dataclass(frozen=True)
class Framing:
    """How a window of EMG is cut so that a model answers exactly its labelled frames.

    Output frame ``first + j`` of the model begins ``j * step`` samples into the window.

    Attributes:
        before: samples needed before the window.
        samples: samples in all, context included.
        first: the model's first output frame that belongs to the window.
        frames: output frames that belong to the window.
        step: samples from one output frame to the next.
    """

    before: int
    samples: int
    first: int
    frames: int
    step: int


class Network(nn.Module):
    """EMG to log-probabilities of keys, frame by frame: features, MLP, stages, linear head.

    Output frame j stands for feature frame ``left + j * stride``.

    Hands that share the encoder go through it as if they were windows of their own.

    Attributes:
        hands: how many there are of a window, 1 where both go through the encoder together.
        shared: stages, the first ones, that each hand goes through alone.
        left: feature frames consumed at the beginning by all stages.
        right: feature frames consumed at the end.
        stride: feature frames from one output frame to the next.
        lookahead: feature frames after its own that an output frame depends on.
        longest: feature frames that it can take at once; infinite where any number will do.
    """

    mirror: Tensor

    def __init__(
        self, config: ModelConfig, make_stage: Callable[[str, int, Frozen], Stage] | None = None
    ) -> None:
        """Make a model.

        Args:
            config: the architecture.
            make_stage: makes a stage of a kind (a key of ``STAGES``), for a width, with its config.
        """
        super().__init__()
        make_stage = make_stage or build_stage
        self.config = config
        self.spectrogram = make_features(config.features)
        shape = (config.bands, config.electrodes, self.spectrogram.bins)
        self.norm: RollingNorm | SpectrogramNorm
        if config.norm == "rolling":
            self.norm = RollingNorm(round(ROLLING_SECONDS * SAMPLE_RATE / config.features.hop))
        else:
            self.norm = SpectrogramNorm(*shape, per_bin=config.norm == "bin")
        self.hands, encoder = config.hands, config.encoder
        mlp = RotationInvariantMLP(
            *(config.bands // self.hands, *shape[1:], config.mlp_features),
            layers=config.mlp_layers,
            shared=config.shares or self.hands > 1,
            around=config.is_around,
        )
        parted = config.own_hands and self.hands > 1
        self.mlp: RotationInvariantMLP | OwnHands = OwnHands(mlp) if parted else mlp
        mirror = torch.tensor(mirrored_places(config.electrodes, config.electrode_choice))
        self.register_buffer("mirror", mirror, persistent=False)
        self.stages = nn.ModuleList()
        self.shared = config.stages_by_hand
        width = self.mlp.width
        for kind, (_, stage_config) in zip(encoder.kinds(), encoder.stages(), strict=True):
            width *= self.hands if len(self.stages) == self.shared else 1
            stage = make_stage(kind, width, stage_config)
            if parted and len(self.stages) < self.shared:
                stage = OwnHands(stage)
            self.stages.append(stage)
            width = stage.width
        width *= self.hands if len(self.stages) == self.shared else 1
        self.head = nn.Linear(width, NUM_CLASSES)
        self.left, self.right, self.stride = 0, 0, 1
        self.lookahead, self.longest = 0.0, math.inf
        for stage in self._stages():
            consumed = self.left + self.right
            # In frames of the network's input, so that a window can be refused before it is
            # computed.
            self.longest = min(self.longest, stage.longest * self.stride + consumed)
            self.left += stage.left * self.stride
            self.right += stage.right * self.stride
            self.lookahead += stage.lookahead * self.stride
            self.stride *= stage.stride

    def forward(self, features: Tensor) -> Tensor:
        """Return log-probabilities of every frame that the context allows.

        Args:
            features: (N, B, E, T, F) log-spectrogram.

        Returns:
            (N, (T - left - right) / stride rounded up, 99) log-probabilities; class 98 is the CTC
            blank.
        """
        x = self.mlp(self._apart(self.norm(features)))
        for index, stage in enumerate(self.stages):
            x = self.joined(x) if index == self.shared else x
            x = stage(x)
        return self._classify(self.joined(x) if self.shared == len(self.stages) else x)

    def flow(self, adapts: bool = False) -> Flow:
        """Return what maps (N, B, E, S) EMG to log-probabilities as it arrives.

        The model must be in evaluation mode.

        Args:
            adapts: the norm's statistics follow what arrives; of one session, so N is 1.

        Raises:
            ValueError: a stage depends on more than can be carried.
        """
        features = self.spectrogram
        kernel = max(features.n_fft, features.hop)
        norm = self.norm.flow()
        if adapts and isinstance(self.norm, SpectrogramNorm):
            norm = self.norm.flow(round(PRIOR_SECONDS * SAMPLE_RATE / features.hop))
        flows = [Valid(features, kernel, features.hop, dim=3), norm]
        flows += [Flow(self._apart), Flow(self.mlp)]
        problems = []
        for (name, _), stage in zip(self.config.encoder.stages(), self._stages(), strict=True):
            try:
                flows.append(stage.flow())
            except ValueError as problem:
                problems.append(f"the {name} stage cannot be streamed: {problem}")
        if problems:
            raise ValueError("; ".join(problems))
        joined = len(flows) - len(self.stages) + self.shared
        return Chain([*flows[:joined], Flow(self.joined), *flows[joined:], Flow(self._classify)])

    @property
    def lookahead_ms(self) -> float:
        """EMG after a frame's first sample that its output waits for (ms)."""
        features = self.spectrogram
        return 1000 * (self.lookahead * features.hop + features.n_fft) / SAMPLE_RATE

    def output_length(self, frames: int) -> int:
        """Return the number of output frames for that many input frames."""
        for stage in self._stages():
            frames = stage.output_length(frames)
        return frames

    def framing(self, window: int, past: int, future: int) -> Framing:
        """Return how to cut windows for this model.

        Args:
            window: samples of the labelled window.
            past: samples of context before it that are wanted; more are taken if needed.
            future: samples of context after it that are wanted; more are taken if needed.

        Raises:
            ValueError: the window is shorter than a frame, or longer than a stage can take.
        """
        hop, n_fft = self.spectrogram.hop, self.spectrogram.n_fft
        frames = window // hop
        if frames == 0:
            raise ValueError(
                f"a window of {counted(window, 'sample')} is shorter than one hop of {hop}"
            )
        # Context beyond what is consumed gives output frames before the window. They are computed
        # and cut off, so that stages that see far have something to see.
        first = math.ceil(max(past // hop - self.left, 0) / self.stride)
        before = self.left + first * self.stride
        after = max((future - n_fft + hop) // hop, 0)
        outputs = math.ceil(frames / self.stride)
        needed = before + (outputs - 1) * self.stride + self.right + 1
        total = max(before + frames + after, needed)
        if total > self.longest:
            raise ValueError(
                f"a window of {window} samples is {total} frames with its context, and a stage "
                f"takes {self.longest:g} at most: take a shorter window or a hop above {hop}"
            )
        return Framing(
            before=before * hop,
            samples=self.spectrogram.samples(total),
            first=first,
            frames=outputs,
            step=hop * self.stride,
        )

    def takes(self, window: int, training: TrainingConfig) -> bool:
        """Return whether a window of that many samples has a frame and fits, context included."""
        context = (training.past_seconds, training.future_seconds)
        try:
            self.framing(window, *(round(seconds * SAMPLE_RATE) for seconds in context))
        except ValueError:
            return False
        return True

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of that many frames by learned weights."""
        electrodes = self.config.bands * self.config.electrodes
        total = self.spectrogram.macs(electrodes, frames) + self.hands * self.mlp.macs(frames)
        for index, stage in enumerate(self._stages()):
            total += stage.macs(frames) * (self.hands if index < self.shared else 1)
            frames = stage.output_length(frames)
        return total + frames * self.head.weight.numel()

    def _apart(self, features: Tensor) -> Tensor:
        """Map (N, B, E, T, F) to (N B, 1, E, T, F) where each hand is encoded alone."""
        if self.hands == 1:
            return features
        left, right = features.unbind(1)
        if self.config.mirror_left:
            left = left.index_select(1, self.mirror)
        return torch.stack([left, right], 1).flatten(0, 1)[:, None]

    def joined(self, x: Tensor) -> Tensor:
        """Map (N B, T, D) to (N, T, B D), the hands of a window side by side."""
        if self.hands == 1:
            return x
        return x.unflatten(0, (-1, self.hands)).transpose(1, 2).flatten(2)

    def _classify(self, x: Tensor) -> Tensor:
        # In float32 also under autocast: CTC sums thousands of these.
        return self.head(x).float().log_softmax(-1)

    def parts(self) -> dict[str, nn.Module]:
        """Return the parts that have weights by their names in a training, input to output."""
        names = [name for name, _ in self.config.encoder.stages()]
        stages = dict(zip(names, self.stages, strict=True))
        found = {"features": self.spectrogram, "norm": self.norm, "mlp": self.mlp}
        return {**found, **stages, "head": self.head}

    def _stages(self) -> list[Stage]:
        return [stage for stage in self.stages if isinstance(stage, Stage)]
