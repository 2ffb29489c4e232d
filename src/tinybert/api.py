"""The verbs as Python functions: the same names, settings and results as on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinybert.cli.options import checked_values
from tinybert.progress import Reporter
from tinybert.settings import (
    AugmentSettings,
    BenchSettings,
    ConvertSettings,
    CorpusBuildSettings,
    CorpusShowSettings,
    DistillSettings,
    EmbedderSettings,
    EvaluateSettings,
    ExportSettings,
    FinetuneSettings,
    GeneralSettings,
    GlueSettings,
    MlmSettings,
    MultitaskSettings,
    PageSettings,
    PredictSettings,
    ProfileSettings,
    ReportSettings,
    ReproduceSettings,
    SystemsSettings,
    SystemsShowSettings,
    TrimSettings,
)

__all__ = [
    "augment",
    "bench",
    "convert",
    "corpus_build",
    "corpus_show",
    "distill",
    "embedder",
    "evaluate",
    "export_model",
    "finetune",
    "general",
    "glue",
    "list_systems",
    "mlm",
    "multitask",
    "page",
    "predict",
    "profile",
    "report",
    "reproduce",
    "show_system",
    "trim",
]


def _settings(kind: type, values: dict[str, Any]) -> Any:
    """The same checks and conversions as on the command line: names, types, choices."""
    for name in ("teacher", "model", "student", "data", "dev", "test", "masked_lm", "vectors"):
        if isinstance(values.get(name), Path):  # a Path is as good as a name
            values[name] = str(values[name])
    for name in ("corpus", "sentences"):
        if name in values and kind is not CorpusShowSettings:
            given = values[name]
            values[name] = [str(p) for p in ([given] if isinstance(given, (str, Path)) else given)]
    return kind(**checked_values(values, kind))


def general(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Distil a general student from raw text (TinyBERT, section 3.2, first stage).

    Args:
        quiet: no progress on standard error.
        settings: fields of :class:`tinybert.settings.GeneralSettings`; ``teacher``, ``corpus`` and
            ``output`` are needed.

    Returns:
        What ``output/results.json`` holds.

    Raises:
        TinybertError: whatever is wrong with the input, in one sentence.
    """
    from tinybert.jobs.general import run_general

    return run_general(_settings(GeneralSettings, settings), Reporter(quiet))


def corpus_build(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Tokenize text into a corpus; see :func:`general`.

    ``corpus``, ``teacher`` and ``output`` of :class:`tinybert.settings.CorpusBuildSettings` are
    needed.

    Returns:
        Counts, seconds and tokens a second.
    """
    from tinybert.jobs.corpus import run_corpus_build

    return run_corpus_build(_settings(CorpusBuildSettings, settings), Reporter(quiet))


def corpus_show(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Show a corpus; see :func:`general`. ``corpus`` is needed.

    Returns:
        Counts, lengths, vocabulary use, samples.
    """
    from tinybert.jobs.corpus import run_corpus_show

    return run_corpus_show(_settings(CorpusShowSettings, settings), Reporter(quiet))


def mlm(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Give an encoder an output head, or train a masked language model on; see :func:`general`.

    ``model``, ``corpus`` and ``output`` of :class:`tinybert.settings.MlmSettings` are needed.
    """
    from tinybert.jobs.mlm import run_mlm

    return run_mlm(_settings(MlmSettings, settings), Reporter(quiet))


def augment(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Write copies of training rows with words replaced; see :func:`general`.

    ``data``, ``masked_lm`` and ``output`` of :class:`tinybert.settings.AugmentSettings` are needed;
    ``vectors`` gives candidates to words of several pieces.

    Returns:
        Counts of rows, copies, words changed and duplicates; recipe, models, seconds.
    """
    from tinybert.jobs.augment import run_augment

    return run_augment(_settings(AugmentSettings, settings), Reporter(quiet))


def finetune(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Fine-tune an encoder on labels; see :func:`general` for arguments and errors.

    ``model``, ``data`` and ``output`` of :class:`tinybert.settings.FinetuneSettings` are needed.
    """
    from tinybert.jobs.finetune import run_finetune

    return run_finetune(_settings(FinetuneSettings, settings), Reporter(quiet))


def distill(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Distil a task student from a fine-tuned teacher; see :func:`general`.

    ``teacher``, ``data`` and ``output`` of :class:`tinybert.settings.DistillSettings` are needed.
    """
    from tinybert.jobs.distill import run_distill

    return run_distill(_settings(DistillSettings, settings), Reporter(quiet))


def embedder(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Distil a sentence encoder on raw text, without labels; see :func:`general`.

    ``teacher``, ``corpus`` (or ``sentences``) and ``output`` of
    :class:`tinybert.settings.EmbedderSettings` are needed.
    """
    from tinybert.jobs.embedder import run_embedder

    return run_embedder(_settings(EmbedderSettings, settings), Reporter(quiet))


def multitask(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Distil the teachers of several tasks into one student; see :func:`general`.

    ``tasks``, ``teacher``, ``data`` and ``output`` of
    :class:`tinybert.settings.MultitaskSettings` are needed. What may differ by task is one text,
    with ``{task}`` in it, or a list with ``"name=value"`` for single tasks.
    """
    from tinybert.jobs.multitask import run_multitask

    return run_multitask(_settings(MultitaskSettings, settings), Reporter(quiet))


def glue(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Run GLUE tasks with several seeds; see :func:`general`.

    ``teacher`` and ``output`` of :class:`tinybert.settings.GlueSettings` are needed.
    """
    from tinybert.jobs.glue import run_glue

    return run_glue(_settings(GlueSettings, settings), Reporter(quiet))


def evaluate(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Score a model on rows; see :func:`general`.

    ``model`` and ``data`` (or ``similarity``) of :class:`tinybert.settings.EvaluateSettings` are
    needed.
    """
    from tinybert.jobs.evaluate import run_evaluate

    return run_evaluate(_settings(EvaluateSettings, settings), Reporter(quiet))


def predict(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Answer rows with a model; see :func:`general`.

    ``model``, ``data`` and ``output`` of :class:`tinybert.settings.PredictSettings` are needed;
    with ``task``, ``model`` and ``output``.

    Returns:
        ``model``; ``files``, a number of rows for each file written; with ``label``, ``scores``.
    """
    from tinybert.jobs.predict import run_predict

    return run_predict(_settings(PredictSettings, settings), Reporter(quiet))


def trim(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Cut a model's vocabulary to the pieces that given text needs; see :func:`general`.

    ``model``, ``output``, and ``corpus`` or ``data`` of :class:`tinybert.settings.TrimSettings` are
    needed.

    Returns:
        Sizes before and after, coverage of other text, scores, as ``vocabulary.json`` has them.
    """
    from tinybert.jobs.trim import run_trim

    return run_trim(_settings(TrimSettings, settings), Reporter(quiet))


def bench(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Compare models in every form that they have; see :func:`general`.

    ``models`` of :class:`tinybert.settings.BenchSettings` are needed, directories or names; all is
    compared with the first.

    Returns:
        ``measured``, what the figures hold for, and ``results``, one dictionary a model and form.
    """
    from tinybert.jobs.bench import run_bench

    given = settings.get("models", [])
    settings["models"] = [str(m) for m in ([given] if isinstance(given, (str, Path)) else given)]
    return run_bench(_settings(BenchSettings, settings), Reporter(quiet))


def export_model(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Write a model as ONNX, int8 and OpenVINO, checked against PyTorch; see :func:`general`.

    ``model`` and ``output`` of :class:`tinybert.settings.ExportSettings` are needed.
    (``tinybert.export`` is the package that writes model cards.)

    Returns:
        What ``export.json`` holds: forms with sizes, differences and scores, versions.
    """
    from tinybert.jobs.export import run_export

    return run_export(_settings(ExportSettings, settings), Reporter(quiet))


def convert(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Turn a checkpoint of the authors' code into a Hugging Face directory; see :func:`general`.

    ``model`` and ``output`` of :class:`tinybert.settings.ConvertSettings` are needed.

    Returns:
        What was found: class, sizes, head, labels, projections, tensors left out.
    """
    from tinybert.jobs.convert import run_convert

    return run_convert(_settings(ConvertSettings, settings), Reporter(quiet))


def page(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Write a web page on which an exported model answers as one types; see :func:`general`.

    ``model`` and ``output`` of :class:`tinybert.settings.PageSettings` are needed.

    Returns:
        ``output``, what the page says, ``bytes``, and ``files`` with the bytes of each.
    """
    from tinybert.jobs.page import run_page

    return run_page(_settings(PageSettings, settings), Reporter(quiet))


def report(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """Write a finished run as one page of HTML; see :func:`general`.

    ``run``, the student's directory, of :class:`tinybert.settings.ReportSettings` is needed.

    Returns:
        ``report``, the file written; ``missing``, sentences on what could not be shown.
    """
    from tinybert.jobs.report import run_report

    return run_report(_settings(ReportSettings, settings), Reporter(quiet))


def reproduce(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """The paper's systems, or an ablation, over GLUE tasks and seeds (section 4).

    Args:
        quiet: no progress on standard error.
        settings: fields of :class:`tinybert.settings.ReproduceSettings`; ``teacher``, ``output``
            and for most systems ``corpus`` are needed.

    Returns:
        What ``output/results.json`` holds.
    """
    from tinybert.jobs.reproduce import run_reproduce

    return run_reproduce(_settings(ReproduceSettings, settings), Reporter(quiet=quiet))


def list_systems(*, quiet: bool = False, **settings: Any) -> list[dict[str, Any]]:
    """The systems of the paper's table, and two more (``tinybert systems``).

    Returns:
        One dictionary a system: shape, start, steps with their hyper-parameters, sources, the
        paper's figures.
    """
    from tinybert.jobs.systems import run_systems

    return run_systems(_settings(SystemsSettings, settings), Reporter(quiet))


def show_system(*, quiet: bool = False, **settings: Any) -> dict[str, Any]:
    """How one system is made (``tinybert systems show``). ``name`` is needed.

    Returns:
        As in :func:`list_systems`; with ``teacher`` its shape and parameters beside that one.
    """
    from tinybert.jobs.systems import run_systems_show

    return run_systems_show(_settings(SystemsShowSettings, settings), Reporter(quiet))


def profile(*, quiet: bool = False, **settings: Any) -> list[dict[str, Any]]:
    """Parameters, FLOPs and speed of the systems beside the paper's; see :func:`general`.

    Nothing of :class:`tinybert.settings.ProfileSettings` is needed.

    Returns:
        One dictionary a system, as the ``json`` file has it.
    """
    from tinybert.jobs.profile import run_profile

    return run_profile(_settings(ProfileSettings, settings), Reporter(quiet))
