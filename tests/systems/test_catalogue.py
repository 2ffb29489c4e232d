"""The systems of the paper's table: names, sizes beside the paper's, steps, shapes."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig

from support import tiny
from tinybert.attention_transfer import relation_heads
from tinybert.errors import TinybertError
from tinybert.jobs.systems import without_weights
from tinybert.mapping import layer_mapping
from tinybert.measure import flops, parameters
from tinybert.students import Shape, shape_of
from tinybert.systems import SYSTEMS, System, find_system, student_config, system_shape
from tinybert.systems.catalogue import MobileShape
from tinybert.systems.scale import LEAST_HEAD
from tinybert.systems.steps import FineTuning, Given, check_shares

PAPERS = (
    *("BERT_BASE", "BERT_TINY", "BERT_SMALL", "BERT_4-PKD", "DistilBERT_4", "MobileBERT_TINY"),
    *("TinyBERT_4", "BERT_6-PKD", "PD", "DistilBERT_6", "TinyBERT_6"),
)
ALL = list(SYSTEMS.values())
BASE = Shape(12, 768, 3072, 12)
SMALL = Shape(6, 384, 1536, 12)  # a teacher of half BERT_BASE's depth and width


def named(system: System) -> str:
    return system.name


def test_names_are_the_papers_in_its_order() -> None:
    assert tuple(s.name for s in ALL if s.paper is not None) == PAPERS
    assert [s.name for s in ALL if s.paper is None] == ["MiniLMv2_4", "TinyBERT_4-PCA"]


@pytest.mark.parametrize("name", PAPERS)
def test_sizes_are_within_five_percent_of_the_papers(name: str) -> None:
    paper = SYSTEMS[name].paper
    assert paper is not None
    model = without_weights(student_config(SYSTEMS[name], BertConfig(), paper=True))
    assert parameters(model) == pytest.approx(paper.parameters, rel=0.05)
    assert flops(model, 128) == pytest.approx(paper.flops, rel=0.05)


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_average_is_that_of_its_columns(name: str) -> None:
    paper = SYSTEMS[name].paper
    assert paper is not None
    columns = {task: score for task, score in paper.scores.items() if task != "average"}
    if "average" in paper.scores:
        assert len(columns) == 9
        mean = sum(columns.values()) / len(columns)
        assert mean == pytest.approx(paper.scores["average"], abs=0.11)
    else:
        assert set(paper.scores) == set(columns)


@pytest.mark.parametrize("system", ALL, ids=named)
def test_shares_add_up_and_numbers_have_sources(system: System) -> None:
    check_shares(system.steps)
    assert system.corpus_steps + system.task_steps == system.steps
    assert system.task_steps
    for step in system.steps:
        assert step.source
        assert (step.epochs is None) != (step.steps is None)


def test_shares_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(TinybertError, match="share 0.5"):
        check_shares([FineTuning(share=0.5)])


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("system", ALL, ids=named)
def test_objectives_can_be_built(system: System, regression: bool) -> None:
    shape = system_shape(system, SMALL)
    given = Given(
        layer_mapping("uniform", shape.layers, SMALL.layers),
        SMALL.layers,
        regression,
        relation_heads(SMALL.hidden, shape.hidden, 48) if isinstance(shape, Shape) else 1,
    )
    for step in system.steps:
        objectives = step.objectives(given)
        assert all(objective.terms for objective in objectives)
        reads = any(bool(objective.teacher_taps) for objective in objectives)
        assert reads == step.reads_teacher
        for objective in objectives:
            for term in objective.terms:
                assert getattr(term, "m", 1) <= shape.layers
                assert getattr(term, "n", 1) <= SMALL.layers


@pytest.mark.parametrize("system", ALL, ids=named)
def test_shapes_beside_bert_base_are_the_papers(system: System) -> None:
    shape = system_shape(system, BASE)
    if isinstance(system.shape, MobileShape):
        assert (shape.layers, shape.heads) == (BASE.layers, BASE.heads)
    else:
        assert shape == system.shape == system_shape(system)


@pytest.mark.parametrize("system", ALL, ids=named)
def test_shapes_at_small_scale(system: System) -> None:
    shape = system_shape(system, SMALL)
    assert shape.heads == SMALL.heads
    if isinstance(system.shape, MobileShape):
        assert isinstance(shape, MobileShape)
        assert (shape.layers, shape.hidden) == (SMALL.layers, SMALL.hidden)
        assert shape.bottleneck // shape.heads >= LEAST_HEAD
        assert shape.bottleneck < shape.hidden
        return
    assert shape.hidden // shape.heads >= LEAST_HEAD
    assert shape.hidden % shape.heads == 0
    assert shape.layers == {12: 6, 6: 3, 4: 2}[system.shape.layers]
    narrower = system.shape.hidden < BASE.hidden
    assert shape.hidden < SMALL.hidden if narrower else shape.hidden == SMALL.hidden


def test_no_student_is_wider_than_a_narrow_teacher() -> None:
    narrow = Shape(4, 32, 64, 4)
    for system in ALL:
        shape = system_shape(system, narrow)
        width = shape.bottleneck if isinstance(shape, MobileShape) else shape.hidden
        assert width <= narrow.hidden, system.name


@pytest.mark.parametrize("system", ALL, ids=named)
def test_students_of_a_tiny_teacher_are_built_and_run(system: System) -> None:
    teacher = tiny.classifier(layers=6, width=128, heads=4).config
    config = student_config(system, teacher)
    assert config.num_labels == len(tiny.LABELS)
    assert config.vocab_size == teacher.vocab_size
    student = AutoModelForSequenceClassification.from_config(config).eval()
    ids = torch.randint(5, tiny.VOCABULARY, (2, 9))
    with torch.no_grad():
        found = student(input_ids=ids, output_hidden_states=True)
    assert found.logits.shape == (2, len(tiny.LABELS))
    shape = system_shape(system, shape_of(teacher))
    assert len(found.hidden_states) == 1 + shape.layers
    assert found.hidden_states[-1].shape == (2, 9, shape.hidden)


def test_a_system_is_found_by_a_name_typed_otherwise() -> None:
    for system in ALL:
        assert find_system(system.name.lower().replace("_", " ")) is system
    with pytest.raises(TinybertError, match="did you mean TinyBERT_"):
        find_system("TinyBERT_5")
    with pytest.raises(TinybertError, match="choose BERT_BASE"):
        find_system("GPT")
