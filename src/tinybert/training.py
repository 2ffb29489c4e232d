"""DistillationTrainer: the one training loop, a ``transformers.Trainer``.

What differs from the parent, and why:

* one item of the data loader is one optimiser step, a list of micro-batches of like lengths, so
  that the effective batch is a number of rows while the token budget decides how many forward
  passes it takes (a fixed ``gradient_accumulation_steps`` could not);
* every term is divided by the number of things (rows, tokens, token pairs, masked tokens, tokens
  that the task asks for) in the whole effective batch, over micro-batches and processes: any cut
  gives the same loss and gradient;
* the teacher is held here, outside the wrapped module;
* checkpoints are whole or absent (:mod:`tinybert.checkpoints`);
* the best model by the evaluation's metric is kept beside the checkpoints.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from safetensors.torch import load_model, save_file, save_model
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

from tinybert import checkpoints
from tinybert.batching import StepSampler, TrainingRows, rows_an_epoch, step_loader
from tinybert.distiller import Distiller, units_of
from tinybert.errors import TinybertError
from tinybert.outputs import whole_file
from tinybert.schedule import Due, Schedule
from tinybert.spans import teacher_inputs
from tinybert.taps import Taps
from tinybert.teachers import Teacher

__all__ = ["DistillationTrainer", "Schedule"]

Evaluation = Callable[[Distiller], dict[str, float]]
WEIGHTS = "model.safetensors"


@dataclass
class Best:
    """The best evaluation so far; goes into checkpoints with the trainer's state."""

    metric: str | None = None
    greater_is_better: bool = True
    history: list[dict[str, float]] = field(default_factory=list)

    def improves(self, value: float, best: float | None) -> bool:
        if best is None:
            return True
        return value > best if self.greater_is_better else value < best


class DistillationTrainer(Trainer):
    """Trains a :class:`Distiller` on token rows, with or without a teacher.

    Args:
        distiller: student, projections and objective.
        rows: training rows.
        schedule: steps, learning rate, batch.
        directory: where checkpoints and the best weights of this stage are kept.
        teacher: needed where the objective reads taps; a row's ``targets`` serve for the logits.
        evaluation: called with the distiller in eval mode; returns named figures.
        metric: the figure by which the best weights are chosen; None keeps the last.
        greater_is_better: direction of ``metric``.
        seed: of data order and dropout.
        precision: ``float32``, ``bfloat16`` or ``float16``, for the student.
        callbacks: more of transformers' callbacks.
        owner: names run and stage in checkpoints, so that no other's is gone on with.
    """

    def __init__(
        self,
        distiller: Distiller,
        rows: TrainingRows,
        schedule: Schedule,
        directory: str | Path,
        *,
        teacher: Teacher | None = None,
        evaluation: Evaluation | None = None,
        metric: str | None = None,
        greater_is_better: bool = True,
        seed: int = 42,
        precision: str = "float32",
        cpu: bool | None = None,
        callbacks: list[TrainerCallback] | None = None,
        owner: str = "",
    ) -> None:
        if distiller.objective.needs_labels and rows.labels is None:
            raise TinybertError("training on labels needs labels, and these rows have none.")
        request = distiller.objective.teacher_taps
        if rows.targets is not None:
            request = replace(request, logits=False)
        if request and teacher is None:
            raise TinybertError("this objective reads a teacher, and none was given.")
        self.request = request
        self.teacher = teacher
        self.owner = owner
        self.rows = rows
        self.schedule = schedule
        self.directory = Path(directory)
        self.evaluation = evaluation
        self.best = Best(metric, greater_is_better)
        self.per_epoch = math.ceil(rows_an_epoch(rows) / schedule.batch_size)
        self.total_steps = schedule.total_steps(rows_an_epoch(rows))
        self._staging: Path | None = None
        self._sums: dict[str, Tensor] = {}
        self._summed = 0
        self._begun: float | None = None
        self._seconds_before = 0.0
        on_cpu = not torch.cuda.is_available() if cpu is None else cpu
        fused = "adamw_torch_fused"
        arguments = TrainingArguments(
            output_dir=str(self.directory),
            use_cpu=on_cpu,
            max_steps=self.total_steps,
            per_device_train_batch_size=schedule.batch_size,
            learning_rate=schedule.learning_rate,
            warmup_steps=round(schedule.warmup * self.total_steps),
            lr_scheduler_type=schedule.decay,
            weight_decay=schedule.weight_decay,
            max_grad_norm=schedule.max_gradient_norm,
            optim=fused,
            bf16=precision == "bfloat16",
            fp16=precision == "float16",
            tf32=None if on_cpu else False,
            seed=seed,
            eval_strategy="no",  # when to evaluate and to save is for Due to say
            eval_on_start=schedule.evaluations_in_all is not None and evaluation is not None,
            save_strategy="no",
            logging_strategy="steps",
            logging_steps=schedule.log_every,
            logging_nan_inf_filter=False,
            disable_tqdm=True,
            report_to=[],
            ddp_find_unused_parameters=True,
            # accelerate takes any named backend for a distributed run
            ddp_backend="gloo" if on_cpu and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None,
            remove_unused_columns=False,
        )
        # One process, one device: several GPUs are for torchrun or accelerate launch.
        if arguments.n_gpu > 1:
            arguments._n_gpu = 1
        due = Due(schedule, self.per_epoch, self.total_steps, evaluation is not None, self._agreed)
        super().__init__(
            model=distiller, args=arguments, callbacks=[_Clock(self), due, *(callbacks or [])]
        )
        from transformers.trainer_callback import PrinterCallback

        self.remove_callback(PrinterCallback)
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise TinybertError(
                "this launch shards the model (FSDP or DeepSpeed), and a student is small enough "
                "for plain data parallelism: launch with torchrun, or turn sharding off in "
                "`accelerate config`."
            )
        if teacher is not None:
            cast(nn.Module, teacher.model).to(self.args.device)

    def begin_clock(self) -> None:
        """Count the seconds of training from here, on top of those that the log remembers."""
        before = [e["seconds"] for e in self.state.log_history if "seconds" in e]
        self._seconds_before, self._begun = (before or [0.0])[-1], time.monotonic()

    @property
    def distiller(self) -> Distiller:
        """The trained module, out of whatever wraps it."""
        return cast(Distiller, self.accelerator.unwrap_model(self.model))

    # --- data ---------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Not prepared by accelerate: the sampler itself deals rows out to the processes."""
        sampler = StepSampler(
            self.rows.lengths,
            self.schedule.batch_size,
            self.total_steps,
            self.args.seed,
            self.args.process_index,
            self.args.world_size,
            getattr(self.rows, "order", None),
        )
        return step_loader(self.rows, sampler, self.schedule.token_budget)

    # --- one step -----------------------------------------------------------------------------

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """All micro-batches of one optimiser step; returns the loss of the effective batch."""
        model.train()
        pieces = inputs["micro_batches"]
        shares = self._shares(pieces, stand_in=inputs["stand_in"])
        norms_due = (
            self.schedule.gradient_norms_every
            and self.state.global_step % self.schedule.gradient_norms_every == 0
        )
        total: Tensor | None = None
        for i, (piece, share) in enumerate(zip(pieces, shares, strict=True)):
            batch = {name: tensor.to(self.args.device) for name, tensor in piece.items()}
            taps = self._teacher_taps(batch)
            last = i == len(pieces) - 1
            # Gradients are averaged over processes once a step, with its last micro-batch.
            quiet = contextlib.nullcontext() if last else self.accelerator.no_sync(model)
            with quiet:
                with self.compute_loss_context_manager():
                    output = model(batch, taps, share)
                if norms_due and i == 0:
                    self._log_gradient_norms(output["terms"], share)
                self.accelerator.backward(output["loss"])
            loss = output["loss"].detach()
            total = loss if total is None else total + loss
            for name, value in output["terms"].items():
                value = value.detach()
                self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._summed += 1
        assert total is not None
        return total

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        """The parent's; a norm that is not finite stops the run before the weights move."""
        norm = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
        if not self.args.fp16:  # its scaler skips such steps by itself
            self._stop_if_not_finite(float(norm), "gradient")
        return norm

    def _teacher_taps(self, batch: dict[str, Tensor]) -> Taps:
        taps = Taps()
        if self.request:
            assert self.teacher is not None
            taps = self.teacher.taps(teacher_inputs(batch), self.request)
        if (kept := batch.pop("teacher_logits", None)) is not None:
            taps.logits = kept
        return taps

    def _shares(self, pieces: list[dict[str, Tensor]], stand_in: bool) -> list[dict[str, float]]:
        """Each micro-batch's part of the rows, tokens and so on of the whole effective batch."""
        windows = self.distiller.objective.windows
        counts = [units_of(piece, windows) for piece in pieces]
        units = tuple(counts[0])
        own = torch.tensor(
            [0.0 if stand_in else float(sum(c[u] for c in counts)) for u in units],
            dtype=torch.float64,
        )
        world = self.args.world_size
        whole = self.accelerator.reduce(own.to(self.args.device), "sum") if world > 1 else own
        # DDP averages gradients over processes; the sum is wanted.
        return [
            {
                u: 0.0 if stand_in or not w else world * c[u] / float(w)
                for u, w in zip(units, whole.tolist(), strict=True)
            }
            for c in counts
        ]

    def _log_gradient_norms(self, terms: dict[str, Tensor], share: dict[str, float]) -> None:
        """Norm of each kind of term's gradient at the student's weights.

        Of the first micro-batch (the longest rows), each term as its mean over that micro-batch, so
        that the figures do not depend on how the effective batch is cut among terms.
        """
        distiller = self.distiller
        parameters = [p for p in distiller.student.parameters() if p.requires_grad]
        kinds: dict[str, Tensor] = {}
        for term in distiller.objective.terms:
            value = term.weight * terms[term.name] / max(share[term.counted], 1e-12)
            kinds[term.kind] = kinds[term.kind] + value if term.kind in kinds else value
        figures = {}
        for kind, value in kinds.items():
            gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
            squares = [g.float().pow(2).sum() for g in gradients if g is not None]
            figures[f"gradient_norm/{kind}"] = float(torch.stack(squares).sum().sqrt())
        self.log(figures)

    def _stop_if_not_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise TinybertError(
                f"the {what} became {value} at step {self.state.global_step + 1}: nothing was "
                f"saved after the last checkpoint; lower the learning rate "
                f"({self.args.learning_rate:g}), or train in float32 (--precision float32)."
            )

    # --- log ----------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The parent's log, with the mean of every term since the last line, real epochs, and the
        seconds of training so far."""
        if "loss" in logs and self._summed:
            world = self.args.world_size
            for name, value in self._sums.items():
                mean = value / self._summed
                if world > 1:
                    mean = self.accelerator.reduce(mean, "mean")
                kind, _, layer = name.partition(".")
                logs[f"terms/{name}"] = float(mean)
                if layer:
                    logs[f"terms/{kind}"] = logs.get(f"terms/{kind}", 0.0) + float(mean)
            self._sums, self._summed = {}, 0
        if self._begun is not None:  # of the training so far, stops left out
            logs["seconds"] = round(self._seconds_before + time.monotonic() - self._begun, 2)
        epoch, self.state.epoch = self.state.epoch, self.state.global_step / self.per_epoch
        super().log(logs, start_time)
        self.state.epoch = epoch

    # --- evaluation ---------------------------------------------------------------------------

    def _agreed(self, wish: bool) -> bool:
        """What the main process wishes, told to all: clocks differ."""
        if self.args.world_size == 1:
            return wish
        mine = float(wish and self.args.process_index == 0)
        return bool(self.accelerator.reduce(torch.tensor(mine, device=self.args.device), "sum"))

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Run the stage's evaluation; keep the weights if its metric is the best so far."""
        if self.evaluation is None:
            return {}
        distiller = self.distiller
        distiller.eval()
        with torch.no_grad():
            figures = self.evaluation(distiller)
        metrics = {f"eval_{name}": float(value) for name, value in figures.items()}
        self.log(dict(metrics))
        name = self.best.metric
        if name is not None:
            value = metrics[f"eval_{name}"]
            if math.isfinite(value) and self.best.improves(value, self.state.best_metric):
                self.state.best_metric = value
                self.state.best_global_step = self.state.global_step
                if self.args.should_save:
                    with whole_file(self._best_file()) as temporary:
                        save_model(distiller, str(temporary))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _best_file(self) -> Path:
        """Named by its step: a resumed run takes the file that its own state speaks of."""
        return self.directory / f"best-{self.state.best_global_step}.safetensors"

    def use_best(self) -> None:
        """Put the best weights back into the distiller, if a metric chose any."""
        if self.best.metric is not None and self.state.best_metric is not None:
            self.accelerator.wait_for_everyone()
            load_model(self.distiller, str(self._best_file()))

    # --- checkpoints --------------------------------------------------------------------------

    def resume(self) -> None:
        """Train from the newest whole checkpoint, or from the start."""
        latest = checkpoints.newest_whole(self.directory)
        self.args.eval_on_start &= latest is None
        if latest is None:
            self.train()
            return
        try:
            checkpoints.check(latest, self.owner)
            self.train(resume_from_checkpoint=str(latest))
        except (RuntimeError, UnpicklingError, KeyError, EOFError) as error:
            if self._begun is not None:
                raise  # it was read, and something else went wrong
            raise TinybertError(
                f"the checkpoint {latest} cannot be gone on with "
                f"({str(error).strip().splitlines()[0][:120]}): it is of another student, or was "
                "altered; remove it to go on from the one before, or start again with --overwrite."
            ) from error

    def _get_output_dir(self, trial: Any = None) -> str:
        return str(self.directory if self._staging is None else self._staging)

    def _save_checkpoint(self, model: nn.Module, trial: Any = None) -> None:
        """The parent writes into a staging directory; it is sealed, then renamed."""
        name = f"checkpoint-{self.state.global_step}"
        self._staging = self.directory / checkpoints.STAGING
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                checkpoints.seal(self._staging / name, self.state.global_step, self.owner)
                checkpoints.publish(self._staging / name, self.directory / name)
                checkpoints.drop_old(self.directory, self.schedule.keep_checkpoints)
                for old in self.directory.glob("best-*.safetensors"):
                    if old != self._best_file():
                        old.unlink()
            self.accelerator.wait_for_everyone()
        finally:
            self._staging = None

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Weights only: no pickled arguments."""
        directory = Path(output_dir or self.directory)
        directory.mkdir(parents=True, exist_ok=True)
        if state_dict is not None:  # gathered by FSDP or DeepSpeed
            if self.args.should_save:
                save_file(state_dict, str(directory / WEIGHTS))
        elif self.args.should_save:
            save_model(self.accelerator.unwrap_model(self.model), str(directory / WEIGHTS))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_model(model or self.distiller, str(Path(resume_from_checkpoint) / WEIGHTS))


class _Clock(TrainerCallback):
    def __init__(self, trainer: DistillationTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer.begin_clock()
