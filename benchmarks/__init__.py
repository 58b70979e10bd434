"""Benchmarks: each figure beside a plain reference implementation, measured in the same run.

python -m benchmarks list
python -m benchmarks run windows training_step --threads 2
"""
