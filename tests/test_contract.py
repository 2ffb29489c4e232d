"""The training contract: padding, batching and processes change nothing; nor does the teacher."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from support import tiny, two_processes, warm
from tinybert.batching import TokenRows
from tinybert.distiller import Distiller, count_units
from tinybert.evaluation import held_out_losses, masked_scores
from tinybert.losses import IGNORED
from tinybert.objectives import (
    Objective,
    intermediate_objective,
    label_objective,
    mlm_objective,
    prediction_objective,
)
from tinybert.projections import Projections
from tinybert.taps import Taps, use_attention
from tinybert.teachers import Teacher
from tinybert.training import DistillationTrainer, Schedule

MAPPING = (2, 4)


def everything() -> Objective:
    """All terms at once, with unequal weights."""
    states = intermediate_objective(MAPPING, attention=[0.7, 1.3], hidden=[1.0, 0.5])
    return states + prediction_objective(2.0) + label_objective(weight=0.3)


def pieces(attention: str = "direct") -> tuple[Distiller, Teacher]:
    """A float64 distiller and teacher: equality is then not a question of rounding."""
    teacher = Teacher(tiny.classifier(seed=1, layers=4, width=32), dtype=torch.float64)
    student = tiny.classifier(seed=2).double()
    use_attention(student, attention)
    torch.manual_seed(3)
    return Distiller(student, Projections(16, 32, 2).double(), everything()), teacher


def masked_pieces(attention: str = "direct") -> tuple[Distiller, Teacher]:
    """A masked language model beside a teacher: masked tokens, states and scores at once."""
    teacher = Teacher(tiny.encoder(seed=1, layers=4, width=32), dtype=torch.float64)
    student = tiny.masked_lm(seed=2).double()
    use_attention(student, attention)
    torch.manual_seed(3)
    objective = intermediate_objective(MAPPING) + mlm_objective(0.7)
    return Distiller(student, Projections(16, 32, 2).double(), objective), teacher


def gradients(
    distiller: Distiller, teacher: Teacher, batches: list[dict[str, Tensor]]
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of the batches taken as one effective batch."""
    distiller.zero_grad()
    counts = [count_units(b) for b in batches]
    whole = {unit: sum(c[unit] for c in counts) for unit in counts[0]}
    total = 0.0
    for batch, count in zip(batches, counts, strict=True):
        taps: Taps = teacher.taps(batch, distiller.objective.teacher_taps)
        shares = {unit: count[unit] / whole[unit] for unit in whole}
        loss = distiller(batch, taps, shares)["loss"]
        loss.backward()
        total += float(loss.detach())
    found = {n: p.grad.clone() for n, p in distiller.named_parameters() if p.grad is not None}
    return total, found


def assert_same(
    one: tuple[float, dict[str, Tensor]], other: tuple[float, dict[str, Tensor]]
) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-10)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, other[1][name], rtol=1e-8, atol=1e-12)


def padded(batch: dict[str, Tensor], more: int) -> dict[str, Tensor]:
    """The batch with ``more`` padded positions that hold real-looking token ids."""
    wide = {}
    for name, tensor in batch.items():
        if tensor.dim() == 2 and name != "teacher_logits":
            fill = {"input_ids": 7, "masked_labels": IGNORED}.get(name, 0)
            filler = torch.full((len(tensor), more), fill)
            tensor = torch.cat([tensor, filler], dim=1)
        wide[name] = tensor
    return wide


@pytest.mark.parametrize("attention", ["direct", "fused"])
def test_padding_changes_nothing(attention: str) -> None:
    distiller, teacher = pieces(attention)
    batch = tiny.rows(8).batch(range(8))
    plain = gradients(distiller, teacher, [batch])
    assert_same(plain, gradients(distiller, teacher, [padded(batch, 9)]))


def test_batch_mates_change_nothing() -> None:
    distiller, teacher = pieces()
    rows = tiny.rows(8)
    order = [3, 0, 7, 1, 6, 2, 5, 4]
    together = gradients(distiller, teacher, [rows.batch(range(8))])
    assert_same(together, gradients(distiller, teacher, [rows.batch(order)]))


@pytest.mark.parametrize("cut", [[8], [1, 7], [2, 2, 4], [1] * 8])
def test_micro_batches_change_nothing(cut: list[int]) -> None:
    distiller, teacher = pieces()
    rows = tiny.rows(8)
    ends = np.cumsum(cut)
    batches = [rows.batch(range(end - size, end)) for size, end in zip(cut, ends, strict=True)]
    whole = gradients(distiller, teacher, [rows.batch(range(8))])
    assert_same(whole, gradients(distiller, teacher, batches))


@pytest.mark.parametrize("cut", [[8], [1, 7], [2, 2, 4]])
def test_sets_of_labels_are_means_over_the_rows_of_the_whole_batch(cut: list[int]) -> None:
    """Padding, batch mates and micro-batches change nothing for them either."""
    teacher = Teacher(tiny.classifier(seed=1, layers=4, width=32), dtype=torch.float64)
    objective = prediction_objective(2.0, answering="sets")
    objective += label_objective(weight=0.3, answering="sets")
    distiller = Distiller(tiny.classifier(seed=2).double(), None, objective)
    rows = tiny.rows(8)
    rows.labels = np.random.default_rng(0).random((8, 4)) < 0.4
    order = [3, 1, 0, 7, 6, 4, 5, 2]
    ends = np.cumsum(cut)
    batches = [rows.batch(order[end - size : end]) for size, end in zip(cut, ends, strict=True)]
    wide = [padded(batch, 5) | {"labels": batch["labels"]} for batch in batches]
    whole = gradients(distiller, teacher, [rows.batch(range(8))])
    assert_same(whole, gradients(distiller, teacher, wide))


@pytest.mark.parametrize("cut", [[8], [1, 7], [2, 2, 4], [1] * 8])
def test_masked_tokens_are_counted_over_the_whole_batch(cut: list[int]) -> None:
    """Padding, batch mates and micro-batches change nothing, rows with nothing masked included."""
    distiller, teacher = masked_pieces()
    rows = tiny.masked_rows(8)
    ends = np.cumsum(cut)
    order = [3, 1, 0, 7, 6, 4, 5, 2]
    batches = [rows.batch(order[end - size : end]) for size, end in zip(cut, ends, strict=True)]
    whole = gradients(distiller, teacher, [rows.batch(range(8))])
    assert_same(whole, gradients(distiller, teacher, [padded(batch, 3) for batch in batches]))
    labels = rows.batch(range(8))["masked_labels"]
    assert 0 in (labels != IGNORED).sum(dim=1)
    batch = rows.batch(range(8))
    plain = distiller.student(batch["input_ids"], batch["attention_mask"])
    loss = torch.nn.functional.cross_entropy(plain.logits.flatten(0, 1), labels.flatten())
    with torch.no_grad():
        taps = teacher.taps(batch, distiller.objective.teacher_taps)
        assert float(distiller(batch, taps)["terms"]["mlm"]) == pytest.approx(float(loss))


def test_a_batch_with_nothing_masked_is_no_nan(tmp_path: Path) -> None:
    student = tiny.masked_lm(seed=2)
    rows = tiny.masked_rows(6)
    rows.rows.ids[:] = tiny.SPECIALS.index("[UNK]")
    before = copy.deepcopy(student.state_dict())
    schedule = Schedule(steps=2, batch_size=4, weight_decay=0.0, gradient_norms_every=1)
    trainer = DistillationTrainer(
        Distiller(student, None, mlm_objective()), rows, schedule, tmp_path, cpu=True
    )
    trainer.train()
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert masked_scores(rows)(trainer.distiller) == {"mlm": 0.0, "masked_accuracy": 0.0}


def test_held_out_losses_of_masked_tokens_are_one_mean() -> None:
    """However evaluation cuts the rows, and however the accuracy is counted."""
    distiller, teacher = masked_pieces()
    rows = tiny.masked_rows(30)
    batch = rows.batch(range(30))
    labels = batch["masked_labels"]
    with torch.no_grad():
        logits = distiller.student(batch["input_ids"], batch["attention_mask"]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        for budget in (40, 10_000):
            losses = held_out_losses(rows, teacher, budget)(distiller)
            scores = masked_scores(rows, budget)(distiller)
            assert losses["mlm"] == pytest.approx(float(loss))
            assert scores["mlm"] == pytest.approx(float(loss))
            right = (logits.argmax(-1) == labels)[labels != IGNORED].double().mean()
            assert scores["masked_accuracy"] == pytest.approx(float(right))


def test_forms_of_attention_agree() -> None:
    rows = tiny.rows(8).batch(range(8))
    assert_same(gradients(*pieces("direct"), [rows]), gradients(*pieces("fused"), [rows]))


def train(
    directory: Path, rows: TokenRows, budget: int, teacher: Teacher | None = None
) -> DistillationTrainer:
    student = tiny.classifier(seed=2)
    use_attention(student, "direct")
    torch.manual_seed(3)
    distiller = Distiller(student, Projections(16, 32, 2), everything())
    teacher = teacher or Teacher(tiny.classifier(seed=1, layers=4, width=32))
    schedule = Schedule(
        steps=6, batch_size=12, learning_rate=1e-3, token_budget=budget, log_every=2
    )
    trainer = DistillationTrainer(distiller, rows, schedule, directory, teacher=teacher, cpu=True)
    trainer.train()
    return trainer


def test_the_token_budget_changes_no_training(tmp_path: Path) -> None:
    rows = tiny.rows(50)  # a last batch of two rows in every epoch
    one = train(tmp_path / "one", rows, budget=10**6).model.state_dict()
    many = train(tmp_path / "many", rows, budget=40).model.state_dict()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, many[name], rtol=1e-3, atol=2e-5)


def test_the_teacher_stays_outside(tmp_path: Path) -> None:
    model = tiny.classifier(
        seed=1, layers=4, width=32, hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5
    )
    teacher = Teacher(model)
    before = copy.deepcopy(model.state_dict())
    seen_modes = []
    model.register_forward_hook(lambda module, *_: seen_modes.append(module.training))
    model.base_model.register_forward_hook(lambda m, *_: seen_modes.append(m.training))
    rows = tiny.rows(40)
    trainer = train(tmp_path, rows, 400, teacher)
    trainer._save_checkpoint(trainer.model)
    assert seen_modes
    assert not any(seen_modes)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert not tensor.requires_grad
    trained = {id(p) for p in trainer.model.parameters()}
    assert not trained & {id(p) for p in model.parameters()}
    size = sum(p.numel() for p in trainer.model.parameters()) * 4
    saved = tmp_path / "checkpoint-6" / "model.safetensors"
    assert saved.stat().st_size < size + 20_000
    # dropout of 0.5 in a teacher in train mode would give other taps each time
    batch = rows.batch(range(4))
    request = trainer.request
    one, two = teacher.taps(batch, request), teacher.taps(batch, request)
    assert torch.equal(one.hidden[4], two.hidden[4])
    model.train()  # whoever does this does not reach the targets
    assert torch.equal(one.hidden[4], teacher.taps(batch, request).hidden[4])


WORKER = Path(__file__).parent / "support" / "two_processes.py"
OBJECTIVES = ("distillation", "mlm", "tasks")


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``one/OBJECTIVE`` of a process alone, ``two/OBJECTIVE`` of two over gloo; dropout 0."""
    place = tmp_path_factory.mktemp("processes")
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    launch = [
        *(warm.python(), "-m", "torch.distributed.run", "--nproc_per_node", "2"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),  # any free port
    ]
    run = subprocess.Popen(
        [*launch, str(WORKER), str(place / "two")],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for objective in OBJECTIVES:
        two_processes.main(place / "one" / objective, objective)
    output, _ = run.communicate(timeout=170)
    assert run.returncode == 0, output[-3000:]
    return place


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_processes_train_as_one(one_and_two: Path, objective: str) -> None:
    one, two = (
        torch.load(one_and_two / name / objective / "result.pt", weights_only=True)
        for name in ("one", "two")
    )
    assert (one["world"], two["world"]) == (1, 2)
    assert len(one["losses"]) == 50
    np.testing.assert_allclose(one["losses"], two["losses"], rtol=1e-5)
    for name, tensor in one["first_gradients"].items():
        torch.testing.assert_close(tensor, two["first_gradients"][name], rtol=1e-4, atol=1e-6)
    for name, tensor in one["weights"].items():
        torch.testing.assert_close(tensor, two["weights"][name], rtol=0, atol=1e-4)
