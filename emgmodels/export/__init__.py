"""Trained models as files for others: one that ``emgmodels.load`` reads, ONNX, emg2qwerty's.

python -m emgmodels.export runs/deep-001/checkpoints/BEST.pt --to torch
"""
