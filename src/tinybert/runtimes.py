"""One way to run a model in any form that it has: PyTorch, ONNX Runtime, OpenVINO.

Each engine is imported when a form of its is opened: an ONNX form takes neither torch nor
transformers.
"""

from __future__ import annotations

import importlib
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinybert.errors import TinybertError

__all__ = [
    "FORMS",
    "Runtime",
    "available_forms",
    "longest_row",
    "model_inputs",
    "needs",
    "open_runtime",
]

Inputs = Mapping[str, NDArray[np.int64]]

FORMS: dict[str, str] = {
    "pytorch-float32": "",
    "pytorch-bfloat16": "",
    "onnx-float32": "onnx/model.onnx",
    "onnx-int8": "onnx/model_quantized.onnx",
    "openvino": "openvino/openvino_model.xml",
}
"""Form → its file in a model's directory; PyTorch's are the directory itself."""

_TORCH_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
# Their positions are counted from the padding id on: 514 positions are 512 tokens.
_COUNT_FROM_PADDING = (
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm"),
    *("data2vec-text", "mpnet", "longformer", "xmod", "ibert", "luke"),
)


class Runtime(ABC):
    """A model, loaded in one form, that answers batches.

    Attributes:
        name: of its directory.
        form: one of :data:`FORMS`.
        path: the file that was loaded; of PyTorch forms the directory.
        size: bytes of its weights on disk.
        longest: tokens a row at most; None where it has no such bound of its own.
        inputs: names of what it takes.
    """

    def __init__(self, directory: Path, form: str, path: Path, size: int) -> None:
        self.name = directory.name or directory.resolve().name
        self.form = form
        self.path = path
        self.size = size
        self.longest: int | None = None
        self.inputs: tuple[str, ...] = ()

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        """Answer a batch.

        Args:
            inputs: ``input_ids`` (batch, length), int64; ``attention_mask`` and
                ``token_type_ids`` alike, ones and zeros where they are left out. What the model
                does not take is left aside.

        Returns:
            float32: logits (batch, labels), of tagged words (batch, length, labels), of spans
            starts and ends (batch, length, 2); the last hidden state (batch, length, width) of an
            encoder, or the vectors (batch, width) of a sentence encoder.
        """
        ids = inputs["input_ids"]
        stand_in = {"attention_mask": np.ones_like, "token_type_ids": np.zeros_like}
        fed = {}
        for name in self.inputs:
            given = inputs[name] if name in inputs else stand_in[name](ids)
            fed[name] = np.ascontiguousarray(given, dtype=np.int64)
        return np.asarray(self._run(fed), dtype=np.float32)

    @abstractmethod
    def _run(self, fed: dict[str, NDArray[np.int64]]) -> Any:
        """What comes out for exactly the inputs that the model takes."""


def available_forms(directory: str | Path) -> list[str]:
    """The forms that a model has, in the order of :data:`FORMS`.

    Args:
        directory: a Hugging Face model directory, one of ``tinybert export``, or a Hub name
            (PyTorch's forms).

    Raises:
        TinybertError: there is no such directory, or it is no model.
    """
    where = Path(directory)
    if not where.is_dir():
        if where.is_file():
            raise TinybertError(f"{directory} is a file: give the model's directory.")
        if where.is_absolute() or str(directory).startswith(".") or str(directory).count("/") > 1:
            raise TinybertError(f"there is no model directory {directory}.")
        return [form for form in FORMS if form.startswith("pytorch")]
    found = [form for form, file in FORMS.items() if _is_there(where, file)]
    if not found or not (where / "config.json").is_file():
        lack = "config.json" if found else "weights, neither PyTorch's nor an export's"
        raise TinybertError(
            f"{directory} is no model directory: it has no {lack}; give one that save_pretrained() "
            "or `tinybert export` wrote."
        )
    return found


def open_runtime(directory: str | Path, form: str, threads: int | None = None) -> Runtime:
    """Load a model in one of its forms.

    Args:
        directory: as in :func:`available_forms`.
        form: one of :data:`FORMS`.
        threads: of the processor. PyTorch's are set for the whole process. Default: the engine's
            own.

    Raises:
        TinybertError: no such form; the model does not have it; the engine is not installed; the
            file cannot be loaded.
    """
    if form not in FORMS:
        raise TinybertError(f"there is no form {form}: the forms are {', '.join(FORMS)}.")
    has = available_forms(directory)
    if form not in has:
        raise TinybertError(
            f"{directory} has no form {form}, it has {', '.join(has)}: make it with "
            "`tinybert export`."
        )
    if form.startswith("pytorch"):
        return _PyTorch(str(directory), form, threads)
    kind = _OnnxRuntime if form.startswith("onnx") else _OpenVino
    return kind(Path(directory), form, threads)


class _PyTorch(Runtime):
    """Eval mode, fused attention where the architecture has it, no gradients."""

    def __init__(self, directory: str, form: str, threads: int | None) -> None:
        import torch

        from tinybert.measure.latency import longest_input
        from tinybert.sentence_modules import known_head
        from tinybert.taps import logits_of
        from tinybert.teachers import has_head, load_with_own_head

        if threads is not None:
            torch.set_num_threads(threads)
        model: Any = load_with_own_head(directory)
        where = Path(directory)
        super().__init__(where, form, where, _torch_size(directory))
        dtype = torch.bfloat16 if form == "pytorch-bfloat16" else torch.float32
        self._model = model.to(dtype).eval()
        self._torch = torch
        answers = has_head(directory)
        self._read = logits_of if answers else lambda found: found.last_hidden_state
        head = None if answers else known_head(directory)
        self._head = None if head is None else head.to(dtype)
        self.longest = longest_input(model)
        self.inputs = model_inputs(model)

    def _run(self, fed: dict[str, NDArray[np.int64]]) -> Any:
        with self._torch.inference_mode():
            tensors = {name: self._torch.from_numpy(array) for name, array in fed.items()}
            found = self._read(self._model(**tensors))
            if self._head is not None:
                found = self._head(found, tensors["attention_mask"])
            return found.float().numpy()


class _OnnxRuntime(Runtime):
    """On the processor, all of ONNX Runtime's own optimisations on."""

    def __init__(self, directory: Path, form: str, threads: int | None) -> None:
        ort = _engine("onnxruntime")
        path = directory / FORMS[form]
        super().__init__(directory, form, path, _files_size(path))
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
        # Its threads would go on spinning after a pass, and slow whatever runs beside it.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session = ort.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise _not_opened(path, "ONNX Runtime", error) from error
        self.inputs = tuple(each.name for each in self._session.get_inputs())
        self._outputs = _main_outputs([each.name for each in self._session.get_outputs()])
        self.longest = _longest(directory)

    def _run(self, fed: dict[str, NDArray[np.int64]]) -> Any:
        return _one(self._session.run(self._outputs, fed))


class _OpenVino(Runtime):
    """On the processor, float32 arithmetic (its default may be bfloat16), tuned for latency."""

    def __init__(self, directory: Path, form: str, threads: int | None) -> None:
        openvino = _engine("openvino")
        path = directory / FORMS[form]
        weights = path.with_suffix(".bin")
        if not weights.is_file():
            raise TinybertError(
                f"{path} has no {weights.name} beside it, which holds its weights: write it again "
                "with `tinybert export`."
            )
        super().__init__(directory, form, path, _files_size(path) + weights.stat().st_size)
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            self._model = openvino.Core().compile_model(str(path), "CPU", options)
        except Exception as error:
            raise _not_opened(path, "OpenVINO", error) from error
        self.inputs = tuple(each.get_any_name() for each in self._model.inputs)
        self._outputs = _main_outputs([each.get_any_name() for each in self._model.outputs])
        self.longest = _longest(directory)

    def _run(self, fed: dict[str, NDArray[np.int64]]) -> Any:
        found = self._model(fed)
        return _one([found[name] for name in self._outputs])


def _is_there(directory: Path, file: str) -> bool:
    if file:
        return (directory / file).is_file()
    return any(any(directory.glob(pattern)) for pattern in _TORCH_WEIGHTS)


def needs(*modules: str) -> None:
    """Say which extra to install where a package is missing.

    Raises:
        TinybertError: one of them cannot be imported.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            extra = "openvino" if module == "openvino" else "export"
            raise TinybertError(
                f"{module} is not installed: pip install 'tinybert[{extra}]' brings it."
            ) from error


def _engine(module: str) -> Any:
    needs(module)
    return importlib.import_module(module)


def _not_opened(path: Path, engine: str, error: Exception) -> TinybertError:
    lines = str(error).strip().splitlines()
    said = lines[0][:200] if lines else type(error).__name__
    return TinybertError(
        f"{engine} cannot load {path} ({said}): write it again with `tinybert export`."
    )


def _main_outputs(names: Sequence[str]) -> list[str]:
    if "start_logits" in names and "end_logits" in names:
        return ["start_logits", "end_logits"]
    wanted = ("sentence_embedding", "logits", "last_hidden_state")
    return [next((name for name in wanted if name in names), names[0])]


def _one(found: Sequence[Any]) -> Any:
    """One array: starts and ends side by side."""
    return found[0] if len(found) == 1 else np.stack(found, axis=-1)


def model_inputs(model: Any) -> tuple[str, ...]:
    """Which of a tokenizer's three arrays the model takes."""
    takes = inspect.signature(model.forward).parameters
    # With a single type zeros are all that could be given, and what is left out.
    types = int(getattr(model.config, "type_vocab_size", 0) or 0) > 1
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]
    return tuple(name for name in names if name in takes)


def longest_row(config: Mapping[str, Any]) -> int | None:
    """Tokens a row at most, by a model's ``config.json``; None where it has no such bound.

    >>> longest_row({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1})
    512
    """
    longest = config.get("max_position_embeddings")
    if not isinstance(longest, int) or longest < 1:
        return None
    if config.get("model_type") in _COUNT_FROM_PADDING:
        return longest - int(config.get("pad_token_id") or 0) - 1
    return longest


def _longest(directory: Path) -> int | None:
    try:
        config: dict[str, Any] = json.loads((directory / "config.json").read_text("utf-8"))
    except ValueError as error:
        raise TinybertError(
            f"{directory}/config.json is no JSON ({error}): save the model again."
        ) from error
    return longest_row(config)


def _files_size(path: Path) -> int:
    """Bytes of a file, and of those with weights that lie beside it under its name."""
    beside = [p for p in path.parent.glob(f"{path.name}*") if p.suffix != ".json"]
    return sum(file.stat().st_size for file in beside)


def _torch_size(directory: str) -> int:
    """Bytes of the weights; of a Hub model, of those in the local cache."""
    where = Path(directory)
    if not where.is_dir():
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(directory, "config.json")
        if not isinstance(found, str):
            return 0
        where = Path(found).parent
    for pattern in _TORCH_WEIGHTS:  # a directory may hold the same weights in both formats
        if files := [*where.glob(pattern)]:
            return sum(file.stat().st_size for file in files)
    return 0
