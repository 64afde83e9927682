"""When passes are recorded and replayed, and that a replayed training is the same training."""

import gc
import warnings
from contextlib import contextmanager

import pytest
import torch
from tests.helpers.fake_cuda import BEFORE, Stream
from tests.helpers.small_run import SMALL, assert_bit_equal

from crossview.core.errors import UserError
from crossview.core.tensors import parts, rebuilt
from crossview.methods import METHODS
from crossview.networks.vnet import VNet
from crossview.runs.train import train
from crossview.training import graphs
from crossview.training.graphs import MOST, PLAIN, Recorder, Recordings
from crossview.training.recorded_pass import Recording


def network() -> VNet:
    torch.manual_seed(0)
    return VNet(VNet.Options(filters=2, levels=2, dropout=0.0), channels=1, classes=2)


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU."""

    is_cuda = True


class Played:
    """Stands for a recording where there is no GPU."""

    def __init__(self, network, plain, image, taught, stream, pool):
        self.plain, self.taught, self.busy, self.times = plain, taught, False, 0

    def replay(self, image):
        self.times += 1
        return self.plain(image)

    def replay_with_gradient(self, image):
        self.busy = True
        return self.replay(image)


@pytest.fixture
def recorder(monkeypatch, cuda):
    monkeypatch.setattr(graphs, "Recording", Played)
    made = Recorder(network())
    made.active = True
    return made


def image(size=8):
    return torch.randn(1, 1, size, size, size).as_subclass(OnGpu)


def passes(recorder, times, *, taught="logits", size=8):
    for _ in range(times):
        getattr(recorder.network(image(size)), taught).sum().backward()


def recordings(recorder):
    return [each for seen in recorder.kinds.values() for each in seen.recordings]


def test_first_passes_are_plain_then_one_is_recorded(recorder):
    passes(recorder, PLAIN)
    assert recordings(recorder) == []
    passes(recorder, 1)
    (made,) = recordings(recorder)
    assert (made.taught, made.times) == ([0], 1)


@pytest.mark.parametrize(("taught", "place"), [("logits", 0), ("bottleneck", 1), ("decoder", 2)])
def test_outputs_that_are_taught_are_told_from_those_inside(recorder, taught, place):
    passes(recorder, PLAIN + 1, taught=taught)
    assert recordings(recorder)[0].taught == [place]


def test_passes_under_way_have_a_recording_each_up_to_a_number(recorder):
    passes(recorder, PLAIN)
    for _ in range(MOST + 2):
        recorder.network(image())
    assert [each.times for each in recordings(recorder)] == [1] * MOST
    recordings(recorder)[1].busy = False
    recorder.network(image())
    assert [each.times for each in recordings(recorder)] == [1, 2, 1, 1]


def test_a_recording_waits_for_other_threads(recorder):
    waits = []
    recorder.quiet = lambda: waits.append(len(recordings(recorder)))
    passes(recorder, PLAIN + 3)
    assert waits == [0, 1, 2], "once before each recording; here no pass is ever over"


def test_kinds_are_recorded_apart(recorder):
    passes(recorder, PLAIN + 1)
    passes(recorder, PLAIN + 1, size=4)
    with torch.no_grad():
        for _ in range(PLAIN + 1):
            recorder.network(image())
        recorder.network.eval()
        recorder.network(image())
    assert [each.taught for each in recordings(recorder)] == [[0], [0], []]


def test_what_is_outside_of_steps_or_differentiated_by_the_image_is_plain(recorder):
    passes(recorder, PLAIN + 1)
    recorder.active = False
    passes(recorder, 1)
    recorder.active = True
    recorder.network(image().requires_grad_())
    recorder.network(torch.randn(1, 1, 8, 8, 8))
    assert recordings(recorder)[0].times == 1


def test_where_recording_fails_training_goes_on_without(recorder, monkeypatch, cuda):
    def fail(*_):
        try:
            raise RuntimeError("out of memory\nmore")
        except RuntimeError:
            raise RuntimeError("a recording that was spoilt")  # noqa: B904

    monkeypatch.setattr(graphs, "Recording", fail)
    statistics = recorder.network.first.norm.running_mean.clone()
    passes(recorder, PLAIN)
    with pytest.warns(
        UserWarning,
        match=r"not recorded as CUDA graphs: VNet on \(1, 1, 8, 8, 8\) with gradient: "
        r"out of memory$",
    ):
        passes(recorder, 1)
    assert cuda == [BEFORE]
    assert gc.isenabled()
    passes(recorder, 3)
    assert recordings(recorder) == []
    assert recorder.network.forward == recorder.plain
    assert not torch.equal(statistics, recorder.network.first.norm.running_mean)


def test_a_recording_that_fails_has_ended_before_it_is_told(recorder, monkeypatch):
    """If warnings are errors, as in tests, later work must not meet leftovers of the failure."""
    ended = []
    monkeypatch.setattr(graphs, "Recording", lambda *_: [][0])
    monkeypatch.setattr(graphs, "_end_recording", lambda stream, pool: ended.append(pool))
    passes(recorder, PLAIN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="not recorded as CUDA graphs"):
            passes(recorder, 1)
    assert ended == [(0, 1)]
    assert recorder.network.forward == recorder.plain


@pytest.mark.parametrize(
    ("failing", "where"), [(0, "in the forward pass"), (1, "in the backward pass")]
)
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_a_failure_is_told_with_the_part_of_the_recording(cuda, monkeypatch, failing, where):
    made, begun = network(), []

    @contextmanager
    def spoilt(*_, **__):
        begun.append(1)
        yield
        if len(begun) == failing + 1:
            raise RuntimeError("not permitted")

    monkeypatch.setattr(torch.cuda, "graph", spoilt)
    recorder = Recorder(made)
    recorder.active = True
    passes(recorder, PLAIN)
    with pytest.warns(UserWarning, match=rf"not permitted \({where}\)$"):
        passes(recorder, 1)


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_a_plain_pass_under_way_outlives_a_recording(cuda):
    """Batch norm keeps its statistics for the backward pass; restoring them is no change to it."""
    made = network()
    recorder = Recorder(made)
    before = recorder.plain(image())
    mean = made.first.norm.running_mean.clone()
    recorder.record(image(), [0])
    assert torch.equal(made.first.norm.running_mean, mean)
    before.logits.sum().backward()


@pytest.mark.parametrize("scales", [0, 1])
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_a_recording_is_of_the_networks_own_weights(cuda, scales):
    torch.manual_seed(0)
    made = VNet(VNet.Options(filters=2, levels=3), channels=1, classes=2, scales=scales)
    image = torch.randn(2, 1, 8, 8, 8)
    taught = [0, 1, *([3] if scales else [])]
    recorded = Recording(made, made.forward, image, taught, Stream(), (0, 1))
    assert recorded.output.logits.shape == (2, 2, 8, 8, 8)
    assert not recorded.output.logits.requires_grad
    assert [given.shape for given in recorded.given] == [
        parts(recorded.output)[place].shape for place in taught
    ]
    for weight in made.parameters():
        assert not weight.grad.any(), "the recorded gradient of zeros"
    # What is recorded reads the weights where they lie, and adds to where their gradient lies.
    recorded.given[0].fill_(1)
    outputs = parts(made(image))
    gradients = torch.autograd.grad(
        [outputs[place] for place in taught], list(made.parameters()), recorded.given
    )
    assert any(gradient.any() for gradient in gradients)

    output = recorded.replay_with_gradient(image)
    assert recorded.busy
    (output.logits.sum() + output.bottleneck.sum()).backward()
    assert not recorded.busy
    assert recorded.forward.replayed == recorded.backward.replayed == 1
    assert all((given == 1).all() for given in recorded.given[:2])
    with pytest.raises(RuntimeError, match="compile=false"):
        recorded.replay_with_gradient(image).decoder.sum().backward()


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_a_pass_without_gradient_keeps_no_weights(cuda):
    made = network()
    with torch.no_grad():
        recorded = Recording(made, made.forward, image(), [], Stream(), (0, 1))
        output = recorded.replay(image())
    assert output.logits.data_ptr() != recorded.output.logits.data_ptr()
    assert all(weight.grad is None for weight in made.parameters())


def test_recordings_are_on_within_passes_only_and_forgotten():
    some = Recordings([network()])
    (recorder,) = some.recorders
    assert some
    assert not Recordings()
    with some.passes():
        assert recorder.active
    assert not recorder.active
    recorder.kinds = {("a",): graphs.Seen()}
    some.forget()
    assert recorder.kinds == {}
    some.close()
    assert recorder.network.forward == recorder.plain
    with some.passes():
        assert not recorder.active


def test_an_output_taken_apart_and_put_together():
    for dropout, scales in ((0.5, 2), (0.0, 0)):
        torch.manual_seed(0)
        options = VNet.Options(filters=2, levels=3, dropout=dropout)
        made = VNet(options, channels=1, classes=2, scales=scales)
        output = made(torch.randn(1, 1, 8, 8, 8))
        again = rebuilt(output, parts(output))
        assert vars(again).keys() == vars(output).keys()
        assert all(one is other for one, other in zip(parts(output), parts(again), strict=True))


def test_graphs_asked_for_without_a_gpu_are_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be recorded"):
        train(
            "demo",
            None,
            tmp_path / "run",
            overrides=[*SMALL, "training.device=cpu", "training.compile=graphs"],
        )
    assert not (tmp_path / "run").exists()


def of_method(name, out, *sets, max_steps=None, resume=False):
    two_stages = "pretrain_steps" in METHODS[name].Options.model_fields
    steps = (
        ["method.pretrain_steps=5", "method.train_steps=9"] if two_stages else ["method.steps=12"]
    )
    kept = [each for each in SMALL if not each.startswith("method.")]
    common = [
        f"method.name={name}",
        *steps,
        "training.device=cuda",
        "training.deterministic=true",
        *sets,
    ]
    return train("demo", None, out, overrides=[*kept, *common], max_steps=max_steps, resume=resume)[
        0
    ]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].recordable])
def test_a_replayed_training_is_the_same(tmp_path, monkeypatch, name, precision):
    """Bit for bit, dropout included; of two stages the second is recorded."""
    first = (
        ["method.pretrain_steps=2"]
        if "pretrain_steps" in METHODS[name].Options.model_fields
        else []
    )
    sets = (f"training.precision={precision}", "training.compile=graphs", *first)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "passes are not recorded")
        warnings.filterwarnings("error", "The AccumulateGrad node's stream")
        replayed = of_method(name, tmp_path / "replayed", *sets)
    monkeypatch.setattr(graphs, "PLAIN", 10**9)
    assert_bit_equal(of_method(name, tmp_path / "plain", *sets), replayed)


@pytest.mark.gpu
def test_a_replayed_training_resumes_bit_equal(tmp_path):
    whole = of_method("cml", tmp_path / "whole", "training.compile=graphs")
    of_method("cml", tmp_path / "parts", "training.compile=graphs", max_steps=10)
    assert_bit_equal(
        whole, of_method("cml", tmp_path / "parts", "training.compile=graphs", resume=True)
    )


@pytest.mark.gpu
def test_on_a_gpu_auto_records_where_the_method_allows_it(tmp_path):
    kept = [each for each in SMALL if not each.startswith("method.")]
    for name, expected in (("cml", "graphs"), ("ss_net", False)):
        run = train(
            "demo",
            None,
            tmp_path / name,
            overrides=[*kept, f"method.name={name}", "training.device=cuda"],
            max_steps=1,
        )[0]
        assert run.recipe.training.compile == expected
