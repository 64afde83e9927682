"""Effects of CML's options. Its equations are tested in test_cml_golden."""

import numpy as np
import pytest
import torch

from crossview.core.rng import Randomness
from crossview.core.tensors import Batch
from crossview.methods import cml as module
from crossview.methods import heads
from crossview.methods.cml import CML
from crossview.networks.unet import UNet


def make(dropout=0.5, **options):
    torch.manual_seed(0)

    def build(upsample):
        return UNet(
            UNet.Options(filters=2, levels=2, dropout=(dropout, dropout), upsample=upsample),
            channels=1,
            classes=3,
        )

    return CML(CML.Options(name="cml", **options), build)


def batch(unlabelled=True):
    random = torch.Generator().manual_seed(1)
    image = torch.randn(4, 1, 16, 16, generator=random)
    label = torch.randint(0, 3, (4, 16, 16), generator=random)
    return Batch(
        image,
        label,
        torch.randn(4, 1, 16, 16, generator=random) if unlabelled else None,
        Randomness(7),
    )


def terms(method, made, seed=0):
    torch.manual_seed(seed)
    found = {}
    for part in method.train().loss(made, method.stages[-1], 0):
        found |= part
    return found


def test_views_differ_by_their_upsampling():
    method = make()
    assert [view.options.upsample for view in (method.view1, method.view2)] == [
        "transposed",
        "linear",
    ]
    assert list(method.views(batch().image)) == ["view1", "view2"]


def test_shared_views_are_one_network_seen_once_at_inference():
    method = make(shared_views=True)
    assert method.view2 is None
    assert list(method.views(batch().image)) == ["view1"]
    assert sum(p.numel() for p in method.parameters()) == sum(
        p.numel() for p in method.view1.parameters()
    )


def test_shared_views_without_dropout_have_a_discrepancy_of_two_and_no_gradient():
    method = make(dropout=0.0, shared_views=True)
    found = terms(method, batch(unlabelled=False))
    assert found["labelled discrepancy"].item() == pytest.approx(0.2 * 4, rel=1e-5)
    gradients = torch.autograd.grad(
        found["labelled discrepancy"], list(method.parameters()), allow_unused=True
    )
    assert all(gradient is None or gradient.abs().max() < 1e-6 for gradient in gradients)


def test_stage_one_gives_labelled_terms_only():
    assert set(terms(make(), batch(unlabelled=False))) == {"labelled", "labelled discrepancy"}


def test_weights_scale_their_terms():
    plain, heavy = (
        terms(make(), batch()),
        terms(make(labelled_weight=2, unlabelled_weight=3, discrepancy_weight=1), batch()),
    )
    for name, factor in {
        "labelled": 2,
        "unlabelled": 3,
        "labelled discrepancy": 5,
        "unlabelled discrepancy": 5,
    }.items():
        assert heavy[name].item() == pytest.approx(factor * plain[name].item(), rel=1e-5)


def test_each_view_is_taught_by_the_other_outside_the_box_and_by_itself_inside(monkeypatch):
    method = make()
    labels = [torch.full((4, 16, 16), value, dtype=torch.uint8) for value in (1, 2)]
    monkeypatch.setattr(
        CML, "pseudo_labels", lambda self, image: [lambda: labels[0], lambda: labels[1]]
    )
    box = (slice(2, 10), slice(3, 11))
    monkeypatch.setattr(module, "random_box", lambda *_: box)
    from dataclasses import replace

    terms(method, replace(batch(), show=True))
    for name, outside, inside in (("target view1", 2, 1), ("target view2", 1, 2)):
        expected = np.full((2, 16, 16), outside)
        expected[(slice(None), *box)] = inside
        np.testing.assert_array_equal(method.show[name], expected)


def test_pseudo_labels_carry_no_gradient_and_leave_the_mode():
    for mode in ("train", "eval"):
        method = make(pseudo_labels=mode).train()
        labels = [label() for label in method.pseudo_labels(batch().unlabelled)]
        assert method.training
        assert all(not label.requires_grad and label.shape == (4, 16, 16) for label in labels)


def test_pseudo_labels_in_eval_mode_see_no_dropout_and_leave_the_statistics():
    method = make(pseudo_labels="eval").train()
    statistics = {name: value.clone() for name, value in method.named_buffers()}
    first, again = (
        [label() for label in method.pseudo_labels(batch().unlabelled)] for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(torch.equal(value, statistics[name]) for name, value in method.named_buffers())
    method = make(pseudo_labels="train").train()
    first, again = (
        [label() for label in method.pseudo_labels(batch().unlabelled)] for _ in range(2)
    )
    assert not all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_clean_up_can_be_switched_off(monkeypatch):
    def fail(*_):
        raise AssertionError("components were labelled")

    monkeypatch.setattr(heads, "clean_async", fail)
    assert "unlabelled" in terms(make(largest_component=False), batch())
    with pytest.raises(AssertionError):
        terms(make(), batch())


def test_no_labelled_stage_means_no_selected_start():
    (only,) = make(pretrain_steps=0).stages
    assert (only.name, only.from_selected) == ("train", False)
