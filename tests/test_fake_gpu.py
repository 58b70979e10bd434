"""The fake GPU refuses what CUDA refuses, and counts what waits for CUDA."""

import numpy as np
import pytest
import torch

from tests.fake_gpu import FakeGpu, Refused, on_gpu


@pytest.fixture
def gpu():
    with FakeGpu() as plugged:
        yield plugged


def here(*shape, **options):
    return torch.ones(shape, device="cuda", **options)


TWO_DEVICES = "at least two devices, cuda:0 and cpu"
REFUSED = {
    "a sum of both sides": (TWO_DEVICES, lambda: here(3) + torch.ones(3)),
    "a sum of both sides, in place": (TWO_DEVICES, lambda: here(3).add_(torch.ones(3))),
    "a number of the GPU added to the CPU in place": (
        TWO_DEVICES,
        lambda: torch.ones(()).add_(here()),
    ),
    "a CPU tensor times a number of the GPU": (TWO_DEVICES, lambda: torch.ones(3) * here()),
    "a product of matrices": (TWO_DEVICES, lambda: here(2, 2) @ torch.ones(2, 2)),
    "a layer on the other side": (TWO_DEVICES, lambda: torch.nn.Linear(2, 2)(here(1, 2))),
    "a recurrent layer on the other side": (TWO_DEVICES, lambda: torch.nn.GRU(2, 2)(here(1, 2))),
    "a number of the CPU concatenated": (
        TWO_DEVICES,
        lambda: torch.stack([here(), torch.ones(())]),
    ),
    "a mask of the other side": (
        TWO_DEVICES,
        lambda: torch.where(torch.ones(3, dtype=torch.bool), here(3), 0.0),
    ),
    "an index of gather": (
        TWO_DEVICES,
        lambda: here(3).gather(0, torch.zeros(1, dtype=torch.long)),
    ),
    "an index of index_select": (
        TWO_DEVICES,
        lambda: here(3).index_select(0, torch.zeros(1, dtype=torch.long)),
    ),
    "an embedding": (
        TWO_DEVICES,
        lambda: torch.nn.functional.embedding(torch.zeros(1, dtype=torch.long), here(3, 2)),
    ),
    "an index of the GPU into the CPU": (
        "indices should be either on cpu",
        lambda: torch.ones(3)[here(1, dtype=torch.long)],
    ),
    "values of the CPU put by an index": (
        TWO_DEVICES,
        lambda: here(3).index_put_((here(2, dtype=torch.long),), torch.ones(2)),
    ),
    "targets of a loss": (
        TWO_DEVICES,
        lambda: torch.nn.functional.nll_loss(here(2, 3), torch.ones(2, dtype=torch.long)),
    ),
    "targets of CTC": (TWO_DEVICES, lambda: ctc(torch.ones(1, 1, dtype=torch.long))),
    "a gradient of the other side": (
        TWO_DEVICES,
        lambda: here(3, requires_grad=True).backward(torch.ones(3)),
    ),
    "a CPU generator": (
        "Expected a 'cuda' device type for generator",
        lambda: torch.rand(2, device="cuda", generator=torch.Generator()),
    ),
    "a CPU generator, in place": (
        "Expected a 'cuda' device type for generator",
        lambda: here(2).uniform_(generator=torch.Generator()),
    ),
    "a generator of the GPU": (
        "Expected a 'cpu' device type for generator",
        lambda: torch.rand(2, generator=torch.Generator("cuda")),
    ),
    "float64 made": ("float64", lambda: here(2, dtype=torch.float64)),
    "float64 by a conversion": ("float64", lambda: here(2).double()),
    "float64 sent": ("float64", lambda: torch.from_numpy(np.ones(2)).to("cuda")),
    "float64 from an array": ("float64", lambda: torch.tensor(np.ones(2), device="cuda")),
    "complex128": ("float64", lambda: here(2).to(torch.complex128)),
    "an asynchronous copy that is not pinned": (
        "not pinned",
        lambda: torch.ones(2).to("cuda", non_blocking=True),
    ),
    "an asynchronous copy in place that is not pinned": (
        "not pinned",
        lambda: here(2).copy_(torch.ones(2), non_blocking=True),
    ),
    "a view of the whole that was pinned": (
        "not pinned",
        lambda: torch.ones(2).pin_memory().clone().cuda(non_blocking=True),
    ),
    "an asynchronous copy to the CPU": (
        "read when",
        lambda: here(2).to("cpu", non_blocking=True),
    ),
    "pinning what is on the GPU": ("cannot pin", lambda: here(2).pin_memory()),
    "another GPU": ("invalid device ordinal", lambda: torch.ones(2, device="cuda:1")),
}


def ctc(targets, lengths_at="cpu"):
    log_probs = here(4, 1, 3).log_softmax(-1).requires_grad_()
    length = torch.ones(1, dtype=torch.long, device=lengths_at)
    return torch.nn.functional.ctc_loss(log_probs, targets, 4 * length, length)


@pytest.mark.parametrize("what", REFUSED)
def test_it_refuses(gpu, what):
    message, try_it = REFUSED[what]
    with pytest.raises(Refused, match=message):
        try_it()


@pytest.mark.parametrize("ask", [torch.Tensor.numpy, np.asarray, np.log10])
def test_it_is_no_array(gpu, ask):
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        ask(here(2))


@pytest.mark.parametrize("cell", [torch.nn.GRU, torch.nn.LSTM])
def test_autocast_of_a_recurrence_is_refused(gpu, cell):
    layer = cell(2, 2).to("cuda")
    assert on_gpu(layer(here(3, 2))[0])
    with torch.autocast("cuda", torch.bfloat16), pytest.raises(Refused, match="float16"):
        layer(here(3, 2))


TAKEN = {
    "a number of the CPU": lambda: here(3) * torch.tensor(2.0),
    "a number of the CPU on the left": lambda: torch.tensor(2.0) - here(3),
    "a number filled in": lambda: here(3).masked_fill_(here(3) > 0, torch.tensor(2.0)),
    "what a call makes inside": lambda: torch.block_diag(here(2, 2), here(1, 1)),
    "a generator of its own": lambda: torch.rand(
        3, device="cuda", generator=torch.Generator("cuda")
    ),
    "new numbers": lambda: here(1).new_zeros(3),
    "numbers like others": lambda: torch.zeros_like(here(3)),
    "a view": lambda: here(3, 2).transpose(0, 1)[1:],
    "a pinned copy": lambda: torch.ones(3).pin_memory().to("cuda", non_blocking=True),
    "an item set": lambda: here(3).__setitem__(0, 2.0) or here(3),
    "what is moved like another": lambda: torch.ones(3).pin_memory().to(here(1), non_blocking=True),
    "all of it under a default": lambda: _under_default(),
}


def _under_default():
    with torch.device("cuda"):
        return torch.arange(3) * 2


@pytest.mark.parametrize("what", TAKEN)
def test_it_takes_and_does_not_wait(gpu, what):
    found = TAKEN[what]()
    assert found.is_cuda
    assert found.device == torch.device("cuda:0")
    assert gpu.waits == []


WAITS = {
    "item": (1, lambda x: x.sum().item()),
    "a float": (1, lambda x: float(x.sum())),
    "a condition": (1, lambda x: bool((x > 0).any())),
    "an if": (1, lambda x: 1 if x.sum() > 0 else 0),
    "a list": (1, lambda x: x.tolist()),
    "a copy to the CPU": (1, lambda x: x.cpu()),
    "a copy to the CPU by its name": (1, lambda x: x.to("cpu")),
    "a copy into a CPU tensor": (1, lambda x: torch.zeros(3).copy_(x)),
    "a copy that is waited for": (1, lambda x: torch.ones(3).to("cuda")),
    "a pinned copy that is waited for": (1, lambda x: torch.ones(3).pin_memory().to("cuda")),
    "a tensor of a list": (1, lambda x: torch.tensor([1.0, 2.0], device="cuda")),
    "an item of the CPU set": (1, lambda x: x.__setitem__(0, torch.tensor(2.0))),
    "nonzero": (1, lambda x: x.nonzero()),
    "a boolean index": (1, lambda x: x[x > 0]),
    "a boolean index set": (1, lambda x: x.__setitem__(x > 0, here(3))),
    "an index of the CPU": (1, lambda x: x[torch.tensor([0, 2])]),
    "a list as an index": (1, lambda x: x[[0, 2]]),
    "a number of the GPU as an index": (1, lambda x: x[here(dtype=torch.long)]),
    "masked_select": (1, lambda x: x.masked_select(x > 0)),
    "unique": (1, lambda x: x.unique()),
    "equal": (1, lambda x: x.equal(x)),
    "repeats of unknown number": (
        1,
        lambda x: x.repeat_interleave(here(3, dtype=torch.long)),
    ),
    "synchronize": (1, lambda x: torch.cuda.synchronize()),
    "CTC's copies of lengths and offsets, and for its mean": (
        4,
        lambda x: ctc(here(1, 1, dtype=torch.long)),
    ),
    "CTC of lengths on the GPU": (6, lambda x: ctc(here(1, 1, dtype=torch.long), "cuda")),
}


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("what", WAITS)
def test_it_counts_what_waits(gpu, what, inference):
    count, call = WAITS[what]
    x = here(3)
    with torch.inference_mode(inference):
        call(x)
    assert len(gpu.waits) == count, gpu.waits


def test_the_backward_pass_of_ctc_copies_again(gpu):
    loss = ctc(here(1, 1, dtype=torch.long))
    gpu.waits.clear()
    loss.backward()
    assert len(gpu.waits) == 3


def test_weights_move_learn_and_travel(gpu, tmp_path):
    layer = torch.nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    layer.to("cuda")
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    layer(here(4, 3)).square().mean().backward()
    torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    optimizer.step()
    state = {"model": layer.state_dict(), "optimizer": optimizer.state_dict()}
    assert all(map(on_gpu, [layer.weight, layer.weight.grad]))
    assert all(on_gpu(each["exp_avg"]) for each in state["optimizer"]["state"].values())
    assert not torch.equal(layer.weight.cpu(), before)
    torch.save(state, tmp_path / "gpu.pt")
    assert on_gpu(torch.load(tmp_path / "gpu.pt", weights_only=True)["model"]["weight"])
    found = torch.load(tmp_path / "gpu.pt", weights_only=True, map_location="cpu")
    assert not on_gpu(found["model"]["weight"])


def test_a_file_of_it_needs_a_place_on_a_machine_without(tmp_path):
    with FakeGpu():
        torch.save(here(3), tmp_path / "gpu.pt")
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(tmp_path / "gpu.pt", weights_only=True)
    assert (
        torch.load(tmp_path / "gpu.pt", weights_only=True, map_location="cpu").tolist() == [1] * 3
    )


def test_it_leaves_nothing_behind():
    before = {name: getattr(torch.cuda, name) for name in ("is_available", "_initialized")}
    with FakeGpu():
        assert torch.cuda.is_available()
    assert {name: getattr(torch.cuda, name) for name in before} == before
    assert not torch.cuda.is_available()
    assert torch.ones(2).numpy().sum() == 2
    with pytest.raises(AssertionError, match="not compiled with CUDA"):
        torch.ones(2, device="cuda")
