"""Sections of a protocol: VS Code, and the ways in when it fails (plain terminal, TurboVNC)."""

from __future__ import annotations

from collections.abc import Iterator

from .. import vscode
from .blocks import Block, Heading, Items, Note, Paragraph, Text
from .guide import Guide, in_file


def editor(guide: Guide) -> Iterator[Block]:
    """Yield VS Code: connect, settings, and the change from one processor to the other."""
    alias = guide.main.alias
    python = f"~/env-{guide.main.fact('architecture')}/bin/python"
    yield Heading(Text("VS Code", "VS Code"))
    yield guide.on_laptop("code --install-extension ms-vscode-remote.remote-ssh", needs="VS Code")
    yield Items(
        (
            Text(
                f"Press F1, type `Remote-SSH: Connect to Host...`, choose `{alias}`, answer `Linux`.",
                f"Appuyez sur F1, tapez `Remote-SSH: Connect to Host...`, choisissez `{alias}`, répondez `Linux`.",
            ),
            Text(
                f"Open a folder, then F1 and `Python: Select Interpreter`: `{python}` (the section on the environment "
                "makes it). A notebook asks for its kernel: choose the same.",
                f"Ouvrez un dossier, puis F1 et `Python: Select Interpreter` : `{python}` (créé dans la section sur "
                "l'environnement). Un notebook demande son noyau : choisissez le même.",
            ),
        ),
        numbered=True,
    )
    if guide.main.host.shared_home and guide.others:
        yield from _two_processors(guide)


def _two_processors(guide: Guide) -> Iterator[Block]:
    other = guide.others[0]
    alias, mine = guide.main.alias, guide.main.title
    yield Heading(Text("From one processor to the other", "D'un processeur à l'autre"), 2)
    yield Paragraph(
        Text(
            f"VS Code leaves a program for the processor of the host in `~/.vscode-server`. As the home is shared, it "
            f"finds that of {other.title} when you come to {mine}, and cannot start it. These lines in your "
            "`settings.json` (F1, `Preferences: Open User Settings (JSON)`) give each machine a folder of its own, on "
            "its own disk, once and for all:",
            f"VS Code laisse dans `~/.vscode-server` un programme propre au processeur de la machine. Comme le dossier "
            f"personnel est partagé, il trouve celui de {other.title} quand vous venez sur {mine}, et ne peut pas le "
            "lancer. Ces lignes dans votre `settings.json` (F1, `Preferences: Open User Settings (JSON)`) donnent à "
            "chaque machine son propre dossier, sur son propre disque, une fois pour toutes :",
        )
    )
    aliases = [machine.alias for machine in sorted((*guide.machines, *guide.others), key=lambda one: one.alias)]
    block = vscode.install_path_block(aliases, vscode.LOCAL_PLACE.format(user=guide.user))
    yield in_file("settings.json", block + '\n  "remote.SSH.lockfilesInTmp": true,')
    yield Paragraph(
        Text(
            f"It needs a Remote-SSH extension newer than {vscode.NEWER_THAN}. If you cannot change the settings, let "
            "`orch` look and put the program of the other processor aside; it comes back when you change again:",
            f"Il faut une extension Remote-SSH plus récente que {vscode.NEWER_THAN}. Si vous ne pouvez pas changer les "
            "réglages, laissez `orch` regarder et mettre de côté le programme de l'autre processeur ; il revient quand "
            "vous changez à nouveau :",
        )
    )
    yield guide.on_laptop(f"orch setup --host {alias} --only vscode --dry-run\norch setup --host {alias} --only vscode")
    yield Note(
        Text(
            "Never `rm -rf ~/.vscode-server`, as older protocols said: it deletes your settings, the local history of "
            "your files and all extensions, for all machines. Close the VS Code windows of the other machine first.",
            "Jamais de `rm -rf ~/.vscode-server`, comme le disaient d'anciens protocoles : cette commande efface vos "
            "réglages, l'historique local de vos fichiers et toutes les extensions, pour toutes les machines. Fermez "
            "d'abord les fenêtres VS Code ouvertes sur l'autre machine.",
        )
    )


def without_editor(guide: Guide) -> Iterator[Block]:
    """Yield the plain terminal and TurboVNC."""
    alias, machine = guide.main.alias, guide.main
    yield Heading(Text("When VS Code fails", "Quand VS Code échoue"))
    yield Paragraph(
        Text(
            "Everything in this page also works without it. First look whether the terminal gets in; if it does, the "
            "machine, your key and your network are in order, and VS Code is the only patient.",
            "Tout ce que décrit cette page fonctionne aussi sans lui. Vérifiez d'abord que le terminal entre ; si oui, "
            "la machine, votre clé et votre réseau vont bien, et VS Code est le seul malade.",
        )
    )
    yield Heading(Text("The plain terminal", "Le terminal simple"), 2)
    yield guide.on_laptop(f"ssh {alias} hostname")
    yield Paragraph(
        Text(
            f"`ssh {alias}` alone opens a session; `exit` leaves it. What shall go on after that is started as in the "
            "section on the first job.",
            f"`ssh {alias}` seul ouvre une session ; `exit` la quitte. Ce qui doit continuer ensuite se lance comme "
            "dans la section sur le premier calcul.",
        )
    )
    yield Heading(Text("A desktop: TurboVNC", "Un bureau : TurboVNC"), 2)
    yield Paragraph(
        Text(
            "Where the administrator has installed TurboVNC, it shows a desktop of the host in a window; the picture "
            "goes through ssh. The first line prints the number of the desktop; if it is not `:1`, add it to 5900.",
            "Là où l'administrateur a installé TurboVNC, il montre un bureau de la machine dans une fenêtre ; l'image "
            "passe par ssh. La première ligne affiche le numéro du bureau ; si ce n'est pas `:1`, ajoutez-le à 5900.",
        )
    )
    yield guide.on_host("/opt/TurboVNC/bin/vncserver -localhost", needs="TurboVNC")
    yield guide.on_laptop(f"ssh -N -L 5901:localhost:5901 {alias}", needs="TurboVNC")
    yield Paragraph(
        Text(
            "Leave that window open, start TurboVNC Viewer and connect to `localhost:1`. At the end, close the "
            "desktop, for it holds memory:",
            "Laissez cette fenêtre ouverte, lancez TurboVNC Viewer et connectez-vous à `localhost:1`. À la fin, fermez "
            "le bureau, car il occupe de la mémoire :",
        )
    )
    yield guide.on_host("/opt/TurboVNC/bin/vncserver -kill :1", needs="TurboVNC")
    if machine.host.shared_home and guide.others:
        yield Paragraph(
            Text(
                f"A desktop belongs to one machine: that of {machine.title} does not run on {guide.others[0].title}.",
                f"Un bureau appartient à une machine : celui de {machine.title} ne tourne pas sur "
                f"{guide.others[0].title}.",
            )
        )
