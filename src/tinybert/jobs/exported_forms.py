"""The forms of an export: made, checked, scored, one after the other."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from transformers import PreTrainedModel

from tinybert.batching import TokenRows
from tinybert.errors import TinybertError
from tinybert.evaluation import answered_alike, scores_of
from tinybert.forms import (
    BATCHES,
    CALIBRATED,
    LENGTHS,
    TOLERANCE,
    Probes,
    alone_and_together,
    answers,
    largest_difference,
    make_probes,
    write_graph,
    write_int8,
    write_openvino,
)
from tinybert.jobs.exported_vectors import Vectors
from tinybert.measure.latency import longest_input
from tinybert.progress import Reporter
from tinybert.runtimes import FORMS, Runtime, model_inputs, open_runtime
from tinybert.settings import ExportSettings

__all__ = ["Maker", "Scored"]

_NAMES = {"onnx": "onnx-float32", "int8": "onnx-int8", "openvino": "openvino"}
_HALF_TOLERANCE = 0.05  # of weights in float16: eleven bits, and a few layers


@dataclass(frozen=True)
class Scored:
    """What a classifier scores in PyTorch.

    Attributes:
        metric: the main one.
        order: for each class of the rows which of the model's outputs it is.
        before: metric → score.
        logits: (rows, labels) float32; where a reading settles answers, these as they are settled.
    """

    metric: str
    order: list[int]
    before: dict[str, float]
    logits: NDArray[Any]


class Maker:
    """Makes the forms of one model in a directory.

    Args:
        model: in eval mode, float32, on the processor.
        rows: real rows to check on.
        calibration: rows for static scales; None where none are needed.
        scored: the score in PyTorch; None where there is none.
        vectors: of a sentence encoder, with its head; None for others.
        directory: to write into, with config and tokenizer in it.
        scratch: for what is not wanted in the end.
        settings: of the verb.
        reporter: tells what happens.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        rows: TokenRows,
        calibration: TokenRows | None,
        scored: Scored | None,
        directory: Path,
        scratch: Path,
        settings: ExportSettings,
        reporter: Reporter,
        vectors: Vectors | None = None,
    ) -> None:
        self.model, self.rows, self.calibration = model, rows, calibration
        self.vectors = vectors
        self.head = None if vectors is None else vectors.head
        self.scored, self.directory, self.scratch = scored, directory, scratch
        self.settings, self.reporter = settings, reporter
        self.inputs = model_inputs(model)
        self.longest = longest_input(model)
        self.fused = False
        self.int8_told: dict[str, Any] | None = None
        self._probes = Probes()
        self._differences: dict[str, float] = {}

    def make(self, asked: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Form → its figures, for the forms asked for.

        Raises:
            TinybertError: a form cannot be made, or does not answer as PyTorch does.
        """
        lengths = {n if self.longest is None else min(n, self.longest) for n in LENGTHS}
        total = len(lengths) * len(BATCHES)
        with self.reporter.track(total, "answering in PyTorch", unit="batches") as progress:
            self._probes = make_probes(
                *(self.model, self.rows, self.inputs, self.longest, progress.advance),
                head=self.head,
            )
        graph = self._float_graph()
        made = {}
        for form in asked:
            if form == "onnx":
                made[_NAMES[form]] = self._figures("onnx-float32")
            elif form == "int8":
                made[_NAMES[form]] = self._int8(graph)
            else:
                made[_NAMES[form]] = self._openvino(graph)
        if "onnx" not in asked:
            for file in graph.parent.glob(f"{graph.name}*"):
                file.unlink()
            if not any(graph.parent.iterdir()):
                graph.parent.rmdir()
        return made

    def checked(self) -> dict[str, Any]:
        """What every form was compared on."""
        sizes = [batch["input_ids"].shape for batch in self._probes.batches]
        return {
            "lengths": sorted({length for _, length in sizes}),
            "batches": sorted({count for count, _ in sizes}),
            "largest_answer": self._probes.size,
            "tolerance": TOLERANCE,
        }

    def versions(self, asked: Sequence[str]) -> dict[str, str]:
        """Of the packages that made and ran the forms."""
        names = ["onnx", "onnxscript", "onnxruntime"]
        names += ["openvino"] if "openvino" in asked else []
        return {
            name: str(importlib.import_module(name).__version__)
            for name in names
            if _installed(name)
        }

    def _float_graph(self) -> Path:
        """The graph that all forms come from; fused only if that answers as PyTorch does."""
        graph = self.directory / FORMS["onnx-float32"]
        graph.parent.mkdir(exist_ok=True)
        self.reporter.say("exporting to ONNX: a minute or less")
        if self.settings.fuse and _installed("onnxruntime"):
            self.fused = self._write(graph)
            if self.fused and self._apart("onnx-float32") <= TOLERANCE * self._probes.size:
                return graph
            if self.fused:
                self.fused = False
                self.reporter.say("fused attention answers otherwise: standard operators instead")
                self._write(graph, fuse=False)
        else:
            self._write(graph, fuse=False)
        if _installed("onnxruntime"):
            self._check_exact("onnx-float32", TOLERANCE)
        return graph

    def _write(self, graph: Path, fuse: bool = True) -> bool:
        more: dict[str, Any] = {} if self.head is None else {"head": self.head}
        return write_graph(self.model, graph, longest=self.longest, fuse=fuse, **more)

    def _int8(self, graph: Path) -> dict[str, Any]:
        way = "rows" if self.settings.int8 == "auto" else self.settings.int8
        target = self.directory / FORMS["onnx-int8"]
        rows = 0 if self.calibration is None else min(CALIBRATED, len(self.calibration))
        kept = list(self.settings.int8_keep)
        if self.head is not None and len(self.head.dense) and "classifier" not in kept:
            kept.append("classifier")  # a product a sentence, which costs nothing
        with self.reporter.track(rows, "measuring scales", unit="rows") as progress:
            done = write_int8(
                graph,
                target,
                way,
                kept=kept,
                table_bits=self.settings.table_bits,
                calibration=self.calibration,
                advance=progress.advance,
            )
        told = done.told
        if self.scored is not None and self.calibration is self.rows:
            told += "; these are among the rows that are scored"
        self.reporter.say(f"int8 by {told}")
        self.int8_told = {
            "way": done.way,
            "products": done.products,
            "products_left": done.left,
            "kept": list(done.kept),
            "table_bits": done.table_bits,
            "told": told,
        }
        return self._figures("onnx-int8")

    def _openvino(self, graph: Path) -> dict[str, Any]:
        plain = graph
        if self.fused:  # its attention is ONNX Runtime's own
            plain = self.scratch / "plain" / graph.name
            plain.parent.mkdir()
            self._write(plain, fuse=False)
        target = self.directory / FORMS["openvino"]
        target.parent.mkdir()
        half = self.settings.openvino_half
        write_openvino(plain, target, half=half)
        if plain is not graph:
            shutil.rmtree(plain.parent)
        self.reporter.say(f"OpenVINO: weights in float{16 if half else 32}")
        self._check_exact("openvino", _HALF_TOLERANCE if half else TOLERANCE)
        return self._figures("openvino")

    def _open(self, form: str) -> Runtime:
        return open_runtime(self.directory, form)

    def _apart(self, form: str) -> float:
        """The largest difference of a form as it lies there now."""
        batches = self._probes.batches
        with self.reporter.track(len(batches), f"checking {form}", unit="batches") as progress:
            apart = largest_difference(self._open(form), self._probes, progress.advance)
        self._differences[form] = apart
        return apart

    def _check_exact(self, form: str, tolerance: float) -> None:
        apart, allowed = self._apart(form), tolerance * self._probes.size
        if not apart <= allowed:
            raise TinybertError(
                f"{form} answers otherwise than PyTorch, by {apart:.2g} where {allowed:.2g} is "
                "allowed: this architecture cannot be exported with these versions of torch and "
                "onnxruntime; take others, or another encoder."
            )

    def _figures(self, form: str) -> dict[str, Any]:
        """Size and exactness of a form, and its score where there are labels."""
        runtime = self._open(form)
        apart = self._differences[form] if form in self._differences else self._apart(form)
        figures: dict[str, Any] = {
            "file": FORMS[form],
            "bytes": runtime.size,
            "difference": apart,
            "alone_and_together": alone_and_together(runtime, self.rows),
        }
        together = figures["alone_and_together"]
        if not (apart < float("inf") and together < float("inf")):
            raise TinybertError(f"{form} gives answers that are no numbers{_way_out(form)}.")
        if self.scored is not None:
            figures |= self._score(form, runtime, self.scored)
        if self.vectors is not None:
            figures |= self._compare(form, runtime, self.vectors)
        return figures

    def _compare(self, form: str, runtime: Runtime, vectors: Vectors) -> dict[str, Any]:
        """How a form's sentence vectors go with PyTorch's, and their score on pairs."""
        with self.reporter.track(
            len(vectors.rows), f"answering in {form}", unit="rows"
        ) as progress:
            found = vectors.figures(answers(runtime, vectors.rows, progress.advance))
        if "scores" in found:
            self._check_drop(form, "spearman", vectors.before, found["scores"])
        return found

    def _score(self, form: str, runtime: Runtime, scored: Scored) -> dict[str, Any]:
        with self.reporter.track(len(self.rows), f"answering in {form}", unit="rows") as progress:
            logits = answers(runtime, self.rows, progress.advance)
        ordered = logits[:, scored.order]
        scores = scores_of(scored.metric, ordered, self.rows)
        self._check_drop(form, scored.metric, scored.before, scores)
        found: dict[str, Any] = {"scores": scores}
        if self.rows.reading is not None:
            settled = self.rows.reading.settled(ordered)
            return found | {"agreement": answered_alike(self.rows.reading, settled, scored.logits)}
        if logits.shape[1] > 1:
            found["agreement"] = float((logits.argmax(1) == scored.logits.argmax(1)).mean())
        return found

    def _check_drop(
        self,
        form: str,
        metric: str,
        scores_before: Mapping[str, float],
        scores: Mapping[str, float],
    ) -> None:
        before, after = scores_before[metric], scores[metric]
        drop = 100 * (before - after)
        if not drop <= self.settings.max_drop:
            raise TinybertError(
                f"{form} scores {after:.4f} in {metric} and PyTorch {before:.4f}, "
                f"{drop:.2f} points less where --max-drop allows "
                f"{self.settings.max_drop:g}{_way_out(form)}."
            )


def _way_out(form: str) -> str:
    if form != "onnx-int8":
        return ": leave this form out of --to"
    return (
        ": keep parts in float32 with --int8-keep (the classifier and the last layers first), take "
        "--int8 blocks, or --int8 static with --calibration"
    )


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
