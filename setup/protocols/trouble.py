"""The table of troubles: symptoms as `orch`, ssh and PyTorch really say them, with cause and repair.

Messages of `orch` are made by the functions that make them in a trouble; failure kinds come from `jobs.failure`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from jobs.errors import OrchError, disk_error
from jobs.failure import KINDS

from ..ways import keys, remote
from ..ways.target import Target
from .blocks import Block, Heading, Paragraph, Table, Text, same
from .guide import Guide

_HEAD = (Text("What you see", "Ce que vous voyez"), Text("Cause", "Cause"), Text("Repair", "Réparation"))
_PRINT = "SHA256:…"

# Cause and repair of a failure kind; a kind without an entry shows its own hint.
KIND_WORDS = {
    "nan_loss": (
        Text(
            "the training diverged, or an image holds values that are no numbers",
            "l'entraînement a divergé, ou une image contient des valeurs qui ne sont pas des nombres",
        ),
        Text("lower `train.lr`; `orch data check NAME`", "diminuez `train.lr` ; `orch data check NAME`"),
    ),
    "out_of_memory_gpu": (
        Text("the GPU is full: by you, or by somebody else", "le GPU est plein : par vous ou par quelqu'un d'autre"),
        Text("`nvidia-smi`; then a smaller `train.batch_size`", "`nvidia-smi` ; puis un `train.batch_size` plus petit"),
    ),
    "out_of_memory": (
        Text("the machine's own memory is full", "la mémoire de la machine est pleine"),
        Text(
            "a smaller `train.batch_size`, or fewer jobs: `orch sweep augmentations --parallel 1`",
            "un `train.batch_size` plus petit, ou moins de calculs à la fois : `orch sweep augmentations --parallel 1`",
        ),
    ),
    "disk_full": (
        Text("the quota or the disk is used up", "le quota ou le disque est épuisé"),
        Text("free some space, then `orch retry JOB`", "libérez de la place, puis `orch retry JOB`"),
    ),
    "bad_data": (
        Text("an image or mask cannot be read", "une image ou un masque est illisible"),
        Text("`orch data check NAME` names it", "`orch data check NAME` dit lequel"),
    ),
    "import_error": (
        Text("a package is missing in the environment", "il manque un paquet dans l'environnement"),
        Text(
            "is it the right Python? Then add it to your layer (section on the environment)",
            "est-ce le bon Python ? Sinon, ajoutez-le à votre couche (section sur l'environnement)",
        ),
    ),
    "wrong_architecture": (
        Text("a program of the other processor", "un programme de l'autre processeur"),
        Text(
            "use `~/env-$(uname -m)`; conda environments of the other machine do not work here",
            "utilisez `~/env-$(uname -m)` ; les environnements conda de l'autre machine ne fonctionnent pas ici",
        ),
    ),
    "not_verified": (
        Text(
            "the code was changed on the host, or the environment is a colleague's",
            "le code a été modifié sur la machine, ou l'environnement est celui d'un collègue",
        ),
        Text(
            "the same sweep again sends the code anew; `trust: [NAME]` in the site file",
            "relancez la série : le code est envoyé à nouveau ; `trust: [NAME]` dans le fichier du site",
        ),
    ),
    "cannot_start": (
        Text("the sweep's program is not there", "le programme de la série est introuvable"),
        Text("look at the sweep's `command`", "vérifiez `command` dans le fichier de la série"),
    ),
    "code_error": (
        Text("an error in the program", "une erreur dans le programme"),
        Text(
            "`orch logs JOB`; after mending it `orch retry JOB`", "`orch logs JOB` ; après correction `orch retry JOB`"
        ),
    ),
    "gpu_lost": (
        Text("the graphics card has stopped answering", "la carte graphique ne répond plus"),
        Text(
            "the administrator must look at it, often with a restart; afterwards `orch release --gpus`. A sweep with "
            "`--hosts` goes on elsewhere",
            "l'administrateur doit intervenir, souvent par un redémarrage ; ensuite `orch release --gpus`. Une série "
            "lancée avec `--hosts` continue ailleurs",
        ),
    ),
    "driver_mismatch": (
        Text("torch is too new for the graphics driver", "torch est trop récent pour le pilote graphique"),
        Text(
            "`orch setup --host HOST`; after an update of the driver the machine must be restarted",
            "`orch setup --host HOST` ; après une mise à jour du pilote, il faut redémarrer la machine",
        ),
    ),
    "foreign_pressure": (
        Text("somebody else needs the graphics card", "quelqu'un d'autre a besoin de la carte graphique"),
        Text(
            "nothing: it goes on by itself once the card is free",
            "rien : le calcul reprend de lui-même quand la carte est libre",
        ),
    ),
    "preempted": (
        Text("Slurm needed the place, or the time was over", "Slurm a repris la place, ou le temps était écoulé"),
        Text(
            "nothing: it goes on from its last checkpoint; more time: `slurm: {time: 480}` in the site file",
            "rien : il reprend au dernier point de sauvegarde ; pour plus de temps, `slurm: {time: 480}` dans le "
            "fichier du site",
        ),
    ),
    "gpu_busy": (
        Text("somebody has the card for himself", "quelqu'un s'est réservé la carte"),
        Text(
            "`nvidia-smi` names the owner: ask, then `orch retry JOB`",
            "`nvidia-smi` dit qui : demandez, puis `orch retry JOB`",
        ),
    ),
    "timeout": (
        Text("it took longer than it may", "il a dépassé la durée permise"),
        Text(
            "raise `resources.time_limit` in the sweep, then `orch retry JOB`: it goes on",
            "augmentez `resources.time_limit` dans la série, puis `orch retry JOB` : il reprend où il en était",
        ),
    ),
    "killed": (
        Text("somebody, or the system, ended it", "quelqu'un, ou le système, l'a arrêté"),
        Text(
            "it starts again once by itself; then `orch retry JOB`",
            "il repart une fois de lui-même ; ensuite `orch retry JOB`",
        ),
    ),
    "crashed": (
        Text("the program crashed", "le programme s'est effondré"),
        Text("`orch logs JOB` shows its last words", "`orch logs JOB` montre ses derniers mots"),
    ),
    "host_rebooted": (
        Text("the machine was restarted", "la machine a redémarré"),
        Text(
            "nothing: it goes on from its last checkpoint; else `orch retry JOB`",
            "rien : il reprend au dernier point de sauvegarde ; sinon `orch retry JOB`",
        ),
    ),
    "exit_status_lost": (
        Text("what watched over it was killed", "ce qui le surveillait a été arrêté"),
        Text(
            "nobody knows whether it worked: `orch logs JOB`, then `orch retry JOB`",
            "personne ne sait s'il a réussi : `orch logs JOB`, puis `orch retry JOB`",
        ),
    ),
    "unknown": (
        Text("the program says no more than that it failed", "le programme dit seulement qu'il a échoué"),
        Text("`orch logs JOB`", "`orch logs JOB`"),
    ),
}


def troubles(guide: Guide) -> Iterator[Block]:
    """Yield the tables: getting in, VS Code and GPU, jobs."""
    yield Heading(Text("Troubles", "Pannes"))
    yield Paragraph(
        Text(
            "`orch` says what happened, why, and after `fix:` what repairs it. Look for the words you see.",
            "`orch` dit ce qui s'est passé, pourquoi, et après `fix:` ce qui le répare (en anglais). Cherchez ici les "
            "mots que vous voyez.",
        )
    )
    yield Heading(Text("Getting in", "Entrer"), 2)
    yield _table(_ways(guide))
    yield Heading(Text("VS Code, environment, GPU", "VS Code, environnement, GPU"), 2)
    yield _table(_machine(guide))
    yield Heading(Text("Jobs", "Calculs"), 2)
    yield _table(_jobs())


def _table(rows: Iterator[tuple[Text, Text, Text]]) -> Table:
    return Table(_HEAD, tuple(rows), (38, 27, 35))


def _said(error: OrchError) -> Text:
    code = error.exit_code
    return Text(f"`{error.message}` (exit code {code})", f"`{error.message}` (code de sortie {code})")


def _ways(guide: Guide) -> Iterator[tuple[Text, Text, Text]]:
    machine = guide.main
    name, address = machine.alias, machine.host.address or machine.alias
    yield (
        _said(remote.unreachable(name, address, "Connection timed out")),
        Text(
            "you are not in the network, or the machine is off",
            "vous n'êtes pas sur le réseau, ou la machine est éteinte",
        ),
        Text(f"start the VPN; `ssh {name}`", f"lancez le VPN ; `ssh {name}`"),
    )
    yield (
        _said(keys.refused(_keyless(name, guide.user), "Permission denied (publickey)")),
        Text(
            "your key is not there, not loaded, or not yet accepted; or it is not your user name",
            "votre clé manque, n'est pas chargée ou pas encore acceptée ; ou l'identifiant est faux",
        ),
        Text(
            "`ssh-add ~/.ssh/id_ed25519`; compare `User` in `~/.ssh/config`; ask whether the key was entered",
            "`ssh-add ~/.ssh/id_ed25519` ; vérifiez `User` dans `~/.ssh/config` ; demandez si la clé a été enregistrée",
        ),
    )
    yield (
        _said(remote.unknown_key(name, "ED25519", _PRINT)),
        Text("first contact from this computer", "premier contact depuis cet ordinateur"),
        Text(
            "compare the fingerprint (section on the first connection)",
            "comparez l'empreinte (section sur la première connexion)",
        ),
    )
    yield (
        _said(remote.changed_key(name, address, "~/.ssh/known_hosts", "ED25519", _PRINT)),
        Text("a new installation, or somebody in between", "une réinstallation, ou quelqu'un entre les deux"),
        Text("stop; ask the administrator", "arrêtez-vous ; demandez à l'administrateur"),
    )
    yield (
        _said(remote.ended(name, 1, "", "…")),
        Text(
            "your start-up file on the host prints or leaves early",
            "votre fichier de démarrage sur la machine affiche du texte ou s'interrompt",
        ),
        Text(
            f"repair `~/.bashrc`; `ssh {name} true` must print nothing",
            f"corrigez `~/.bashrc` ; `ssh {name} true` ne doit rien afficher",
        ),
    )
    yield (
        same("`WARNING: UNPROTECTED PRIVATE KEY FILE!`"),
        Text("others may read your key", "d'autres peuvent lire votre clé"),
        same("`chmod 600 ~/.ssh/id_ed25519`"),
    )


def _keyless(name: str, user: str) -> Target:
    """A host for which this machine has no key and no agent: what `refused` says must not hang on who writes."""
    words = {"name": name, "hostname": name, "user": user, "user_origin": "the site file says so", "known_as": name}
    nothing = {"proxy_command": None, "agent": None, "jumps": (), "known_hosts": ()}
    numbers = {"port": 22, "connect_wait": 15, "alive_every": 15}
    return Target(**words, **nothing, **numbers, keys=("~/.ssh/id_ed25519",), only_these_keys=True, strict="ask")  # type: ignore[arg-type]


def _machine(guide: Guide) -> Iterator[tuple[Text, Text, Text]]:
    name = guide.main.host.name
    yield (
        same("`Found existing installation` … `Exec format error`"),
        Text("VS Code finds its server for the other processor", "VS Code trouve son serveur pour l'autre processeur"),
        same(f"`orch setup --host {name} --only vscode`"),
    )
    yield (
        same("`Server installation process already in progress`"),
        Text(
            "VS Code on two machines at once, or a lock left behind",
            "VS Code sur deux machines à la fois, ou un verrou oublié",
        ),
        Text("`remote.SSH.lockfilesInTmp` (section on VS Code)", "`remote.SSH.lockfilesInTmp` (section sur VS Code)"),
    )
    yield (
        Text("`torch.cuda.is_available()` is `False`", "`torch.cuda.is_available()` vaut `False`"),
        Text(
            "a PyTorch without CUDA, or one for a newer driver",
            "un PyTorch sans CUDA, ou prévu pour un pilote plus récent",
        ),
        Text(
            f"`orch doctor --host {name}`, then `orch setup --host {name}`",
            f"`orch doctor --host {name}`, puis `orch setup --host {name}`",
        ),
    )
    yield (
        same("`The NVIDIA driver on your system is too old`"),
        Text(
            "PyTorch of the usual index wants CUDA 13 and a driver from 580 on",
            "le PyTorch de l'index habituel veut CUDA 13 et un pilote 580 ou plus récent",
        ),
        Text(
            f"`orch setup --host {name}` takes a build that fits; `orch setup --explain` shows why",
            f"`orch setup --host {name}` en prend un qui convient ; `orch setup --explain` dit pourquoi",
        ),
    )
    yield (
        _said(remote.ended(name, remote.NO_PYTHON, "", "")),
        Text("the host's own Python is too old or missing", "le Python de la machine est trop ancien ou absent"),
        same(f"`orch setup --host {name}`"),
    )
    for number, words in _DISK.items():
        error = disk_error(OSError(number, ""), "~/.orch")
        yield (_said(error), *words)


_DISK = {
    errno.EDQUOT: (
        Text("your home is full", "votre dossier personnel est plein"),
        Text("section on the quota; then the same command again", "section sur le quota ; puis la même commande"),
    ),
    errno.EROFS: (
        Text("the home cannot be written at the moment", "le dossier personnel n'est pas accessible en écriture"),
        Text("tell the administrator", "prévenez l'administrateur"),
    ),
}


def _jobs() -> Iterator[tuple[Text, Text, Text]]:
    for kind in KINDS:
        hint = same(kind.hint)
        cause, repair = KIND_WORDS.get(kind.name, (same(kind.name.replace("_", " ")), hint))
        yield same(f"`{kind.name}`"), cause, repair
    yield (
        same("`killed`"),
        Text(
            "somebody, or the kernel when memory was short, ended it",
            "quelqu'un l'a arrêté, ou le noyau faute de mémoire",
        ),
        Text("`orch why JOB`, then `orch retry JOB`", "`orch why JOB`, puis `orch retry JOB`"),
    )
    yield (
        same("`unreachable`"),
        Text(
            "the machine does not answer; the job is not counted dead",
            "la machine ne répond pas ; le calcul n'est pas compté comme mort",
        ),
        Text("wait; `orch status --refresh`", "attendez ; `orch status --refresh`"),
    )
