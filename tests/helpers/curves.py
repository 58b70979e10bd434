"""Learning curves made up for replays: a plateau, then exponential decay with noise."""

from __future__ import annotations

import csv
import math
import random

from click.testing import Result
from typer.testing import CliRunner

from search.simulate.__main__ import app
from search.simulate.replay import Curve

EPOCHS = 20


def made_up(seed, count=40, epochs=EPOCHS, sources=2):
    """Return learning curves whose plateaus end at epoch 1 to 6; good ones end a little sooner."""
    draw = random.Random(seed)
    curves = []
    for number in range(count):
        final = draw.uniform(10, 60)
        start = 1 + round(final / 15 + draw.uniform(0, 2))
        cer, loss = [], []
        for epoch in range(1, epochs + 1):
            progress = math.exp(-max(0, epoch - start) / 4)
            cer.append((final + (100 - final) * progress) * draw.uniform(0.97, 1.03))
            loss.append((final / 30 + 3 * progress) * draw.uniform(0.97, 1.03) + 0.02 * epoch)
            if epoch <= start:
                cer[-1] = 100.0
                loss[-1] = 3.2 + final / 100 - 0.02 * epoch * draw.uniform(0.9, 1.1)
        seconds = [draw.uniform(50, 70)] * epochs
        curves.append(Curve(f"run{number}", f"source{number % sources}", cer, loss, seconds))
    return curves


def write_csv(path, curves, columns=("run", "source", "epoch", "val_cer", "val_loss", "seconds")):
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for curve in curves:
            for index, (cer, loss) in enumerate(zip(curve.cer, curve.loss, strict=True)):
                row = {"run": curve.name, "source": curve.source, "epoch": index + 1}
                row |= {"val_cer": cer, "val_loss": loss, "seconds": curve.seconds[index]}
                table.writerow([row[column] for column in columns])
    return path


def simulate(*arguments: object) -> Result:
    """Run ``python -m search.simulate`` in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
