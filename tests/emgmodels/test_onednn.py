import pytest
import torch
from torch.nn.functional import linear

from emgmodels.compute.onednn import OneDnnLinear

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN"
)


@needs_onednn
@pytest.mark.parametrize("shape", [(1, 1, 7), (3, 5, 7), (1, 601, 33), (4, 18)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_a_product_and_its_gradients_are_those_of_torch(shape, with_bias):
    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.randn(shape, generator=generator)
    weight = torch.randn(11, shape[-1], generator=generator)
    bias = torch.randn(11, generator=generator) if with_bias else None
    found = []
    for product in (linear, OneDnnLinear.apply):
        leaves = [t.clone().requires_grad_() for t in (x, weight, bias) if t is not None]
        y = product(*leaves, *([] if with_bias else [None]))
        y.sin().sum().backward()
        found.append([y, *(leaf.grad for leaf in leaves)])
    for expected, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@needs_onednn
def test_a_gradient_that_is_not_contiguous_and_inputs_that_need_none():
    x, weight = torch.randn(4, 6, 5), torch.randn(3, 5, requires_grad=True)
    OneDnnLinear.apply(x, weight, None).transpose(0, 1).square().sum().backward()
    expected = 2 * linear(x, weight).flatten(0, 1).T @ x.flatten(0, 1)
    torch.testing.assert_close(weight.grad, expected, atol=1e-4, rtol=1e-4)
