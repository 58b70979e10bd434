"""What a trained model can be written as."""

from __future__ import annotations

from emgmodels.checkpoints.exported import (
    EMG2QWERTY_MARK,
    TORCH_MARK,
    write_emg2qwerty,
    write_torch,
)
from emgmodels.export.onnx import ONNX_MARK, write_onnx

TARGETS = {
    "torch": ("-model.pt", write_torch, TORCH_MARK),
    "onnx": (".onnx", write_onnx, ONNX_MARK),
    "emg2qwerty": ("-emg2qwerty.ckpt", write_emg2qwerty, EMG2QWERTY_MARK),
}
"""By name: end of the file's name, what writes it, and by what such a file is known."""
