"""Sections of a protocol: leaving, all commands with their exit codes; and the index of all protocols."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .blocks import Block, Code, Heading, Items, Paragraph, Table, Text, same
from .guide import Guide

# French for the summaries of the commands; one without an entry shows its own.
_COMMANDS = {
    "demo": "Essayer : un petit jeu de données, une série, le rapport",
    "init": "Regarder un dossier de données ; écrire orch.yaml et une série commentée",
    "data": "Enregistrer les données une fois : chemins, empreintes, patients",
    "config": "Montrer les réglages et leur origine ; en changer un",
    "hosts": "Les machines et ce qu'on en sait",
    "doctor": "Mesurer l'état des machines, avec preuve et réparation",
    "setup": "Préparer une machine : environnement, vérification, VS Code",
    "protocols": "Écrire ces pages",
    "sweep": "Planifier une série, lancer ce qui manque, suivre",
    "status": "Ce qui tourne, attend, est fini ou a échoué",
    "logs": "Ce qu'un calcul a affiché",
    "stop": "Arrêter des calculs, après un point de reprise",
    "retry": "Un nouvel essai de calculs terminés",
    "why": "Expliquer un calcul : son état, la preuve, l'origine de ses valeurs",
    "show": "Tout ce qui est noté d'un calcul",
    "report": "Écrire le tableau comparatif et les courbes",
    "note": "Ajouter une note à un calcul ou à une série",
    "index": "Reconstruire ou vérifier l'index local",
    "completion": "La complétion pour votre shell",
}
_CODES = (
    (0, "done", "fait"),
    (1, "failed", "échec"),
    (2, "the request cannot be understood", "demande incompréhensible"),
    (3, "not found", "introuvable"),
    (4, "authentication, or the key of a host", "authentification, ou clé d'une machine"),
    (5, "a host does not answer", "une machine ne répond pas"),
    (6, "ran well and found something", "tout a fonctionné, et quelque chose a été trouvé"),
    (130, "interrupted; jobs go on", "interrompu ; les calculs continuent"),
)


def leaving(guide: Guide) -> Iterator[Block]:
    """Yield what to do in the last week."""
    alias = guide.main.host.name
    yield Heading(Text("Leaving", "Partir"))
    yield Paragraph(
        Text("In the last week, not on the last day:", "La dernière semaine, et non le dernier jour :"),
    )
    yield Items(
        (
            Text(
                "Results: `orch report` for each sweep; hand its folder and your `orch.yaml` and `sweeps/` over.",
                "Résultats : `orch report` pour chaque série ; transmettez ce dossier, `orch.yaml` et `sweeps/`.",
            ),
            Text(
                "What you know: `orch note SWEEP TEXT` keeps it beside the results, where the next person looks.",
                "Ce que vous savez : `orch note SWEEP TEXT` le garde à côté des résultats, là où la personne suivante "
                "cherchera.",
            ),
            Text(
                "Patients' images: delete every copy on your own computer. They never leave the machines otherwise; "
                "reports hold pseudonyms only.",
                "Images de patients : effacez toute copie sur votre propre ordinateur. Sinon, elles ne quittent jamais "
                "les machines ; les rapports ne contiennent que des pseudonymes.",
            ),
            Text(
                f"Space: `orch setup --host {alias} --undo` takes the environments away, after a list with sizes.",
                f"Place : `orch setup --host {alias} --undo` enlève les environnements, après une liste avec les "
                "tailles.",
            ),
            Text(
                "Keys: tell the administrator, who closes the account and removes your key; it lies in "
                "`~/.ssh/authorized_keys`.",
                "Clés : prévenez l'administrateur, qui ferme le compte et retire votre clé ; elle se trouve dans "
                "`~/.ssh/authorized_keys`.",
            ),
        )
    )
    contact = guide.site.contact
    if contact:
        yield Paragraph(Text(f"**Contact:** {contact['en']}.", f"**Contact :** {contact['fr']}."))


def commands(guide: Guide) -> Iterator[Block]:
    """Yield all commands, and what exit codes mean."""
    yield Heading(Text("All commands", "Toutes les commandes"))
    head = (Text("Command", "Commande"), Text("What it does", "Ce qu'elle fait"))
    rows = [(same(f"`orch {name}`"), Text(text, _COMMANDS.get(name, text))) for name, text in guide.commands.items()]
    yield Table(head, tuple(rows), (25, 75))
    yield Paragraph(
        Text(
            "`orch COMMAND -h` explains a command, examples first. Exit codes, for scripts:",
            "`orch COMMAND -h` explique une commande, exemples d'abord. Codes de sortie, pour les scripts :",
        )
    )
    codes = tuple((same(f"`{number}`"), Text(en, fr)) for number, en, fr in _CODES)
    yield Table((Text("Code", "Code"), Text("Meaning", "Signification")), codes, (25, 75))


def index(guides: Sequence[Guide]) -> Iterator[Block]:
    """Yield the first page: which protocol for whom."""
    yield Paragraph(
        Text(
            "One protocol for each kind of machine, from the account to the last day. All are written by "
            "`orch protocols` from the same file that the program itself uses, so they say what it does.",
            "Un protocole par type de machine, du compte au dernier jour. Tous sont écrits par `orch protocols` à "
            "partir du fichier que le programme utilise lui-même : ils disent donc ce qu'il fait.",
        )
    )
    head = (
        Text("Protocol", "Protocole"),
        Text("Architecture", "Architecture"),
        same("GPU"),
        Text("Good to know", "À savoir"),
    )
    yield Table(head, tuple(map(_index_row, guides)), (20, 20, 20, 40))
    yield Heading(Text("In a hurry", "En bref"), 2)
    machine = guides[0].main
    yield Paragraph(
        Text(
            "With account, key and ssh configuration in place, a machine is ready in three lines; each says what it "
            "is about to do.",
            "Une fois le compte, la clé et la configuration ssh en place, une machine est prête en trois lignes ; "
            "chacune dit ce qu'elle va faire.",
        )
    )
    name = machine.host.name
    yield Code(f"orch doctor --host {name}\norch setup --host {name} --dry-run\norch setup --host {name}")


def _index_row(guide: Guide) -> tuple[Text, ...]:
    main = guide.main
    link = Text(f"[{guide.titles.en}](doc:{guide.name})", f"[{guide.titles.fr}](doc:{guide.name})")
    shared = main.host.shared_with
    when = Text(shared["en"], shared["fr"]) if shared else same("")
    shown = Text(f"shared with {when.en}", f"partagée avec {when.fr}") if when.en else same("")
    return link, same(f"`{main.fact('architecture')}`"), same(main.fact("gpu")), shown
