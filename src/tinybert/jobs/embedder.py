"""A sentence encoder distilled on raw text: its states first, then its vectors of sentences."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tinybert.errors import TinybertError
from tinybert.jobs.common import (
    described,
    open_run,
    plain_settings,
    publish,
    required,
    retention,
    short_stages,
    versions,
)
from tinybert.jobs.embedder_plan import (
    check_embedder_lengths,
    dry_run,
    general_settings,
    has_general_stage,
    plan_embedding,
)
from tinybert.jobs.embedder_rows import Sentences, check_sentences, read_sentences
from tinybert.jobs.embedder_stage import embedding_stage, embedding_start, teacher_vectors
from tinybert.jobs.embedder_watch import Watch
from tinybert.jobs.general import general_stage, with_steps
from tinybert.jobs.general_corpus import DEFAULT_LENGTH, check_corpus, open_text_of, text_length
from tinybert.jobs.published import local_student
from tinybert.jobs.sizes import default_student
from tinybert.jobs.students import begin_student, check_student, longest_of_both, student_print
from tinybert.outputs import check_output
from tinybert.progress import Reporter
from tinybert.projections import Projections
from tinybert.sentence_modules import SentenceHead, read_head, write_head
from tinybert.settings import EmbedderSettings
from tinybert.similarity import similarity_watch
from tinybert.stages import StageResult, check_no_run, save_student
from tinybert.teachers import fingerprint, has_head, load_encoder, load_tokenizer
from tinybert.work import check_apart

__all__ = ["matryoshka_sizes", "run_embedder", "teacher_head"]


def run_embedder(settings: EmbedderSettings, reporter: Reporter) -> dict[str, Any]:
    """Distil a sentence encoder; returns what ``results.json`` holds.

    The output directory loads with ``SentenceTransformer`` and with ``AutoModel``. With ``dry_run``
    a few steps are measured, and the plan is printed and returned.
    """
    begun = time.perf_counter()
    path = str(required(settings.teacher, "--teacher", "the teacher"))
    output = Path(required(settings.output, "--output", "the output directory"))
    check_output(output, settings.overwrite)
    named = {"corpus": settings.corpus, "sentences": settings.sentences}
    check_apart(output, teacher=path, student=settings.student, **named)
    check_no_run(output, resume=settings.resume, overwrite=settings.overwrite)
    check_embedder_lengths(settings)
    if has_head(path):
        raise TinybertError(
            f"{path} is a classifier, whose vectors say what its labels say: give a sentence "
            "encoder, or the encoder that it was fine-tuned from."
        )
    asked, local = settings, local_student(settings.student, reporter)
    settings = replace(asked, student=local)
    with_general = has_general_stage(settings)
    if with_general or not settings.sentences:
        required(settings.corpus, "--corpus", "the corpus")
    tokenizer, model = load_tokenizer(path), load_encoder(path)
    head = teacher_head(path, settings.pooling)
    sizes = matryoshka_sizes(settings, head.width(model.config.hidden_size))
    general = general_settings(settings)
    inputs = {"teacher weights": fingerprint(model), "teacher head": head.told}
    length = settings.max_length or DEFAULT_LENGTH
    if settings.corpus:
        inputs["text read"] = check_corpus(general, model, tokenizer, reporter)
    if settings.sentences:
        check_sentences(settings)
    settings = default_student(settings, model, None, reporter)
    general = general_settings(settings)
    check_student(settings, model, tokenizer, length=text_length(general) if with_general else None)
    longest = longest_of_both(settings.student, model)
    length = min(length, longest or length, head.longest or length)
    reporter.say(f"the teacher's vector: {head.told}")
    if head.prompts:
        names = ", ".join(head.prompts)
        reporter.say(f"its prompts ({names}) go with the student; sentences are read without them")
    watch = None
    if settings.watch:
        watch = Watch(settings, model, tokenizer, head, sizes, length, reporter)
    if settings.dry_run:
        return dry_run(settings, reporter, model, tokenizer, head, length)
    rows = read_sentences(settings, tokenizer, length, reporter)
    inputs["sentences read"] = rows.fingerprint()
    kept = replace(settings, student=asked.student) if settings.student == local else settings
    run = open_run(kept, reporter, inputs | student_print(settings))
    teacher_figures = described(model, None)
    # A pca start fitted on sentences keeps their similarities better than one fitted on blocks.
    student = begin_student(run, general, model, tokenizer, rows.train)
    if with_general:
        text = open_text_of(run, general, tokenizer, reporter)
        plain = (
            None if watch is None else similarity_watch(watch.pairs, watch.teacher, head.pooling)
        )
        stage = general_stage(
            *(run, general, load_encoder(path), student, text.train, text.held_out),
            watch=plain,
        )
        directory = run.run(
            with_steps(run, general, stage, student, text), student.directory
        ).directory
    else:
        directory = student.directory
    plan = plan_embedding(run, settings, model, head, rows, directory)
    rows = Sentences(rows.train.take(np.arange(plan.rows)), rows.held_out)
    rows, rotation = teacher_vectors(run, settings, model, head, rows, directory, sizes)
    start = embedding_start(run, directory, head, rotation)
    stage = embedding_stage(settings, head, rows, start, sizes, plan.steps, watch)
    result = run.run(stage, start)
    own_head = student_head(result.directory, head, settings, length)
    made = run.made("model", lambda d: _save(d, result.directory, own_head, start == directory))
    log = [entry for entry in result.record["log"] if "eval_loss" in entry]
    figures = {} if watch is None else watch.all_figures(load_encoder(made), own_head)
    score = figures.get("student", {}).get("similarity_spearman")
    its = figures.get("teacher", {}).get("similarity_spearman")
    results = {
        "task": "sentence vectors",
        "metric": None if score is None else "spearman",
        "teacher": teacher_figures | {"score": its},
        "student": described(load_encoder(made), score),
        "retention": retention(score, its),
        "controls": {},
        "vector": {
            "told": own_head.told,
            "dimensions": own_head.width(student.config.hidden_size),
            "pooling": own_head.pooling,
            "normalised": own_head.normalise,
            "teachers_space": rotation is None,
            "sizes": list(sizes),
        },
        "similarity": figures,
        "held_out": {k: v for k, v in (log[-1] if log else {}).items() if k.startswith("eval_")},
        "max_length": length,
        "sentences": plan.rows,
        "seconds": round(time.perf_counter() - begun, 1),
        "stages": short_stages(run.finished),
        "settings": plain_settings(asked),
        "versions": versions(),
    }
    publish(run, StageResult(made, result.record), results)
    if watch is not None:
        watch.show(figures, reporter)
    reporter.say(
        f"sentence encoder written to {run.output}: SentenceTransformer loads it, and "
        "`tinybert evaluate --similarity` and `tinybert export` read it"
    )
    return results


def teacher_head(path: str, pooling: str) -> SentenceHead:
    """What makes the teacher's vectors: its own modules, or the pooling that was asked for.

    Raises:
        TinybertError: modules that are not ours; another pooling than the teacher's own.
    """
    head = read_head(path)
    if head is None:
        return SentenceHead("mean" if pooling == "auto" else pooling, normalise=True)  # type: ignore[arg-type]
    if pooling not in ("auto", head.pooling):
        raise TinybertError(
            f"{path} pools by {head.pooling}, and --pooling {pooling} was asked for: leave out "
            "--pooling."
        )
    return head


def matryoshka_sizes(settings: EmbedderSettings, width: int) -> tuple[int, ...]:
    """The sizes of ``--matryoshka``.

    Args:
        settings: with ``dimensions``.
        width: of the teacher's vector.

    Raises:
        TinybertError: no whole numbers, not descending, or larger than the vector.
    """
    if settings.dimensions is not None and settings.dimensions > width:
        raise TinybertError(
            f"--dimensions {settings.dimensions} is more than the teacher's vector has: give "
            f"{width} or fewer."
        )
    if settings.matryoshka is None:
        return ()
    try:
        sizes = tuple(int(part) for part in settings.matryoshka.split(","))
    except ValueError:
        raise TinybertError(
            f"--matryoshka {settings.matryoshka}: give whole numbers with commas, such as "
            "256,128,64."
        ) from None
    full = settings.dimensions or width
    if any(one <= other for one, other in pairwise(sizes)) or sizes[-1] < 2:
        raise TinybertError(
            f"--matryoshka {settings.matryoshka}: give different sizes from the largest to the "
            "smallest, 2 or more each."
        )
    if sizes[0] >= full:
        raise TinybertError(
            f"--matryoshka {settings.matryoshka} has a size that is not below the {full} numbers "
            "of the whole vector: give smaller ones."
        )
    return sizes


def student_head(
    directory: Path, teacher: SentenceHead, settings: EmbedderSettings, length: int
) -> SentenceHead:
    """The student's modules: the teacher's pooling, and its projection as a dense layer."""
    projections = Projections.load(directory)
    linear = nn.Linear(projections.student_width, projections.teacher_width, bias=projections.bias)
    linear.load_state_dict(projections.module_for(projections.layers).state_dict())
    # 1 - cosine leaves lengths as they come: they would say nothing.
    normalise = teacher.normalise or settings.sentence_loss == "cosine"
    layers = [nn.Sequential(linear, nn.Identity())]
    return SentenceHead(
        teacher.pooling,
        layers,
        normalise,
        length,
        similarity=teacher.similarity,
        prompts=teacher.prompts,
        prompt_pooled=teacher.prompt_pooled,
    )


def _save(directory: Path, trained: Path, head: SentenceHead, to_states: bool) -> None:
    """The student as a directory of sentence-transformers."""
    model = load_encoder(trained)
    # Those that no longer lead to the teacher's states would mislead who distils it further.
    projections = Projections.load(trained) if to_states else None
    save_student(directory, model, load_tokenizer(trained), projections)
    write_head(directory, head, model.config.hidden_size)
