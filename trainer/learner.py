"""What is being trained: network, optimiser, progress; saved and restored whole, so that a resume changes no bit."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from jobs.errors import ContractError
from jobs.folder import RunFolder

from . import accumulate, checkpoint, unet
from .device import Choice
from .task import Settings, Task


@dataclass
class Progress:
    """How far a run is; all that a resume needs besides weights and optimiser, for random numbers are keyed."""

    epoch: int = 0  # epochs finished
    best_epoch: int = 0  # the one with the best val_dice
    best_dice: float = -1.0
    seconds: float = 0.0  # spent on epochs, over all attempts

    def add(self, dice: float, seconds: float) -> bool:
        """Count a finished epoch with its val_dice; tell whether it is the best so far."""
        self.epoch, self.seconds = self.epoch + 1, self.seconds + seconds
        improved = dice > self.best_dice
        if improved:
            self.best_epoch, self.best_dice = self.epoch, dice
        return improved

    def exhausted(self, settings: Settings) -> bool:
        """Tell whether nothing is left to train: all epochs are done, or patience is."""
        waited = self.epoch - self.best_epoch
        return self.epoch >= settings.epochs or 0 < settings.patience <= waited


@dataclass
class Learner:
    """Network and optimiser on one device, in one precision."""

    model: unet.UNet
    optimizer: torch.optim.Adam
    device: Choice
    precision: Choice
    progress: Progress = field(default_factory=Progress)

    @classmethod
    def build(cls, task: Task, device: Choice, precision: Choice) -> Learner:
        """Make the first state: the same weights on every device for one seed."""
        settings = task.settings
        model = unet.build(settings.width, settings.depth, len(task.slices.classes), task.seed).to(device.value)
        return cls(model, torch.optim.Adam(model.parameters(), settings.lr, fused=True), device, precision)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.model.parameters())

    def autocast(self) -> AbstractContextManager[object]:
        """Compute convolutions in bf16 where that was chosen; weights and loss stay fp32."""
        return torch.autocast(self.device.value, torch.bfloat16, enabled=self.precision.value == "bf16")

    def learn(self, images: Tensor, masks: Tensor, alpha: float, micro: int, rate: float) -> tuple[Tensor, Tensor]:
        """Make one step on a batch, `micro` slices at once, at a learning rate; return loss () and maps (B, H, W)."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss, predicted = accumulate.backward(self.model, self.forward, images, masks, alpha, micro)
        self.optimizer.step()
        return loss, predicted

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, outputs, H, W) of slices (B, 1, H, W), computed in the chosen precision."""
        with self.autocast():
            logits: Tensor = self.model(images)
        return logits

    def save(self, folder: RunFolder, task: Task, improved: bool) -> None:
        """Write `last`, and before it `best` when this epoch is: cut off between, the epoch is redone bit by bit."""
        about = {"epoch": self.progress.epoch, "val_dice": self.progress.best_dice}
        settings = task.settings
        network = {"width": settings.width, "depth": settings.depth, "classes": list(task.slices.classes)}
        network |= {"axis": settings.axis, "size": list(settings.size)}
        weights = self.model.state_dict()
        if improved:
            checkpoint.save(folder, "best", {"model": weights, "network": network, **about}, about)
        state = {"model": weights, "optimizer": self.optimizer.state_dict(), "progress": asdict(self.progress)}
        about = {"epoch": self.progress.epoch, "best_epoch": self.progress.best_epoch, **about}
        checkpoint.save(folder, "last", {**state, "network": network}, about)

    def resume(self, folder: RunFolder, former: str | None) -> tuple[int | None, str]:
        """Go on from a former attempt, or from an older one where that left no whole checkpoint.

        Returns
        -------
        tuple
            Number of the attempt gone on from, or None; and what happened, in words.
        """
        said = "no former attempt" if former is None else f"attempt {RunFolder(former).attempt} left no checkpoint"
        for attempt in _older(folder, former):
            try:
                state = checkpoint.load(attempt, "last", self.device.value)
            except ContractError as error:
                said = f"{error.message}; looked further back"
                continue
            if state is None:
                continue
            for which in ("best", "last"):
                checkpoint.inherit(attempt, folder, which)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.progress = Progress(**state["progress"])
            return attempt.attempt, f"goes on after epoch {self.progress.epoch} of attempt {attempt.attempt}"
        return None, f"starts from the beginning: {said}"

    def restore_best(self, folder: RunFolder) -> None:
        """Load the weights of the best epoch.

        Raises
        ------
        ContractError
            `best.pt` is missing or damaged.
        """
        best = checkpoint.load(folder, "best", self.device.value)
        if best is None:
            raise ContractError(f"{folder.checkpoint('best')} is gone", "start the job again: orch retry")
        self.model.load_state_dict(best["model"])


def _older(folder: RunFolder, former: str | None) -> list[RunFolder]:
    """Return the former attempt and those before it, latest first."""
    if former is None:
        return []
    first = RunFolder(former)
    return [first, *(attempt for attempt in reversed(earlier(folder)) if attempt.attempt < first.attempt)]


def earlier(folder: RunFolder) -> list[RunFolder]:
    """Return the attempts of the same job before this one."""
    return [one for one in folder.home.attempts(folder.sweep, folder.job_id) if one.attempt < folder.attempt]
