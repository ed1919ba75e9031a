"""Access protocols: one document per host family and an index, in French and English, as Markdown and Word.

Everything in them comes from where it is true: the site file, what was measured, the messages that `orch` prints, its
own list of commands. The order is `documents(...)`, then `files(...)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType

from jobs.errors import NotFound

from ..known import Known
from ..site import Site
from . import arriving, entering, leaving, markdown, trouble, working
from .blocks import LANGUAGES, Block, Document, Heading, Text
from .guide import READER, Guide, Machine

AUTHOR = "orch protocols"
_SECTIONS = (
    arriving.machines,
    arriving.account,
    arriving.key,
    arriving.configuration,
    arriving.first_connection,
    entering.editor,
    entering.without_editor,
    working.tool,
    working.environment,
    working.first_job,
    working.watching,
    working.quota,
    working.courtesy,
    trouble.troubles,
    leaving.leaving,
    leaving.commands,
)


def guides(site: Site, known: Mapping[str, Known], commands: Mapping[str, str], user: str | None = None) -> list[Guide]:
    """Return one guide for each family of hosts, in the order of the site file.

    Parameters
    ----------
    known:
        What was measured, by host; a host that is missing is described as the site file expects it.
    commands:
        All commands of `orch` with their summaries.
    user:
        The reader's name on the hosts; without one the site file's, else an example.

    Raises
    ------
    NotFound
        The site has no host but this machine.
    """
    machines = [Machine(host, known.get(name)) for name, host in site.hosts.items() if not host.is_local]
    if not machines:
        raise NotFound("there is no host to describe", "write a site.yaml, or: orch protocols --site pilcam2")
    families: dict[str, list[Machine]] = {}
    for machine in machines:
        families.setdefault(machine.host.family or machine.host.name, []).append(machine)
    found = []
    for members in families.values():
        others = tuple(machine for machine in machines if machine not in members)
        reader = user or members[0].host.user or READER
        found.append(Guide(site, tuple(members), others, reader, commands))
    return found


def documents(found: Sequence[Guide], date: str, version: str) -> list[Document]:
    """Return the protocol of each family, and the index.

    Parameters
    ----------
    date:
        Day of writing, as `2026-11-23`.
    version:
        Of `orch`.
    """
    stamp = Text(f"{date} · orch {version}", f"{date} · orch {version}")
    site = found[0].site.name
    pages = [_protocol(guide, date, stamp) for guide in found]
    title = Text(f"Access protocols of {site}", f"Protocoles d'accès : {site}")
    front = Document("index", title, stamp, tuple(leaving.index(found)), date, AUTHOR)
    return [front, *pages]


def _protocol(guide: Guide, date: str, stamp: Text) -> Document:
    title = Text(f"Access protocol: {guide.titles.en}", f"Protocole d'accès : {guide.titles.fr}")
    site = guide.site.name
    all_of = Text(f"[All protocols of {site}](doc:index)", f"[Tous les protocoles de {site}](doc:index)")
    subtitle = Text(f"{stamp.en} · {all_of.en}", f"{stamp.fr} · {all_of.fr}")
    return Document(guide.name, title, subtitle, tuple(_blocks(guide)), date, AUTHOR)


def _blocks(guide: Guide) -> Iterator[Block]:
    for section in _SECTIONS:
        yield from section(guide)


def files(pages: Sequence[Document], formats: Sequence[str] = ("md", "docx")) -> dict[str, bytes]:
    """Return the content of every file by its name: `nodal.fr.docx`."""
    writers = [_writer(name) for name in formats]
    return {
        f"{page.name}.{language}.{writer.SUFFIX}": writer.render(page, language)
        for page in pages
        for language in LANGUAGES
        for writer in writers
    }


def _writer(name: str) -> ModuleType:
    """The module of a format; Word's library takes its time, so it is imported when it is wanted."""
    if name == markdown.SUFFIX:
        return markdown
    from . import word

    return word


__all__ = ["Document", "Guide", "Heading", "Machine", "documents", "files", "guides"]
