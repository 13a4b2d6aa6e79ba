"""One image's way through a trained network, written down layer by layer as an ONNX graph.

Operators and their attributes: https://onnx.ai/onnx/operators/, in the versions of opset 17.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from lab_models.architectures.plan import ActivationName
from lab_models.common.errors import LabError

Array = npt.NDArray[Any]

IMAGES, LOGITS, PROBABILITIES = "images", "logits", "probabilities"
EPSILON = 1e-5
"""The default of torch's batch, layer and group norm, which the lab's networks keep."""
LEAK = 0.01
"""The default of `torch.nn.functional.leaky_relu`."""
COUNTER = ".num_batches_tracked"
"""What batch norm counts while training; evaluation does not read it."""
TO_THE_END = np.iinfo(np.int64).max


class UnfitWeights(LabError):
    """The weights are not those of the network."""

    code = "unfit_weights"


class Graph:
    """Writes nodes in the order of the forward pass: each layer takes `signal`, the tensor that the one before gave,
    and becomes it.

    `proto` is where it is written. `names` are those of a state_dict and `read` gives the float32 array of one, so that
    large weights are never all in memory beside their copies. A layer finds its own by its dotted name; `outputs`
    raises UnfitWeights if any was not asked for.
    """

    def __init__(
        self, proto: onnx.GraphProto, names: Iterable[str], read: Callable[[str], Array]
    ) -> None:
        self.signal = IMAGES
        self._proto = proto
        self._read = read
        self._unread = {name for name in names if not name.endswith(COUNTER)}

    def normalize(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """uint8 pixels to float32 (pixel / 255 - mean) / std, by the same scale and shift in float32 as
        `datasets.batches`.

        (N, 1, H, W) becomes (N, C, H, W) where there are statistics of C channels.
        """
        deviation = np.array(std, np.float32).reshape(-1, 1, 1)
        scale, shift = (
            np.float32(1) / (np.float32(255) * deviation),
            -np.array(mean, np.float32).reshape(-1, 1, 1) / deviation,
        )
        self._add("Cast", "pixels", to=onnx.TensorProto.FLOAT)
        self._add("Mul", "scaled", self._constant("scale", scale))
        self._add("Add", "normalized", self._constant("shift", shift))

    def resize(self, name: str, side: int) -> None:
        """Bilinear, corners not aligned: (N, C, H, W) -> (N, C, side, side)."""
        images = self.signal
        self._add("Shape", f"{name}.kept", start=0, end=2)
        self._add(
            "Concat",
            f"{name}.sizes",
            self._constant(f"{name}.sides", np.array([side] * 2, np.int64)),
            axis=0,
        )
        sizes, self.signal = self.signal, images
        self._add(
            "Resize",
            name,
            "",
            "",
            sizes,
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )

    def flatten(self) -> None:
        """(N, C, H, W) -> (N, C·H·W)."""
        self._add("Flatten", f"{self.signal}.flat", axis=1)

    def linear(self, name: str, *, bias: bool = True) -> None:
        """Linear layer: (N, fan_in) -> (N, fan_out)."""
        parts = ("weight", "bias") if bias else ("weight",)
        self._add("Gemm", name, *(self._weight(f"{name}.{part}") for part in parts), transB=1)

    def conv(
        self,
        name: str,
        *,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        """Square conv: (N, fan_in, H, W) -> (N, fan_out, H', W')."""
        parts = ("weight", "bias") if bias else ("weight",)
        self._add(
            "Conv",
            name,
            *(self._weight(f"{name}.{part}") for part in parts),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[padding] * 4,
            dilations=[dilation] * 2,
            group=groups,
        )

    def batch_norm(self, name: str) -> None:
        """Batch norm by the running statistics."""
        parts = (
            self._weight(f"{name}.{part}")
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        self._add("BatchNormalization", name, *parts, epsilon=EPSILON)

    def layer_norm(self, name: str) -> None:
        """Layer norm over the last axis."""
        self._add(
            "LayerNormalization",
            name,
            self._weight(f"{name}.weight"),
            self._weight(f"{name}.bias"),
            axis=-1,
            epsilon=EPSILON,
        )

    def group_norm(self, name: str, groups: int, shape: tuple[int, ...]) -> None:
        """Group norm of what has this shape for each image: each group as one channel of an instance norm, then scale
        and shift per channel.
        """
        apart = np.array([0, groups, -1], np.int64)
        self._add("Reshape", f"{name}.apart", self._constant(f"{name}.groups", apart))
        self._add(
            "InstanceNormalization",
            f"{name}.normalized",
            self._constant(f"{name}.ones", np.ones(groups, np.float32)),
            self._constant(f"{name}.zeros", np.zeros(groups, np.float32)),
            epsilon=EPSILON,
        )
        whole = np.array([0, *shape], np.int64)
        self._add("Reshape", f"{name}.together", self._constant(f"{name}.shape", whole))
        per_channel = (shape[0], *(1 for _ in shape[1:]))
        self._add("Mul", f"{name}.scaled", self._weight(f"{name}.weight", per_channel))
        self._add("Add", name, self._weight(f"{name}.bias", per_channel))

    def activation(self, function: ActivationName) -> None:
        """A function of every number, which is no layer of its own."""
        given = self.signal
        name = f"{given}.{function}"
        match function:
            case "relu":
                self._add("Relu", name)
            case "leaky_relu":
                self._add("LeakyRelu", name, alpha=LEAK)
            case "tanh":
                self._add("Tanh", name)
            case "sigmoid":
                self._add("Sigmoid", name)
            case "silu":
                self._add("Sigmoid", f"{name}.gate")
                self._add("Mul", name, given)
            case "gelu":
                root = self._constant(f"{name}.root", np.array(math.sqrt(2), np.float32))
                self._add("Div", f"{name}.divided", root)
                self._add("Erf", f"{name}.erf")
                self._add("Add", f"{name}.plus", self._constant(f"{name}.one", np.float32(1)))
                self._add("Mul", f"{name}.doubled", given)
                self._add("Mul", name, self._constant(f"{name}.half", np.float32(0.5)))
            case _:
                assert_never(function)

    def add(self, other: str) -> None:
        """Addition of a shortcut's end."""
        self._add("Add", f"{self.signal}.sum", other)

    def max_pool(self, name: str, *, kernel: int, stride: int, padding: int = 0) -> None:
        """Square max pool; a row or column that is left over is dropped."""
        self._add(
            "MaxPool", name, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[padding] * 4
        )

    def mean_pool(self, name: str, *, kernel: int, stride: int, padding: int = 0) -> None:
        """Square average pool that counts the padding's zeros."""
        self._add(
            "AveragePool",
            name,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[padding] * 4,
            count_include_pad=1,
        )

    def global_pool(self, name: str) -> None:
        """Mean over the whole map: (N, C, H, W) -> (N, C, 1, 1)."""
        self._add("GlobalAveragePool", name)

    def padded(self, name: str, *, stride: int, extra: int) -> None:
        """Every `stride`-th pixel, then `extra` channels of zeros, see `architectures.plan.Padded`."""
        bounds = {"starts": [0, 0], "ends": [TO_THE_END] * 2, "axes": [2, 3], "steps": [stride] * 2}
        self._add(
            "Slice",
            f"{name}.slice",
            *(
                self._constant(f"{name}.{key}", np.array(value, np.int64))
                for key, value in bounds.items()
            ),
        )
        self._add(
            "Pad",
            name,
            self._constant(f"{name}.pads", np.array([0, 0, 0, 0, 0, extra, 0, 0], np.int64)),
        )

    def outputs(self) -> None:
        """Call what the last layer gave `logits`, and their softmax `probabilities`; raises UnfitWeights for weights
        that no layer has asked for.
        """
        if self._unread:
            raise UnfitWeights(f"the network has no {', '.join(sorted(self._unread)[:3])}")
        self._proto.node[-1].output[0] = self.signal = LOGITS
        self._add("Softmax", PROBABILITIES, axis=-1)

    def _add(self, operator: str, name: str, *others: str, **attributes: Any) -> None:
        self._proto.node.append(
            helper.make_node(operator, [self.signal, *others], [name], name, **attributes)
        )
        self.signal = name

    def _weight(self, name: str, shape: tuple[int, ...] | None = None) -> str:
        if name not in self._unread:
            raise UnfitWeights(f"the weights lack {name}")
        self._unread.remove(name)
        array = self._read(name)
        return self._constant(name, array if shape is None else array.reshape(shape))

    def _constant(self, name: str, array: Array | np.float32) -> str:
        data_type = helper.np_dtype_to_tensor_dtype(array.dtype)  # little-endian, as safetensors is
        self._proto.initializer.add(
            name=name, dims=array.shape, data_type=data_type, raw_data=array.tobytes()
        )
        return name
