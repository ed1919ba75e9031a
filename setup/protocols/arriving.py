"""Sections of a protocol: the machines, the account, the key, the ssh configuration, the first connection."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..sshhelp import KEY_COMMANDS, host_block
from .blocks import Block, Code, Heading, Items, Note, Paragraph, Table, Text, same
from .guide import UNKNOWN, Guide, Machine, in_file


def machines(guide: Guide) -> Iterator[Block]:
    """Yield the table of hosts, and how sure it is."""
    alone = len(guide.machines) == 1
    yield Heading(Text("The machine", "La machine") if alone else Text("The machines", "Les machines"))
    head = [same(""), *(same(machine.title) for machine in guide.machines)]
    rows = [(label, *(cell(machine) for machine in guide.machines)) for label, cell in _ROWS]
    shown = [row for row in rows if any(cell.en not in ("", UNKNOWN) for cell in row[1:])]
    yield Table(tuple(head), tuple(shown), (22, *([78 // len(guide.machines)] * len(guide.machines))))
    yield Paragraph(_sureness(guide))
    if len(guide.machines) > 1:
        yield Paragraph(_alike(guide))
    if guide.main.host.shared_home:
        names = ", ".join(machine.title for machine in (*guide.machines, *guide.others) if _same_home(machine, guide))
        yield Paragraph(
            Text(
                f"**One home for all.** {names} show the same home folder: a file that you write on one is there on "
                "the others. Programs are another matter: what was built for one processor does not run on the other.",
                f"**Un seul dossier personnel.** {names} montrent le même dossier personnel : un fichier écrit sur "
                "l'une des machines est visible sur les autres. Les programmes, eux, ne sont pas interchangeables : ce "
                "qui a été compilé pour un processeur ne s'exécute pas sur l'autre.",
            )
        )


def _alike(guide: Guide) -> Text:
    first, *rest = (f"`{machine.alias}`" for machine in guide.machines)
    return Text(
        f"These machines are alike. The examples say {first}; write {' or '.join(rest)} instead, and all of it holds. "
        "VS Code and the environment need nothing when you go from one to the other.",
        f"Ces machines sont identiques. Les exemples disent {first} ; écrivez {' ou '.join(rest)} à la place, et tout "
        "reste vrai. Pour passer de l'une à l'autre, ni VS Code ni l'environnement ne demandent quoi que ce soit.",
    )


def _same_home(machine: Machine, guide: Guide) -> bool:
    return machine.host.shared_home == guide.main.host.shared_home


def _address(machine: Machine) -> Text:
    host = machine.host
    return same(f"`{host.address or host.ssh}`" + (f" (port {host.port})" if host.port else ""))


def _gpu(machine: Machine) -> Text:
    driver, cuda = machine.fact("driver"), machine.fact("cuda")
    if driver == UNKNOWN:
        return same(machine.fact("gpu"))
    told = f" (CUDA {cuda})" if cuda != UNKNOWN else ""
    gpu = machine.fact("gpu")
    return Text(f"{gpu}, driver {driver}{told}", f"{gpu}, pilote {driver}{told}")


def _quota(machine: Machine) -> Text:
    quota = machine.host.quota or ""
    return Text(quota, quota.replace("B", "o"))


def _shared(machine: Machine) -> Text:
    words = machine.host.shared_with
    return Text(words["en"], words["fr"]) if words else same("")


def _queue(machine: Machine) -> Text:
    if machine.host.scheduler == "slurm":
        return same("Slurm")
    return Text("none: one looks whether the GPU is free", "aucun : on regarde si le GPU est libre")


def _fingerprint(machine: Machine) -> Text:
    return same(f"`{machine.host.fingerprint}`" if machine.host.fingerprint else "")


_ROWS = (
    (Text("Address", "Adresse"), _address),
    (Text("Processor", "Processeur"), lambda machine: same(machine.fact("cpu"))),
    (Text("Architecture", "Architecture"), lambda machine: same(f"`{machine.fact('architecture')}`")),
    (Text("System", "Système"), lambda machine: same(machine.fact("os"))),
    (Text("Memory", "Mémoire"), lambda machine: same(machine.fact("memory"))),
    (same("GPU"), _gpu),
    (Text("Quota of the home", "Quota du dossier personnel"), _quota),
    (Text("Local disk", "Disque local"), lambda machine: same(machine.host.scratch or "")),
    (Text("Scheduler", "Ordonnanceur"), _queue),
    (Text("Shared with", "Partagée avec"), _shared),
    (Text("Host key", "Clé de la machine"), _fingerprint),
)


def _sureness(guide: Guide) -> Text:
    """Say which of the facts were measured, when, and which are only expected."""
    measured = [machine for machine in guide.machines if machine.facts and machine.known]
    if not measured:
        return Text(
            f"These are the facts of the site file `{guide.site.name}`; no machine has been measured yet. "
            "`orch doctor --all` measures them, and `orch protocols` then writes this page again.",
            f"Ces données viennent du fichier de site `{guide.site.name}` ; aucune machine n'a encore été mesurée. "
            "`orch doctor --all` les mesure, puis `orch protocols` réécrit cette page.",
        )
    days = [f"{machine.title} {_day(machine)}" for machine in measured]
    rest = [machine.title for machine in guide.machines if machine not in measured]
    en, fr = f"Measured by `orch doctor`: {', '.join(days)}.", f"Mesuré par `orch doctor` : {', '.join(days)}."
    if rest:
        en += f" Not measured yet, as the site file says: {', '.join(rest)}."
        fr += f" Pas encore mesuré, selon le fichier de site : {', '.join(rest)}."
    return Text(en, fr)


def _day(machine: Machine) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(machine.known.asked if machine.known else 0))


def account(guide: Guide) -> Iterator[Block]:
    """Yield whom to ask, what to send, from where."""
    yield Heading(Text("Account", "Compte"))
    contact, network = guide.site.contact, guide.site.network
    whom = Text(contact["en"], contact["fr"]) if contact else Text("the administrator", "l'administrateur")
    items = [
        Text(
            f"Ask {whom.en}. Say who supervises you, until when you stay, and which machines you need: "
            f"{guide.titles.en}.",
            f"Adressez-vous à : {whom.fr}. Indiquez votre encadrant, la date de fin de votre séjour et les machines "
            f"dont vous avez besoin : {guide.titles.fr}.",
        ),
        Text(
            "Send your **public** key (next section): the file that ends in `.pub`. The other file never leaves your "
            "computer, and nobody ever asks for it.",
            "Envoyez votre clé **publique** (section suivante) : le fichier qui se termine par `.pub`. L'autre fichier "
            "ne quitte jamais votre ordinateur, et personne ne vous le demandera.",
        ),
        Text(
            f"You get a user name; in this page it is `{guide.user}`. Replace it by yours, or have the page written "
            "for you: `orch protocols --user NAME`.",
            f"Vous recevez un identifiant ; dans cette page, c'est `{guide.user}`. Remplacez-le par le vôtre, ou "
            "faites écrire la page pour vous : `orch protocols --user NAME`.",
        ),
    ]
    yield Items(tuple(items), numbered=True)
    if network:
        en = f"**Network.** The machines answer only from {network['en']}."
        yield Paragraph(Text(en, f"**Réseau.** Les machines ne répondent que depuis {network['fr']}."))


def key(guide: Guide) -> Iterator[Block]:
    """Yield how a key is made on each system."""
    yield Heading(Text("Your key", "Votre clé"))
    yield Paragraph(
        Text(
            "A key pair replaces the password. You make it once on each computer of yours and protect it by a "
            "passphrase, which an agent keeps for you. If `id_ed25519.pub` is already there, skip the first line and "
            "use that one.",
            "Une paire de clés remplace le mot de passe. Vous la créez une seule fois sur chacun de vos ordinateurs et "
            "vous la protégez par une phrase secrète, qu'un agent retient pour vous. Si `id_ed25519.pub` existe déjà, "
            "sautez la première ligne et utilisez ce fichier.",
        )
    )
    yield Heading(same("Windows 10, 11"), 2)
    yield Paragraph(
        Text(
            "Windows brings OpenSSH with it; PuTTY is not needed, and its keys have another format. The first two "
            "lines need a PowerShell that was opened as administrator, once; without that right, leave them and the "
            "last but one out, and type the passphrase at each connection.",
            "Windows fournit OpenSSH ; PuTTY est inutile, et ses clés sont d'un autre format. Les deux premières "
            "lignes demandent un PowerShell ouvert en tant qu'administrateur, une seule fois ; sans ce droit, "
            "omettez-les ainsi que l'avant-dernière, et tapez la phrase secrète à chaque connexion.",
        )
    )
    yield Code(KEY_COMMANDS["windows"], ("windows",))
    yield Heading(same("macOS"), 2)
    yield Code(KEY_COMMANDS["macos"], ("macos",))
    yield Heading(same("Linux"), 2)
    yield Code(KEY_COMMANDS["linux"], ("linux",), expected="ssh-ed25519 AAAA…")
    yield Paragraph(
        Text(
            "The last line shows the public key (or puts it into the clipboard): one line that begins with "
            "`ssh-ed25519`. That is what you send.",
            "La dernière ligne affiche la clé publique (ou la met dans le presse-papiers) : une seule ligne, qui "
            "commence par `ssh-ed25519`. C'est elle que vous envoyez.",
        )
    )


def configuration(guide: Guide) -> Iterator[Block]:
    """Yield the block for the ssh configuration."""
    yield Heading(Text("The ssh configuration", "La configuration ssh"))
    yield Paragraph(
        Text(
            "Add this to the file `config` in the folder `.ssh` of your own computer (make it if it is not there; it "
            "has no ending). VS Code, `scp` and `orch` read it too.",
            "Ajoutez ceci au fichier `config` du dossier `.ssh` de votre propre ordinateur (créez-le s'il n'existe "
            "pas ; il n'a pas d'extension). VS Code, `scp` et `orch` le lisent aussi.",
        )
    )
    yield in_file("~/.ssh/config", "\n\n".join(_host_block(machine, guide.user) for machine in guide.machines))
    yield Code("chmod 700 ~/.ssh\nchmod 600 ~/.ssh/config ~/.ssh/id_ed25519", ("macos", "linux"))


def _host_block(machine: Machine, user: str) -> str:
    host = machine.host
    return host_block(machine.alias, host.address, host.user or user, host.port, host.jump)


def first_connection(guide: Guide) -> Iterator[Block]:
    """Yield the question about the fingerprint and what to answer."""
    machine = guide.main
    yield Heading(Text("First connection", "Première connexion"))
    yield guide.on_laptop(f"ssh {machine.alias} uname -m", expected=machine.fact("architecture"))
    if machine.host.fingerprint:
        en = (
            f"Compare it with the host key in the table above, `{machine.host.fingerprint}`, or paste that in place of "
        )
        fr = (
            f"Comparez-la à celle du tableau ci-dessus, `{machine.host.fingerprint}`, ou collez celle-ci à la place de "
        )
    else:
        en = "Compare it with the one that the administrator gave you, or paste that in place of "
        fr = "Comparez-la à celle que l'administrateur vous a donnée, ou collez celle-ci à la place de "
    yield Paragraph(
        Text(
            "The first time, `ssh` says that it does not know the machine and shows the fingerprint of its key "
            f"(`SHA256:` and 43 signs). {en}`yes`: `ssh` then compares for you. Answering `yes` without looking would "
            "let anybody in the network play the machine.",
            "La première fois, `ssh` dit ne pas connaître la machine et montre l'empreinte de sa clé (`SHA256:` suivi "
            f"de 43 signes). {fr}`yes` : `ssh` fait alors la comparaison pour vous. Répondre `yes` sans vérifier "
            "permettrait à n'importe qui sur le réseau de se faire passer pour la machine.",
        )
    )
    yield Note(
        Text(
            "If one day `ssh` warns that the host key has **changed**, stop and ask the administrator. Do not delete "
            "lines of `known_hosts` because a forum says so.",
            "Si un jour `ssh` signale que la clé de la machine a **changé**, arrêtez-vous et demandez à "
            "l'administrateur. N'effacez pas de lignes de `known_hosts` parce qu'un forum le conseille.",
        )
    )
    yield Paragraph(Text("Then look around:", "Puis faites le tour :"))
    driver = machine.fact_driver() or UNKNOWN
    yield guide.on_host(
        "uname -m\nnvidia-smi --query-gpu=name,driver_version --format=csv,noheader",
        expected=f"{machine.fact('architecture')}\n{guide.gpu_line}, {driver}",
    )
