"""Training, from `job.json` to `result.json`: one explicit loop that reads top to bottom.

An epoch is a permutation of row numbers; a batch is one `index_select`, augmented on the device. Losses and counts stay
on the device and are fetched once per epoch. The tested patients are looked at once, at the end, with the weights of
the epoch that was best on the inner validation part.

A stop (SIGTERM or the `stop` file) is obeyed at the next step: `last.pt` holds the state at the end of the last whole
epoch, the begun epoch is left and will be redone from its start, bit by bit the same, for its random numbers are keyed.
"""

from __future__ import annotations

import math
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from jobs import __version__
from jobs.atomic import read_json
from jobs.folder import RunFolder
from jobs.handin import Run

from . import accumulate, checkpoint, device, keyed, metrics, task
from .augment import Params
from .learner import Learner, earlier
from .losses import Sums, combine, sums
from .resident import Resident
from .task import Task
from .unet import labels

RECORDED = 4  # samples of the first batch whose drawn parameters are recorded, as evidence


class Part(NamedTuple):
    """What one pass over a data part gave: its loss, TP, FP, FN (n, C, 3) of its slices, and their rows (n,)."""

    loss: float
    counts: metrics.Counts
    rows: npt.NDArray[np.int64]


def run(folder: RunFolder) -> int:
    """Train as `job.json` says, test, and hand in the result.

    Returns
    -------
    int
        Exit status: 0 finished (or stopped on request, then without a result), 1 failed (see the `failure` event).

    Raises
    ------
    OrchError
        The job, its data or its disk cannot be used.
    """
    hand = Run(folder.path)
    hand.catch_sigterm()
    try:
        return _run(folder, hand)
    except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        text = f"out of memory: {str(error).splitlines()[0]}; use a smaller batch_size or width, or another device"
        hand.event("failure", failure="out_of_memory", text=text)
        return 1


def _is_out_of_memory(error: Exception) -> bool:
    # torch has no class of its own for the CPU: its allocator raises a plain RuntimeError
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)


def _run(folder: RunFolder, hand: Run) -> int:
    job = task.read(folder)
    chosen = device.choose_device()
    threads = device.prepare(chosen.value)
    precision = device.choose_precision(job.settings.precision, chosen.value)
    learner = Learner.build(job, chosen, precision)
    resumed, how = learner.resume(folder, (read_json(folder.job) or {}).get("resume"))
    _say_start(hand, job, learner, threads, resumed)
    hand.event("note", text=how)
    if job.micro_batch < job.batch:
        hand.event("note", text=accumulate.said(job.batch, job.micro_batch))
    data = Resident.of(job.slices, chosen.value)
    status = _train(folder, hand, job, learner, data)
    if status is None:
        _test(folder, hand, job, learner, data)
        return 0
    return status


def _say_start(hand: Run, job: Task, learner: Learner, threads: int, resumed: int | None) -> None:
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    hand.event(
        "start",
        versions={**versions, "orch": __version__},
        device=learner.device.value,
        device_reason=learner.device.reason,
        precision=learner.precision.value,
        precision_reason=learner.precision.reason,
        threads=threads,
        batch=job.batch,
        micro_batch=min(job.micro_batch, job.batch),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        resumed_from=resumed,
        parameters_count=learner.parameters,
        pid=os.getpid(),
    )


def _train(folder: RunFolder, hand: Run, job: Task, learner: Learner, data: Resident) -> int | None:
    """Train until epochs or patience end (None), somebody asks for a stop (0), or the loss is no number (1)."""
    progress = learner.progress
    while not progress.exhausted(job.settings):
        epoch, begun = progress.epoch + 1, time.monotonic()
        trained = _epoch(hand, job, learner, data, epoch)
        if trained is None:
            hand.event("note", text=f"stopped on request in epoch {epoch}; last.pt holds epoch {progress.epoch}")
            return 0
        validated = evaluate(job, learner, data, job.validation)
        if not math.isfinite(trained.loss + validated.loss):
            text = f"the loss of epoch {epoch} is not a number; best.pt and last.pt hold earlier epochs: lower the lr"
            hand.event("failure", failure="nan_loss", text=text)
            return 1
        seconds = time.monotonic() - begun
        values = {"train_loss": trained.loss, "train_dice": _patient_dice(job, trained)}
        values |= {"val_loss": validated.loss, "val_dice": _patient_dice(job, validated)}
        hand.metrics(epoch, **values, lr=learner.optimizer.param_groups[0]["lr"], seconds=round(seconds, 3))
        improved = progress.add(values["val_dice"], seconds)
        _tell(epoch, job.settings.epochs, values, seconds, improved)
        learner.save(folder, job, improved)  # after its event: cut off between, the epoch is redone and told again
    return None


def _tell(epoch: int, most: int, values: Mapping[str, float], seconds: float, improved: bool) -> None:
    """Say it to whoever follows the log; the numbers that count are in the events."""
    line = f"epoch {epoch} of at most {most}: loss {values['train_loss']:.4f}, validation loss {values['val_loss']:.4f}"
    line += f", validation Dice {values['val_dice']:.4f}{' (the best so far)' if improved else ''}, {seconds:.1f} s\n"
    sys.stderr.write(line)
    sys.stderr.flush()


def _epoch(hand: Run, job: Task, learner: Learner, data: Resident, epoch: int) -> Part | None:
    """Train on every slice once; None when a stop was asked for."""
    settings, losses, counted = job.settings, [], []
    batches = _batches(job, epoch)
    steps = torch.from_numpy(batches).to(data.masks.device)  # (steps, B)
    learner.model.train()
    for step, rows in enumerate(batches):
        if hand.stop_requested():
            return None
        params = job.chain.make_params(job.seed, epoch, rows)
        if epoch == 1 and step == 0:
            _record(hand, job, rows, params)
        images, masks = job.chain.apply(*data.batch(steps[step]), params)  # (B, 1, H, W), (B, H, W)
        rate = settings.rate((epoch - 1) * len(batches) + step, settings.epochs * len(batches))
        loss, predicted = learner.learn(images, masks, settings.alpha, job.micro_batch, rate)  # (), (B, H, W)
        losses.append(loss)
        counted.append(metrics.count(predicted, masks, len(job.slices.classes)))
    rows = batches.reshape(-1)[: len(job.train)]
    counts = torch.cat(counted)[: len(rows)].cpu().numpy()  # (n, C, 3)
    return Part(float(torch.stack(losses).mean()), counts, rows)


def _batches(job: Task, epoch: int) -> npt.NDArray[np.int64]:
    """Return rows (steps, B) of an epoch: all training slices once, in keyed order.

    The last batch is filled up from the start of the order: all steps have one shape, as cuDNN and compilers like it,
    and batch normalisation never sees a batch of one or two slices.
    """
    size = job.batch
    shuffled = job.train[keyed.order(job.seed, epoch, len(job.train))]
    steps = -(-len(shuffled) // size)
    return np.resize(shuffled, (steps, size))  # repeats from the start


def _record(hand: Run, job: Task, rows: npt.NDArray[np.int64], params: Sequence[Params]) -> None:
    """Write down what was drawn for the first samples."""
    for place, row in enumerate(rows[:RECORDED] if job.chain.steps else []):
        case = job.slices.cases[job.slices.case_of[row]]
        drawn = job.chain.record(params, place)
        hand.event("augment", step=1, case=case.case, slice=int(row) - case.first, parameters=drawn)


@torch.inference_mode()
def evaluate(job: Task, learner: Learner, data: Resident, rows: npt.NDArray[np.int64]) -> Part:
    """Predict some rows (n,) of the data as they are; pixels in padding count for nothing in the scores."""
    learner.model.eval()
    everything, counted = torch.from_numpy(rows).to(data.masks.device), []
    total: Sums | None = None
    for batch in torch.split(everything, job.micro_batch):
        images, masks = data.batch(batch)  # (B, 1, H, W), (B, H, W)
        logits = learner.forward(images)  # (B, outputs, H, W)
        part = sums(logits, masks)
        total = part if total is None else total + part
        predicted = labels(logits) * data.inside(batch)  # (B, H, W)
        counted.append(metrics.count(predicted, masks, len(job.slices.classes)))
    if total is None:
        raise ValueError("no rows to evaluate")
    return Part(float(combine(total, job.settings.alpha)), torch.cat(counted).cpu().numpy(), rows)


def _score(job: Task, part: Part) -> list[metrics.Row]:
    return metrics.score(part.counts, job.slices.case_of[part.rows], job.slices.cases, job.slices.classes)


def _patient_dice(job: Task, part: Part) -> float:
    dice = metrics.summarise(_score(job, part), job.slices.classes)["dice"]
    return math.nan if dice is None else dice


def _test(folder: RunFolder, hand: Run, job: Task, learner: Learner, data: Resident) -> None:
    """Score the tested patients with the best epoch's weights, hand in the result, drop what only a resume needs."""
    learner.restore_best(folder)
    tested = evaluate(job, learner, data, job.test)
    rows, progress = _score(job, tested), learner.progress
    values: dict[str, Any] = metrics.summarise(rows, job.slices.classes)
    values |= metrics.summarise_slices(tested.counts, job.slices.classes)
    values |= {"loss": tested.loss, "val_dice": progress.best_dice, "best_epoch": progress.best_epoch}
    values |= {"epochs": progress.epoch, "seconds": round(progress.seconds, 3)}
    values |= {"seconds_per_epoch": round(progress.seconds / progress.epoch, 3)}
    values |= {f"{name}_slices": len(getattr(job, name)) for name in ("train", "validation", "test")}
    hand.finish(cases=rows, **values)
    for attempt in (folder, *earlier(folder)):
        checkpoint.drop(attempt, "last")
