"""Teachers: load, check, freeze; always in eval mode, never trained, never in a checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from tinybert import relu_bert  # noqa: F401 - registers its classes with transformers
from tinybert.batching import TokenRows, length_batches
from tinybert.errors import TinybertError
from tinybert.output_head import check_masked_lm, load_masked_lm, names_output_head
from tinybert.outputs import whole_file
from tinybert.progress import Reporter
from tinybert.taps import TapRequest, Taps, run_with_taps, shows_attention, use_attention
from tinybert.task_heads import HEADS, MULTI_LABEL, SPAN_LABELS, Answering, answering_of

__all__ = [
    "Teacher",
    "aligned_labels",
    "cached_logits",
    "check_fits",
    "check_model_directory",
    "fingerprint",
    "load_encoder",
    "load_tokenizer",
    "without_bars",
]


@contextmanager
def without_bars() -> Iterator[None]:
    """No progress bars of transformers inside: files of a second's work need none."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model directory or Hub model, or one sentence on what is wrong."""
    where = Path(path)
    alone = (where / "tokenizer_config.json").is_file() and not (where / "config.json").exists()
    if not alone:
        check_model_directory(path)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(path))
    except Exception as error:
        _refuse_elsewhere(path, error)
        raise TinybertError(
            f"{path} has no tokenizer that can be loaded ({_first_line(error)}): "
            "save it beside the model with tokenizer.save_pretrained()."
        ) from error
    # Without its files transformers 5 makes one that knows special tokens alone.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise TinybertError(
            f"{path} has no tokenizer: save it beside the model with tokenizer.save_pretrained()."
        )
    return tokenizer


@without_bars()
def load_encoder(
    path: str | Path,
    *,
    labels: Sequence[str] | None = None,
    regression: bool = False,
    masked_lm: bool = False,
    answering: Answering = "rows",
    seed: int = 0,
) -> PreTrainedModel:
    """A model in float32: the bare encoder, or with a task head, or with an output head.

    Only safetensors, or ``.bin`` files read with ``weights_only=True`` (transformers' own rule),
    and no code from the model's repository.

    Args:
        path: directory or Hub name.
        labels: label names; gives a model with a task head for them (newly made where the model
            has none). Empty with ``regression``; "start" and "end" of a head for spans.
        seed: of weights that the model does not have yet; the global random state stays.
        regression: one output, mean squared error.
        answering: which task head: one answer a row, a set of labels, one a token, or spans.
        masked_lm: gives a masked language model, whose head answers with the vocabulary (newly
            made where the model has none).

    Raises:
        TinybertError: no such model, or it cannot be loaded; transformers has no masked language
            model of this kind.
    """
    check_model_directory(path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _masked_lm(path) if masked_lm else _loaded(path, labels, regression, answering)
    _own_storage(model)
    return model


def _own_storage(model: PreTrainedModel) -> None:
    """Weights that were cut out of larger ones as they were read (NomicBERT) get memory of their
    own, or safetensors does not write them."""
    for parameter in model.parameters():
        if parameter.untyped_storage().nbytes() > parameter.nbytes:
            parameter.data = parameter.data.clone()


def _loaded(
    path: str | Path, labels: Sequence[str] | None, regression: bool, answering: Answering
) -> PreTrainedModel:
    options: dict[str, Any] = {"dtype": torch.float32}
    try:
        if labels is None and not regression:
            return AutoModel.from_pretrained(str(path), **options)  # type: ignore[no-any-return]
        names = list(labels or []) or ["score"]
        options |= {
            "num_labels": len(names),
            "id2label": dict(enumerate(names)),
            "label2id": {name: i for i, name in enumerate(names)},
        }
        if answering == "rows":
            kind = "regression" if regression else "single_label_classification"
            options["problem_type"] = kind
        elif answering == "sets":
            options["problem_type"] = MULTI_LABEL
        auto = getattr(transformers, HEADS[answering].auto)
        return auto.from_pretrained(str(path), **options)  # type: ignore[no-any-return]
    except Exception as error:
        raise _not_loaded(path, error) from error


def _masked_lm(path: str | Path) -> PreTrainedModel:
    check_masked_lm(path, _config(path))
    try:
        return load_masked_lm(path, dtype=torch.float32)
    except TinybertError:
        raise
    except Exception as error:
        raise _not_loaded(path, error) from error


def _not_loaded(path: str | Path, error: Exception) -> TinybertError:
    _refuse_elsewhere(path, error)
    return TinybertError(
        f"{path} cannot be loaded as a model ({_first_line(error)}): give a directory written "
        "by save_pretrained(), or the name of a Hub model that is in the local cache."
    )


def check_model_directory(path: str | Path) -> None:
    """Raise where no model can be.

    A path that looks local must be a model directory: otherwise transformers asks the Hub.
    """
    where = Path(path)
    if where.is_file():
        raise TinybertError(f"{path} is a file: give the model's directory.")
    if where.is_dir():
        if not (where / "config.json").is_file():
            raise TinybertError(f"{path} is no model directory: it has no config.json.")
        try:
            json.loads((where / "config.json").read_text("utf-8"))
        except ValueError as error:
            raise TinybertError(
                f"{path}/config.json is no JSON ({error}): save the model again."
            ) from error
    elif where.is_absolute() or str(path).startswith(".") or str(path).count("/") > 1:
        raise TinybertError(f"there is no model directory {path}.")


def _refuse_elsewhere(path: str | Path, error: Exception) -> None:
    """A name that is no directory was looked for on the Hub, and that is what went wrong."""
    if not Path(path).is_dir():
        raise TinybertError(
            f"there is no directory {path}, and as a model of the Hugging Face Hub it cannot be "
            f"loaded ({_first_line(error)}): check the name, or the network."
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def has_head(path: str | Path, answering: Answering | None = None) -> bool:
    """Whether the model's config names an architecture with a task head.

    Args:
        path: directory or Hub name.
        answering: what the head has to answer; default: whatever.
    """
    found = head_of(path)
    return found is not None and answering in (None, found)


def head_of(path: str | Path) -> Answering | None:
    """What the head that the model's config names answers; None of an encoder."""
    check_model_directory(path)
    config = _config(path)
    return answering_of(config.architectures, config.problem_type)


def check_head(path: str | Path, answering: Answering, whose: str = "") -> None:
    """Refuse a model whose head is for another kind of task; an encoder has none and passes.

    Raises:
        TinybertError: it answers rows where tokens are asked, or the like.
    """
    found = head_of(path)
    if found is None or found == answering:
        return
    own, wanted = HEADS[found], HEADS[answering]
    said = f"say --task {own.kind}" if own.kind else "leave --task out"
    hint = ""
    if (found, answering) == ("rows", "sets") and _config(path).problem_type is None:
        hint = f' (or write "problem_type": "{MULTI_LABEL}" into its config.json, if it is one)'
    raise TinybertError(
        f"{path} is {own.called}, and this task asks for {wanted.called}: {said} with rows of its "
        f"own task, or give {whose or 'a plain encoder or'} {wanted.called}{hint}."
    )


def has_masked_lm_head(path: str | Path) -> bool:
    """Whether the model's config names an architecture with an output head for masked tokens."""
    check_model_directory(path)
    return names_output_head(_config(path))


def _config(path: str | Path) -> Any:
    try:
        return AutoConfig.from_pretrained(str(path))
    except Exception as error:
        _refuse_elsewhere(path, error)
        raise TinybertError(
            f"{path} has no config that can be read ({_first_line(error)})."
        ) from error


def head_labels(path: str | Path) -> tuple[str, ...]:
    """Label names of a saved model's head, in the order of its outputs (one for regression)."""
    config = AutoConfig.from_pretrained(str(path))
    if answering_of(config.architectures) == "spans":  # nobody names them in a config
        return SPAN_LABELS
    return label_names(config)


def label_names(config: Any) -> tuple[str, ...]:
    """Label names of a config, in the order of the outputs."""
    return tuple(config.id2label[i] for i in range(config.num_labels))


def load_with_own_head(path: str | Path) -> PreTrainedModel:
    """A model with the head that it was saved with; the bare encoder where it has none."""
    answering = head_of(path)
    if answering is None:
        return load_encoder(path)
    labels = head_labels(path)
    regression = answering == "rows" and len(labels) == 1
    return load_encoder(path, labels=labels, regression=regression, answering=answering)


def set_labels(model: PreTrainedModel, names: Sequence[str]) -> None:
    """Name the outputs of a model, in their order."""
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: number for number, name in enumerate(names)}


_FINAL_NORMS = {"final_norm", "norm"}
"""Of encoders that normalise the last state once more (ModernBERT, EuroBERT)."""


class Teacher:
    """A frozen model that shows its taps.

    Held by the trainer and never part of the trained module: it is always in eval mode, runs
    under ``no_grad`` (tensors made under ``inference_mode`` could not enter a loss), and no
    wrapper, optimiser or checkpoint ever sees it.

    Args:
        model: the teacher; parameters are frozen and cast to ``dtype``.
        tokenizer: its tokenizer.
        dtype: bfloat16 where the machine is fast at it.
        attention: form of attention, see :func:`tinybert.taps.use_attention`.
        device: where it runs.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        attention: str = "fused",
        device: torch.device | str = "cpu",
    ) -> None:
        cast(nn.Module, model).to(device=torch.device(device), dtype=dtype)
        self.model = model
        self.model.requires_grad_(False)
        self.model.train(False)
        self.tokenizer = tokenizer
        self._order: list[int] | None = None
        if shows_attention(model):
            use_attention(self.model, attention)

    @property
    def config(self) -> Any:
        return self.model.config

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the outputs."""
        return label_names(self.config)

    @torch.no_grad()
    def taps(self, batch: Mapping[str, Tensor], request: TapRequest) -> Taps:
        """Taps of one batch, in the teacher's own precision, without gradients."""
        if self.model.training:  # someone called train() on it: never let dropout into targets
            self.model.train(False)
        taps = run_with_taps(self.model, batch, request)
        if taps.logits is not None and self._order is not None:
            taps.logits = taps.logits[..., self._order]
        return taps

    def speak_labels(self, names: Sequence[str]) -> None:
        """Give logits in the order of the data's label names, whatever the teacher's own is."""
        order = aligned_labels(self.labels, names)
        self._order = None if order == list(range(len(order))) else order

    @property
    def label_order(self) -> list[int] | None:
        """The model's output for each label spoken, where the orders differ."""
        return self._order

    def only_as_deep_as(self, depth: int) -> None:
        """Drop the layers above ``depth``: for stages that read states of lower layers alone."""
        layers = self.config.num_hidden_layers
        depth = max(1, depth)  # without any layer transformers shows no states at all
        if depth >= layers:
            return
        for module in self.model.base_model.modules():
            for name, child in module.named_children():
                if isinstance(child, nn.ModuleList) and len(child) == layers:
                    setattr(module, name, child[:depth])
                    for norm in _FINAL_NORMS & dict(module.named_children()).keys():
                        setattr(module, norm, nn.Identity())  # it belongs to the last layer alone
                    return

    def fingerprint(self) -> str:
        """Of model and label order, to know whether kept outputs are this teacher's."""
        return fingerprint(self.model) + repr(self._order)


def fingerprint(model: PreTrainedModel) -> str:
    """A hash of a model's config and weights, wherever they lie."""
    config = model.config.to_dict()
    for name in ("_name_or_path", "transformers_version"):
        config.pop(name, None)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().data)
    return digest.hexdigest()[:16]


def cached_logits(
    teacher: Teacher,
    rows: TokenRows,
    path: Path | None,
    reporter: Reporter | None = None,
    what: str = "teacher's outputs",
) -> NDArray[np.float32]:
    """The teacher's logits for every row, (rows, labels) float32, computed once.

    Of rows that are answered token by token (tokens, labels), flat as their ids.

    A stage that reads logits alone needs no teacher in its loop: the rows are run once, in batches
    of like lengths, and kept at ``path`` (whole or absent), keyed by teacher and rows.
    """
    rows = rows.for_teacher()
    key = f"{teacher.fingerprint()} {replace(rows, labels=None, targets=None).fingerprint()}"
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    file = None if path is None else path / f"logits-{name}.npy"
    if file is not None and file.is_file():
        kept: NDArray[np.float32] = np.load(file)
        return kept
    device = next(teacher.model.parameters()).device
    logits: NDArray[np.float32] | None = None
    reporter = reporter or Reporter(quiet=True)
    with reporter.track(len(rows), what, unit="rows") as progress:
        for indices in length_batches(rows):
            batch = {k: v.to(device) for k, v in rows.batch(indices).items()}
            output = teacher.taps(batch, TapRequest(logits=True)).logits
            assert output is not None
            if logits is None:
                logits = rows.no_outputs(output.shape[-1])
            rows.put_outputs(logits, indices, output.float().cpu().numpy())
            progress.advance(len(indices))
    assert logits is not None
    if file is not None:
        with whole_file(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, logits)
    return logits


def aligned_labels(own_names: Sequence[str], names: Sequence[str]) -> list[int]:
    """For each label name of the data its place among the teacher's outputs, ``own_names``.

    >>> aligned_labels(["Sport", "Politics"], ["politics", "sport"])
    [1, 0]

    Raises:
        TinybertError: the teacher's labels are not the data's.
    """
    for spelled in (str, str.casefold):  # as written first: "us" and "US" may be two labels
        own = {spelled(label): i for i, label in enumerate(own_names)}
        wanted = [spelled(name) for name in names]
        distinct = len(own) == len(own_names) == len(set(wanted)) == len(wanted)
        if distinct and set(own) == set(wanted):
            return [own[name] for name in wanted]
    raise TinybertError(
        f"the teacher's labels ({', '.join(own_names)}) are not the data's "
        f"({', '.join(names)}): fine-tune the teacher on this data with `tinybert finetune`, or "
        "write the data's names into id2label and label2id of its config.json."
    )


def check_fits(teacher: Any, student: Any) -> None:
    """Fail before the run: the vocabularies of two configs must be one."""
    if teacher.vocab_size != student.vocab_size:
        raise TinybertError(
            f"teacher and student have different vocabularies ({teacher.vocab_size} and "
            f"{student.vocab_size} pieces): start the student from this teacher."
        )


def tokenizers_agree(one: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> bool:
    """Whether two tokenizers have the same vocabulary (ids included)."""
    return one.get_vocab() == other.get_vocab()


def tokenizer_print(tokenizer: PreTrainedTokenizerBase) -> str:
    """A hash of what a tokenizer makes of text: its pieces with their ids, and a text that shows
    case, accents, digits, punctuation and scripts; not of how a library's version writes it."""
    probe = "A naïve Ünïcode tëst: 1,234.5 (don't) 日本語 русский\tمرحبا 🙂 [SEP] re-do"
    digest = hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    digest.update(json.dumps(tokenizer(probe, verbose=False)["input_ids"]).encode())
    return digest.hexdigest()[:16]
