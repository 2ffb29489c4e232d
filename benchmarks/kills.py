"""One general distillation, killed (SIGKILL) at random moments, resumed each time, to the end.

What has to come out: the weights of an unbroken run, to the bit, and never an error on the way. A
tiny random teacher by default; any other with ``--teacher`` and ``--corpus``.

    python benchmarks/kills.py [--kills 20] [--teacher DIR --corpus FILE] [--json FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from common import describe_machine, write_json
from tinybert.checkpoints import newest_whole

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tinybert.jobs.general"])  # imported once, not after every kill
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def make_inputs(place: Path) -> dict[str, Any]:
    """A random encoder of 4 layers, and text of words that it knows."""
    words = [f"w{i}" for i in range(500)]
    inner = Tokenizer(WordLevel({w: i for i, w in enumerate(SPECIALS + words)}, "[UNK]"))
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIALS, strict=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, **names)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(SPECIALS + words),
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
    )
    BertModel(config).save_pretrained(place / "teacher")
    tokenizer.save_pretrained(place / "teacher")
    rng = random.Random(0)
    text = (" ".join(rng.choices(words, k=rng.randint(5, 200))) for _ in range(1500))
    (place / "corpus.txt").write_text("\n\n".join(text))
    return {
        "teacher": str(place / "teacher"),
        "corpus": [str(place / "corpus.txt")],
        "student": "2x32",
        "max_length": 64,
        "batch_size": 16,
        "steps": 600,
        "dropout": 0.1,  # the random states have to come back too
        "learning_rate": 1e-3,
        "precision": "float32",
        "attention": "direct",
    }


def work(settings: dict[str, Any]) -> None:
    from tinybert.jobs.general import run_general
    from tinybert.progress import Reporter
    from tinybert.settings import GeneralSettings

    torch.set_num_threads(1)
    run_general(GeneralSettings(**settings), Reporter(quiet=True))


def run(settings: dict[str, Any], seconds: float | None = None) -> tuple[int | None, float]:
    """Run it, for so many seconds at most; returns its exit code and the time it had."""
    process = _SERVER.Process(target=work, args=(settings,))
    begun = time.perf_counter()
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode, time.perf_counter() - begun


def reached(output: Path) -> str:
    """What an unfinished run has come to."""
    work_directory = Path(f"{output}.run")
    if not work_directory.is_dir():
        return "nothing yet"
    found = newest_whole(work_directory / "general.unfinished")
    if found is not None:
        return f"checkpoint of step {json.loads((found / 'whole.json').read_text())['step']}"
    made = [p.name for p in work_directory.iterdir() if p.is_dir() and not p.name.startswith(".")]
    return " and ".join(sorted(made)) or "settings"


def weights(output: Path) -> str:
    digest = hashlib.sha256()
    for name in ("model.safetensors", "projections.safetensors"):
        digest.update((output / name).read_bytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--teacher", help="directory of an encoder; default: a tiny random one")
    parser.add_argument("--corpus", nargs="+", help="text, with --teacher")
    parser.add_argument("--student", default="4x312", help="with --teacher")
    parser.add_argument("--steps", type=int, help="optimiser steps; default: 600, or 60")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="three kills")
    given = parser.parse_args()
    kills = 3 if given.quick else given.kills
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if given.teacher:
            settings = {
                "teacher": given.teacher,
                "corpus": given.corpus,
                "student": given.student,
                "batch_size": 16,
                "steps": 60,
                "precision": "bfloat16",
                "teacher_precision": "bfloat16",
                "attention": "direct",
            }
        else:
            settings = make_inputs(place)
        settings |= {"held_out": 32, "checkpoint_minutes": 0.02, "evaluations": 5}
        settings |= {"steps": given.steps} if given.steps else {}
        code, whole = run(settings | {"output": place / "unbroken"})
        if code != 0:
            sys.exit(f"the unbroken run ended with {code}")
        output = place / "killed"
        lines: list[dict[str, Any]] = []
        while len(lines) < kills:
            # Long enough to come a little further, and at any moment of what it does.
            seconds = rng.uniform(0.05, 1.5 * whole / kills + 1.4)
            code, took = run(settings | {"output": output, "resume": bool(lines)}, seconds)
            if code == 0:
                break
            if code != -9:
                sys.exit(f"kill {len(lines)}: the resumed run ended with {code} by itself")
            lines.append({"seconds": round(took, 2), "reached": reached(output)})
        killed = len(lines)
        if not output.exists() and run(settings | {"output": output, "resume": True})[0] != 0:
            sys.exit("the last resumed run failed")
        same = weights(output) == weights(place / "unbroken")
        left = [p.name for p in place.iterdir() if p.name.startswith((".", "killed."))]
    table = Table("kill", "after s", "reached", title="killed and resumed", title_justify="left")
    for i, line in enumerate(lines, 1):
        table.add_row(str(i), f"{line['seconds']:.2f}", line["reached"])
    Console().print(table)
    verdict = "the same to the bit" if same else "DIFFERENT"
    print(f"unbroken {whole:.1f} s; {killed} kills; weights: {verdict}; left over: {left or '-'}")
    if given.json:
        write_json(
            given.json,
            {
                "machine": describe_machine(),
                "unbroken_seconds": whole,
                "kills": lines,
                "same_weights": same,
                "left_over": left,
            },
        )
    if not same or left:
        sys.exit(1)


if __name__ == "__main__":
    main()
