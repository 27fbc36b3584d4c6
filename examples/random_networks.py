"""Write the networks of docs/bring-your-network.md, with random weights, and bundles of them.

    python examples/random_networks.py DIR

makes ``DIR/film.dcm`` (a synthetic film), ``DIR/densenet.onnx`` (a network as another project
exports it), ``DIR/breast_density_monai`` (a MONAI bundle as it is downloaded), and one bundle a
folder of ``examples/``: its manifest and card, the network, and the network's digest in the
manifest. The same seed gives the same numbers.

No weight was ever trained: what these networks say means nothing. Those that give places or
numbers have biases in the range of real answers, so that these look like answers.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from dicom_node.bundles.declared import digest_of_weights
from dicom_node.imaging.phantom import phantom_dataset

HERE = Path(__file__).parent

Array = npt.NDArray[np.float32]


@dataclass
class Graph:
    """An ONNX graph that grows by one layer a call; channels first. Layers return tensor names."""

    draw: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def layer(self, kind: str, inputs: Sequence[str], name: str = "", **attributes: object) -> str:
        """Add an operator and return its output, which is called ``name`` or by its number."""
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: npt.NDArray[np.generic]) -> str:
        """Add weights and return their name."""
        name = f"weights_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def drawn(self, *shape: int, scale: float) -> str:
        """Add weights drawn from a normal distribution of that standard deviation."""
        return self.constant((self.draw.standard_normal(shape) * scale).astype(np.float32))

    def convolved(self, seen: str, channels: tuple[int, int], size: int, stride: int = 1) -> str:
        """Add a convolution (He's variance) and return what passes the rectifier."""
        came, goes = channels
        kernel = self.drawn(goes, came, size, size, scale=(2 / (came * size * size)) ** 0.5)
        pads = [size // 2] * 4
        convolution = self.layer("Conv", [seen, kernel], strides=[stride, stride], pads=pads)
        return self.layer("Relu", [convolution])

    def pooled(self, seen: str) -> str:
        """Add the mean over rows and columns, and the film's own contrast between channels."""
        mean = self.layer("GlobalAveragePool", [seen])
        flat = self.layer("Flatten", [mean])
        return self.layer("LpNormalization", [flat], axis=1, p=2)

    def dense(self, seen: str, came: int, bias: Array, spread: float, name: str = "") -> str:
        """Add one number for each of ``bias``, about which it varies by ``spread``."""
        kernel = self.drawn(came, bias.size, scale=spread)
        return self.layer("Gemm", [seen, kernel, self.constant(bias.ravel())], name)

    def saved(
        self, path: Path, given: tuple[str, Sequence[object]], outputs: dict[str, Sequence[int]]
    ) -> Path:
        """Check and write the graph. Shapes are those of one film; the first axis is free."""
        tensors = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])
            for name, shape in (given, *outputs.items())
        ]
        graph = helper.make_graph(self.nodes, path.stem, tensors[:1], tensors[1:], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
        return path


def densenet(
    graph: Graph, seen: str, channels: int, layers: Sequence[int] = (3, 4, 3), growth: int = 12
) -> tuple[str, int]:
    """Add a small DenseNet (Huang et al., CVPR 2017): each layer sees all before it in its block.

    Returns what it ends in, normalised, and how many channels that has.
    """
    width = 2 * growth
    seen = graph.convolved(seen, (channels, width), 7, stride=2)
    seen = graph.layer("MaxPool", [seen], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for number, depth in enumerate(layers):
        for _ in range(depth):
            new = graph.convolved(seen, (width, 4 * growth), 1)
            new = graph.convolved(new, (4 * growth, growth), 3)
            seen, width = graph.layer("Concat", [seen, new], axis=1), width + growth
        if number < len(layers) - 1:
            seen = graph.convolved(seen, (width, width // 2), 1)
            seen = graph.layer("AveragePool", [seen], kernel_shape=[2, 2], strides=[2, 2])
            width //= 2
    return graph.pooled(seen), width


def trunk(graph: Graph, seen: str, widths: Sequence[int] = (8, 16, 24)) -> tuple[str, int]:
    """Add convolutions that halve the film each; return what they end in, and its channels."""
    came = 1
    for width in widths:
        seen, came = graph.convolved(seen, (came, width), 5, stride=2), width
    return seen, came


def chest_densenet(path: Path, seed: int) -> Path:
    """Write 18 probabilities of films of 224 × 224, as torchxrayvision's DenseNets give them."""
    graph = Graph(np.random.default_rng(seed))
    # It is fed [-1024, 1024]; within, everything is of about 1.
    seen = graph.layer("Div", ["input", graph.constant(np.array(1024, np.float32))])
    seen, came = densenet(graph, seen, 1)
    logits = graph.dense(seen, came, np.zeros(18, np.float32), 2.0)
    graph.layer("Sigmoid", [logits], "output")
    return graph.saved(path, ("input", [1, 224, 224]), {"output": [18]})


def breast_density(path: Path, seed: int) -> Path:
    """Write probabilities of four classes of films of 3 × 299 × 299 in [0, 1]."""
    graph = Graph(np.random.default_rng(seed))
    seen, came = densenet(graph, "image", 3, layers=(2, 2), growth=8)
    logits = graph.dense(seen, came, np.zeros(4, np.float32), 2.0)
    graph.layer("Softmax", [logits], "pred", axis=1)
    return graph.saved(path, ("image", [3, 299, 299]), {"pred": [4]})


def nodule_boxes(path: Path, seed: int) -> Path:
    """Write eight boxes (left, top, right, bottom) in pixels of 256 × 256, and their logits."""
    graph = Graph(np.random.default_rng(seed))
    seen, came = trunk(graph, "film")
    seen = graph.pooled(seen)
    left = np.tile([40, 90, 150, 190], 2)
    top = np.repeat([70, 140], 4)
    grid = np.stack([left, top, left + 30, top + 30], axis=1).astype(np.float32)
    logits = graph.dense(seen, came, np.array([1.5, -1, 1, -1.5, -2, 0.5, -1, -2], np.float32), 0.3)
    graph.layer("Sigmoid", [logits], "scores")
    corners = graph.dense(seen, came, grid, 1.0)
    graph.layer("Reshape", [corners, graph.constant(np.array([-1, 8, 4]))], "boxes")
    return graph.saved(path, ("film", [1, 256, 256]), {"scores": [8], "boxes": [8, 4]})


def cardiothoracic(path: Path, seed: int) -> Path:
    """Write the ends of the widths of heart and thorax, (column, row) twice, of 320 × 320."""
    graph = Graph(np.random.default_rng(seed))
    seen, came = trunk(graph, "film")
    seen = graph.pooled(seen)
    graph.dense(seen, came, np.array([118, 205, 222, 212], np.float32), 2.0, "heart")
    graph.dense(seen, came, np.array([42, 230, 280, 230], np.float32), 2.0, "thorax")
    return graph.saved(path, ("film", [1, 320, 320]), {"heart": [4], "thorax": [4]})


def lateral_effusion(path: Path, seed: int) -> Path:
    """Write three logits of lateral films: none, small, large."""
    graph = Graph(np.random.default_rng(seed))
    seen, came = trunk(graph, "film")
    seen = graph.pooled(seen)
    graph.dense(seen, came, np.array([0.0, 1.0, 0.0], np.float32), 0.5, "logits")
    return graph.saved(path, ("film", [1, 224, 224]), {"logits": [3]})


def bone_age(path: Path, seed: int) -> Path:
    """Write one number, months, of hands of 256 × 256."""
    graph = Graph(np.random.default_rng(seed))
    seen, came = trunk(graph, "hand")
    seen = graph.pooled(seen)
    graph.dense(seen, came, np.array([114], np.float32), 12.0, "months")
    return graph.saved(path, ("hand", [1, 256, 256]), {"months": [1]})


def consolidation_mask(path: Path, seed: int) -> Path:
    """Write logits of each place, 64 × 64, of films of 256 × 256."""
    graph = Graph(np.random.default_rng(seed))
    seen, came = trunk(graph, "film", widths=(8, 16))
    kernel = graph.drawn(1, came, 1, 1, scale=2.0)
    bias = graph.constant(np.array([0.6], np.float32))
    graph.layer("Conv", [seen, kernel, bias], "mask")
    return graph.saved(path, ("film", [1, 256, 256]), {"mask": [1, 64, 64]})


def congestion(path: Path, seed: int) -> Path:
    """Write two logits, upright and supine, and a number from 0 to 10 or a little beyond."""
    graph = Graph(np.random.default_rng(seed))
    seen, came = trunk(graph, "film")
    seen = graph.pooled(seen)
    graph.dense(seen, came, np.array([0.0, 1.5], np.float32), 0.5, "position")
    graph.dense(seen, came, np.array([6.0], np.float32), 2.0, "score")
    return graph.saved(path, ("film", [1, 224, 224]), {"position": [2], "score": [1]})


NETWORKS: dict[str, Callable[[Path, int], Path]] = {
    "chest-densenet": chest_densenet,
    "breast-density": breast_density,
    "nodule-boxes": nodule_boxes,
    "cardiothoracic": cardiothoracic,
    "lateral-effusion": lateral_effusion,
    "bone-age": bone_age,
    "consolidation-mask": consolidation_mask,
    "congestion": congestion,
}
"""Who writes the network of each bundle."""


def write_bundle(folder: Path, bundle_id: str, seed: int = 0) -> Path:
    """Write ``folder/bundle_id``: manifest and card of ``examples/``, network and its digest."""
    place = folder / bundle_id
    shutil.copytree(HERE / bundle_id, place, dirs_exist_ok=True)
    manifest = place / "model.toml"
    text = manifest.read_text("utf-8")
    file = re.search(r'^file = "([^"]+)"$', text, re.MULTILINE)
    if file is None:
        raise ValueError(f"{manifest}: [weights] names no file")
    weights = NETWORKS[bundle_id](place / file[1], seed)
    told = re.sub(r'"sha256:[0-9a-f]*"', f'"{digest_of_weights(weights)}"', text)
    manifest.write_text(told, "utf-8")
    return place


def write_monai(folder: Path, seed: int = 0) -> Path:
    """Write the network of breast-density as a MONAI bundle (docs, configs, models)."""
    place = folder / "breast_density_monai"
    breast_density(place / "models" / "model.onnx", seed)
    for name in ("configs", "docs"):
        (place / name).mkdir(exist_ok=True)
    (place / "configs" / "metadata.json").write_text(json.dumps(_METADATA, indent=4), "utf-8")
    (place / "docs" / "README.md").write_text(
        "# Breast density\n\nRandom weights, in the shape of a bundle of the MONAI Model Zoo.\n",
        "utf-8",
    )
    return place


_METADATA = {
    "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json",
    "version": "0.1.0",
    "changelog": {"0.1.0": "random weights"},
    "monai_version": "1.4.0",
    "pytorch_version": "2.4.0",
    "numpy_version": "1.26.4",
    "name": "Breast density",
    "task": "Breast density in four classes",
    "description": "Random weights in the shape of a bundle that classifies breast density.",
    "authors": "The dicom-node engineers",
    "copyright": "Apache-2.0",
    "data_type": "image",
    "image_classes": "three channels, each the film, in [0, 1]",
    "intended_use": "An example: its weights are random.",
    "network_data_format": {
        "inputs": {
            "image": {
                "type": "image",
                "format": "magnitude",
                "modality": "MG",
                "num_channels": 3,
                "spatial_shape": [299, 299],
                "dtype": "float32",
                "value_range": [0, 1],
                "is_patch_data": False,
                "channel_def": {"0": "image"},
            }
        },
        "outputs": {
            "pred": {
                "type": "probabilities",
                "format": "classes",
                "num_channels": 4,
                "spatial_shape": [1, 4],
                "dtype": "float32",
                "value_range": [0, 1],
                "is_patch_data": False,
                "channel_def": {"0": "A", "1": "B", "2": "C", "3": "D"},
            }
        },
    },
}


def main() -> None:
    """Write everything, or the bundles that are named."""
    told = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    told.add_argument("folder", type=Path, metavar="DIR", help="where to; is made")
    told.add_argument("--only", action="append", choices=sorted(NETWORKS), help="these bundles")
    told.add_argument("--seed", type=int, default=0)
    asked = told.parse_args()
    written = [write_bundle(asked.folder, name, asked.seed) for name in asked.only or NETWORKS]
    if not asked.only:
        written.append(asked.folder / "film.dcm")
        phantom_dataset(opacities={"right_lower": 0.8}).save_as(
            written[-1], enforce_file_format=True
        )
        written.append(chest_densenet(asked.folder / "densenet.onnx", asked.seed))
        written.append(write_monai(asked.folder, asked.seed))
    print(*written, sep="\n")


if __name__ == "__main__":
    main()
