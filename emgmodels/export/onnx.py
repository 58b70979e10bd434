"""Trained models as ONNX: one graph from EMG to log-probabilities, with all that describes it."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from emgmodels.atomic import whole
from emgmodels.config import BAND_ELECTRODES, BANDS, SAMPLE_RATE, OwnStage
from emgmodels.config.electrodes import band_indices, electrode_indices
from emgmodels.installing import how_to_install
from emgmodels.network.network import Network
from emgmodels.outputs import mark_of
from emgmodels.own_code import CodeError, told
from emgmodels.reading.reader import Reader
from emgmodels.stages.recurrent import RecurrentStage
from emgmodels.stages.s4 import DiagonalStateSpace

ONNX_MARK = mark_of("graph")
INPUT, OUTPUT = "emg", "log_probs"
_EXAMPLE_SECONDS = 4
_GATES = {nn.GRU: ("GRU", (1, 0, 2)), nn.LSTM: ("LSTM", (0, 3, 1, 2))}
"""ONNX's operator for a cell, and where its gates, in its order, stand in torch's weights."""


def write_onnx(reader: Reader, path: Path) -> None:
    """Write one ONNX file: features, model and card.

    Its input ``emg`` is (N, S, 2, 16) samples, its output ``log_probs`` (N, T, 99); windows and
    samples may be any number. What ``Reader.card`` says is in the file's metadata, one JSON text
    for each key.

    Raises:
        ValueError: onnx is not installed, or has no operators for a stage of the user's own.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise ValueError(f"ONNX needs more packages: {how_to_install('onnx')}") from None
    own = [
        name for name, stage in reader.config.model.encoder.stages() if isinstance(stage, OwnStage)
    ]
    try:
        program = _program(_Graph(reader.model))
    except Exception as error:
        if not own:
            raise
        cause: BaseException = error
        while cause.__cause__ is not None:  # the exporter's own errors say how far it came
            cause = cause.__cause__
        raise CodeError(
            f"ONNX cannot have this model, which has stages of your own ({', '.join(own)}): "
            f"{told(cause)}. Write the stage in operators that torch.onnx exports, or take "
            f"--to torch"
        ) from error
    for key, value in reader.card().items():
        program.model.metadata_props[key] = json.dumps(value, ensure_ascii=False)
    program.model.producer_name = "emgsearch"
    program.model.doc_string = ONNX_MARK
    with whole(path) as scratch:
        program.save(scratch, external_data=False)


class _Graph(nn.Module):
    """EMG of all electrodes to log-probabilities, in operators that ONNX has."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        # The reader's own model must stay as it is: its layers are replaced here.
        self.model = copy.deepcopy(model).cpu()
        for module in [*self.model.modules()]:
            if isinstance(module, RecurrentStage):
                # PyTorch's exporter unrolls a recurrence over time, into a graph of one length
                # that takes minutes to make.
                module.layers = _Recurrent(module.layers)
            for name, child in [*module.named_children()]:
                if isinstance(child, DiagonalStateSpace):
                    # The exporter has no FFT of complex numbers.
                    setattr(module, name, _StateSpace(child))
        config = model.config
        self.bands = band_indices(config.electrode_choice)
        self.electrodes = electrode_indices(config.electrodes, config.electrode_choice)

    def forward(self, emg: Tensor) -> Tensor:
        """Map (N, S, 2, 16) to (N, T, 99)."""
        used = emg[:, :, self.bands][:, :, :, self.electrodes]
        return self.model(self.model.spectrogram(used.permute(0, 2, 3, 1)))


class _Recurrent(nn.Module):
    """GRU or LSTM layers as ONNX's operators, which run over any number of frames."""

    def __init__(self, layers: nn.GRU | nn.LSTM) -> None:
        super().__init__()
        self.operator, self.order = _GATES[type(layers)]
        self.hidden = layers.hidden_size
        self.suffixes = ("", "_reverse") if layers.bidirectional else ("",)
        self.count = layers.num_layers
        for i in range(self.count):
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                both = [self._ordered(getattr(layers, f"{kind}_l{i}{s}")) for s in self.suffixes]
                self.register_buffer(f"{kind}{i}", torch.stack(both))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Map (N, T, D) to (N, T, directions x hidden)."""
        x = x.transpose(0, 1)  # (T, N, D)
        attributes: dict[str, Any] = {
            "hidden_size": self.hidden,
            "direction": "bidirectional" if len(self.suffixes) == 2 else "forward",
        }
        if self.operator == "GRU":
            # The way in which PyTorch applies GRU's reset gate.
            attributes["linear_before_reset"] = 1
        for i in range(self.count):
            biases = torch.cat([getattr(self, f"bias_ih{i}"), getattr(self, f"bias_hh{i}")], 1)
            weights = (getattr(self, f"weight_ih{i}"), getattr(self, f"weight_hh{i}"), biases)
            found = torch.onnx.ops.symbolic(
                self.operator,
                (x, *weights),
                attributes,
                dtype=x.dtype,
                shape=(x.shape[0], len(self.suffixes), x.shape[1], self.hidden),
            )
            x = found.transpose(1, 2).flatten(2)  # (T, N, directions x hidden)
        return x.transpose(0, 1), None

    def _ordered(self, gates: Tensor) -> Tensor:
        """Return the gates of weights or biases in ONNX's order."""
        return gates.detach().unflatten(0, (len(self.order), -1))[list(self.order)].flatten(0, 1)


class _StateSpace(nn.Module):
    """S4D as a convolution of real numbers, as long as the window."""

    factor: Tensor
    output: Tensor
    skip: Tensor

    def __init__(self, space: DiagonalStateSpace) -> None:
        super().__init__()
        factor, output = space.recurrence()
        for name, value in {"factor": factor, "output": output}.items():
            self.register_buffer(name, torch.view_as_real(value.detach()).clone())
        self.register_buffer("skip", space.skip.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, D, T) to (N, D, T)."""
        age = torch.arange(x.shape[2] - 1, -1, -1, dtype=x.dtype)
        decay, angle = self.factor[..., :1] * age, self.factor[..., 1:] * age  # (D, pairs, T)
        real, imaginary = self.output[..., :1], self.output[..., 1:]
        kernel = 2 * ((real * angle.cos() - imaginary * angle.sin()) * decay.exp()).sum(1)
        past = pad(x, (x.shape[2] - 1, 0))
        return conv1d(past, kernel[:, None], groups=len(kernel)) + x * self.skip[:, None]


def _program(graph: _Graph) -> torch.onnx.ONNXProgram:
    """Return the exported graph, without what the exporter says on its way."""
    dynamic = torch.export.Dim.DYNAMIC
    example = torch.zeros(2, _EXAMPLE_SECONDS * SAMPLE_RATE, BANDS, BAND_ELECTRODES)
    loggers = {name: logging.getLogger(name) for name in ("torch.onnx", "torch.fx")}
    levels = {name: logger.level for name, logger in loggers.items()}
    for logger in loggers.values():
        logger.setLevel(logging.ERROR)
    try:
        said = io.StringIO()
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph.eval(),
                (example,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: dynamic, 1: dynamic},),
                dynamo=True,
                verbose=False,
            )
    finally:
        for name, logger in loggers.items():
            logger.setLevel(levels[name])
    assert program is not None
    return program
