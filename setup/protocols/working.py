"""Sections of a protocol: `orch` on the laptop, the environment, the first job, a sweep."""

from __future__ import annotations

from collections.abc import Iterator

from .blocks import Block, Code, Heading, Items, Note, Paragraph, Text
from .guide import Guide, in_file

_SOURCES = "the sources of orch and a package index"
_ENV = "~/env-$(uname -m)"

JOB = """mkdir -p ~/first-job
cd ~/first-job
cat > job.py <<'END'
import time
import torch

print(torch.cuda.get_device_properties(0).name)
for step in range(1, 61):
    print("step", step)
    time.sleep(1)
END"""
START = f"""cd ~/first-job
setsid -f sh -c 'echo $$ > pid; exec {_ENV}/bin/python -u job.py' </dev/null >log.txt 2>&1
sleep 5; cat log.txt"""


def tool(guide: Guide) -> Iterator[Block]:
    """Yield how `orch` comes to the laptop and learns the hosts."""
    alias = guide.main.host.name
    yield Heading(Text("orch on your computer", "orch sur votre ordinateur"))
    yield Paragraph(
        Text(
            "`orch` prepares the machines, examines them and runs experiments. It needs Python 3.11 or newer. In the "
            "folder of its sources:",
            "`orch` prépare les machines, les examine et lance les expériences. Il lui faut Python 3.11 ou plus "
            "récent. Dans le dossier de ses sources :",
        )
    )
    windows = "py -m venv $HOME\\orch-env\n& $HOME\\orch-env\\Scripts\\Activate.ps1\npip install ."
    yield Code(windows, ("windows",), needs=_SOURCES)
    unix = "python3 -m venv ~/orch-env\n. ~/orch-env/bin/activate\npip install ."
    yield Code(unix, ("macos", "linux"), needs=_SOURCES)
    if guide.comes_with_orch:
        yield Paragraph(
            Text(
                "It knows our machines already; it lacks your name. Two lines in a file `site.yaml`, in the folder of "
                "your project or in your settings folder (`~/.config/orch`, on Windows `%APPDATA%\\orch`):",
                "Il connaît déjà nos machines ; il lui manque votre nom. Deux lignes dans un fichier `site.yaml`, dans "
                "le dossier de votre projet ou dans votre dossier de réglages (`~/.config/orch`, sous Windows "
                "`%APPDATA%\\orch`) :",
            )
        )
        yield in_file("site.yaml", f"extends: {guide.site.name}\nuser: {guide.user}")
    else:
        yield Paragraph(
            Text(
                f"It learns the machines from the file `site.yaml` of {guide.site.name}: copy that of a colleague into "
                "the folder of your project.",
                f"Il apprend les machines dans le fichier `site.yaml` de {guide.site.name} : copiez celui d'un "
                "collègue dans le dossier de votre projet.",
            )
        )
    yield Paragraph(Text("Then let it look:", "Puis laissez-le regarder :"))
    yield guide.on_laptop(f"orch doctor --host {alias}")
    yield Paragraph(
        Text(
            "Each line is a measured truth (`ok`, `note`, `found`, `unknown`) with its evidence and, where something "
            "is wrong, the repair. `orch doctor --all` looks at all machines side by side.",
            "Chaque ligne est un fait mesuré (`ok`, `note`, `found`, `unknown`), avec sa preuve et, si quelque chose "
            "ne va pas, la réparation. `orch doctor --all` examine toutes les machines en parallèle.",
        )
    )


def environment(guide: Guide) -> Iterator[Block]:
    """Yield how the environment is made and checked."""
    machine, alias = guide.main, guide.main.host.name
    arch = machine.fact("architecture")
    yield Heading(Text("The environment", "L'environnement"))
    yield Paragraph(
        Text(
            f"Python, PyTorch and the rest live in an environment made for the processor (`{arch}` here) and for the "
            "driver. One made on a machine of another processor does not work, and PyTorch from the usual index may "
            "come without GPU, silently. So let `orch` make it: first the plan with its reasons, then the work.",
            f"Python, PyTorch et le reste vivent dans un environnement fait pour le processeur (ici `{arch}`) et pour "
            "le pilote. Celui d'une machine à l'autre processeur ne fonctionne pas, et le PyTorch de l'index habituel "
            "peut venir sans GPU, sans prévenir. Laissez donc `orch` le créer : d'abord le plan et ses raisons, puis "
            "le travail.",
        )
    )
    yield guide.on_laptop(f"orch setup --host {alias} --dry-run\norch setup --host {alias}")
    yield Paragraph(
        Text(
            "It takes some minutes and 6 GB or so the first time, and nothing afterwards. An interrupted one goes on "
            "where it was. A name that stays, and the check:",
            "Il faut quelques minutes et environ 6 GB la première fois, rien ensuite. Une installation interrompue "
            "reprend là où elle en était. Un nom stable, et la vérification :".replace("GB", "Go"),
        )
    )
    newest = "$(ls -t ~/.orch/envs/$(uname -m)/*/orch-env.json | head -n 1)"
    yield guide.on_host(f'ln -sfn "$(dirname "{newest}")" {_ENV}')
    code = "import torch; print(torch.__version__, torch.cuda.is_available(), torch.cuda.get_device_properties(0).name)"
    yield guide.on_host(
        f"{_ENV}/bin/python -c '{code}'", expected=f"…+cu126 True {guide.gpu_line}", needs="the environment"
    )
    yield Paragraph(
        Text(
            "`True` is the word that counts. `False` or a version without `+cu` means that PyTorch does not see the "
            "GPU: look at the table of troubles. Do not `pip install` into this environment: `orch` notices, and makes "
            "a new one. For packages of your own, put a layer above it:",
            "`True` est le mot qui compte. `False`, ou une version sans `+cu`, signifie que PyTorch ne voit pas le "
            "GPU : voir le tableau des pannes. Pas de `pip install` dans cet environnement : `orch` le remarque "
            "et en refait un. Pour vos propres paquets, posez une couche par-dessus :",
        )
    )
    yield guide.on_host(
        f"{_ENV}/bin/python -m venv --system-site-packages ~/mine-$(uname -m)\n"
        "~/mine-$(uname -m)/bin/pip install jupyterlab",
        needs=_SOURCES,
    )


def first_job(guide: Guide) -> Iterator[Block]:
    """Yield a small job that goes on when the connection ends, and a sweep."""
    machine = guide.main
    yield Heading(Text("First job", "Premier calcul"))
    yield Paragraph(
        Text(
            "A program that you simply start ends with your connection. This one goes on: it counts for a minute.",
            "Un programme lancé simplement s'arrête avec votre connexion. Celui-ci continue : il compte une minute.",
        )
    )
    yield guide.on_host(JOB)
    yield guide.on_host(START, expected=f"{guide.gpu_line}\nstep 1\n…", needs="the environment")
    yield Paragraph(
        Text(
            "Leave with `exit`, come back, and look at `log.txt`: it went on. In a notebook, everything runs in VS "
            "Code's server: close the laptop, and the cell is lost. Long training belongs into a program.",
            "Quittez avec `exit`, revenez et regardez `log.txt` : il a continué. Un notebook, lui, tourne dans le "
            "serveur de VS Code : fermez l'ordinateur, et la cellule est perdue. Un entraînement long se lance comme "
            "programme.",
        )
    )
    yield Heading(Text("A whole sweep", "Une série complète"), 2)
    yield Paragraph(
        Text(
            f"All augmentations on all folds, without editing a notebook 35 times: install `orch` on {machine.title} "
            "as well (once; its index goes to the local disk), open a session there, and run it beside the data.",
            "Toutes les augmentations sur tous les plis, sans modifier 35 fois un notebook : installez `orch` aussi "
            f"sur {machine.title} (une fois ; son index va sur le disque local), ouvrez-y une session et lancez-le à "
            "côté des données.",
        )
    )
    yield guide.on_host(
        f"{_ENV}/bin/python -m venv --system-site-packages ~/orch-$(uname -m)\n"
        '. ~/orch-$(uname -m)/bin/activate\npip install .\norch config state "/var/tmp/$(id -un)/orch-state"',
        needs=_SOURCES,
    )
    yield guide.on_host(
        "orch init ~/data/liver\norch sweep augmentations --dry-run\norch sweep augmentations --detach", needs="data"
    )
    yield Paragraph(
        Text(
            "Run the same line again at any time: only what is missing is run. The splits are by patient, never by "
            "slice.",
            "Relancez la même ligne à tout moment : seul ce qui manque est calculé. Les plis séparent les patients, "
            "jamais les coupes.",
        )
    )


def watching(guide: Guide) -> Iterator[Block]:
    """Yield watching, stopping and fetching."""
    machine, alias = guide.main, guide.main.alias
    yield Heading(Text("Watching, stopping, fetching", "Suivre, arrêter, récupérer"))
    yield Paragraph(Text("The first job:", "Le premier calcul :"))
    yield guide.on_host("tail -n 2 ~/first-job/log.txt\nnvidia-smi", needs="the environment")
    yield guide.on_host("kill $(cat ~/first-job/pid)", needs="the environment")
    yield guide.on_laptop(f"scp {alias}:first-job/log.txt .", needs="the environment")
    if machine.host.shared_home:
        yield Note(
            Text(
                f"A process number is valid on one machine only: stop on {machine.title} what was started on "
                f"{machine.title}. The same number on another machine is another program.",
                f"Un numéro de processus ne vaut que sur une machine : arrêtez sur {machine.title} ce qui a été lancé "
                f"sur {machine.title}. Le même numéro sur une autre machine est un autre programme.",
            )
        )
    yield Paragraph(Text("A sweep:", "Une série :"))
    lines = (
        ("orch status", "what runs, waits, is done, with its age", "ce qui tourne, attend, est fini, et depuis quand"),
        ("orch status --watch", "the same, until all has ended", "la même chose, jusqu'à la fin"),
        ("orch logs rotate/3 -f", "what a job prints", "ce qu'un calcul affiche"),
        (
            "orch why rotate/3",
            "why it failed or waits, with the proof",
            "pourquoi il échoue ou attend, preuve à l'appui",
        ),
        (
            "orch stop rotate/3",
            "stops it; a checkpoint is written first",
            "l'arrête ; un point de reprise est écrit avant",
        ),
        ("orch retry rotate/3", "a new attempt, from the checkpoint", "un nouvel essai, depuis le point de reprise"),
        ("orch report augmentations", "table and curves in `report/`", "tableau et courbes dans `report/`"),
    )
    yield Items(tuple(Text(f"`{command}`: {en}", f"`{command}` : {fr}") for command, en, fr in lines))
    yield guide.on_laptop(f"scp -r {alias}:report .", needs="data")


def quota(guide: Guide) -> Iterator[Block]:
    """Yield how full the home is and what may go."""
    size = guide.main.host.quota
    yield Heading(Text("Quota", "Quota"))
    amount = (
        Text(f"Your home may hold {size}", f"Votre dossier personnel peut contenir {size.replace('B', 'o')}")
        if size
        else None
    )
    start = amount or Text("Your home is limited", "Votre dossier personnel est limité")
    yield Paragraph(
        Text(
            f"{start.en}, for all machines together. A full home stops jobs in the middle and VS Code at the door. An "
            "environment takes 6 GB or so, a checkpoint of the usual U-Net 120 MB.",
            f"{start.fr}, pour toutes les machines ensemble. Un dossier plein arrête les calculs en cours et empêche "
            "VS Code d'entrer. Un environnement occupe environ 6 Go, un point de reprise du U-Net habituel 120 Mo.",
        )
    )
    yield guide.on_host("df -h ~\ndu -sh ~/.orch ~/.cache 2>/dev/null | sort -h")
    yield Paragraph(
        Text(
            f"`orch doctor --host {guide.main.host.name}` also tries whether more can really be written. Caches may be "
            "deleted (`~/.cache`); environments go by `orch setup --undo`, never by hand.",
            f"`orch doctor --host {guide.main.host.name}` essaie aussi s'il est vraiment possible d'écrire davantage. "
            "Les caches peuvent être effacés (`~/.cache`) ; les environnements s'enlèvent avec `orch setup --undo`, "
            "jamais à la main.",
        )
    )


def courtesy(guide: Guide) -> Iterator[Block]:
    """Yield the manners on a GPU that nobody reserves."""
    yield Heading(Text("Sharing a GPU politely", "Partager un GPU poliment"))
    yield guide.on_host(
        "nvidia-smi --query-gpu=memory.used,memory.total,utilization.gpu --format=csv,noheader", expected="…MiB, …"
    )
    yield Items(
        (
            Text(
                "Look before you start. Memory in use, or a load above a few percent: somebody computes. Ask, wait, or "
                "take another machine.",
                "Regardez avant de lancer. De la mémoire occupée, ou une charge de plus de quelques pour cent : "
                "quelqu'un calcule. Demandez, attendez ou prenez une autre machine.",
            ),
            Text(
                "One job for a GPU, unless you have tried that two fit. A notebook that is open holds its memory: "
                "restart the kernel when you go to lunch.",
                "Un calcul par GPU, sauf si vous avez vérifié que deux y tiennent. Un notebook ouvert garde sa "
                "mémoire : redémarrez le noyau en partant déjeuner.",
            ),
            Text(
                "A bigger batch is not faster by itself: the lab measured the same time per epoch with 32 and 128 on "
                "GRACE, and 16 fills the 24 GB of NODAL almost.",
                "Un lot plus grand n'est pas plus rapide en soi : le laboratoire a mesuré le même temps par époque "
                "avec 32 et 128 sur GRACE, et 16 remplit presque les 24 Go de NODAL.",
            ),
            Text(
                "Never end a process that is not yours, and never `pkill python`: it ends all programs of yours, also "
                "those that you need.",
                "N'arrêtez jamais un processus qui n'est pas à vous, et jamais de `pkill python` : cette commande "
                "arrête tous vos programmes, y compris ceux dont vous avez besoin.",
            ),
            Text(
                "Jobs of `orch` wait by themselves while somebody else uses the card.",
                "Les calculs d'`orch` attendent d'eux-mêmes quand quelqu'un d'autre utilise la carte.",
            ),
        )
    )
