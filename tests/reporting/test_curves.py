"""Curves are the log's own points."""

from __future__ import annotations

from typing import Any

from tinybert.reporting.curves import MOST_POINTS, stage_curves


def entry(step: int, **figures: Any) -> dict[str, Any]:
    return {"stage": "intermediate", "step": step, "epoch": step / 10} | figures


LOG = [
    entry(
        step,
        loss=9.0 / step,
        **{
            "terms/attention.1": 1 / step,
            "terms/attention.2": 2 / step,
            "terms/attention": 3 / step,
            "terms/hidden": 6 / step,
            "learning_rate": 1e-4,
        },
    )
    for step in (1, 2, 3)
] + [
    entry(3, eval_loss=0.5, eval_attention=0.2, eval_hidden=0.3),
    {"stage": "prediction", "step": 2, "loss": 0.7, "terms/prediction": 0.7},
    {"stage": "prediction", "step": 2, "eval_accuracy": 0.9, "eval_f1": None},
    {"stage": "control-labels", "step": 2, "loss": 0.7},
    {"stage": "seed43-general", "step": 2, "loss": 0.7},
]


def test_points_are_the_logs() -> None:
    first, second = stage_curves(LOG, ["accuracy", "f1"])
    assert (first.name, second.name) == ("intermediate", "prediction")
    assert [curve.name for curve in first.losses] == ["all terms", "attention", "hidden"]
    for curve in first.losses:
        assert list(curve.points) == [(e["step"], e[curve.key]) for e in LOG[:3]]
    assert [curve.name for curve in first.layers["attention"]] == ["layer 1", "layer 2"]
    assert first.layers["attention"][1].points[2] == (3, 2 / 3)
    assert {curve.key: curve.points for curve in first.held_out} == {
        "eval_loss": ((3, 0.5),),
        "eval_attention": ((3, 0.2),),
        "eval_hidden": ((3, 0.3),),
    }
    assert first.scores == ()
    assert [(c.name, c.points) for c in second.losses] == [("prediction", ((2, 0.7),))]
    assert [(c.name, c.points) for c in second.scores] == [("accuracy", ((2, 0.9),))]


def test_a_long_log_is_thinned_and_keeps_its_ends() -> None:
    log = [entry(step, loss=1 / step) for step in range(1, 1000)]
    (stage,) = stage_curves(log, [])
    points = stage.losses[0].points
    assert len(points) <= MOST_POINTS + 1
    assert points[0] == (1, 1.0)
    assert points[-1] == (999, 1 / 999)
    assert set(points) <= {(e["step"], e["loss"]) for e in log}
    assert stage.thinned == 5


def test_no_log() -> None:
    assert stage_curves([], ["accuracy"]) == []
