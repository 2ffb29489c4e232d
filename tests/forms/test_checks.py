"""Checks that see what they are for: wrong padding, batch mates, answers that are no numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from support import tiny
from tinybert.errors import TinybertError
from tinybert.forms import (
    BATCHES,
    Probes,
    alone_and_together,
    answers,
    largest_difference,
    make_probes,
)
from tinybert.runtimes import Runtime, model_inputs

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Stand(Runtime):
    """PyTorch's answers, changed."""

    def __init__(self, model: Any, change: Callable[[Any, Any], Any]) -> None:
        super().__init__(Path("stand"), "onnx-float32", Path("stand"), 0)
        self.model, self.change, self.inputs = model, change, INPUTS

    def _run(self, fed: dict[str, NDArray[np.int64]]) -> Any:
        with torch.inference_mode():
            found = self.model(**{name: torch.from_numpy(each) for name, each in fed.items()})
        answer = found.logits if hasattr(found, "logits") else found.last_hidden_state
        return self.change(answer.numpy().copy(), fed)


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny.classifier(initializer_range=0.3)


@pytest.fixture(scope="module")
def probes(model: Any) -> Probes:
    return make_probes(model, tiny.rows(30), model_inputs(model), 128)


def test_probes_have_every_size_and_padding(probes: Probes) -> None:
    shapes = {batch["input_ids"].shape for batch in probes.batches}
    assert shapes == {(count, length) for count in BATCHES for length in (1, 7, 128)}
    padded = [batch for batch in probes.batches if (batch["attention_mask"] == 0).any()]
    assert {batch["input_ids"].shape for batch in padded} >= {(3, 7), (32, 7), (32, 128)}
    for batch in probes.batches:
        assert (batch["attention_mask"].sum(1) >= 1).all()
        assert (batch["attention_mask"].sum(1) == batch["input_ids"].shape[1]).any()
        assert (batch["input_ids"][batch["attention_mask"] == 0] == 0).all()


def test_differences(model: Any, probes: Probes) -> None:
    assert largest_difference(Stand(model, lambda found, fed: found), probes) < 1e-5
    shifted = Stand(model, lambda found, fed: found + 0.25)
    assert largest_difference(shifted, probes) == pytest.approx(0.25, abs=1e-5)
    assert largest_difference(Stand(model, lambda found, fed: found[:, :2]), probes) == np.inf
    assert largest_difference(Stand(model, lambda found, fed: found * np.nan), probes) == np.inf


def test_answers_that_are_no_numbers() -> None:
    """NaN is never the larger of two, so it has to be looked for."""
    broken = tiny.classifier(initializer_range=0.3)
    with torch.no_grad():
        broken.classifier.bias[0] = float("nan")
    with pytest.raises(TinybertError, match=r"own answers are not finite .*train it again"):
        make_probes(broken, tiny.rows(30), model_inputs(broken), 128)
    odd = Stand(tiny.classifier(), lambda found, fed: found * np.nan)
    assert alone_and_together(odd, tiny.rows(30)) == np.inf


def test_a_mask_that_is_not_read_is_seen(model: Any, probes: Probes) -> None:
    class Blind(Stand):
        def _run(self, fed: dict[str, NDArray[np.int64]]) -> Any:
            return super()._run(fed | {"attention_mask": np.ones_like(fed["attention_mask"])})

    assert largest_difference(Blind(model, lambda found, fed: found), probes) > 1e-3
    assert alone_and_together(Blind(model, lambda found, fed: found), tiny.rows(30)) > 1e-3


def test_states_of_padding_are_left_aside() -> None:
    encoder = tiny.encoder(initializer_range=0.3)
    probes = make_probes(encoder, tiny.rows(30), model_inputs(encoder), 128)

    def spoil(found: Any, fed: Any) -> Any:
        found[fed["attention_mask"] == 0] += 7
        return found

    assert largest_difference(Stand(encoder, spoil), probes) < 1e-5
    assert alone_and_together(Stand(encoder, spoil), tiny.rows(30)) < 1e-5


def test_batch_mates_are_seen(model: Any) -> None:
    rows = tiny.rows(40)
    assert alone_and_together(Stand(model, lambda found, fed: found), rows) < 1e-5
    mean = Stand(model, lambda found, fed: found - found.mean(0, keepdims=True))
    assert alone_and_together(mean, rows) > 1e-3


def test_answers_come_in_the_rows_order(model: Any) -> None:
    rows = tiny.rows(50)
    found = answers(Stand(model, lambda found, fed: found), rows)
    with torch.inference_mode():
        for row in (0, 17, 49):
            batch = rows.batch([row])
            batch.pop("labels")
            np.testing.assert_allclose(found[row], model(**batch).logits[0].numpy(), atol=1e-5)
