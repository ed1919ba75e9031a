"""Writes a document as Markdown: readable in git and on every code host."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .blocks import Block, Code, Document, Heading, Items, Note, Paragraph, Table, spans
from .words import CONTENTS, EXPECTED

SUFFIX = "md"


def render(document: Document, language: str) -> bytes:
    """Return the file's content: UTF-8, lines end with a line feed."""
    return ("\n\n".join(_parts(document, language)) + "\n").encode("utf-8")


def _parts(document: Document, language: str) -> Iterator[str]:
    yield f"# {_inline(document.title.of(language), language)}"
    yield _inline(document.subtitle.of(language), language)
    numbered = {id(heading): number for number, heading in document.headings()}
    if numbered:
        yield f"**{CONTENTS.of(language)}**"
        yield "\n".join(_entry(number, heading, language) for number, heading in document.headings())
    for block in document.blocks:
        if isinstance(block, Heading) and block.level == 1:
            yield f"## {numbered[id(block)]}. {_inline(block.text.of(language), language)}"
        else:
            yield _block(block, language)


def _entry(number: str, heading: Heading, language: str) -> str:
    text = heading.text.of(language)
    return f"{number}. [{_inline(text, language)}](#{_anchor(f'{number}. {text}')})"


def _anchor(heading: str) -> str:
    """Return the anchor that code hosts give a heading: lower case, blanks to dashes, signs dropped."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _block(block: Block, language: str) -> str:
    match block:
        case Heading():
            return f"{'#' * (block.level + 1)} {_inline(block.text.of(language), language)}"
        case Paragraph():
            return _inline(block.text.of(language), language)
        case Note():
            return f"> **!** {_inline(block.text.of(language), language)}"
        case Items():
            marks = (f"{number}." if block.numbered else "-" for number in range(1, len(block.items) + 1))
            lines = zip(marks, block.items, strict=True)
            return "\n".join(f"{mark} {_inline(item.of(language), language)}" for mark, item in lines)
        case Code():
            return _code(block, language)
        case Table():
            return _table(block, language)


def _code(block: Code, language: str) -> str:
    lines = f"*{block.caption().of(language)}*\n\n```{block.language}\n{block.text}\n```"
    if block.expected:
        lines += f"\n\n{EXPECTED.of(language)}\n\n```text\n{block.expected}\n```"
    return lines


def _table(block: Table, language: str) -> str:
    rows = [[_cell(cell.of(language), language) for cell in row] for row in (block.header, *block.rows)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(block.header), *lines[1:]])


def _cell(text: str, language: str) -> str:
    return _inline(text, language).replace("|", "\\|").replace("\n", "<br>")


def _inline(text: str, language: str) -> str:
    return "".join(_span(span.kind, span.text, span.target, language) for span in spans(text))


def _span(kind: str, text: str, target: str, language: str) -> str:
    if kind == "code":
        return f"`{text}`"
    if kind == "bold":
        return f"**{text}**"
    if kind == "link":
        place = f"{target.removeprefix('doc:')}.{language}.{SUFFIX}" if target.startswith("doc:") else target
        return f"[{text}]({place})"
    return text.replace("<", "\\<")
