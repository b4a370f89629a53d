"""Networks in ONNX files, run by onnxruntime."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import torch

from reprostore.encoders.onnx_files import depends_on_company
from reprostore.errors import ModelError, SpecError

Layout = Literal["nchw", "nhwc"]

_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


class OnnxNetwork:
    """A network with one image input; where its channels are and its type are found in the file.

    Parameters
    ----------
    path : Path
        The file; weights in files beside it are loaded too.
    device : torch.device
        A CUDA device is used where onnxruntime has its CUDA provider, else the CPU.
    layout : {"nchw", "nhwc"}, optional
        Order of the input's axes, where the file leaves it open.
    output : str, optional
        Which output is meant, where there are several.

    Attributes
    ----------
    takes_levels : bool
        The input is uint8: the network scales the grey levels itself.
    fixed_batch : int or None
        The only number of images it takes, or in which images do not depend on each other (1 for
        networks that are quantized by the range of the whole batch); None when any will do.

    Raises
    ------
    ModelError
        The file cannot be read, or has no single image input.
    SpecError
        Its layout or its output has to be named.
    """

    def __init__(
        self, path: Path, device: torch.device, layout: Layout | None, output: str | None
    ) -> None:
        self._path = path
        self._session = _session(path, device)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _TYPES:
            found = "; ".join(f"{each.name}: {each.type} {each.shape}" for each in inputs)
            raise ModelError(
                f"The encoder {path} takes {found or 'nothing'}.",
                "It has one input, images of four axes, float32, float16 or uint8.",
                "Export the network with the image as its only input.",
            )
        self._input, self._dtype = inputs[0].name, _TYPES[inputs[0].type]
        self.takes_levels = self._dtype is np.uint8
        shape = inputs[0].shape
        self._channels_last = (layout or _layout(path, shape)) == "nhwc"
        self._output = self._chosen_output(output)
        fixed = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
        company = depends_on_company(path)
        if company and fixed not in (None, 1):
            raise ModelError(
                f"The encoder {path} quantizes {fixed} images together, by the range of all of "
                "them.",
                "The vector of an image does not depend on its company.",
                "Export the network with a batch of one or of any length.",
            )
        self.fixed_batch = 1 if company else fixed

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Run the network on prepared images, (n, channel, y, x).

        Raises
        ------
        RuntimeError
            onnxruntime does.
        """
        values = images.cpu().numpy()
        if self._channels_last:
            values = values.transpose(0, 2, 3, 1)
        values = np.ascontiguousarray(values, dtype=self._dtype)
        try:
            (output,) = self._session.run([self._output], {self._input: values})
        except Exception as error:  # onnxruntime's errors share no other base class
            raise RuntimeError(str(error)) from error
        if not isinstance(output, np.ndarray):
            raise RuntimeError(f"the output {self._output} is no tensor")  # noqa: TRY004
        return torch.from_numpy(output)

    def _chosen_output(self, name: str | None) -> str:
        names = [each.name for each in self._session.get_outputs()]
        if name is None and len(names) == 1:
            return str(names[0])
        if name in names and name is not None:
            return name
        raise SpecError(
            f"The encoder {self._path} has "
            + (f"no output {name!r}." if name is not None else f"{len(names)} outputs."),
            f"Its outputs are {', '.join(names)}.",
            f'Set output, for example output = "{names[0]}".',
        )


def _layout(path: Path, shape: list[Any]) -> Layout:
    """Find the channels: the only one of the second and the last axis of length 1 or 3."""
    second, last = (isinstance(shape[axis], int) and shape[axis] in {1, 3} for axis in (1, 3))
    if second != last:
        return "nchw" if second else "nhwc"
    raise SpecError(
        f"The input of the encoder {path} has the shape {shape}, with channels first or last.",
        "One of the two axes has the fixed length 1 or 3, or the study says which.",
        'Set layout = "nchw" (channels first) or layout = "nhwc" (channels last).',
    )


def _session(path: Path, device: torch.device) -> onnxruntime.InferenceSession:
    providers: list[Any] = ["CPUExecutionProvider"]
    available = onnxruntime.get_available_providers()
    if device.type == "cuda" and "CUDAExecutionProvider" in available:
        # TF32 is off, as it is for networks that torch runs.
        settings = {"device_id": device.index or 0, "use_tf32": 0}
        providers.insert(0, ("CUDAExecutionProvider", settings))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors share no other base class
        reason = str(error).strip().splitlines()[-1].rstrip(".")
        raise ModelError(
            f"The encoder {path} cannot be read: {reason}.",
            "It is an ONNX file, with the files of its weights beside it if it has any.",
            "Download the file again, or export the network once more.",
        ) from error
