"""The one training loop: schedule, log, best weights, stop on NaN."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainerCallback

from support import tiny
from tinybert.batching import TokenRows, tokenize
from tinybert.distiller import Distiller
from tinybert.errors import TinybertError
from tinybert.evaluation import held_out_losses, predict, task_scores
from tinybert.objectives import (
    Objective,
    intermediate_objective,
    label_objective,
    prediction_objective,
)
from tinybert.projections import Projections
from tinybert.taps import use_attention
from tinybert.teachers import Teacher, cached_logits
from tinybert.training import DistillationTrainer, Schedule


def trainer(
    directory: Path,
    objective: Objective | None = None,
    rows: TokenRows | None = None,
    with_teacher: bool = False,
    **options: Any,
) -> DistillationTrainer:
    student = tiny.classifier(seed=2)
    use_attention(student, "direct")
    torch.manual_seed(3)
    objective = objective or label_objective()
    projections = Projections(16, 32, 2) if objective.needs_projections else None
    schedule = {"batch_size": 8, "learning_rate": 1e-3, "log_every": 1}
    teacher = Teacher(tiny.classifier(seed=1, layers=4, width=32)) if with_teacher else None
    return DistillationTrainer(
        Distiller(student, projections, objective),
        rows or tiny.rows(40),
        Schedule(**(schedule | options.pop("schedule", {}))),
        directory,
        teacher=teacher,
        cpu=True,
        **options,
    )


def logged(trainer: DistillationTrainer, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [
        (Schedule(epochs=3, batch_size=8), 18),
        (Schedule(epochs=0.5, batch_size=8), 3),
        (Schedule(epochs=0.01, batch_size=8), 1),
        (Schedule(epochs=3, batch_size=8, steps=5), 5),
        (Schedule(epochs=1, batch_size=100), 1),
    ],
)
def test_steps_follow_from_epochs_unless_given(schedule: Schedule, steps: int) -> None:
    assert schedule.total_steps(41) == steps


def test_warm_up_and_decay(tmp_path: Path) -> None:
    run = trainer(tmp_path, schedule={"epochs": 4, "warmup": 0.25})
    run.train()
    rates = logged(run, "learning_rate")
    assert len(rates) == 20
    # transformers logs the rate of the step that was taken: linear up to 1e-3, then down to 0
    up = 1e-3 * np.arange(1, 5) / 5
    down = 1e-3 * np.arange(15, 0, -1) / 15
    shown = [rate for rate in rates if rate > 0]
    np.testing.assert_allclose(shown[-15:], down, rtol=1e-6)
    np.testing.assert_allclose(shown[: len(shown) - 15], up[-(len(shown) - 15) :], rtol=1e-6)
    epochs = logged(run, "epoch")
    assert epochs[4] == pytest.approx(1.0)
    assert max(epochs) == pytest.approx(4.0)


def test_terms_and_gradient_norms_are_logged(tmp_path: Path) -> None:
    objective = intermediate_objective((2, 4), attention=[0.5, 0], hidden={2: 2.0})
    run = trainer(
        tmp_path, objective, with_teacher=True, schedule={"steps": 4, "gradient_norms_every": 2}
    )
    run.train()
    entries = [entry for entry in run.state.log_history if "loss" in entry]
    assert len(entries) == 4
    for entry in entries:
        named = {k: v for k, v in entry.items() if k.startswith("terms/")}
        assert set(named) == {
            *("terms/embedding", "terms/attention.1", "terms/attention"),
            *("terms/hidden.2", "terms/hidden"),
        }
        total = (
            named["terms/embedding"]
            + 0.5 * named["terms/attention.1"]
            + 2.0 * named["terms/hidden.2"]
        )
        assert entry["loss"] == pytest.approx(total, rel=1e-4)
        assert entry["grad_norm"] > 0
    for kind in ("embedding", "attention", "hidden"):
        norms = logged(run, f"gradient_norm/{kind}")
        assert len(norms) == 2
        assert all(0 < norm < math.inf for norm in norms)


def test_training_learns(tmp_path: Path) -> None:
    texts, labels = tiny.sentences(60)
    tokenizer = tiny.tokenizer()
    numbers = np.array([tiny.LABELS.index(label) for label in labels])
    rows = tokenize(tokenizer, [(text,) for text in texts], 16, numbers)
    run = trainer(tmp_path, rows=rows, schedule={"epochs": 15, "learning_rate": 2e-2})
    run.train()
    losses = logged(run, "loss")
    assert losses[-1] < 0.3 * losses[0]
    assert task_scores(rows, "accuracy")(run.model)["accuracy"] > 0.9


@pytest.mark.parametrize("greater", [True, False])
def test_the_best_weights_are_kept_and_put_back(tmp_path: Path, greater: bool) -> None:
    """Scores 1, 3, 2 (or their negatives): the weights of the second evaluation return."""
    seen: list[dict[str, torch.Tensor]] = []

    def evaluation(distiller: Distiller) -> dict[str, float]:
        assert not distiller.training
        seen.append({k: v.clone() for k, v in distiller.state_dict().items()})
        value = [1.0, 3.0, 2.0][len(seen) - 1]
        return {"score": value if greater else -value, "other": 0.5}

    run = trainer(
        tmp_path, evaluation=evaluation, metric="score", greater_is_better=greater,
        schedule={"epochs": 3},
    )  # fmt: skip
    run.train()
    assert len(seen) == 3
    assert run.state.best_global_step == 10
    assert abs(run.state.best_metric) == 3.0
    assert logged(run, "eval_other") == [0.5] * 3
    last = {k: v.clone() for k, v in run.model.state_dict().items()}
    run.use_best()
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, seen[1][name])
    assert any(not torch.equal(last[n], seen[1][n]) for n in last)


def test_a_score_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    values = iter([0.5, math.nan, 0.2])
    run = trainer(
        tmp_path,
        evaluation=lambda _: {"score": next(values)},
        metric="score",
        schedule={"epochs": 3},
    )
    run.train()
    assert run.state.best_metric == 0.5


def test_evaluations_only_at_the_end(tmp_path: Path) -> None:
    calls: list[int] = []

    def evaluation(_: Distiller) -> dict[str, float]:
        calls.append(1)
        return {"score": 1.0}

    run = trainer(tmp_path, evaluation=evaluation, schedule={"epochs": 3, "evaluations": 0})
    run.train()
    assert len(calls) == 1
    run.use_best()  # no metric: the last weights stay
    assert not list(tmp_path.glob("best-*"))


def test_checkpoints_are_kept_to_a_number_and_none_after_the_last_step(tmp_path: Path) -> None:
    run = trainer(tmp_path, schedule={"epochs": 4, "checkpoints": 1, "keep_checkpoints": 2})
    run.train()
    names = sorted(p.name for p in tmp_path.glob("checkpoint-*"))
    assert names == ["checkpoint-10", "checkpoint-15"]
    files = {p.name for p in (tmp_path / "checkpoint-15").iterdir()}
    assert {"whole.json", "model.safetensors", "optimizer.pt", "trainer_state.json"} <= files
    assert "training_args.bin" not in files


def test_a_loss_that_is_no_number_stops_with_advice(tmp_path: Path) -> None:
    run = trainer(tmp_path, schedule={"epochs": 3, "learning_rate": 1e30, "warmup": 0.0})
    with pytest.raises(TinybertError) as caught:
        run.train()
    message = str(caught.value)
    assert "became nan" in message
    assert "lower the learning rate (1e+30)" in message
    assert "--precision float32" in message
    assert not list(tmp_path.glob("checkpoint-*"))


def test_what_training_needs_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(TinybertError, match="these rows have none"):
        trainer(tmp_path, rows=tiny.rows(10, labels=None))
    with pytest.raises(TinybertError, match="reads a teacher, and none was given"):
        trainer(tmp_path, prediction_objective())


def test_kept_logits_serve_in_place_of_the_teacher(tmp_path: Path) -> None:
    """The same losses and weights from the teacher in the loop and from its kept outputs."""
    rows = tiny.rows(40)
    live = trainer(tmp_path / "a", prediction_objective(), rows, with_teacher=True)
    live.train()
    teacher = Teacher(tiny.classifier(seed=1, layers=4, width=32))
    rows.targets = cached_logits(teacher, rows, None)
    kept = trainer(tmp_path / "b", prediction_objective(), rows)
    kept.train()
    np.testing.assert_allclose(logged(live, "loss"), logged(kept, "loss"), rtol=1e-4)


def test_held_out_losses_are_those_of_one_batch() -> None:
    """However the rows are cut, each term is its mean over all of them."""
    student = tiny.classifier(seed=2)
    use_attention(student, "direct")
    teacher = Teacher(tiny.classifier(seed=1, layers=4, width=32))
    torch.manual_seed(3)
    objective = intermediate_objective((2, 4)) + prediction_objective()
    distiller = Distiller(student, Projections(16, 32, 2), objective).eval()
    rows = tiny.rows(30)
    batch = rows.batch(range(30))
    with torch.no_grad():
        whole = distiller(batch, teacher.taps(batch, objective.teacher_taps))
        cut = held_out_losses(rows, teacher, token_budget=50)(distiller)
        rows.targets = cached_logits(teacher, rows, None)
        kept = held_out_losses(rows, teacher, token_budget=50)(distiller)
    assert cut["loss"] == pytest.approx(float(whole["loss"]), rel=1e-4)
    hidden = sum(float(v) for n, v in whole["terms"].items() if n.startswith("hidden"))
    assert cut["hidden"] == pytest.approx(hidden, rel=1e-4)
    assert kept["prediction"] == pytest.approx(cut["prediction"], rel=1e-4)


def test_predictions_come_in_the_rows_order() -> None:
    model, rows = tiny.classifier(seed=2).train(), tiny.rows(30)
    logits = predict(model, rows)
    assert model.training  # as it was
    model.eval()
    for i in (0, 17, 29):
        inputs = {n: t for n, t in rows.batch([i]).items() if n != "labels"}
        with torch.no_grad():
            np.testing.assert_allclose(logits[i], model(**inputs).logits[0], rtol=1e-4, atol=1e-5)


def test_gradients_are_clipped(tmp_path: Path) -> None:
    run = trainer(tmp_path, schedule={"steps": 2, "max_gradient_norm": 1e-3})
    norms: list[float] = []

    class Norms(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            squares = [p.grad.pow(2).sum() for p in run.model.parameters() if p.grad is not None]
            norms.append(float(torch.stack(squares).sum().sqrt()))

    run.add_callback(Norms())
    run.train()
    assert len(norms) == 2
    assert norms == pytest.approx([1e-3] * 2, rel=1e-2)


@pytest.mark.parametrize("sharded", ["is_fsdp_enabled", "is_deepspeed_enabled"])
def test_a_launch_that_shards_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharded: str
) -> None:
    """Only several GPUs start one: the parent is made to believe in it."""
    real = Trainer.__init__

    def believing(self: Trainer, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs)
        setattr(self, sharded, True)

    monkeypatch.setattr(Trainer, "__init__", believing)
    with pytest.raises(TinybertError, match="this launch shards the model .* launch with torchrun"):
        trainer(tmp_path)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_projections_run_in_the_students_precision(precision: str) -> None:
    """The loss is float32 all the same, and near the one that float32 gives."""
    student, teacher = tiny.encoder(seed=2), Teacher(tiny.encoder(seed=1, layers=4, width=32))
    use_attention(student, "direct")
    torch.manual_seed(3)
    objective = intermediate_objective((2, 4))
    distiller = Distiller(student, Projections(16, 32, 2), objective)
    seen: list[torch.dtype] = []
    for module in distiller.projections.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    batch = tiny.rows(6, labels=None).batch(range(6))
    taps = teacher.taps(batch, objective.teacher_taps)
    exact = distiller(batch, taps)
    seen.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        output = distiller(batch, taps)
    assert seen == [getattr(torch, precision)] * 3
    for name, value in output["terms"].items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact["terms"][name], rtol=2e-2, atol=1e-3)
    output["loss"].backward()
    assert all(p.grad.dtype == torch.float32 for p in distiller.parameters() if p.grad is not None)
