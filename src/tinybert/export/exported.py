"""The forms of an exported model in its card: what was made, how exact it is, how to run it."""

from __future__ import annotations

from typing import Any

from tinybert.export.figures import Results, number, part
from tinybert.export.markdown import escaped, fenced, quoted, table

__all__ = ["exported_tags", "exported_usage", "exports_table"]

_ENGINES = {"onnx": "onnxruntime", "openvino": "openvino"}


def exports_table(results: Results) -> str:
    """Every form's file, size, largest difference from PyTorch and score, "" without any."""
    forms = {
        str(name): part(results, "exports", name)
        for name in part(results, "exports")
        if part(results, "exports", name)
    }
    if not forms:
        return ""
    before = part(results, "score_before")
    metric = next(iter(before), None)
    rows = []
    for name, form in forms.items():
        row = [
            escaped(name),
            escaped(str(form.get("file") or "–")),
            _figure(form.get("bytes"), lambda value: f"{value / 1e6:.1f} MB"),
            _figure(form.get("difference"), lambda value: f"{value:.1e}"),
            _figure(form.get("alone_and_together"), lambda value: f"{value:.1e}"),
        ]
        if metric is not None:
            row.append(_figure(part(form, "scores").get(metric), lambda value: f"{value:.4f}"))
        rows.append(row)
    head = ["form", "file", "size", "from PyTorch", "alone / in a batch"]
    told = [
        "Largest differences of outputs from PyTorch's in float32, and of a row alone from the "
        "same row in a batch."
    ]
    if metric is not None:
        head.append(str(metric).replace("_", " "))
        uncut = ", before the vocabulary was cut" if results.get("uncut") else ""
        told.append(
            f"{str(metric).replace('_', ' ').capitalize()} in PyTorch{uncut}: "
            f"{_figure(before[metric], lambda value: f'{value:.4f}')}, on "
            f"{_figure(results.get('scored_rows'), lambda value: f'{value:,.0f}')} rows."
        )
    if results.get("int8_told"):
        told.append(f"Int8: {escaped(str(results['int8_told']))}.")
    return "\n\n".join([table(head, rows), " ".join(told)])


def exported_usage(results: Results, text: str, name: str, longest: int | None) -> str:
    """Code that runs the smallest ONNX form, or OpenVINO's where it is the only one.

    Args:
        results: with ``exports``.
        text: a row as Python source.
        name: of the directory.
        longest: tokens a row; None where it is not known.
    """
    forms = part(results, "exports")
    files = [str(part(forms, form).get("file") or "") for form in forms]
    onnx = [file for file in files if file.endswith(".onnx")]
    cut = "" if longest is None else f", truncation=True, max_length={longest}"
    outputs = results.get("output_names") or [str(results.get("output_name") or "logits")]
    output = ", ".join(quoted(str(name)) for name in outputs)
    every = "" if len(outputs) > 1 else "[0]"
    lines = [
        f"tokenizer = AutoTokenizer.from_pretrained({quoted(name)})",
        f'tokens = tokenizer({text}, return_tensors="np"{cut})',
    ]
    if onnx:
        run = [
            f"session = InferenceSession({quoted(f'{name}/{onnx[-1]}')})",
            "names = [each.name for each in session.get_inputs()]",
            'inputs = {name: tokens[name].astype("int64") for name in names}',
            f"print(session.run([{output}], inputs){every})",
        ]
        imports = "from onnxruntime import InferenceSession\nfrom transformers import AutoTokenizer"
    else:
        run = [
            f'model = Core().compile_model({quoted(f"{name}/{files[0]}")}, "CPU")',
            "names = [each.get_any_name() for each in model.inputs]",
            'inputs = {name: tokens[name].astype("int64") for name in names}',
            "found = model(inputs)",
            f"print(*(found[name] for name in [{output}]))",
        ]
        imports = "from openvino import Core\nfrom transformers import AutoTokenizer"
    return fenced("\n".join([imports, "", *lines, *run]), "python")


def exported_tags(results: Results) -> list[str]:
    """Engines that the forms are for, as the Hub tags them."""
    kinds = {str(name).partition("-")[0] for name in part(results, "exports")}
    tags = [tag for kind, engine in _ENGINES.items() if kind in kinds for tag in (kind, engine)]
    return list(dict.fromkeys(tags))


def _figure(value: Any, shown: Any) -> str:
    found = number(value)
    return "–" if found is None else str(shown(found))
