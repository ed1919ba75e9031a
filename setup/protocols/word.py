"""Writes a document as a Word file: headings, a code style that Word leaves alone, contents, properties; the same bytes
for the same document.
"""

from __future__ import annotations

import datetime
import io
import zipfile
from typing import Any

import docx
from docx.document import Document as WordFile
from docx.enum.style import WD_STYLE_TYPE
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Cm, Pt, RGBColor
from docx.table import _Cell
from docx.text.paragraph import Paragraph as WordParagraph

from jobs.visible import visible

from .blocks import Block, Code, Document, Heading, Items, Note, Paragraph, Table, spans
from .words import CONTENTS, EXPECTED, LANGUAGE_TAGS, PAGE

SUFFIX = "docx"
TEXT_FONT, CODE_FONT = "Calibri", "Consolas"
INK, BLUE, GREY = RGBColor(0x1F, 0x23, 0x28), RGBColor(0x1F, 0x4E, 0x79), RGBColor(0x59, 0x63, 0x6E)
_PAPER, _SHADE = "F3F5F7", "DCE6F1"  # backgrounds of code and of table heads
LINE = 17.0  # cm between the margins of an A4 page
# What follows borders and shades in properties of paragraphs and cells (ECMA-376, CT_PPrBase and CT_TcPrBase).
_LATER = ("w:tabs", "w:spacing", "w:ind", "w:jc", "w:outlineLvl", "w:noWrap", "w:tcMar", "w:vAlign")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time that a zip can hold


def render(document: Document, language: str) -> bytes:
    """Return the file's content; equal documents give equal bytes."""
    return _Writer(document, language).bytes()


class _Writer:
    """Writes one document; holds the file and what is numbered."""

    def __init__(self, document: Document, language: str) -> None:
        self.document, self.language = document, language
        self.file: WordFile = docx.Document()
        self._bookmarks = 0
        _page(self.file)
        _styles(self.file, LANGUAGE_TAGS[language])
        self._properties()
        self._footer()

    def bytes(self) -> bytes:
        self._title()
        numbers = {id(heading): number for number, heading in self.document.headings()}
        if numbers:
            self._contents()
        for block in self.document.blocks:
            self._block(block, numbers.get(id(block), ""))
        stream = io.BytesIO()
        self.file.save(stream)
        return _stable(stream.getvalue())

    def _properties(self) -> None:
        about, day = self.file.core_properties, datetime.datetime.fromisoformat(self.document.date)
        about.title = self.document.title.of(self.language)
        about.subject = self.document.name
        about.author = about.last_modified_by = self.document.author
        about.language = LANGUAGE_TAGS[self.language]
        about.created = about.modified = day
        about.comments = about.keywords = about.category = ""
        about.revision = 1

    def _footer(self) -> None:
        line = self.file.sections[0].footer.paragraphs[0]
        line.alignment = WD_ALIGN_PARAGRAPH.CENTER
        line.style = self.file.styles["Footer"]
        line.add_run(f"{self.document.title.of(self.language)} · {self.document.date} · {PAGE.of(self.language)} ")
        _field(line, "PAGE", "1")
        line.add_run(" / ")
        _field(line, "NUMPAGES", "1")

    def _title(self) -> None:
        self.file.add_paragraph(self.document.title.of(self.language), "Title")
        self._inline(self.file.add_paragraph(style="Subtitle"), self.document.subtitle.of(self.language))

    def _contents(self) -> None:
        """A contents field that is filled already: Word asks nothing when it opens the file, F9 makes it anew."""
        self.file.add_paragraph(CONTENTS.of(self.language), "TOC Title")
        headings = self.document.headings()
        for place, (number, heading) in enumerate(headings):
            line = self.file.add_paragraph(style="TOC Line")
            if place == 0:
                _marker(line, "begin")
                _instruction(line, 'TOC \\o "1-1" \\n \\h \\z')
                _marker(line, "separate")
            link = OxmlElement("w:hyperlink")
            link.set(qn("w:anchor"), f"s{number}")
            line._p.append(link)
            run = line.add_run(f"{number}.  {_plain(heading.text.of(self.language))}")
            link.append(run._r)
            if place == len(headings) - 1:
                _marker(line, "end")

    def _block(self, block: Block, number: str) -> None:
        match block:
            case Heading():
                self._heading(block, number)
            case Paragraph():
                self._inline(self.file.add_paragraph(), block.text.of(self.language))
            case Note():
                self._inline(self.file.add_paragraph(style="Note"), block.text.of(self.language))
            case Items():
                self._items(block)
            case Code():
                self._code(block)
            case Table():
                self._table(block)

    def _heading(self, block: Heading, number: str) -> None:
        line = self.file.add_paragraph(style=f"Heading {block.level}")
        if number:
            self._bookmarks += 1
            _bookmark(line, self._bookmarks, f"s{number}")
            line.add_run(f"{number}.  ")
        self._inline(line, block.text.of(self.language))

    def _items(self, block: Items) -> None:
        for number, item in enumerate(block.items, 1):
            line = self.file.add_paragraph(style="Item")
            line.add_run(f"{number}.\t" if block.numbered else "•\t")
            self._inline(line, item.of(self.language))

    def _code(self, block: Code) -> None:
        self._inline(self.file.add_paragraph(style="Where"), block.caption().of(self.language))
        self._lines(block.text)
        if block.expected:
            self.file.add_paragraph(EXPECTED.of(self.language), "Where")
            self._lines(block.expected)

    def _lines(self, text: str) -> None:
        """One paragraph with line breaks: it is copied as a whole, and stays on one page when it can."""
        line = self.file.add_paragraph(style="Code")
        for number, part in enumerate(text.split("\n")):
            if number:
                line.add_run().add_break()
            line.add_run(part)

    def _table(self, block: Table) -> None:
        table = self.file.add_table(rows=0, cols=len(block.header), style="Table Grid")
        table.autofit = False
        _borders(table._tbl)
        for number, row in enumerate((block.header, *block.rows)):
            cells = table.add_row().cells
            _row_stays_whole(table.rows[-1]._tr, repeat=number == 0)
            for cell, text, width in zip(cells, row, block.widths, strict=True):
                cell.width = Cm(LINE * width / 100)
                self._cell(cell, text.of(self.language), head=number == 0)
        for column, width in zip(table.columns, block.widths, strict=True):
            column.width = Cm(LINE * width / 100)
        self.file.add_paragraph(style="Gap")

    def _cell(self, cell: _Cell, text: str, head: bool) -> None:
        line = cell.paragraphs[0]
        line.style = self.file.styles["Cell"]
        self._inline(line, text)
        if head:
            _shade(cell._tc.get_or_add_tcPr(), _SHADE)
            for run in line.runs:
                run.bold = True

    def _inline(self, line: WordParagraph, text: str) -> None:
        for span in spans(visible(text)):
            if span.kind == "link":
                self._link(line, span.text, span.target)
                continue
            run = line.add_run(span.text)
            run.bold = True if span.kind == "bold" else None
            if span.kind == "code":
                run.style = self.file.styles["Code Words"]

    def _link(self, line: WordParagraph, text: str, target: str) -> None:
        place = f"{target.removeprefix('doc:')}.{self.language}.{SUFFIX}" if target.startswith("doc:") else target
        link = OxmlElement("w:hyperlink")
        link.set(qn("r:id"), line.part.relate_to(place, RELATIONSHIP_TYPE.HYPERLINK, is_external=True))
        line._p.append(link)
        run = line.add_run(text)
        run.font.color.rgb, run.font.underline = BLUE, True
        link.append(run._r)


def _plain(text: str) -> str:
    return "".join(span.text for span in spans(visible(text)))


def _page(file: WordFile) -> None:
    section = file.sections[0]
    section.page_width, section.page_height = Cm(21), Cm(29.7)
    section.left_margin = section.right_margin = Cm(2)
    section.top_margin, section.bottom_margin = Cm(2), Cm(1.8)


def _styles(file: WordFile, tag: str) -> None:
    normal = _style(file, "Normal", TEXT_FONT, 10.5, after=6)
    _language(normal, tag)
    for name, size, before, color in (("Title", 24, 0, BLUE), ("Heading 1", 15, 16, BLUE), ("Heading 2", 12, 10, INK)):
        heading = _style(file, name, TEXT_FONT, size, before=before, after=4, color=color)
        heading.font.bold = name != "Title"
        heading.paragraph_format.keep_with_next = True
        _no_theme(heading)
    title = file.styles["Title"].element.get_or_add_pPr()
    for border in title.findall(qn("w:pBdr")):
        title.remove(border)
    subtitle = _style(file, "Subtitle", TEXT_FONT, 10, after=10, color=GREY)
    subtitle.font.italic = False
    _no_theme(subtitle)
    _style(file, "Footer", TEXT_FONT, 8.5, color=GREY)
    _style(file, "TOC Title", TEXT_FONT, 11, before=4, after=2).font.bold = True
    _style(file, "TOC Line", TEXT_FONT, 10.5, after=1)
    _style(file, "Cell", TEXT_FONT, 9, before=2, after=2)
    _style(file, "Gap", TEXT_FONT, 4, after=2)
    _list_style(_style(file, "Item", TEXT_FONT, 10.5, after=3))
    where = _style(file, "Where", TEXT_FONT, 9, before=4, after=2, color=GREY)
    where.font.italic, where.paragraph_format.keep_with_next = True, True
    _code_styles(file)
    note = _style(file, "Note", TEXT_FONT, 10.5, before=4, after=8)
    note.paragraph_format.left_indent = Cm(0.3)
    _left_bar(note.element.get_or_add_pPr())


def _code_styles(file: WordFile) -> None:
    code = _style(file, "Code", CODE_FONT, 9, after=8)
    code.paragraph_format.left_indent = code.paragraph_format.right_indent = Cm(0.2)
    code.paragraph_format.keep_together = True
    _shade(code.element.get_or_add_pPr(), _PAPER)
    _left_alone(code)
    words = file.styles.add_style("Code Words", WD_STYLE_TYPE.CHARACTER)
    words.font.name, words.font.size = CODE_FONT, Pt(9)
    _font(words, CODE_FONT)
    _left_alone(words)


def _style(
    file: WordFile, name: str, font: str, size: float, before: float = 0, after: float = 0, color: RGBColor = INK
) -> Any:
    known = name in [style.name for style in file.styles]
    style: Any = file.styles[name] if known else file.styles.add_style(name, WD_STYLE_TYPE.PARAGRAPH)
    style.font.name, style.font.size, style.font.color.rgb = font, Pt(size), color
    _font(style, font)
    style.paragraph_format.space_before, style.paragraph_format.space_after = Pt(before), Pt(after)
    style.paragraph_format.line_spacing = 1.08 if font == TEXT_FONT else 1.0
    return style


def _font(style: Any, font: str) -> None:
    fonts = style.element.get_or_add_rPr().get_or_add_rFonts()
    for script in ("ascii", "hAnsi", "cs", "eastAsia"):
        fonts.set(qn(f"w:{script}"), font)


def _no_theme(style: Any) -> None:
    """Drop the theme's fonts, which would win over ours."""
    fonts = style.element.rPr.rFonts
    for script in ("asciiTheme", "hAnsiTheme", "cstheme", "eastAsiaTheme"):
        fonts.attrib.pop(qn(f"w:{script}"), None)


def _left_alone(style: Any) -> None:
    """No spelling or grammar check, and no language whose typing rules would curl quotes."""
    settings = style.element.get_or_add_rPr()
    settings.append(OxmlElement("w:noProof"))
    _language(style, "zxx")  # ISO 639-2: no linguistic content


def _language(style: Any, tag: str) -> None:
    language = OxmlElement("w:lang")
    for script in ("val", "eastAsia", "bidi"):
        language.set(qn(f"w:{script}"), tag if script == "val" else "en-US")
    style.element.get_or_add_rPr().append(language)


def _list_style(style: Any) -> None:
    style.paragraph_format.left_indent, style.paragraph_format.first_line_indent = Cm(0.7), Cm(-0.6)
    style.paragraph_format.tab_stops.add_tab_stop(Cm(0.7))


def _shade(properties: Any, color: str) -> None:
    shade = OxmlElement("w:shd")
    for key, value in (("val", "clear"), ("color", "auto"), ("fill", color)):
        shade.set(qn(f"w:{key}"), value)
    _insert(properties, shade)


def _left_bar(properties: Any) -> None:
    borders, bar = OxmlElement("w:pBdr"), OxmlElement("w:left")
    for key, value in (("val", "single"), ("sz", "24"), ("space", "8"), ("color", "C0504D")):
        bar.set(qn(f"w:{key}"), value)
    borders.append(bar)
    _insert(properties, borders)


def _insert(properties: Any, element: Any) -> None:
    """Put an element where the schema wants it: Word refuses a file with elements out of order."""
    later = ("w:shd",) if _short(element.tag) == "w:pBdr" else ()
    for child in properties:
        if _short(child.tag) in (*later, *_LATER):
            child.addprevious(element)
            return
    properties.append(element)


def _short(tag: str) -> str:
    return "w:" + tag.rpartition("}")[2]


def _borders(table: Any) -> None:
    """Thin grey lines between rows, none at the sides."""
    borders = OxmlElement("w:tblBorders")
    for side in ("top", "left", "bottom", "right", "insideH", "insideV"):
        line = OxmlElement(f"w:{side}")
        across = side in ("top", "bottom", "insideH")
        for key, value in (("val", "single" if across else "nil"), ("sz", "4"), ("space", "0"), ("color", "BFC7D1")):
            line.set(qn(f"w:{key}"), value)
        borders.append(line)
    table.tblPr.find(qn("w:tblLayout")).addprevious(borders)


def _row_stays_whole(row: Any, repeat: bool) -> None:
    settings = row.get_or_add_trPr()
    settings.append(OxmlElement("w:cantSplit"))
    if repeat:
        settings.append(OxmlElement("w:tblHeader"))


def _bookmark(line: WordParagraph, number: int, name: str) -> None:
    for kind in ("Start", "End"):
        mark = OxmlElement(f"w:bookmark{kind}")
        mark.set(qn("w:id"), str(number))
        if kind == "Start":
            mark.set(qn("w:name"), name)
        line._p.append(mark)


def _field(line: WordParagraph, instruction: str, shown: str) -> None:
    _marker(line, "begin")
    _instruction(line, instruction)
    _marker(line, "separate")
    line.add_run(shown)
    _marker(line, "end")


def _marker(line: WordParagraph, kind: str) -> None:
    mark = OxmlElement("w:fldChar")
    mark.set(qn("w:fldCharType"), kind)
    line.add_run()._r.append(mark)


def _instruction(line: WordParagraph, text: str) -> None:
    code = OxmlElement("w:instrText")
    code.set(qn("xml:space"), "preserve")
    code.text = f" {text} "
    line.add_run()._r.append(code)


def _stable(data: bytes) -> bytes:
    """Return the archive with one time for all members, whenever it was made."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            member = zipfile.ZipInfo(name, _EPOCH)
            member.compress_type, member.create_system = zipfile.ZIP_DEFLATED, 3
            new.writestr(member, old.read(name))
    return stream.getvalue()
