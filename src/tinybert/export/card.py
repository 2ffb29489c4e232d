"""The model card of a student directory: its ``README.md``, in Hugging Face's format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from transformers import PretrainedConfig

from tinybert.errors import TinybertError
from tinybert.export import content, figures
from tinybert.export.exported import exported_tags, exported_usage, exports_table
from tinybert.export.figures import Results, number, part
from tinybert.export.markdown import escaped, fenced, last_part, quoted, visible
from tinybert.export.similarities import similarities_table, vector_told
from tinybert.output_head import names_output_head
from tinybert.outputs import whole_file
from tinybert.sentence_modules import MODULES_FILE
from tinybert.task_heads import HEADS, Answering, answering_of, are_entity_tags

__all__ = ["CARD_FILE", "model_card", "write_card"]

CARD_FILE = "README.md"
_TEMPLATE = Path(__file__).with_name("card.md.jinja")
_PAPER = "an implementation of [TinyBERT](https://arxiv.org/abs/1909.10351)"
_DATA_ENDINGS = (
    ".csv",
    ".tsv",
    ".jsonl",
    ".json",
    ".parquet",
    ".txt",
    ".gz",
    ".zst",
    ".xz",
    ".bz2",
)
# Our metrics → name on the Hub, what is shown, and the arguments that make it this one.
_HUB_METRICS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "accuracy": ("accuracy", "Accuracy", None),
    "f1": ("f1", "F1", None),
    "macro_f1": ("f1", "Macro F1", {"average": "macro"}),
    "mcc": ("matthews_correlation", "Matthews correlation", None),
    "pearson": ("pearsonr", "Pearson correlation", None),
    "spearman": ("spearmanr", "Spearman correlation", None),
    "micro_f1": ("f1", "Micro F1", {"average": "micro"}),
    "ndcg@10": ("ndcg_at_10", "NDCG@10", None),
    "mrr@10": ("mrr_at_10", "MRR@10", None),
    "map": ("map", "MAP", None),
    "entity_f1": ("f1", "Entity F1", {"average": "micro"}),
    "entity_precision": ("precision", "Entity precision", {"average": "micro"}),
    "entity_recall": ("recall", "Entity recall", {"average": "micro"}),
    "token_accuracy": ("accuracy", "Accuracy, by word", None),
    "answer_f1": ("f1", "F1 of answers' words", None),
    "exact_match": ("exact_match", "Exact match", None),
}
# Model types that transformers does not have, and where they are.
_OWN_CLASSES = {"tinybert_relu_bert": "tinybert.relu_bert"}


@dataclass(frozen=True)
class _Head:
    """What a saved model answers with."""

    architecture: str
    answering: Answering | None  # what the task head answers; None of an encoder
    regression: bool
    labels: tuple[str, ...]
    masked_lm: bool = False  # a head that guesses masked tokens
    sentence: bool = False  # sentence-transformers' layout

    @property
    def pipeline(self) -> str:
        if self.sentence:
            return "sentence-similarity"
        if self.masked_lm:
            return "fill-mask"
        return "feature-extraction" if self.answering is None else HEADS[self.answering].pipeline

    @property
    def classifier(self) -> bool:
        """A head on whole texts: classes, sets of labels or one value."""
        return self.answering in ("rows", "sets")

    @property
    def called(self) -> str:
        if self.masked_lm:
            return "A masked language model"
        if self.sentence:
            return "A sentence encoder"
        if self.answering in ("sets", "tokens", "spans"):
            return HEADS[self.answering].called.capitalize()
        if not self.classifier:
            return "An encoder"
        return "A regressor" if self.regression else "A text classifier"


def model_card(
    directory: str | Path,
    results: Mapping[str, Any],
    *,
    name: str | None = None,
    language: str | Sequence[str] | None = None,
    licence: str | None = None,
    base_model: str | None = None,
    dataset: str | None = None,
) -> str:
    """The text of a model card; a figure that ``results`` does not have leaves no line.

    Args:
        directory: the model's, for its head and labels (``config.json``).
        results: what ``results.json`` holds; every field may be missing.
        name: of the model; default: the directory's.
        language: ISO 639 code or codes of its texts. Not guessed.
        licence: the Hub's identifier, such as ``apache-2.0``. Not guessed.
        base_model: name on the Hub of the teacher (of the encoder, after fine-tuning). Default: the
            setting, where that is a Hub name whose config is in the local cache.
        dataset: name on the Hub of the data, ``owner/name`` or ``owner/name:config``. Default:
            the field ``data``, where it is such a name and no file.

    Local paths appear by their last part only.

    Raises:
        TinybertError: the directory has no ``config.json`` that can be read.
    """
    directory = Path(directory)
    head = _head(directory)
    name = str(last_part(name or directory.resolve()))
    base_model = base_model or _base_model(results)
    data = _metadata(
        results,
        head,
        name=_line(name),
        language=[language] if isinstance(language, str) else list(language or []) or None,
        licence=licence,
        base_model=base_model,
        dataset=dataset or _hub_dataset(results),
    )
    card = ModelCard.from_template(
        data,
        template_path=str(_TEMPLATE),
        title=escaped(name),
        introduction=_introduction(results, head, base_model),
        usage=_usage(results, head, name),
        scores=figures.scores_table(results),
        similarities=similarities_table(results),
        controls=figures.controls_note(results),
        rows=figures.rows_told(results, regression=head.regression, sets=head.answering == "sets"),
        sizes=figures.sizes_table(results),
        exports=exports_table(results),
        labels="" if head.regression else content.labels_table(head.labels),
        stages=content.stages_table(results),
        settings=content.settings_told(results),
        limits=content.limits(results, licence=licence is not None),
        versions=content.versions_line(results),
    )
    return str(card).rstrip() + "\n"


def write_card(
    directory: str | Path, results: Mapping[str, Any], *, overwrite: bool = False, **options: Any
) -> Path:
    """Write :func:`model_card` to the directory's ``README.md``, whole or not at all.

    ``options`` are those of :func:`model_card`.

    Raises:
        TinybertError: there is a ``README.md`` and ``overwrite`` is off; as :func:`model_card`.
    """
    path = Path(directory) / CARD_FILE
    if path.exists() and not overwrite:
        raise TinybertError(f"{path} exists already: move it elsewhere, or overwrite it.")
    text = model_card(directory, results, **options)
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
    return path


def _head(directory: Path) -> _Head:
    try:
        plain = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        config = PretrainedConfig.from_dict(plain)
        names = tuple(str(name) for _, name in sorted((config.id2label or {}).items()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise TinybertError(
            f"{directory} has no config.json that can be read: give a model's directory."
        ) from error
    found = plain.get("architectures") or []
    answering = answering_of(found, plain.get("problem_type"))
    return _Head(
        architecture=str(plain.get("model_type", "")),
        answering=answering,
        regression=answering == "rows" and plain.get("problem_type") == "regression",
        labels=names if answering in ("rows", "sets", "tokens") else (),
        masked_lm=names_output_head(config),
        sentence=(directory / MODULES_FILE).is_file(),
    )


_ANSWERING = """\
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({name})
model = AutoModelForQuestionAnswering.from_pretrained({name})
question, passage = "Who wrote it?", "Mary Shelley wrote it in 1818."
cut = {{"truncation": "only_second", "max_length": {longest}}}
tokens = tokenizer(question, passage, return_tensors="pt", **cut)
with torch.inference_mode():
    answer = model(**tokens)
scores = answer.start_logits[0][:, None] + answer.end_logits[0][None, :]
inside = torch.tensor([text == 1 for text in tokens.sequence_ids(0)])
allowed = (inside[:, None] & inside[None, :]).triu()
start, end = divmod(int(scores.masked_fill(~allowed, -1e9).argmax()), len(scores))
first, last = tokens.token_to_chars(0, start), tokens.token_to_chars(0, end)
print(passage[first.start : last.end])
"""


# --- metadata -------------------------------------------------------------------------------------


def _metadata(
    results: Results,
    head: _Head,
    *,
    name: str,
    language: list[str] | None,
    licence: str | None,
    base_model: str | None,
    dataset: str | None,
) -> ModelCardData:
    tags = ["tinybert", *(["distillation"] if part(results, "teacher") else []), head.architecture]
    tags += exported_tags(results)
    scores = _eval_results(results, head, dataset)
    on_hub = {kind for kind, *_ in _HUB_METRICS.values()}
    metrics = dict.fromkeys(r.metric_type for r in scores if r.metric_type in on_hub)
    # The Hub knows finetune, adapter, merge and quantized. A student is none of them.
    finetuned = base_model is not None and not part(results, "teacher")
    more: dict[str, Any] = {"base_model_relation": "finetune"} if finetuned else {}
    return ModelCardData(
        language=language,
        license=licence,
        library_name=_library(results, head),
        pipeline_tag=head.pipeline,
        tags=[tag for tag in tags if tag],
        base_model=base_model,
        datasets=[dataset.partition(":")[0]] if dataset else None,
        metrics=list(metrics) or None,
        model_name=name if scores else None,
        eval_results=scores or None,
        **more,
    )


def _library(results: Results, head: _Head) -> str | None:
    """What loads the model by the Hub's account; None where it is an engine, told by a tag."""
    exports = part(results, "exports")
    if not exports:
        return "sentence-transformers" if head.sentence else "transformers"
    onnx = any(str(part(exports, form).get("file") or "").endswith(".onnx") for form in exports)
    return "transformers.js" if onnx and head.architecture not in _OWN_CLASSES else None


def _eval_results(results: Results, head: _Head, dataset: str | None) -> list[EvalResult]:
    """The student's scores as the Hub lists them."""
    scores = figures.own_scores(results)
    task = _line(str(results.get("task") or ""))
    if not scores or not task:
        return []
    repository, _, config = (dataset or "").partition(":")
    found = []
    for (rows, metric), value in scores.items():
        kind, shown, arguments = _HUB_METRICS.get(metric, (metric, metric.replace("_", " "), None))
        # Our parts are no splits of the Hub: the rows reported may come from any of those.
        further = "" if rows in (None, "test") else f" ({_line(str(rows))})"
        found.append(
            EvalResult(
                task_type=head.pipeline,
                dataset_type=repository or task,
                dataset_name=task,
                dataset_config=config or None,
                metric_type=kind,
                metric_name=shown + further,
                metric_args=arguments,
                metric_value=round(value, 4),
            )
        )
    return found


def _line(text: str) -> str:
    return " ".join(visible(text).split())


def _base_model(results: Results) -> str | None:
    """The teacher's name on the Hub (the encoder's, after fine-tuning), if it came from there."""
    asked = part(results, "settings").get("teacher") or part(results, "settings").get("model")
    given = str(asked or results.get("teacher_name") or "")
    if not _repository(given):
        return None
    # What was loaded from the Hub is in the cache; a directory of before may be gone by now.
    cached = try_to_load_from_cache(given, "config.json")
    return given if isinstance(cached, str) else None


def _hub_dataset(results: Results) -> str | None:
    given = str(results.get("data") or "")
    repository = given.partition(":")[0]
    local = repository.lower().endswith(_DATA_ENDINGS) or "/" not in repository
    return None if local or not _repository(repository) else given


def _repository(text: str) -> bool:
    """Whether ``text`` can be the name of a repository on the Hub and is no local path."""
    if not text:
        return False
    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return not Path(text).exists()


# --- words ----------------------------------------------------------------------------------------


def _introduction(results: Results, head: _Head, base_model: str | None) -> str:
    settings, teacher = part(results, "settings"), part(results, "teacher")
    facts = [escaped(head.architecture), figures.shape(part(results, "student"))]
    if head.labels and not head.regression:
        facts.append(f"{len(head.labels):,} labels")
    known = ", ".join(fact for fact in facts if fact)
    if base_model:
        source = f"[{escaped(base_model)}](https://huggingface.co/{base_model})"
    else:
        named = results.get("teacher_name") or settings.get("teacher") or settings.get("model")
        source = escaped(str(last_part(named))) if named else ""
    if teacher:
        shape = figures.shape(teacher)
        origin = f", distilled from {source or 'its teacher'}{f' ({shape})' if shape else ''}"
    else:
        done = "trained on text" if head.masked_lm else "fine-tuned"
        origin = f", {done} from {source}" if source else ", made"
    told = [f"{head.called}{f' ({known})' if known else ''}{origin} with tinybert, {_PAPER}."]
    if further := len(settings.get("ensemble") or []):
        told.append(
            f"It learned the mean of the answers of {further + 1} teachers, and the states of the "
            "one named."
        )
    if shared := [str(name) for name in results.get("shares_body_with") or []]:
        told.append(
            "It is one of several heads on one body: but for the head its weights are also those "
            f"of {', '.join(map(escaped, shared))}."
        )
    if results.get("teacher_fine_tuned"):
        told.append("The teacher was fine-tuned on the same rows first.")
    if results.get("task") and head.answering is not None:
        told.append(f"Task: {escaped(str(results['task']))}.")
    if results.get("data"):
        told.append(f"Data: {escaped(str(last_part(results['data'])))}.")
    kept, metric = number(results.get("retention")), results.get("metric")
    if kept is not None and metric:
        score = escaped(str(metric).replace("_", " "))
        told.append(f"It keeps {100 * kept:.1f} % of its teacher's {score}.")
    if head.regression and part(results, "ranking"):
        told.append("It gives a query and a passage one value: the higher, the more relevant.")
    elif head.regression:
        told.append("It answers with one value, not with classes.")
    if head.answering == "sets":
        told.append("Each label has a probability of its own; those above 0.5 are its answer.")
    if head.masked_lm:
        told.append("It guesses masked tokens; its score is the share that it guesses right.")
    if head.answering == "tokens":
        told.append("It tags the words of a sentence; a word is answered at its first piece.")
    if head.answering == "spans":
        told.append("It finds the answer to a question in a passage, as a span of it.")
    if head.sentence:
        told.append(vector_told(results))
    elif head.answering is None:
        told.append("It has no task head: fine-tune it, or distil it further, for a task.")
    return " ".join(filter(None, told))


def _usage(results: Results, head: _Head, name: str) -> str:
    """Code that runs where the model's directory lies."""
    longest, text = content.max_length(results), '"A text of your own."'
    if head.classifier and content.takes_pairs(results):
        text = '{"text": "The first text.", "text_pair": "The second."}'
    if head.answering == "spans":
        text = '"Who wrote it?", "Mary Shelley wrote it in 1818."'
    if part(results, "exports"):
        if head.classifier and content.takes_pairs(results):
            text = '"The first text.", "The second."'
        return exported_usage(results, text, name, longest)
    if head.sentence:
        code = "from sentence_transformers import SentenceTransformer\n\n"
        code += f"model = SentenceTransformer({quoted(name)})\n"
        code += 'vectors = model.encode(["A text of your own.", "Another one."])\n'
        code += "print(model.similarity(vectors, vectors))"
        return fenced(code, "python")
    own = _OWN_CLASSES.get(head.architecture)
    imports = f"import {own}  # makes the model's class known\n" if own else ""
    made = f"pipeline({quoted(head.pipeline)}, {quoted(name)})"
    # Without truncation a text of more tokens than the model has positions ends in an error.
    if head.classifier:
        cut = "" if longest is None else f", truncation=True, max_length={longest}"
        if head.answering == "sets":
            cut = f", top_k=None{cut}"
        code = f"classify = {made}\nprint(classify({text}{cut}))"
    elif head.answering == "tokens":
        together = "first" if are_entity_tags(head.labels) else "none"
        made = f"pipeline({quoted(head.pipeline)}, {quoted(name)}, "
        made += f"aggregation_strategy={quoted(together)})"
        code = f"tag = {made}\nfor word in tag({text}):\n    print(word)"
    elif head.answering == "spans":
        return fenced(_ANSWERING.format(name=quoted(name), longest=longest or 384), "python")
    elif head.masked_lm:
        code = f"fill = {made}\nmask = fill.tokenizer.mask_token\n"
        code += 'for guess in fill(f"A text with one word {mask}."):\n'
        code += '    print(guess["token_str"], guess["score"])'
    else:
        code, cut = f"encode = {made}\n", ""
        if longest is not None:
            code += f'cut = {{"truncation": True, "max_length": {longest}}}\n'
            cut = ", tokenize_kwargs=cut"
        code += f"states = encode({text}, return_tensors=True{cut})\n"
        code += "print(states.shape)  # texts, tokens, width"
    return fenced(f"{imports}from transformers import pipeline\n\n{code}", "python")
