"""Every encoder of the table does what the table says.

``python tests/students/test_encoders.py`` writes the table of docs/reference/encoders.md anew.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    FNetConfig,
    FNetForSequenceClassification,
    PreTrainedModel,
)

import tinybert
from support import encoders, tiny
from tinybert.attention_transfer import attention_transfer, shared_windows
from tinybert.distiller import Distiller, count_units
from tinybert.errors import TinybertError
from tinybert.evaluation import _pairs_within
from tinybert.forms import largest_difference, make_probes, write_graph, write_int8
from tinybert.measure import flops
from tinybert.measure.latency import longest_input
from tinybert.objectives import intermediate_objective
from tinybert.projections import Projections
from tinybert.runtimes import open_runtime
from tinybert.students import STARTS, Shape, fit_heads, shape_of, start_student
from tinybert.students.encoders import ENCODERS, kind_of, table
from tinybert.students.shapes import attention_width, attention_windows
from tinybert.students.starts import fold_first_norm
from tinybert.taps import TapRequest, run_with_taps, shows_attention, use_attention
from tinybert.teachers import Teacher

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "encoders.md"
KINDS = {kind.model_type: kind for kind in ENCODERS}
ALL = frozenset({1, 2, 3, 4})
WHOLE = Shape(4, 32, 64, 4)
QUICK: dict[str, Any] = tiny.QUICK | {
    "intermediate_epochs": 2,
    "prediction_epochs": 3,
    "intermediate_learning_rate": 5e-3,
    "prediction_learning_rate": 7e-3,
    "batch_size": 16,
    "evaluations": 1,
    "log_every": 1,
    "quiet": False,
}
parametrised = pytest.mark.parametrize("kind", KINDS)


def batch(kind: str = "", rows: int = 5) -> dict[str, Tensor]:
    found = tiny.rows(rows, longest=12, labels=None).batch(range(rows))
    if not hasattr(encoders.config(kind or "bert"), "type_vocab_size"):
        del found["token_type_ids"]
    return found


def calibration() -> list[dict[str, Tensor]]:
    return [tiny.rows(60, seed=s, labels=None).batch(range(60)) for s in range(2)]


def logits(model: PreTrainedModel, rows: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(**{k: v for k, v in rows.items() if k != "token_type_ids"}).logits
    return found


# --- the table ------------------------------------------------------------------------------------


def written(page: str) -> str:
    return re.sub(r"(?s)(?<=<!-- encoders -->\n).*?(?=<!-- end -->)", lambda _: table(), page)


def test_the_document_has_the_table() -> None:
    page = PAGE.read_text("utf-8")
    assert table() in page
    assert written(page) == page
    assert kind_of("deberta-v2") is KINDS["deberta-v2"]
    assert kind_of("fnet") is None


@parametrised
def test_attention_shows_where_the_table_says_so(kind: str) -> None:
    assert shows_attention(encoders.encoder(kind)) is KINDS[kind].attention


@parametrised
def test_the_starts_are_those_of_the_table(kind: str) -> None:
    """Narrower where the start allows it; layers of the teacher's depth are the teacher."""
    teacher, rows = encoders.classifier(kind), batch(kind)
    for start in STARTS:
        shape = WHOLE if start == "layers" else Shape(2, 16, 40, 4)
        mapping = (1, 2, 3, 4) if start == "layers" else (2, 4)
        made: dict[str, Any] = {"start": start, "mapping": mapping, "calibration": calibration()}
        if start not in KINDS[kind].starts:
            with pytest.raises(TinybertError, match="does not apply.*start=layers.*start=random"):
                start_student(teacher, shape, **made)
            continue
        projections = Projections(shape.hidden, 32, shape.layers)
        student = start_student(teacher, shape, projections=projections, **made)
        assert shape_of(student.config) == shape
        found = logits(student, rows)
        assert found.isfinite().all()
        if start == "layers":
            torch.testing.assert_close(found, logits(teacher, rows), rtol=1e-4, atol=1e-5)


# --- taps -----------------------------------------------------------------------------------------


@parametrised
def test_padding_changes_no_tap(kind: str) -> None:
    model, rows = encoders.encoder(kind).double(), batch(kind)
    request = TapRequest(ALL if KINDS[kind].attention else frozenset(), ALL, embedding=True)
    if KINDS[kind].attention:
        use_attention(model, "direct")
    with torch.no_grad():
        together = run_with_taps(model, rows, request)
        for row, length in enumerate(rows["attention_mask"].sum(1).tolist()):
            alone = {name: tensor[row : row + 1, :length] for name, tensor in rows.items()}
            taps = run_with_taps(model, alone, request)
            here = slice(row, row + 1), slice(0, length)
            torch.testing.assert_close(together.embedding[here], taps.embedding)
            for layer in ALL:
                torch.testing.assert_close(together.hidden[layer][here], taps.hidden[layer])
                if layer in request.attention:
                    one, other = together.attention[layer], taps.attention[layer]
                    for name in ("query", "key", "value"):
                        whole = getattr(one, name)[row : row + 1, :, :length]
                        torch.testing.assert_close(whole, getattr(other, name))
                        assert whole.shape[1] == 4
                        assert 4 * whole.shape[-1] == attention_width(model.config)


@pytest.mark.parametrize("form", ["fused", "direct"])
@pytest.mark.parametrize("kind", ["mobilebert", "nomic_bert", "modernbert", "eurobert"])
def test_scores_are_those_of_the_plain_model(kind: str, form: str) -> None:
    """Rotary, windows and shared keys: the softmax of the taps is the model's own attention."""
    model, rows = encoders.encoder(kind), batch(kind)
    if kind == "mobilebert":  # its states are large
        model.double()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = model(**rows, output_hidden_states=True, output_attentions=True)
        use_attention(model, form)
        taps = run_with_taps(model, rows, TapRequest(ALL, ALL))
    mask = rows["attention_mask"].bool()
    place, windows = torch.arange(mask.shape[1]), attention_windows(model.config)
    assert windows == ({2: 3, 3: 3} if kind == "modernbert" else {})
    for layer, tap in taps.attention.items():
        seen = mask[:, None, None] & (
            (place[:, None] - place).abs() <= windows.get(layer, len(place))
        )
        scores = (tap.scaling * tap.query @ tap.key.mT).masked_fill(~seen, -torch.inf)
        real = mask[:, None, :, None].expand_as(scores)
        found, own = scores.softmax(-1), expected.attentions[layer - 1]
        torch.testing.assert_close(found[real], own[real], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            taps.hidden[layer][mask], expected.hidden_states[layer][mask], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("form", ["fused", "direct"])
def test_padding_beyond_every_window_stays_finite(form: str) -> None:
    """Places of padding that see nothing at all must not spoil gradients."""
    model = encoders.encoder("modernbert")
    use_attention(model, form)
    mask = (torch.arange(30) < torch.tensor([[30], [3]])).long()
    rows = {"input_ids": torch.full((2, 30), 7) * mask, "attention_mask": mask}
    taps = run_with_taps(model, rows, TapRequest(ALL, ALL))
    assert all(state.isfinite().all() for state in taps.hidden.values())
    assert all(tap.query.isfinite().all() for tap in taps.attention.values())
    taps.hidden[4][mask.bool()].square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("kind", ["bert", "albert", "modernbert", "eurobert", "deberta-v2"])
def test_a_teacher_that_is_cut_shows_the_same_states(kind: str) -> None:
    """A norm behind the last layer must not come to stand behind another."""
    request = TapRequest(hidden=frozenset({1, 2}))
    whole, cut = (Teacher(encoders.encoder(kind)) for _ in range(2))
    cut.only_as_deep_as(2)
    one, other = (each.taps(batch(kind), request) for each in (whole, cut))
    for layer in (1, 2):
        torch.testing.assert_close(one.hidden[layer], other.hidden[layer])


# --- shapes and starts ----------------------------------------------------------------------------


def test_sizes_that_hang_on_others_follow() -> None:
    """The head size, shared keys in their ratio, the bottleneck; each such student runs."""
    narrow = Shape(2, 24, 48, 2)
    modern = narrow.config(encoders.config("modernbert"), mapping=(2, 4))
    assert modern.layer_types == ["sliding_attention", "full_attention"]
    assert Shape(2, 24, 48, 2).config(encoders.config("modernbert")).layer_types == (
        modern.layer_types  # uniform
    )
    euro = narrow.config(encoders.config("eurobert"))
    assert (euro.head_dim, euro.num_key_value_heads) == (12, 1)
    euro = Shape(2, 24, 48, 6).config(encoders.config("eurobert"))
    assert (euro.head_dim, euro.num_key_value_heads) == (4, 3)
    mobile = narrow.config(encoders.config("mobilebert"))
    assert (mobile.intra_bottleneck_size, mobile.true_hidden_size) == (12, 12)
    plain = narrow.config(encoders.config("mobilebert", use_bottleneck=False))
    assert plain.true_hidden_size == attention_width(plain) == 24
    assert narrow.config(encoders.config("albert", num_hidden_groups=4)).num_hidden_groups == 2
    for config in (modern, euro, mobile, narrow.config(encoders.config("nomic_bert"))):
        model = AutoModel.from_config(config)
        assert flops(model, length=8) > 0
        assert model(**batch(config.model_type)).last_hidden_state.shape[-1] == 24


def test_sizes_that_an_encoder_does_not_take() -> None:
    for kind in ("nomic_bert", "modernbert", "eurobert"):
        with pytest.raises(TinybertError, match="heads are of even size.*take width 16 or 24"):
            start_student(
                encoders.classifier(kind), Shape(2, 20, 40, 4), start="random", mapping=(2, 4)
            )
    groups = encoders.classifier("albert", num_hidden_groups=2)
    with pytest.raises(TinybertError, match="shares 2 layers among its 4: take start=random"):
        start_student(groups, Shape(2, 32, 64, 4), start="layers", mapping=(2, 4))
    with pytest.raises(TinybertError, match="needs the teacher's 4 heads, not 2"):
        start_student(
            encoders.classifier("mpnet"),
            Shape(2, 16, 40, 2),
            start="pca",
            mapping=(2, 4),
            calibration=calibration(),
        )


@pytest.mark.parametrize("kind", ["electra", "mpnet"])
def test_pca_at_the_teachers_width_is_the_teacher(kind: str) -> None:
    """Narrow embeddings and their map, and MPNet's bias, are kept."""
    teacher, rows = encoders.classifier(kind), batch(kind)
    student = start_student(
        teacher, WHOLE, start="pca", mapping=(1, 2, 3, 4), calibration=calibration()
    )
    torch.testing.assert_close(logits(student, rows), logits(teacher, rows), rtol=0, atol=1e-3)


def test_pca_as_narrow_as_the_embeddings() -> None:
    """ELECTRA of equal widths has no map: it is taken into the tables."""
    teacher = encoders.classifier("electra")
    common: dict[str, Any] = {"mapping": (2, 4), "calibration": calibration()}
    errors = {}
    for start in ("pca", "random"):
        projections = Projections(16, 32, 2)
        student = start_student(
            teacher, Shape(2, 16, 40, 4), start=start, projections=projections, **common
        )
        assert not hasattr(student.base_model, "embeddings_project")
        request, rows = TapRequest(embedding=True), batch()
        with torch.no_grad():
            one, other = (run_with_taps(m, rows, request).embedding for m in (student, teacher))
            assert one is not None
            left = (projections.project(0, one) - other)[rows["attention_mask"].bool()]
        errors[start] = float(left.square().mean())
    assert errors["pca"] < 0.5 * errors["random"]


def test_shared_layers_are_run_fewer_times() -> None:
    teacher, rows = encoders.classifier("albert"), batch()
    student = start_student(teacher, Shape(2, 32, 64, 4), start="layers", mapping=(2, 4))
    request = TapRequest(hidden=frozenset({1, 2}))
    with torch.no_grad():
        ours, theirs = (run_with_taps(m, rows, request) for m in (student, teacher))
    torch.testing.assert_close(ours.hidden, theirs.hidden)


def test_modernberts_first_norm_goes_into_the_weights() -> None:
    """The student's first layer answers as the teacher's would, whose norm it lacks."""
    teacher = encoders.encoder("modernbert")
    norm = teacher.layers[1].attn_norm
    with torch.no_grad():
        norm.weight.uniform_(0.2, 3.0)
        teacher.embeddings.norm.weight.fill_(1.7)
    student = start_student(teacher, Shape(2, 32, 64, 4), start="layers", mapping=(2, 4))
    states = teacher.embeddings(batch("modernbert")["input_ids"])
    torch.testing.assert_close(
        student.layers[0].attn.Wqkv(states),
        teacher.layers[1].attn.Wqkv(norm(states)),
        rtol=1e-3,
        atol=1e-3,
    )
    before = student.layers[0].attn.Wqkv.weight.clone()
    fold_first_norm(student, teacher, (1, 4))  # its own first layer lacks nothing
    assert student.layers[0].attn.Wqkv.weight.equal(before)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        *((kind, {}) for kind in KINDS),
        ("modernbert", {"classifier_pooling": "mean"}),
        ("eurobert", {"classifier_pooling": "mean"}),
        ("eurobert", {"classifier_pooling": "bos"}),
        ("mobilebert", {"classifier_activation": False}),
    ],
)
def test_a_head_fitted_on_equal_states_is_the_teachers(kind: str, more: dict[str, Any]) -> None:
    """Whatever it is made of and however it pools."""
    teacher, student = (encoders.classifier(kind, seed, **more) for seed in (0, 1))
    body = teacher.base_model.state_dict()
    kept = {k: v for k, v in body.items() if not k.startswith("pooler")}
    student.base_model.load_state_dict(kept, strict=False)
    rows = batch(kind, 40)
    wanted, before = logits(teacher, rows), logits(student, rows)
    fit_heads(student, teacher, torch.eye(32), calibration())
    after = logits(student, rows)
    assert (after - wanted).square().mean() < 1e-3 * (before - wanted).square().mean()


def test_heads_of_different_kinds_stay_as_they_are() -> None:
    teacher, student = encoders.classifier("modernbert"), encoders.classifier("bert", 1)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    fit_heads(student, teacher, torch.eye(32), calibration())
    for name, value in student.state_dict().items():
        assert value.equal(before[name]), name


# --- windows in training --------------------------------------------------------------------------


@pytest.mark.parametrize("transfer", ["heads", "mean"])
def test_micro_batches_of_windows_add_up(transfer: Any) -> None:
    """Pairs within a window are counted over the whole batch, as all else is."""
    teacher = Teacher(encoders.encoder("modernbert"))
    mapping, shape = (3, 4), Shape(2, 32, 64, 4)
    student = start_student(teacher.model, shape, start="random", mapping=mapping)
    use_attention(student, "direct")
    windows = shared_windows(
        attention_windows(student.config), attention_windows(teacher.config), mapping
    )
    assert windows == {1: 3}
    objective = intermediate_objective(
        mapping,
        hidden=0,
        embedding=0,
        transfer=attention_transfer(transfer, (32, 32), windows),
    )
    assert objective.windows == (3,)
    distiller = Distiller(student, Projections(32, 32, 2), objective)
    rows = tiny.rows(6, longest=20, labels=None)
    counts = []
    for chosen in ((0, 1, 2, 3, 4, 5), (0, 1), (2, 3, 4, 5)):
        mask = rows.batch(chosen)["attention_mask"]
        counts.append(count_units({"attention_mask": mask}, objective.windows))
    losses = []
    for chosen, count in zip(((0, 1, 2, 3, 4, 5), (0, 1), (2, 3, 4, 5)), counts, strict=True):
        shares = {unit: count[unit] / whole for unit, whole in counts[0].items()}
        some = rows.batch(chosen)
        taps = teacher.taps(some, objective.teacher_taps)
        losses.append(float(distiller(some, taps, shares)["loss"].detach()))
    assert losses[0] == pytest.approx(losses[1] + losses[2], rel=1e-5)
    assert counts[0]["pairs@3"] == _pairs_within(rows.lengths.astype(float), 3)


# --- from teacher to exported student -------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts without labels: the teacher is random."""
    where = tmp_path_factory.mktemp("encoders")
    for name, count, seed in (("train", 96, 0), ("dev", 24, 1)):
        texts = tiny.sentences(count, seed)[0]
        (where / f"{name}.csv").write_text("\n".join(["text", *texts]) + "\n")
    return where


def distilled(data: Path, place: Path, **more: Any) -> tuple[Path, list[dict[str, float]]]:
    """The student, and the log."""
    output = place / "student"
    tinybert.distill(data=data / "train.csv", dev=data / "dev.csv", output=output, **(QUICK | more))
    lines = (output / "log.jsonl").read_text().splitlines()
    return output, [entry for entry in map(json.loads, lines) if "loss" in entry]


def falls(values: list[float], share: float) -> bool:
    return sum(values[-3:]) < share * sum(values[:3])


@parametrised
def test_two_stages(
    kind: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Losses fall; what can be had is said; the student loads with plain transformers."""
    more = {"initializer_range": 0.05} if kind == "mobilebert" else {}
    teacher = encoders.saved(encoders.classifier(kind, **more), tmp_path / "teacher")
    student, log = distilled(
        data, tmp_path, teacher=teacher, student="2x32", start="random", head="random"
    )
    first = [entry for entry in log if "terms/embedding" in entry]
    second = [entry for entry in log if "terms/prediction" in entry]
    assert len(first) == 12
    assert len(second) == 18
    assert falls([entry["loss"] for entry in first], 0.95)
    assert falls([entry["loss"] for entry in second], 1.0)
    assert ("terms/attention.2" in first[0]) is KINDS[kind].attention
    said = capsys.readouterr().err
    own = f"{kind} computes attention in its own way: attention scores are not distilled, hidden "
    assert (own + "states and embedding output are" in " ".join(said.split())) is not KINDS[
        kind
    ].attention
    windows = "student layers 1: scores are compared within their sliding windows"
    assert (windows in said) is (kind == "modernbert")
    model = AutoModelForSequenceClassification.from_pretrained(student)
    assert type(model) is type(encoders.classifier(kind))
    body = AutoModel.from_pretrained(student)
    tokens = AutoTokenizer.from_pretrained(student)("lock thread", return_tensors="pt")
    states = body(tokens["input_ids"]).last_hidden_state
    assert states.shape == (1, 4, 32)
    assert states.isfinite().all()


ELSEWHERE = ("bert", "roberta", "electra", "distilbert")
"""Their graphs are those of tests/forms/test_graph.py."""

ALWAYS = ("deberta-v2", "modernbert")
"""Attention of its own, and windows. An export takes 5 to 10 s, the rest together a minute."""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ELSEWHERE])
def test_exports(kind: str, tmp_path: Path) -> None:
    """ONNX in float32 answers as PyTorch does, int8 nearly so."""
    if kind not in ALWAYS and not os.environ.get("TINYBERT_ALL_EXPORTS"):
        pytest.skip("TINYBERT_ALL_EXPORTS=1 exports all encoders, which takes a minute")
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra `export` is not installed")
    layers = {"num_hidden_layers": 2} if kind == "modernbert" else {"num_hidden_layers": 1}
    more = {"initializer_range": 0.05} if kind == "mobilebert" else {}
    model = encoders.classifier(kind, **layers, **more).requires_grad_(False)
    model.config.save_pretrained(tmp_path)
    (tmp_path / "onnx").mkdir()
    file = tmp_path / "onnx" / "model.onnx"
    fused = KINDS[kind].fused
    assert write_graph(model, file, longest=longest_input(model), fuse=fused) is fused
    runtime = open_runtime(tmp_path, "onnx-float32", threads=1)
    probes = make_probes(model, tiny.rows(40, longest=12), runtime.inputs, longest_input(model))
    assert largest_difference(runtime, probes) <= 1e-4 * probes.size
    done = write_int8(file, tmp_path / "onnx" / "model_quantized.onnx", "rows")
    assert done.left == 0
    rounded = open_runtime(tmp_path, "onnx-int8", threads=1)
    assert 0 < largest_difference(rounded, probes) < 0.4 * probes.size


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize("transfer", ["heads", "mean", "relations"])
def test_attention_that_hides_cannot_be_demanded(transfer: str, data: Path, tmp_path: Path) -> None:
    teacher = encoders.saved(encoders.classifier("deberta-v2"), tmp_path / "teacher")
    with pytest.raises(
        TinybertError,
        match=f"--attention-transfer {transfer} cannot be had: leave it out, hidden states, "
        "embedding output and logits are distilled without it",
    ):
        distilled(data, tmp_path, teacher=teacher, student="2x32", attention_transfer=transfer)
    with pytest.raises(TinybertError, match="weights of all other losses are 0.*distil the logits"):
        distilled(
            data,
            tmp_path,
            teacher=teacher,
            student="2x32",
            hidden_weight="0,0",
            embedding_weight=0,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["teacher"]


def test_a_bert_student_of_another_kind(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A student's directory with the teacher's tokenizer; of attention what both show."""
    for kind, heads, shown in (
        ("deberta-v2", 4, "attention scores are not distilled"),
        ("modernbert", 2, "by mean (the teacher has 4 heads, the student 2, and layers with "),
    ):
        place = tmp_path / f"{kind}-{heads}"
        place.mkdir()
        small = Shape(2, 32, 64, heads).config(encoders.config("bert"))
        given = encoders.saved(AutoModel.from_config(small), place / "given")
        teacher = encoders.saved(encoders.classifier(kind), place / "teacher")
        student, log = distilled(
            data,
            place,
            teacher=teacher,
            student=str(given),
            layer_mapping="2,4",
            prediction_epochs=1,
        )
        assert falls([entry["loss"] for entry in log if "terms/embedding" in entry], 1.0)
        assert shown in " ".join(capsys.readouterr().err.split())
        assert AutoModel.from_pretrained(student).config.model_type == "bert"


def test_an_encoder_that_is_not_in_the_table(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """FNet has no attention and no heads: a student's directory learns what is left."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 4, "intermediate_size": 64}
    config = FNetConfig(vocab_size=tiny.VOCABULARY, pad_token_id=0, num_labels=4, **sizes)
    torch.manual_seed(0)
    teacher = encoders.saved(FNetForSequenceClassification(config), tmp_path / "teacher")
    with pytest.raises(TinybertError, match="no num_attention_heads.*--student DIRECTORY.*logits"):
        distilled(data, tmp_path, teacher=teacher, student="2x32")
    small = Shape(2, 32, 64, 4).config(encoders.config("bert"))
    given = encoders.saved(AutoModel.from_config(small), tmp_path / "given")
    distilled(data, tmp_path, teacher=teacher, student=str(given), prediction_epochs=1)
    assert "fnet computes attention in its own way" in " ".join(capsys.readouterr().err.split())


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
