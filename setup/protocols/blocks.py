"""The block model of a document: what a page is made of, each text in both languages; writers turn it into files.

Texts carry three marks: `` `code` ``, `**bold**` and `[words](target)`. A target `doc:NAME` is another document of the
same language and format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

LANGUAGES = ("en", "fr")
LAPTOP = ("windows", "macos", "linux")
HOST = ("host",)
FILE = ("file",)  # no command: what stands in a file


class Text(NamedTuple):
    """One text in both languages."""

    en: str
    fr: str

    def of(self, language: str) -> str:
        """Return it in one language (`en` or `fr`), with the typography of that language."""
        from .typography import polish

        return polish(self.en if language == "en" else self.fr, language)


def same(text: str) -> Text:
    """Return a text that is the same in both languages: a name, a number, code."""
    return Text(text, text)


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is numbered."""

    text: Text
    level: int = 1


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: Text


@dataclass(frozen=True)
class Note:
    """A paragraph that must not be overlooked."""

    text: Text


@dataclass(frozen=True)
class Items:
    """A list; numbered when the order counts."""

    items: tuple[Text, ...]
    numbered: bool = False


@dataclass(frozen=True)
class Code:
    """Lines to type, or to put into a file.

    Attributes
    ----------
    text:
        The lines, the same in every language.
    where:
        Where they run: systems of the laptop, the host, or `FILE`.
    place:
        The host's name, or what the file is called.
    expected:
        What is printed then; `…` stands for what differs from day to day. Empty: nothing, or too much to show.
    needs:
        A program besides those of every system that they need; empty: none.
    """

    text: str
    where: tuple[str, ...] = LAPTOP
    place: Text = field(default_factory=lambda: same(""))
    expected: str = ""
    needs: str = ""

    @property
    def language(self) -> str:
        """Name for syntax colours."""
        if self.where == FILE:
            return {"settings.json": "jsonc", "site.yaml": "yaml"}.get(self.place.en, "text")
        return "powershell" if self.where == ("windows",) else "sh"

    def caption(self) -> Text:
        """Return where the lines belong, in words."""
        if self.where == FILE:
            return Text(f"In the file `{self.place.en}`", f"Dans le fichier `{self.place.fr}`")
        if self.where == HOST:
            return Text(f"On {self.place.en}", f"Sur {self.place.fr}")
        names = {"windows": "Windows", "macos": "macOS", "linux": "Linux"}
        listed = ", ".join(names[system] for system in self.where)
        shell = "PowerShell" if self.where == ("windows",) else ""
        en, fr = f", in {shell or 'a terminal'}", f", dans {shell or 'un terminal'}"
        return Text(f"On your computer ({listed}){en}", f"Sur votre ordinateur ({listed}){fr}")


@dataclass(frozen=True)
class Table:
    """A table; widths are shares of the line."""

    header: tuple[Text, ...]
    rows: tuple[tuple[Text, ...], ...]
    widths: tuple[int, ...]


Block = Heading | Paragraph | Note | Items | Code | Table


@dataclass(frozen=True)
class Document:
    """One document.

    Attributes
    ----------
    name:
        Of its files, without language and format.
    title, subtitle:
        On top of the first page; the subtitle carries the stamp.
    blocks:
        In order.
    date:
        Day of writing, `2026-11-23`.
    author:
        For the document's properties.
    """

    name: str
    title: Text
    subtitle: Text
    blocks: tuple[Block, ...]
    date: str
    author: str

    def headings(self) -> list[tuple[str, Heading]]:
        """Return the numbered headings with their numbers."""
        main = [block for block in self.blocks if isinstance(block, Heading) and block.level == 1]
        return [(str(number), block) for number, block in enumerate(main, 1)]

    def codes(self) -> list[Code]:
        """Return all lines to type."""
        return [block for block in self.blocks if isinstance(block, Code)]

    def texts(self) -> Iterator[Text]:
        """Yield every text, without the code blocks."""
        yield from (self.title, self.subtitle)
        for block in self.blocks:
            if isinstance(block, Heading | Paragraph | Note):
                yield block.text
            elif isinstance(block, Items):
                yield from block.items
            elif isinstance(block, Table):
                yield from (cell for row in (block.header, *block.rows) for cell in row)
            else:
                yield block.caption()


class Span(NamedTuple):
    """A stretch of a text: `kind` is `text`, `code`, `bold` or `link`."""

    kind: str
    text: str
    target: str = ""


_MARKS = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<bold>[^*]+)\*\*|\[(?P<link>[^\]]+)\]\((?P<target>[^)]+)\)")


def spans(text: str) -> Iterator[Span]:
    """Yield the stretches of a marked text."""
    done = 0
    for match in _MARKS.finditer(text):
        if match.start() > done:
            yield Span("text", text[done : match.start()])
        kind = str(match.lastgroup).replace("target", "link")
        yield Span(kind, match[kind], match["target"] or "")
        done = match.end()
    if done < len(text):
        yield Span("text", text[done:])
