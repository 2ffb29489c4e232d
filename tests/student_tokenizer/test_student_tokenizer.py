"""Tokenizers of a student's own: trained, read, and the embeddings that they start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertForMaskedLM,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaModel,
)

from support import encoders, tiny, tongues
from tinybert.errors import TinybertError
from tinybert.measure.latency import longest_input
from tinybert.student_tokenizer import (
    piece_sources,
    read_tokenizer,
    ready_tokenizer,
    same_tokens,
    train_wordpiece,
    with_vocabulary,
)

TEXTS = [text.title() + " été, reopening" for text in tiny.sentences(60)[0]]


def test_a_trained_tokenizer() -> None:
    teacher = tongues.word_pieces()
    made = train_wordpiece(TEXTS, 120, teacher)
    assert len(made) == 120
    assert made.convert_ids_to_tokens([0, 1, 2, 3, 4]) == tiny.SPECIALS
    ids = made("Thread ÉTÉ")["input_ids"]
    assert ids[0] == made.cls_token_id
    assert ids[-1] == made.sep_token_id
    assert made("thread ete")["input_ids"] == ids  # the teacher's case and accents
    assert made.decode(ids, skip_special_tokens=True) == "thread ete"
    assert made.unk_token_id not in made(TEXTS[0])["input_ids"]
    assert "thread" in made.get_vocab()  # frequent words are whole
    assert max(ready_tokenizer(made, teacher)("lock", "wait")["token_type_ids"]) == 1
    cased = train_wordpiece(TEXTS, 120, tongues.byte_pairs())
    assert cased("Thread")["input_ids"] != cased("thread")["input_ids"]


def test_the_same_text_gives_the_same_pieces() -> None:
    """A resumed run has to find its vocabulary again; the library's own trainer does not, as it
    walks through hash tables that are seeded anew each time."""
    made = [train_wordpiece(TEXTS, 120, tongues.word_pieces()).get_vocab() for _ in range(4)]
    made.append(train_wordpiece(TEXTS[::-1], 120, tongues.word_pieces()).get_vocab())
    assert made.count(made[0]) == 5


def test_vocabularies_that_cannot_be() -> None:
    teacher = tongues.word_pieces()
    with pytest.raises(TinybertError, match=r"the text gives \d+ pieces and --vocabulary-size"):
        train_wordpiece(["open the lock"] * 3, 500, teacher)
    with pytest.raises(TinybertError, match="no room for anything but characters"):
        train_wordpiece(TEXTS, 6, teacher)
    with pytest.raises(TinybertError, match="has no characters"):
        train_wordpiece(["  ", ""], 60, teacher)


def test_rare_characters_make_room_for_pieces() -> None:
    chinese = ["".join(chr(0x4E00 + i) for i in range(k, k + 40)) for k in range(0, 400, 40)]
    made = train_wordpiece([*TEXTS, *chinese], 150, tongues.word_pieces())
    assert len(made) == 150
    assert "thread" in made.get_vocab()
    assert made.unk_token_id in made(chinese[-1])["input_ids"]


def test_reading_a_tokenizer(tmp_path: Path) -> None:
    teacher = tongues.word_pieces()
    own = tongues.byte_pairs()
    own.save_pretrained(tmp_path / "own")
    assert same_tokens(read_tokenizer(tmp_path / "own", teacher), own)
    bare = read_tokenizer(tmp_path / "own" / "tokenizer.json", teacher)
    assert bare("open", "read")["input_ids"] == own("open", "read")["input_ids"]
    assert bare.pad_token == "[PAD]"
    assert not same_tokens(bare, teacher)
    assert not same_tokens(tongues.word_pieces(lower=False), teacher)  # the same pieces
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(TinybertError, match=r"broken\.json is no tokenizer that can be read"):
        read_tokenizer(tmp_path / "broken.json", teacher)
    with pytest.raises(TinybertError, match="there is no model directory"):
        read_tokenizer(tmp_path / "nowhere", teacher)


def test_inputs_follow_the_architecture(tmp_path: Path) -> None:
    teacher = tongues.word_pieces()
    teacher.model_input_names = ["input_ids", "attention_mask"]
    teacher.model_max_length = 77
    made = ready_tokenizer(tongues.byte_pairs(), teacher)
    assert "token_type_ids" not in made("open", "read")
    made.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(str(tmp_path))
    assert "token_type_ids" not in again("open", "read")
    assert again.model_max_length == 77


def test_pieces_come_from_the_same_text() -> None:
    old, new = tongues.word_pieces(), tongues.word_pieces(more=("thread", "##reading", "東京"))
    sources = piece_sources(new, old)

    def parts(piece: str) -> dict[str, float]:
        i = new.convert_tokens_to_ids(piece)
        where = slice(sources.offsets[i], sources.offsets[i + 1])
        names = old.convert_ids_to_tokens(sources.ids[where].tolist())
        return dict(zip(names, sources.weights[where].tolist(), strict=True))

    assert parts("[CLS]") == {"[CLS]": 1.0}
    assert parts("##ing") == {"##ing": 1.0}
    assert parts("thread") == pytest.approx({"th": 2 / 6, "##read": 4 / 6})
    assert parts("##reading") == pytest.approx({"##read": 4 / 7, "##ing": 3 / 7})
    assert parts("東京") == pytest.approx({"東": 0.5, "京": 0.5})
    assert sources.kept == len(old)
    assert sources.unknown == 0


@pytest.mark.parametrize("kind", ["word_pieces", "byte_pairs", "sentence_pieces"])
def test_an_identical_vocabulary_changes_nothing(kind: str) -> None:
    tokenizer = getattr(tongues, kind)()
    torch.manual_seed(0)
    model = BertForMaskedLM(tiny.config(vocab_size=len(tokenizer))).eval()
    made, sources = with_vocabulary(model, tokenizer, getattr(tongues, kind)())
    assert sources.ids.tolist() == list(range(len(tokenizer)))
    for name, tensor in model.state_dict().items():
        assert torch.equal(made.state_dict()[name], tensor), name
    assert made.config.to_dict() == model.config.to_dict()


def test_another_vocabulary_keeps_all_else() -> None:
    old, new = tongues.word_pieces(), tongues.byte_pairs()
    # As many pieces as positions: what follows from which is not told by sizes.
    model = BertForMaskedLM(tiny.config(vocab_size=len(old), max_position_embeddings=len(old)))
    made, sources = with_vocabulary(model.eval(), old, new)
    assert made.config.vocab_size == len(new)
    assert made.get_input_embeddings().weight is made.get_output_embeddings().weight  # type: ignore[no-untyped-call]
    table, given = (m.get_input_embeddings().weight.detach() for m in (made, model))  # type: ignore[no-untyped-call]
    i = new.convert_tokens_to_ids("Ġth")
    where = slice(sources.offsets[i], sources.offsets[i + 1])
    mean = sum(
        w * given[j] for j, w in zip(sources.ids[where], sources.weights[where], strict=True)
    )
    torch.testing.assert_close(table[i], mean)
    assert torch.equal(
        made.bert.embeddings.position_embeddings.weight,
        model.bert.embeddings.position_embeddings.weight,
    )
    assert made.cls.predictions.bias.shape == (len(new),)
    with torch.no_grad():
        made(**new("open the lock", return_tensors="pt"))


@pytest.mark.parametrize(("before", "after"), [(0, 1), (0, 3), (3, 0)])
def test_positions_that_are_counted_from_the_padding_on(before: int, after: int) -> None:
    """RoBERTa's begin after the padding id, which another tokenizer may have elsewhere; a text of
    the full length stays possible."""

    def words(pad: int) -> PreTrainedTokenizerBase:
        names = ["[CLS]", "[SEP]", "[UNK]", "[MASK]"]
        return tongues.reordered(tongues.word_pieces(), [*names[:pad], "[PAD]", *names[pad:]])

    old, new = words(before), words(after)
    assert (old.pad_token_id, new.pad_token_id) == (before, after)
    config = RobertaConfig(
        vocab_size=len(old), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=19 + before, type_vocab_size=2,
        pad_token_id=before, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = RobertaModel(config).eval()
    made, sources = with_vocabulary(model, old, new)
    assert made.config.pad_token_id == after
    assert sources.unknown == 0
    assert longest_input(made) == max(18, 18 + before - after)
    texts = ["open the lock open the lock open the lock open", "wait"]
    batches = [t(texts, padding=True, return_tensors="pt") for t in (old, new)]
    assert batches[0]["input_ids"].shape == (2, 18)
    with torch.no_grad():
        one, two = (m(**b)[0] for m, b in zip((model, made), batches, strict=True))
    mask = batches[0]["attention_mask"].bool()
    torch.testing.assert_close(one[mask], two[mask])
    assert np.array_equal(batches[0]["attention_mask"], batches[1]["attention_mask"])


def test_a_token_that_a_configuration_has_to_name(tmp_path: Path) -> None:
    """Also where the configuration has to name a token that no tokenizer has (EuroBERT's mask)."""
    model = encoders.classifier("eurobert", mask_token_id=2)
    old, new = tiny.tokenizer(), tongues.byte_pairs()
    made, _ = with_vocabulary(model, old, new)
    assert made.config.mask_token_id == new.cls_token_id
    model = encoders.classifier("eurobert", mask_token_id=old.vocab_size - 1)  # a word's
    made, _ = with_vocabulary(model, old, new)
    assert made.config.mask_token_id == new.unk_token_id
    made.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).mask_token_id == new.unk_token_id
