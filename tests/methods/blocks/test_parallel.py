"""Passes at the same time: the numbers of passes in turn, whichever thread is faster."""

import threading
import time
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from crossview.core.tensors import Output, parts
from crossview.methods.blocks.parallel import InThreads, in_turn
from crossview.networks.vnet import VNet
from crossview.training.device import autocast

CPU = torch.device("cpu")


def networks(dropout: float = 0.0) -> list[VNet]:
    torch.manual_seed(0)
    options = VNet.Options(filters=2, levels=3, dropout=dropout)
    return [VNet(options, channels=1, classes=2) for _ in range(2)]


@pytest.fixture
def threads():
    made = InThreads(2)
    yield made
    made.close()


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_outputs_statistics_and_gradients_are_those_of_passes_in_turn(threads, precision):
    image, found = torch.randn(2, 1, 16, 16, 16), []
    for together in (in_turn, threads):
        one, other = networks()
        with autocast(CPU, precision):
            first, second = together(partial(one, image), partial(other, image))
            assert first.logits.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
            # Each pass is taught by the other one, in two outputs.
            loss = (first.logits.float() - second.logits.detach()).square().mean()
            loss = loss + (second.logits.float() - first.logits.detach()).square().mean()
            loss = loss + (first.bottleneck * second.bottleneck.detach()).float().mean()
        loss.backward()
        weights = [each for network in (one, other) for each in network.parameters()]
        found.append(
            [
                *(each.detach() for each in parts(first) + parts(second)),
                *(each.grad for each in weights if each.grad is not None),
                *one.buffers(),
                *other.buffers(),
            ]
        )
    assert len(found[0]) == len(found[1])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found, strict=True))


def test_a_convolution_that_bfloat16_gets_wrong_is_safe_in_a_thread_too(threads):
    """A network of a plugin, whose layers are torch's own."""
    image, weight = torch.randn(2, 1, 2, 8, 8), torch.randn(4, 1, 3, 3, 3)

    def run():
        features = F.conv3d(image, weight, padding=1)
        return Output(features, features, features)

    with autocast(CPU, "bf16"):
        found = [together(run, run)[0].logits for together in (in_turn, threads)]
    assert [each.dtype for each in found] == [torch.float32] * 2
    assert torch.equal(*found)


def test_dropout_does_not_depend_on_which_thread_is_faster(threads):
    one, other = networks(dropout=0.5)
    image, found = torch.randn(2, 1, 8, 8, 8), []

    def late(network: VNet, seconds: float) -> Output:
        time.sleep(seconds)
        output: Output = network(image)
        return output

    for waits in ((0.0, 0.2), (0.2, 0.0)):
        torch.manual_seed(5)
        outputs = threads(*map(partial, [late, late], [one, other], waits))
        found.append([*(output.logits for output in outputs), torch.rand(3)])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    again = threads(partial(one, image), partial(one.eval(), image))
    assert not torch.equal(again[0].logits, found[0][0])


def test_passes_run_at_the_same_time_forward_and_backward(threads):
    meeting = threading.Barrier(2)

    class Meeting(torch.autograd.Function):
        @staticmethod
        def forward(context, tensor):
            meeting.wait(timeout=20)
            return tensor.clone()

        @staticmethod
        def backward(context, gradient):
            meeting.wait(timeout=20)
            return gradient

    weights = [torch.ones(3, requires_grad=True) for _ in range(2)]

    def run(weight):
        met = Meeting.apply(weight)
        return Output(met, met * 2, met * 3)

    first, second = threads(*(partial(run, weight) for weight in weights))
    (first.logits.sum() + second.bottleneck.sum()).backward()
    assert weights[0].grad.tolist() == [1.0] * 3
    assert weights[1].grad.tolist() == [2.0] * 3


def test_a_pass_that_no_loss_uses_gets_no_gradient(threads):
    one, other = networks()
    image = torch.randn(2, 1, 8, 8, 8)
    first, _ = threads(partial(one, image), partial(other, image))
    first.logits.mean().backward()
    assert all(weight.grad is not None for weight in one.parameters())
    assert all(weight.grad is None for weight in other.parameters())


def test_passes_without_gradient_keep_no_graph(threads):
    one, other = networks()
    with torch.no_grad():
        outputs = threads(*(partial(each, torch.randn(1, 1, 8, 8, 8)) for each in (one, other)))
    assert not any(part.requires_grad for output in outputs for part in parts(output))


def test_an_error_of_a_pass_is_raised(threads):
    one, other = networks()
    with pytest.raises(RuntimeError, match="Expected"):
        threads(partial(one, torch.randn(1, 1, 8, 8, 8)), partial(other, torch.randn(1, 1, 8)))


def test_torchs_threads_are_divided_among_the_passes_and_given_back():
    before, found = torch.get_num_threads(), []
    torch.set_num_threads(4)
    try:
        made = InThreads(2)
        assert made.each(lambda _: torch.get_num_threads(), range(4)) == [2] * 4
        assert torch.get_num_threads() == 2
        made.close()
        later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert (torch.get_num_threads(), found) == (4, [4])
    finally:
        torch.set_num_threads(before)
