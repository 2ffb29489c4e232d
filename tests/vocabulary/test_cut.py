"""A cut model is the same model on text whose pieces it keeps."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, BertTokenizer

from support import cuttable, tiny
from tinybert.errors import TinybertError
from tinybert.progress import Reporter
from tinybert.teachers import load_encoder
from tinybert.vocabulary import (
    VocabularyReport,
    cut_by_texts,
    cut_vocabulary,
    embeddings,
    trained_facts,
)
from tinybert.vocabulary.cut import REPORT_FILE
from tinybert.vocabulary.embeddings import load_whole
from tinybert.vocabulary.rewriting import Pieces

QUIET = Reporter(quiet=True)
OTHER = ["an unseen kebab, morning, and 7 tikemona!", "ß 東"]


@pytest.fixture(scope="module", params=[*cuttable.MODELS])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, VocabularyReport]:
    """A model of each kind, cut by some texts."""
    place = tmp_path_factory.mktemp(request.param)
    source = cuttable.saved(cuttable.MODELS[request.param](), place / "whole")
    report = cut_by_texts(source, iter(cuttable.SOME), place / "cut", QUIET, others=OTHER)
    return source, place / "cut", report


def answers(place: Path, text: str) -> tuple[list[str], torch.Tensor]:
    tokenizer, model = AutoTokenizer.from_pretrained(place), load_whole(place)
    batch = tokenizer([text, *cuttable.SOME], padding=True, return_tensors="pt")
    with torch.no_grad():
        return tokenizer.convert_ids_to_tokens(batch["input_ids"][0]), model(**batch)[0]


def test_counted_texts_are_read_and_answered_as_before(both: Any) -> None:
    source, cut, report = both
    size = report.after.pieces
    assert size < report.before.pieces
    whole, small = (AutoTokenizer.from_pretrained(place) for place in (source, cut))
    ids = [whole.convert_tokens_to_ids(small.convert_ids_to_tokens(i)) for i in range(size)]
    for text in cuttable.SOME:
        (pieces, old), (others, new) = (answers(place, text) for place in (source, cut))
        assert pieces == others
        # A head that answers with the vocabulary answers for the kept pieces.
        old = old[..., ids] if old.shape[-1] >= report.before.pieces else old
        torch.testing.assert_close(new, old, rtol=0, atol=1e-6)
    assert report.difference is not None
    assert report.difference < 1e-6


def test_tokenizer_embeddings_and_config_agree(both: Any) -> None:
    source, cut, report = both
    whole, small = (AutoTokenizer.from_pretrained(place) for place in (source, cut))
    old, new = load_whole(source), load_whole(cut)
    size = len(small)
    assert sorted(small.get_vocab().values()) == list(range(size))
    assert new.config.vocab_size == size == report.after.pieces
    assert new.get_input_embeddings().weight.shape[0] == size
    for name in ("pad", "unk", "cls", "sep", "mask", "bos", "eos"):
        token = getattr(whole, f"{name}_token", None)
        assert getattr(small, f"{name}_token", None) == token
        if token is not None:
            assert small.convert_ids_to_tokens(getattr(small, f"{name}_token_id")) == token
        number = getattr(old.config, f"{name}_token_id", None)
        if number is not None:
            same = small.convert_ids_to_tokens(getattr(new.config, f"{name}_token_id"))
            assert same == whole.convert_ids_to_tokens(number)
    embedding = new.get_input_embeddings()
    assert embedding.padding_idx in (None, small.pad_token_id)
    output = new.get_output_embeddings()
    if output is not None:
        assert output.weight is embedding.weight
        assert output.bias.shape == (size,)
    AutoModel.from_pretrained(cut)


def test_nothing_becomes_unknown(both: Any) -> None:
    source, cut, report = both
    whole, small = (AutoTokenizer.from_pretrained(place) for place in (source, cut))
    for text in [*cuttable.TEXTS, *OTHER]:
        old, new = whole.tokenize(text), small.tokenize(text)
        assert new.count(small.unk_token) == old.count(whole.unk_token)
        assert small.convert_tokens_to_string(new) == whole.convert_tokens_to_string(old)
    assert report.complete
    coverage = report.coverage
    assert coverage is not None
    assert coverage.unknown == coverage.unknown_after
    assert coverage.texts == 2
    assert coverage.words_kept < coverage.words


def test_what_is_reported_and_written(both: Any) -> None:
    _, cut, report = both
    parts = [load_whole(place) for place in both[:2]]
    sizes = [sum(p.numel() for p in part.parameters()) for part in parts]
    assert [report.before.parameters, report.after.parameters] == sizes
    assert report.after.bytes == 4 * sizes[1]
    written = json.loads((cut / REPORT_FILE).read_text("utf-8"))
    assert written == json.loads(json.dumps(report.figures()))
    assert written["coverage"]["share_of_words_kept"] < 1
    assert report.coverage is not None
    assert report.coverage.examples  # they are the text's own words, and for the terminal alone
    assert "examples" not in written["coverage"]
    assert f"{report.after.pieces:,} pieces" in (cut / "README.md").read_text("utf-8")
    assert not {"vocab.txt", "vocab.json", "merges.txt"} & {path.name for path in cut.iterdir()}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return cuttable.saved(cuttable.bert(), tmp_path / "model")


def test_the_pad_id_moves_and_unused_pieces_go(model: Path, tmp_path: Path) -> None:
    cut_by_texts(model, cuttable.SOME, tmp_path / "cut", QUIET)
    small = AutoTokenizer.from_pretrained(tmp_path / "cut")
    assert small.convert_ids_to_tokens(list(range(5))) == cuttable.BERT_SPECIALS
    assert small.convert_tokens_to_ids("[unused0]") == small.unk_token_id


def test_a_bound_on_pieces(model: Path, tmp_path: Path) -> None:
    free = cut_by_texts(model, cuttable.TEXTS, tmp_path / "free", QUIET)
    bound = free.always + 7
    report = cut_by_texts(model, cuttable.TEXTS, tmp_path / "bound", QUIET, pieces=bound)
    assert report.after.pieces == bound < free.after.pieces
    assert report.tokens_kept < free.tokens_kept == 1
    least = cut_by_texts(model, cuttable.TEXTS, tmp_path / "least", QUIET, pieces=free.always)
    assert least.coverage is not None
    assert least.coverage.texts_kept == 0
    assert least.difference is not None  # the model was asked, with pieces where no text is alike
    assert least.difference < 1e-6
    rare = cut_by_texts(model, cuttable.TEXTS, tmp_path / "rare", QUIET, min_count=5)
    assert free.always < rare.after.pieces < free.after.pieces
    with pytest.raises(TinybertError, match=f"--pieces 9 is too few: {free.always} pieces stay"):
        cut_by_texts(model, cuttable.TEXTS, tmp_path / "few", QUIET, pieces=9)


def test_a_tenth_is_compared_by_the_rest(model: Path, tmp_path: Path) -> None:
    """The tenth's own pieces are kept in the end, and do not flatter its coverage."""
    texts = ["kelimo stolimo", *["bake the tira"] * 9]
    report = cut_by_texts(model, texts, tmp_path / "cut", QUIET)
    assert report.compared_on == "a tenth of the text, by the rest"
    assert report.coverage is not None
    assert (report.coverage.texts, report.coverage.texts_kept) == (1, 0)
    pieces = AutoTokenizer.from_pretrained(model).tokenize(texts[0])
    assert AutoTokenizer.from_pretrained(tmp_path / "cut").tokenize(texts[0]) == pieces


def test_files_are_read(model: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("\n".join(cuttable.TEXTS[:3]) + "\n\nno more rain\n")
    (tmp_path / "texts" / "b.csv").write_text("body,n\nthe baker liked,1\nstolimo ran,2\n")
    report = cut_vocabulary(model, [str(tmp_path / "texts")], tmp_path / "cut", QUIET)
    assert report.texts == 6
    lines = [*cuttable.TEXTS[:3], "no more rain", "the baker liked", "stolimo ran"]
    same = cut_by_texts(model, lines, tmp_path / "same", QUIET)
    assert same.after == report.after
    names = [(tmp_path / n / "tokenizer.json").read_text() for n in ("cut", "same")]
    assert names[0] == names[1]


def test_a_cut_model_can_be_cut_again(model: Path, tmp_path: Path) -> None:
    first = cut_by_texts(model, cuttable.SOME, tmp_path / "first", QUIET)
    again = cut_by_texts(tmp_path / "first", cuttable.SOME, tmp_path / "again", QUIET)
    assert again.before == again.after == first.after
    assert load_encoder(tmp_path / "again").config.vocab_size == first.after.pieces


def test_what_lies_beside_a_model_comes_along(model: Path, tmp_path: Path) -> None:
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text("{}")
    (model / "modules.json").write_text("[]")
    (model / "vocab.txt").write_text("[UNK]\n")
    cut_by_texts(model, cuttable.SOME, tmp_path / "cut", QUIET)
    assert (tmp_path / "cut" / "1_Pooling" / "config.json").is_file()
    assert (tmp_path / "cut" / "modules.json").is_file()
    assert not (tmp_path / "cut" / "vocab.txt").exists()


def test_what_is_known_of_the_training_comes_along(model: Path, tmp_path: Path) -> None:
    facts = {"task": "pairs", "metric": "f1", "text_columns": ["one", "other"], "max_length": 33}
    told = {"settings": {"max_length": 33, "data": "/home/secret"}, "student": {"score": 0.5}}
    results = {name: facts[name] for name in ("task", "metric", "text_columns")} | told
    (model / "results.json").write_text(json.dumps(results))
    cut_by_texts(model, cuttable.SOME, tmp_path / "cut", QUIET)
    cut_by_texts(tmp_path / "cut", cuttable.SOME, tmp_path / "again", QUIET)
    for place in (tmp_path / "cut", tmp_path / "again"):
        assert json.loads((place / REPORT_FILE).read_text())["trained"] == facts
        assert trained_facts(place) == facts
        card = (place / "README.md").read_text()
        assert "text_pair" in card
        assert "max_length=33" in card
        assert "secret" not in card
    (tmp_path / "again" / REPORT_FILE).write_text("{")
    assert trained_facts(tmp_path / "again") == {}


def test_a_dry_run_writes_nothing(model: Path, tmp_path: Path) -> None:
    report = cut_by_texts(model, cuttable.SOME, tmp_path / "cut", QUIET, dry_run=True)
    assert report.after.pieces < report.before.pieces
    assert not (tmp_path / "cut").exists()


# --- bad input ------------------------------------------------------------------------------------


def without_tokenizer(place: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (place / name).unlink()


def word_level(place: Path) -> None:
    shutil.rmtree(place)
    tiny.saved_encoder(place)


def too_few_embeddings(place: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(place)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(place)


def spoilt_weights(place: Path) -> None:
    (place / "model.safetensors").write_bytes(b"no weights")


@pytest.mark.parametrize(
    ("spoil", "texts", "message"),
    [
        (None, [], "there is no text to count pieces of"),
        (None, ["", " \n\t"], "there is no text to count pieces of"),
        (None, ["ταυ και ρο", "東京 都"], "100 % of this text is .UNK. to the tokenizer of"),
        (without_tokenizer, cuttable.SOME, "has no tokenizer"),
        (word_level, cuttable.SOME, "of the kind WordLevel, whose vocabulary cannot be cut"),
        (too_few_embeddings, cuttable.SOME, "give a model whose tokenizer is its own"),
        (spoilt_weights, cuttable.SOME, "cannot be loaded as a model"),
    ],
)
def test_one_sentence_and_nothing_written(
    model: Path, tmp_path: Path, spoil: Any, texts: list[str], message: str
) -> None:
    if spoil is not None:
        spoil(model)
    with pytest.raises(TinybertError, match=message) as raised:
        cut_by_texts(model, texts, tmp_path / "cut", QUIET)
    assert "\n" not in str(raised.value)
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def test_an_output_that_exists_is_kept(model: Path, tmp_path: Path) -> None:
    (tmp_path / "cut").mkdir()
    with pytest.raises(TinybertError, match="exists already"):
        cut_by_texts(model, cuttable.SOME, tmp_path / "cut", QUIET)
    cut_by_texts(model, cuttable.SOME, tmp_path / "cut", QUIET, overwrite=True)
    with pytest.raises(TinybertError, match="no text"):
        cut_by_texts(model, [], tmp_path / "cut", QUIET, overwrite=True)
    assert (tmp_path / "cut" / "model.safetensors").is_file()


def test_a_model_that_answers_otherwise_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = embeddings.cut_model

    def wrong(whole: Any, kept: Any) -> Any:
        found = made(whole, kept)
        found.get_input_embeddings().weight.data[:, 0] += 0.1
        return found

    monkeypatch.setattr("tinybert.vocabulary.cut.cut_model", wrong)
    with pytest.raises(TinybertError, match="answers otherwise with fewer pieces"):
        cut_by_texts(model, cuttable.TEXTS, tmp_path / "cut", QUIET, others=[])
    # And where no text is cut as before: every word falls into letters.
    always = cut_by_texts(model, cuttable.SOME, tmp_path / "dry", QUIET, dry_run=True).always
    for pieces in (None, always):
        with pytest.raises(TinybertError, match="answers otherwise with fewer pieces"):
            cut_by_texts(model, cuttable.SOME, tmp_path / "cut", QUIET, pieces=pieces)
    assert not (tmp_path / "cut").exists()


def test_a_tokenizer_of_another_making_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(TinybertError, match="Slow is written in Python"):
        Pieces(Slow())  # type: ignore[arg-type]


def test_a_processor_that_is_not_known_is_refused() -> None:
    tokenizer = cuttable.bert_tokenizer()
    pieces = Pieces(tokenizer)
    pieces._data["post_processor"] = {"type": "Sequence", "processors": [{"type": "Wheel"}]}
    with pytest.raises(TinybertError, match="finishes text by Wheel, which is not known here"):
        pieces.always()


# --- the real vocabulary --------------------------------------------------------------------------


def test_the_official_vocabulary_by_a_real_task(tmp_path: Path) -> None:
    """Its twin on self-made data is ``test_counted_texts_are_read_and_answered_as_before``."""
    if "TINYBERT_DATA" not in os.environ:
        pytest.skip("TINYBERT_DATA names no directory of larger data")
    data = Path(os.environ["TINYBERT_DATA"])
    names = (data / "vocab" / "bert-base-uncased.txt").read_text("utf-8").split("\n")[:30_522]
    tokenizer = BertTokenizer(vocab={name: i for i, name in enumerate(names)})
    rows = (data / "glue" / "MRPC" / "train.tsv").read_text("utf-8").split("\n")[1:-1]
    texts = [text for row in rows for text in row.split("\t")[3:5]]
    whole = tiny.encoder(vocab_size=len(names))
    place = cuttable.saved((whole, tokenizer), tmp_path / "whole")
    report = cut_by_texts(place, texts, tmp_path / "cut", QUIET)
    assert report.complete
    assert 10_000 < report.after.pieces < 15_000
    engines = [Tokenizer.from_file(str(p / "tokenizer.json")) for p in (place, tmp_path / "cut")]
    old, new = (engine.encode_batch_fast(texts) for engine in engines)
    assert all(a.tokens == b.tokens for a, b in zip(old, new, strict=True))
