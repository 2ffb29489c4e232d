"""A finished run as one page: its directory read, what it does not keep looked up or measured.

What is not to be had any more, rows or teacher, leaves a sentence on the page and no error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinybert.batching import TokenRows, tokenize
from tinybert.errors import TinybertError
from tinybert.evaluation import predict
from tinybert.jobs.common import required
from tinybert.jobs.row_tasks import row_tokens
from tinybert.jobs.rows import task_texts
from tinybert.jobs.word_tasks import word_tokens
from tinybert.label_matching import match_labels
from tinybert.measure import latency
from tinybert.measure.latency import longest_input
from tinybert.outputs import whole_file
from tinybert.progress import Reporter
from tinybert.reporting import (
    ANSWERS_FILE,
    REPORT_FILE,
    WORDS_FILE,
    Answers,
    Contents,
    FinishedRun,
    load_told,
    read_run,
    render,
)
from tinybert.reporting.attention import LONGEST, AttentionMaps, attention_maps
from tinybert.settings import DistillSettings, ReportSettings
from tinybert.tasks.demo.task import demo_task
from tinybert.tasks.task import Rows, TaskData
from tinybert.teachers import (
    aligned_labels,
    has_head,
    label_names,
    load_encoder,
    load_tokenizer,
    load_with_own_head,
)

__all__ = ["report_beside", "run_report"]

DEMO_TASK = "stdlib-topics"
OWN_SENTENCE = "She did not expect the film to be this good, and neither did I."
"""Shown where no row is to be had."""


def run_report(
    settings: ReportSettings, reporter: Reporter, teacher: PreTrainedModel | None = None
) -> dict[str, Any]:
    """Write the page.

    Args:
        settings: which run, and where its teacher and rows are now.
        reporter: told what is done.
        teacher: the run's, with outputs in the data's order of labels, where it is at hand.

    Returns:
        ``report``, the file written; ``missing``, sentences on what could not be shown.

    Raises:
        TinybertError: there is no finished student, or nothing can be written at the place.
    """
    directory = Path(required(settings.run, "--run", "the student's directory")).expanduser()
    if len(settings.sentence) > 2:
        raise TinybertError(
            f"--sentence has {len(settings.sentence)} texts: give one in quotes, or two of a pair."
        )
    run = read_run(directory)
    output = _place(settings, directory)
    contents = gathered(run, settings, reporter, teacher)
    page = render(contents)
    with whole_file(output) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")
    for sentence in contents.missing.values():
        reporter.say(f"not on the page: {sentence}")
    reporter.say(f"report: {output}")
    return {"report": str(output), "missing": list(contents.missing.values())}


def report_beside(
    directory: Path, reporter: Reporter, teacher: PreTrainedModel | None = None
) -> None:
    """The report of a run that has just ended; whatever is wrong with it, the run stays good."""
    try:
        run_report(ReportSettings(run=directory), reporter, teacher)
    except Exception as error:  # noqa: BLE001 - hours of work do not fail for a page
        told = " ".join(str(error).split())
        reporter.say(
            f"WARNING: no report was written ({told}); the student is whole, and `tinybert report "
            f"{directory}` tries again"
        )


def _place(settings: ReportSettings, directory: Path) -> Path:
    """Where the page goes, checked before any work."""
    if settings.output is None:
        return directory / REPORT_FILE
    output = settings.output.expanduser()
    if output.is_dir():
        raise TinybertError(f"--output {output} is a directory: give a file's name.")
    if not output.absolute().parent.is_dir():
        raise TinybertError(f"there is no directory {output.parent} for {output}.")
    if output.exists() and not settings.overwrite:
        raise TinybertError(
            f"{output} exists already: choose another name, or replace it with --overwrite."
        )
    return output


def gathered(
    run: FinishedRun,
    settings: ReportSettings,
    reporter: Reporter,
    teacher: PreTrainedModel | None = None,
) -> Contents:
    """All that the page is made of, with a sentence for each thing that is not to be had."""
    contents = Contents(run, rows=settings.differing)
    missing = contents.missing
    student, tokenizer = _student(run)
    if teacher is None:
        teacher = _teacher(run, settings, missing, reporter)
    # What several teachers answered together none of them does alone: it is kept, or not shown.
    answering = teacher
    kept = any((run.directory / name).is_file() for name in (ANSWERS_FILE, WORDS_FILE))
    if run.settings.get("ensemble") and not kept:
        answering = None
        missing["differ"] = (
            "The student learned the mean of several teachers' answers, and these were not kept."
        )
    in_rows = run.has_head and run.answering == "rows" and not run.ranked
    if run.answering != "rows" or run.ranked:
        contents.told = _told(run, settings, student, answering, tokenizer, missing, reporter)
    rows = _rows(run, settings, tokenizer, missing, reporter) if in_rows else None
    if in_rows:
        contents.answers = _answers(run, student, answering, rows, missing, reporter)
        if rows is not None and contents.answers is not None:
            if contents.answers.rows == rows.tokens.fingerprint():
                contents.texts = rows.texts
                missing.pop("texts", None)
            else:
                missing["texts"] = (
                    "The rows have changed since the run, so their texts cannot be shown: name "
                    "those of then with --data."
                )
    if contents.answers is None:
        missing.pop("texts", None)
    told: Mapping[str, Any] = run.results.get("latency") or {}
    contents.latency = told or _latency(settings, student, teacher, reporter)
    if not contents.latency:
        missing["latency"] = "Latency was not measured, as --no-latency asks."
    if teacher is not None:
        texts = contents.texts
        example = list(map(str, (contents.told or {}).get("example") or ()))
        sentence = settings.sentence or _short_row(tokenizer, texts) or example or [OWN_SENTENCE]
        contents.maps = _maps(run, teacher, student, tokenizer, sentence, missing)
    return contents


def _student(run: FinishedRun) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    tokenizer = load_tokenizer(run.directory)
    labels = run.labels if run.has_head else None
    model = load_encoder(
        run.directory, labels=labels, regression=run.regression, answering=run.answering
    )
    return model, tokenizer


def _teacher(
    run: FinishedRun, settings: ReportSettings, missing: dict[str, str], reporter: Reporter
) -> PreTrainedModel | None:
    """The teacher, if the run had one and it is still there.

    The error names paths of this machine: it is for the terminal, and the page for others.
    """
    if not run.results.get("teacher"):
        missing["attention"] = "This model had no teacher to stand beside."
        missing["differ"] = "This model had no teacher to differ from."
        return None
    place = settings.teacher or _teacher_place(run)
    try:
        if run.has_head and has_head(place, run.answering):
            return load_with_own_head(place)
        if run.has_head:
            raise TinybertError(f"{place} has no task head: the fine-tuned teacher is needed.")
        return load_encoder(place)
    except TinybertError as error:
        if settings.teacher is not None:
            raise
        reporter.say(f"the teacher: {error}")
        missing["attention"] = (
            "The teacher is not to be had any more, so nothing of it can be shown that the run did "
            "not keep; name it with --teacher if it lies elsewhere."
        )
        return None


def _teacher_place(run: FinishedRun) -> str:
    """Where the run had its teacher; one that it fine-tuned lies beside the student."""
    asked = str(run.settings.get("teacher") or run.results.get("teacher_name") or "the teacher")
    if run.results.get("teacher_fine_tuned"):
        beside = run.directory.resolve()
        return str(beside.parent / f"{beside.name}-teacher")
    return str(_found(asked, run))


def _found(path: str, run: FinishedRun) -> str:
    """A path as the run had it; one that is relative may be so to the student's neighbours."""
    beside = run.directory.resolve().parent / path
    return str(beside) if not Path(path).expanduser().exists() and beside.exists() else path


def _told(
    run: FinishedRun,
    settings: ReportSettings,
    student: PreTrainedModel,
    teacher: PreTrainedModel | None,
    tokenizer: PreTrainedTokenizerBase,
    missing: dict[str, str],
    reporter: Reporter,
) -> dict[str, Any] | None:
    """Of answers in words what the run kept; else answered anew, where rows and models are."""
    kept = load_told(run.directory)
    if kept is not None:
        return kept
    given = any((settings.data, settings.dev, settings.test))
    try:
        data, asked = _data(run, settings)
        assert data.test is not None
        task = data.task
        named = task.answering in ("tokens", "sets")
        if named and not task.label_names:  # no labels: the model's
            task = replace(task, label_names=run.labels)
        rows = (
            word_tokens(
                tokenizer, data.test, task, asked.max_length, asked, None, reporter, "reported"
            )
            if task.answering in ("tokens", "spans")
            else row_tokens(tokenizer, data.test, task, asked.max_length)
        )
    except TinybertError as error:
        if given:
            raise
        reporter.say(f"the rows: {error}")
        missing["answers"] = (
            "The rows are not to be had any more, so the answers to them cannot be shown; name "
            "their place with --data."
        )
        return None
    models = {"student": student} | ({} if teacher is None else {"teacher": teacher})
    outputs = {}
    for name, model in models.items():
        with reporter.track(len(rows), f"the {name}'s answers", unit="rows") as progress:
            found = predict(model, rows, advance=progress.advance)
        if named:
            own = run.labels if name == "student" else label_names(model.config)
            found = found[:, aligned_labels(own, task.label_names)]
        outputs[name] = found
    assert rows.reading is not None
    return rows.reading.told(outputs["student"], outputs.get("teacher"))


@dataclass(frozen=True)
class _Reported:
    """The rows reported on, as texts and as tokens."""

    texts: Sequence[tuple[str, ...]]
    tokens: TokenRows


def _rows(
    run: FinishedRun,
    settings: ReportSettings,
    tokenizer: PreTrainedTokenizerBase,
    missing: dict[str, str],
    reporter: Reporter,
) -> _Reported | None:
    """The rows that the run reported on, read again as it read them."""
    given = any((settings.data, settings.dev, settings.test))
    try:
        rows = _read(run, settings)
    except TinybertError as error:
        if given:
            raise
        reporter.say(f"the rows: {error}")
        missing["texts"] = (
            "The rows are not to be had any more, so their texts cannot be shown; name their place "
            "with --data."
        )
        return None
    longest = int(run.settings.get("max_length") or run.results.get("max_length") or 128)
    return _Reported(rows.texts, tokenize(tokenizer, rows.texts, longest, rows.labels))


def _read(run: FinishedRun, settings: ReportSettings) -> Rows:
    seed = int(run.settings.get("seed") or 0)
    if run.results.get("task") == DEMO_TASK and not run.settings.get("data"):
        data = demo_task(seed)
        assert data.test is not None
        return data.test
    data, _ = _data(run, settings)
    assert data.test is not None
    return data.test


def _data(run: FinishedRun, settings: ReportSettings) -> tuple[TaskData, DistillSettings]:
    """All parts of the run's rows, and the settings that they were read by."""
    known = {field.name for field in fields(DistillSettings)}
    asked = {name: value for name, value in run.settings.items() if name in known}
    for name in ("data", "dev", "test"):
        place = getattr(settings, name) or asked.get(name)
        asked[name] = None if place is None else _found(str(place), run)
    plain = DistillSettings(**asked)
    return task_texts(plain, Reporter(quiet=True)), plain


def _answers(
    run: FinishedRun,
    student: PreTrainedModel,
    teacher: PreTrainedModel | None,
    rows: _Reported | None,
    missing: dict[str, str],
    reporter: Reporter,
) -> Answers | None:
    """What the run kept; else computed anew, where rows and models are there."""
    kept = Answers.load(run.directory)
    if kept is not None and kept.student.shape[1] == len(run.labels):
        return kept
    if rows is None:
        missing["answers"] = missing.get("texts", "The rows are not to be had any more.")
        return None
    tokens = rows.tokens
    with reporter.track(len(tokens), "the student's answers", unit="rows") as progress:
        outputs = predict(student, tokens, advance=progress.advance)
    of_teacher = None
    if teacher is not None and own_vocabulary(run):
        missing["differ"] = (
            "The student has a tokenizer of its own, and the teacher's answers were not kept."
        )
    elif teacher is not None:
        with reporter.track(len(tokens), "the teacher's answers", unit="rows") as progress:
            of_teacher = predict(teacher, tokens, advance=progress.advance)
        if not run.regression:
            try:
                names = match_labels(
                    label_names(teacher.config), run.labels, of_teacher, tokens.labels
                ).names
                of_teacher = of_teacher[:, [names.index(label) for label in run.labels]]
            except (TinybertError, ValueError) as error:
                reporter.say(f"the teacher's labels: {error}")
                missing["differ"] = "The teacher's labels cannot be matched with the data's."
                of_teacher = None
    return Answers(outputs, of_teacher, tokens.labels, tokens.fingerprint())


def _latency(
    settings: ReportSettings,
    student: PreTrainedModel,
    teacher: PreTrainedModel | None,
    reporter: Reporter,
) -> dict[str, dict[str, Any]]:
    """Of one short and one long text, both models in turns."""
    if not settings.latency:
        return {}
    models = {"student": student} if teacher is None else {"teacher": teacher, "student": student}
    most = min(longest_input(model) or 128 for model in models.values())
    lengths = sorted({min(32, most), min(128, most)})
    found = {}
    with reporter.track(len(lengths), "measuring latency", unit="lengths") as progress:
        for length in lengths:
            taken = latency(models, length=length, repeats=20)
            found[f"batch 1 x {length} tokens"] = {n: asdict(each) for n, each in taken.items()}
            progress.advance()
    return found


def own_vocabulary(run: FinishedRun) -> bool:
    """Whether the student reads other tokens than its teacher."""
    return bool(run.results.get("vocabulary"))


def _short_row(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, ...]] | None
) -> list[str]:
    """A row that fits the page, one of a dozen words at best; none where all are long."""
    if not texts:
        return []
    few = [texts[place] for place in range(min(200, len(texts)))]
    lengths = [len(tokenizer(*row, verbose=False)["input_ids"]) for row in few]
    best = min(range(len(few)), key=lambda place: abs(lengths[place] - 14))
    return list(few[best]) if lengths[best] <= LONGEST else []


def _maps(
    run: FinishedRun,
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sentence: Sequence[str],
    missing: dict[str, str],
) -> AttentionMaps | None:
    if own_vocabulary(run):
        missing["attention"] = (
            "The student has a tokenizer of its own: its tokens are not the teacher's, and their "
            "attention cannot be laid side by side."
        )
        return None
    if not run.mapping:
        missing["attention"] = "The run does not say which layer learned from which."
        return None
    try:
        return attention_maps(teacher, student, tokenizer, sentence, run.mapping)
    except TinybertError as error:
        missing["attention"] = f"The attention cannot be shown: {error}"
        return None
