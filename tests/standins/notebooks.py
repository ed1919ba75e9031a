"""Notebooks for tests: a small one that is made like the lab's, and whatever cells a test wants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# The story of the lab: folds and augmentation are changed by hand, 7 x 5 times, and the Dice is read off the output.
LAB = (
    "# U-net, cross-validation (PyTorch)\n",
    """%matplotlib inline
import os, json, random
import helpers
!echo "from the shell"
""",
    """data_dir = r"C:\\data\\IRM\\imagesTr"   # on the intern's laptop
masks = "masks"
fold_no = 1          # changed by hand
selected_aug = 'rotate'
batch_size, epochs = 16, 2
SEED = 0
random.seed(SEED)
print(f"fold {fold_no}, {selected_aug}, batch {batch_size}")
""",
    """class KFold:  # as in scikit-learn, which these tests do not need
    def __init__(self, n_splits, shuffle=True): self.n_splits = n_splits
folds = KFold(n_splits=5, shuffle=True)
augmentations = {
    "identity": lambda image, mask: (image, mask),
    "rotate": lambda image, mask: (image, mask),
    "noise": lambda image, mask: (image, mask),
}
augment = augmentations[selected_aug]
""",
    """gain = {"identity": 0.0, "rotate": 0.1, "noise": -0.1}[selected_aug]
truth = open(masks + "/truth.txt").read().strip()
val_dices = []
for epoch in range(epochs):
    val_dices.append(helpers.dice(fold_no, gain, epoch))
    print("epoch", epoch, "val_dice", val_dices[-1])
val_dice = val_dices[-1]
open("best.pt", "w").write(f"{selected_aug} {fold_no} {truth}")
""",
)
HELPERS = "def dice(fold, gain, epoch):\n    return round(0.7 + gain + fold / 100 + epoch / 10, 4)\n"


def document(*cells: str, **metadata: Any) -> dict[str, Any]:
    """A notebook of nbformat 4: the first cell is text, the others are code."""
    made = [{"cell_type": "markdown", "metadata": {}, "source": cells[0].splitlines(keepends=True)}]
    for text in cells[1:]:
        outputs = [{"output_type": "stream", "name": "stdout", "text": ["from an earlier run\n"]}]
        code = {"cell_type": "code", "metadata": {}, "execution_count": 7, "outputs": outputs}
        made.append({**code, "source": text.splitlines(keepends=True)})
    python = {"kernelspec": {"display_name": "unet", "language": "python", "name": "conda-env-unet-py"}}
    return {"cells": made, "metadata": {**python, **metadata}, "nbformat": 4, "nbformat_minor": 2}


def write(path: Path, *cells: str, **metadata: Any) -> Path:
    """Write such a notebook."""
    path.write_text(json.dumps(document(*cells, **metadata), indent=1), encoding="utf-8")
    return path


def lab(folder: Path, name: str = "unet.ipynb") -> Path:
    """Write the lab's notebook with what lies beside it."""
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    (folder / "masks" / "truth.txt").write_text("duct\n", encoding="utf-8")
    (folder / "helpers.py").write_text(HELPERS, encoding="utf-8")
    return write(folder / name, *LAB)
