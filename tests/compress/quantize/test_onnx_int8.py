"""Int8 as ONNX Runtime computes it, against the same arithmetic written out in NumPy."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from supple.compress.quantize.onnx_export import export_onnx
from supple.compress.quantize.onnx_graph import OnnxNetwork, record
from supple.compress.quantize.onnx_int8 import OnnxInt8
from supple.elastic._formats._onnx import session
from supple.errors import DataError, ExampleError, ExportError
from supple.measure import FileSize, Latency


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Residual(nn.Module):
    """What the names of layers must survive: batch norms, a shortcut, equal shapes, pooling."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.one = nn.Conv2d(8, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = (x + self.two(self.one(x).relu())).relu()
        return self.head(x.mean((2, 3)))


def residual():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Residual()
        with torch.no_grad():
            network.norm.weight.uniform_(0.5, 2)
            network.norm.bias.uniform_(-1, 1)
            network.norm.running_mean.uniform_(-1, 1)
            network.norm.running_var.uniform_(0.5, 2)
        return network.eval()


X = draws(32, 3, 6, 6)
DATA = [(X, None)]


def nodes_of(network):
    return onnx.load_model_from_string(network.onnx_model).graph.node


# The graph


def test_layers_keep_their_names_through_recording():
    network = residual()
    graph = record(network, (X[:1],))
    assert graph.layers == ("stem", "one", "two", "head")
    assert graph.any_batch
    model = onnx.load_model_from_string(graph.model).graph
    stored = {item.name: numpy_helper.to_array(item) for item in model.initializer}
    inputs = {node.name: node.input for node in model.node}
    scale = network.norm.weight / (network.norm.running_var + network.norm.eps).sqrt()
    folded = (network.stem.weight * scale[:, None, None, None]).detach().numpy()
    np.testing.assert_allclose(stored[inputs[graph.nodes["stem"]][1]], folded, rtol=1e-5)
    for name in ("one", "two", "head"):
        weight = dict(network.named_parameters())[f"{name}.weight"].detach().numpy()
        np.testing.assert_array_equal(stored[inputs[graph.nodes[name]][1]], weight)


def test_a_graph_in_floats_is_the_network_at_any_batch_size():
    network = residual()
    same = OnnxNetwork(record(network, (X[:1],)))
    for size in (1, 3, 7):
        torch.testing.assert_close(same(X[:size]), network(X[:size]), atol=1e-5, rtol=1e-5)


def test_products_with_a_weight_are_layers_too():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(6, 9, bias=False), nn.Linear(9, 6)

        def forward(self, x):
            return {"y": self.down(self.up(x).relu())}

    network = Tokens().eval()
    x = draws(4, 5, 6)
    graph = record(network, {"x": x})
    assert graph.layers == ("up", "down")
    int8 = OnnxInt8().quantize(graph, ["up", "down"], [({"x": x}, None)])
    assert (int8(x=x)["y"] - network(x)["y"]).abs().max() < 0.05


def test_a_network_that_takes_one_batch_size_is_quantized_for_that():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x.reshape(2, 4))

    network, x = Fixed().eval(), draws(2, 4)
    graph = record(network, (x,))
    assert not graph.any_batch
    seven = torch.cat([x, draws(5, 4, seed=1)])  # read in pairs, the last one left out
    int8 = OnnxInt8().quantize(graph, ["layer"], [(seven, None)])
    assert (int8(x) - network(x)).abs().max() < 0.1


def test_a_network_that_does_not_run_on_its_example_is_told():
    with pytest.raises(ExampleError):
        record(residual(), (draws(1, 4, 6, 6),))


# The arithmetic


def test_int8_is_the_arithmetic_of_the_formula():
    """One linear layer: q = clip(round(x / s) + z), products of integers, scaled back."""
    network = nn.Sequential(nn.Linear(16, 8)).eval()
    x = draws(64, 16)
    int8 = OnnxInt8(reduce_range=False).quantize(record(network, (x[:1],)), ["0"], [(x, None)])

    weight, bias = (p.detach().double().numpy() for p in network.parameters())
    scale_w = np.abs(weight).max(axis=1) / 127
    q_w = np.clip(np.round(weight / scale_w[:, None]), -127, 127)

    def affine(values):
        low, high = min(values.min(), 0.0), max(values.max(), 0.0)
        scale = (high - low) / 255
        zero = np.round(-low / scale)
        return scale, lambda v: np.clip(np.round(v / scale) + zero, 0, 255) - zero

    scale_x, q_x = affine(x.double().numpy())
    exact = network(x).detach().double().numpy()
    scale_y, q_y = affine(exact)
    sums = q_x(x.double().numpy()) @ q_w.T + np.round(bias / (scale_x * scale_w))
    expected = q_y(sums * scale_x * scale_w) * scale_y
    steps = np.abs(int8(x).numpy() - expected) / scale_y
    assert steps.max() <= 1.01  # float32 and ties may round one step elsewhere
    assert (steps > 0.5).mean() < 0.02
    assert np.abs(expected - exact).max() > scale_y / 4  # it is not just the float result


@pytest.mark.parametrize("layers", [(), ("two",), ("stem", "head"), ("stem", "one", "two", "head")])
def test_chosen_layers_and_no_others_are_int8(layers):
    network = residual()
    graph = record(network, (X[:1],))
    int8 = OnnxInt8().quantize(graph, layers, DATA)
    assert int8.int8_layers == layers
    made = {output: node for node in nodes_of(int8) for output in node.output}
    for layer, name in graph.nodes.items():
        node = next(node for node in nodes_of(int8) if node.name == name)
        weight = made.get(node.input[1])
        assert (weight is not None and weight.op_type == "DequantizeLinear") == (layer in layers)
    apart = (int8(X) - network(X)).abs().max()
    assert apart < 0.05 * network(X).abs().max()
    assert (apart < 1e-5) == (not layers)


def test_no_layer_in_int8_changes_nothing():
    graph = record(residual(), (X[:1],))
    assert OnnxInt8().quantize(graph, [], []).onnx_model == graph.model


def test_what_lies_between_int8_layers_stays_in_int8():
    graph = record(residual(), (X[:1],))

    def quantized_inputs(layers, **settings):
        int8 = OnnxInt8(**settings).quantize(graph, layers, DATA)
        made = {output: node.op_type for node in nodes_of(int8) for output in node.output}
        return {
            node.op_type: [made.get(name) for name in node.input]
            for node in nodes_of(int8)
            if node.op_type in ("Add", "ReduceMean")
        }

    whole = quantized_inputs(graph.layers)
    assert whole["Add"] == ["DequantizeLinear"] * 2
    assert whole["ReduceMean"][0] == "DequantizeLinear"
    # The addition is read by the head alone, which is in floats here.
    some = quantized_inputs(("stem", "one", "two"))
    assert some["ReduceMean"][0] == "Relu"
    assert "QuantizeLinear" not in str(quantized_inputs(graph.layers, between=False)["ReduceMean"])


def test_int8_files_are_smaller_and_kernels_are_of_integers(tmp_path):
    network = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 64)).eval()
    x = draws(8, 128)
    graph = record(network, (x[:1],))
    int8 = OnnxInt8().quantize(graph, graph.layers, [(x, None)])
    whole, small = (FileSize().measure(one).value for one in (OnnxNetwork(graph), int8))
    assert whole == len(graph.model)
    assert small < 0.3 * whole
    options = session(int8.onnx_model, threads=1).get_session_options()
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    import onnxruntime

    onnxruntime.InferenceSession(int8.onnx_model, options, providers=["CPUExecutionProvider"])
    kernels = {node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node}
    assert kernels & {"QGemm", "QLinearMatMul"}
    assert not kernels & {"Gemm", "MatMul", "FusedGemm"}


def test_int8_and_floats_are_timed_as_any_two_networks():
    graph = record(residual(), (X[:1],))
    int8 = OnnxInt8().quantize(graph, graph.layers, DATA)
    latency = Latency(example=(X[:1],), backend="onnxruntime", rounds=6, max_seconds=0.1)
    found = latency.compare(int8, OnnxNetwork(graph))
    assert found.ratio > 0
    assert found.batch == 1


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_every_calibration_gives_a_network_near_the_one_in_floats(method):
    network = residual()
    graph = record(network, (X[:1],))
    int8 = OnnxInt8(method=method).quantize(graph, graph.layers, DATA)
    right = int8(X).argmax(1) == network(X).argmax(1)
    assert right.float().mean() > 0.85


def test_only_as_many_samples_are_read_as_asked():
    read = []

    def batches():
        for number in range(100):
            read.append(number)
            yield draws(8, 3, 6, 6, seed=number), None

    graph = record(residual(), (X[:1],))
    OnnxInt8(samples=20).quantize(graph, ["stem"], batches())
    assert read == [0, 1, 2]


def test_a_constant_network_does_not_divide_by_zero():
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network[0].bias.fill_(2.0)
    x = draws(8, 4)
    graph = record(network, (x[:1],))
    assert set(graph.layers) == {"0", "2"}
    out = OnnxInt8().quantize(graph, graph.layers, [(x, None)])(x)
    assert torch.equal(out, torch.zeros(8, 2))


# What goes wrong


def test_wrong_requests_say_what_is_right():
    graph = record(residual(), (X[:1],))
    with pytest.raises(ExportError, match="no layer 'stm'") as caught:
        OnnxInt8().quantize(graph, ["stm"], DATA)
    assert "'stem'" in caught.value.hint
    with pytest.raises(DataError, match="no calibration data"):
        OnnxInt8().quantize(graph, ["stem"], [])
    with pytest.raises(DataError, match="NaN"):
        OnnxInt8().quantize(graph, ["stem"], [(X * float("nan"), None)])
    with pytest.raises(ExportError, match="'entropy'"):
        OnnxInt8(method="entropie")
    with pytest.raises(ExportError, match="samples=0"):
        OnnxInt8(samples=0)


# Files


def test_a_written_file_gives_exactly_what_was_measured(tmp_path):
    network = residual()
    graph = record(network, (X[:1],))
    int8 = OnnxInt8().quantize(graph, ["one", "two"], DATA)
    report = export_onnx(int8, tmp_path / "a" / "small.onnx", config={"w": 8}, metadata={"n": 1})
    assert report.batches == (1, 2, 5)
    assert report.largest_difference == 0
    assert report.file_bytes == (tmp_path / "a" / "small.onnx").stat().st_size
    assert report.notes[0].startswith("2 of 4 layers are int8; the outputs are within 0.0")
    opened = session(tmp_path / "a" / "small.onnx", threads=1)
    assert np.array_equal(opened.run(None, {"x": X.numpy()})[0], int8(X).numpy())


def test_other_formats_are_refused_and_leave_nothing(tmp_path):
    int8 = OnnxNetwork(record(residual(), (X[:1],)))
    with pytest.raises(ExportError, match=r"small\.onnx"):
        export_onnx(int8, tmp_path / "small.pt2")
    assert list(tmp_path.iterdir()) == []
