"""The optimizers compute what PyTorch's own do, without its compiler."""

import copy
import subprocess
import sys

import pytest
import torch

from emgmodels.compute.optimizers import OPTIMIZERS


def trained(kind: type[torch.optim.Optimizer]) -> torch.Tensor:
    """Return weights after a few steps, between which the optimizer's state was stored."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 8)
    optimizer = kind(layer.parameters(), lr=0.01, weight_decay=0.1, fused=True)
    for step in range(4):
        optimizer.zero_grad()
        layer(torch.full((2, 8), float(step))).square().sum().backward()
        optimizer.step()
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return layer.weight.detach()


@pytest.mark.parametrize(
    ("name", "plain"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_weights_are_those_of_pytorchs_own_optimizer(name, plain):
    assert torch.equal(trained(OPTIMIZERS[name]), trained(plain))


def test_a_training_step_does_not_load_the_compiler():
    code = (
        "import sys, test_optimizers as tests\n"
        "tests.trained(tests.OPTIMIZERS['adam'])\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=__file__.rpartition("/")[0],
        check=False,
    )
    assert done.stdout.strip() == "False", done.stderr
