"""Taps show what transformers itself computes, for encoders of several families."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoConfig,
    AutoModelForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

from support import tiny
from tinybert.errors import TinybertError
from tinybert.taps import TapRequest, Taps, logits_at, run_with_taps, use_attention

SIZES = {
    "vocab_size": tiny.VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(tiny.config(layers=3)),
    "albert": lambda: AlbertModel(
        AlbertConfig(**SIZES, embedding_size=8, num_hidden_groups=1, inner_group_num=1)
    ),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(
            vocab_size=tiny.VOCABULARY, dim=16, n_layers=3, n_heads=4, hidden_dim=32, dropout=0.0,
            attention_dropout=0.0,
        )
    ),
    "roberta": lambda: RobertaModel(RobertaConfig(**SIZES, pad_token_id=0)),
    "electra": lambda: ElectraModel(ElectraConfig(**SIZES, embedding_size=8)),
}  # fmt: skip
ALL = frozenset({1, 2, 3})


def made(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = FAMILIES[family]().eval()
    with torch.no_grad():  # scores of a fresh model are all but zero
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "embedding" not in name:
                weight.mul_(10)
    return model


def inputs(family: str) -> dict[str, Tensor]:
    batch = tiny.rows(5, longest=12, labels=None).batch(range(5))
    if family == "distilbert":
        del batch["token_type_ids"]
    return batch


def plain(model: PreTrainedModel, batch: dict[str, Tensor]) -> Any:
    """What the model says by its own eager attention."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        return model(**batch, output_hidden_states=True, output_attentions=True)


@pytest.mark.parametrize("form", ["fused", "direct"])
@pytest.mark.parametrize("family", FAMILIES)
def test_taps_equal_the_plain_model(family: str, form: str) -> None:
    model, batch = made(family), inputs(family)
    expected = plain(model, batch)
    use_attention(model, form)
    with torch.no_grad():
        taps = run_with_taps(model, batch, TapRequest(ALL, ALL, embedding=True))
    mask = batch["attention_mask"].bool()
    assert taps.attention.keys() == taps.hidden.keys() == ALL
    for layer in ALL:
        tap = taps.attention[layer]
        assert tap.query.shape == (5, 4, mask.shape[1], 4)
        scores = tap.scaling * tap.query @ tap.key.mT
        probabilities = scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1)
        torch.testing.assert_close(
            probabilities, expected.attentions[layer - 1], rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            taps.hidden[layer][mask], expected.hidden_states[layer][mask], rtol=1e-4, atol=1e-5
        )
    assert taps.embedding is not None
    torch.testing.assert_close(taps.embedding, expected.hidden_states[0])
    assert taps.logits is None


@pytest.mark.parametrize("form", ["fused", "direct"])
def test_scores_are_those_of_the_layers_own_projections(form: str) -> None:
    """Equal softmax would leave a shift per row open: scores are compared as they are."""
    model, batch = made("bert"), inputs("bert")
    states = plain(model, batch).hidden_states
    use_attention(model, form)
    with torch.no_grad():
        taps = run_with_taps(model, batch, TapRequest(attention=ALL))
        for layer, tap in taps.attention.items():
            own = model.encoder.layer[layer - 1].attention.self
            query, key = own.query(states[layer - 1]), own.key(states[layer - 1])
            query, key = (x.unflatten(-1, (4, 4)).transpose(1, 2) for x in (query, key))
            mask = batch["attention_mask"].bool()
            pairs = (mask[:, None, :, None] & mask[:, None, None, :]).expand(-1, 4, -1, -1)
            torch.testing.assert_close(
                (tap.scaling * tap.query @ tap.key.mT)[pairs],
                (query @ key.mT / 2.0)[pairs],
                rtol=1e-4,
                atol=1e-5,
            )


@pytest.mark.parametrize("form", ["fused", "direct"])
def test_padding_is_not_attended_to(form: str) -> None:
    """What stands at padded places changes nothing at real ones."""
    model, batch = made("bert"), inputs("bert")
    use_attention(model, form)
    mask = batch["attention_mask"].bool()
    assert not mask.all()
    request = TapRequest(hidden=frozenset({3}))
    with torch.no_grad():
        one = run_with_taps(model, batch, request).hidden[3][mask]
        other = batch | {"input_ids": batch["input_ids"].masked_fill(~mask, 9)}
        two = run_with_taps(model, other, request).hidden[3][mask]
    torch.testing.assert_close(one, two)


def test_shared_layers_are_counted_by_calls() -> None:
    model, batch = made("albert"), inputs("albert")
    use_attention(model)
    with torch.no_grad():
        taps = run_with_taps(model, batch, TapRequest(attention=ALL))
    first, last = taps.attention[1].query, taps.attention[3].query
    assert first.shape == last.shape
    assert not torch.allclose(first, last)


def test_only_what_is_asked_for_is_kept_and_the_head_runs_for_logits_alone() -> None:
    model, batch = tiny.classifier(layers=3), inputs("bert")
    use_attention(model)
    heads: list[object] = []
    model.classifier.register_forward_hook(lambda *_: heads.append(1))
    taps = run_with_taps(model, batch, TapRequest(frozenset({2}), frozenset({1})))
    assert (set(taps.attention), set(taps.hidden)) == ({2}, {1})
    assert taps.embedding is None
    assert not heads
    both = run_with_taps(model, batch, TapRequest(frozenset({2}), frozenset({1}), logits=True))
    assert both.logits is not None
    assert both.logits.shape == (5, 4)
    torch.testing.assert_close(both.hidden[1], taps.hidden[1])
    assert heads


def test_gradients_flow_through_the_taps() -> None:
    model = tiny.encoder(layers=2).train()
    use_attention(model, "direct")
    taps = run_with_taps(model, inputs("bert"), TapRequest(attention=frozenset({1, 2})))
    taps.attention[2].query.sum().backward()
    own = model.encoder.layer
    assert own[1].attention.self.query.weight.grad.abs().sum() > 0
    assert own[0].output.dense.weight.grad.abs().sum() > 0
    assert own[1].attention.self.value.weight.grad is None


def test_requests_join_and_know_their_depth() -> None:
    joined = TapRequest(attention=frozenset({2})) | TapRequest(hidden=frozenset({5}), logits=True)
    assert joined == TapRequest(frozenset({2}), frozenset({5}), logits=True)
    assert joined.depth == 5
    assert TapRequest(embedding=True).depth == 0
    assert not TapRequest()


def test_checkpointing_that_hides_gradients_is_refused() -> None:
    model, batch = tiny.encoder(layers=2), inputs("bert")
    use_attention(model)
    request = TapRequest(attention=frozenset({1, 2}))

    def run(reentrant: bool) -> Taps:
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        model.train()
        return run_with_taps(model, batch, request)

    with pytest.raises(TinybertError, match="use_reentrant=False"):
        run(True)
    taps = run(False)
    taps.attention[2].query.sum().backward()
    assert set(taps.attention) == {1, 2}  # the recomputation taps nothing anew
    assert model.encoder.layer[0].attention.self.query.weight.grad is not None


class Hidden(nn.Module):
    """Attention that does not go through the interface."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        return hidden_states, None


def test_attention_that_is_not_shown_is_an_error() -> None:
    model = tiny.encoder(layers=2)
    use_attention(model)
    for layer in model.encoder.layer:
        layer.attention.self = Hidden()
    with pytest.raises(TinybertError, match="layers \\[2\\] of BertModel \\(0 attention calls\\)"):
        run_with_taps(model, inputs("bert"), TapRequest(attention=frozenset({2})))


def test_a_model_outside_the_interface_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.encoder(layers=1)
    monkeypatch.setattr(model, "set_attn_implementation", lambda _: None)  # as it ignores it
    with pytest.raises(TinybertError, match="cannot be read"):
        use_attention(model)


MASKED_LMS: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("bert", "roberta", "xlm-roberta", "camembert", "mpnet")},
    **{name: {"embedding_size": 8} for name in ("electra", "albert")},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 32},
    "modernbert": {"cls_token_id": 2, "sep_token_id": 3, "decoder_bias": True},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
}


def masked_lm(family: str, dtype: torch.dtype) -> PreTrainedModel:
    torch.manual_seed(0)
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    config = AutoConfig.for_model(family, **(SIZES | ids | MASKED_LMS[family]))
    model = AutoModelForMaskedLM.from_config(config).eval().to(dtype)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model


def masked_inputs(chosen: list[tuple[int, int]]) -> dict[str, Tensor]:
    batch = tiny.rows(5, longest=12, labels=None).batch(range(5))
    batch.pop("token_type_ids")
    labels = torch.full_like(batch["input_ids"], -100)
    for row, place in chosen:
        labels[row, place] = batch["input_ids"][row, place]
    return batch | {"masked_labels": labels}


SOME = [(0, 1), (0, 2), (3, 0), (4, 2)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("family", MASKED_LMS)
def test_the_head_runs_on_masked_tokens_alone(family: str, dtype: torch.dtype) -> None:
    model, batch = masked_lm(family, dtype), masked_inputs(SOME)
    heads: list[int] = []
    model.get_output_embeddings().register_forward_hook(
        lambda _module, _inputs, output: heads.append(output.shape[:-1].numel())
    )
    request = TapRequest(hidden=frozenset({1, 2}), embedding=True, masked=True)
    with torch.no_grad():
        taps = run_with_taps(model, batch, request)
        chosen = batch["masked_labels"] != -100
        again = logits_at(model, batch, chosen)
        assert heads == [4, 4]
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        whole = model(**inputs, output_hidden_states=True)
    assert whole.logits.shape == (*chosen.shape, tiny.VOCABULARY)  # the next pass is a plain one
    close = {"rtol": 1e-10, "atol": 1e-12} if dtype == torch.float64 else {}
    assert taps.masked is not None
    torch.testing.assert_close(taps.masked, whole.logits[chosen], **close)
    torch.testing.assert_close(again, whole.logits[chosen], **close)
    for layer in (1, 2):  # all tokens' states, as ever
        torch.testing.assert_close(taps.hidden[layer], whole.hidden_states[layer], **close)
    torch.testing.assert_close(taps.embedding, whole.hidden_states[0], **close)


def test_masked_tokens_and_attention_at_once() -> None:
    model, batch = masked_lm("bert", torch.float64), masked_inputs(SOME)
    use_attention(model, "direct")
    request = TapRequest(attention=frozenset({2}), masked=True)
    taps = run_with_taps(model, batch, request)
    assert taps.attention[2].query.shape[0] == 5
    taps.masked.sum().backward()
    assert model.bert.encoder.layer[0].output.dense.weight.grad.abs().sum() > 0


def test_nothing_masked_is_no_outputs() -> None:
    model, batch = masked_lm("bert", torch.float64), masked_inputs([])
    taps = run_with_taps(model, batch, TapRequest(masked=True))
    assert taps.masked.shape == (0, tiny.VOCABULARY)
    taps.masked.sum().backward()


def test_masked_tokens_need_a_head_and_masked_rows() -> None:
    request = TapRequest(masked=True)
    assert request
    assert (request | TapRequest()).masked
    with pytest.raises(TinybertError, match="BertModel has no output head"):
        run_with_taps(tiny.encoder(), masked_inputs(SOME), request)
    with pytest.raises(TinybertError, match="has no output head"):
        run_with_taps(tiny.classifier(), masked_inputs(SOME), request)
    with pytest.raises(TinybertError, match="needs rows that are masked"):
        run_with_taps(masked_lm("bert", torch.float32), inputs("bert"), request)
    with pytest.raises(ValueError, match="either"):
        run_with_taps(
            masked_lm("bert", torch.float32),
            masked_inputs(SOME),
            request | TapRequest(logits=True),
        )
