"""The protocols as documents: both languages, typography, Markdown, Word, and the files that are committed."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import zipfile
from pathlib import Path

import docx
import pytest
from docx.oxml.ns import qn

from jobs import __version__
from jobs.errors import NotFound
from jobs.failure import KINDS
from jobs.gpu import Card
from jobs.probe import probe
from orchestrator.cli.table import COMMANDS
from orchestrator.inventory import read_site
from setup.facts import HostFacts
from setup.known import Known
from setup.protocols import documents, files, guides
from setup.protocols.blocks import FILE, LANGUAGES, Code, Document, Text, spans
from setup.protocols.trouble import KIND_WORDS
from setup.protocols.typography import NARROW, NO_BREAK, polish
from setup.site import Site, shipped

COMMITTED = Path(__file__).resolve().parents[3] / "docs" / "protocols"
SITE = read_site(shipped("pilcam2"))
DATE = "2026-02-03"


def pages(user: str | None = None, known: dict[str, Known] | None = None) -> list[Document]:
    return documents(guides(SITE, known or {}, COMMANDS, user), DATE, __version__)


def page(name: str) -> Document:
    return next(one for one in pages() if one.name == name)


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_committed_files_are_what_orch_writes_now() -> None:
    stamp = re.search(r"\d{4}-\d\d-\d\d", (COMMITTED / "index.en.md").read_text(encoding="utf-8"))
    assert stamp
    now = files(documents(guides(SITE, {}, COMMANDS), stamp[0], __version__))
    there = {path.name: path.read_bytes() for path in COMMITTED.iterdir()}
    assert sorted(there) == sorted(now)
    unequal = [
        name
        for name, data in now.items()
        if (members(there[name]) != members(data) if name.endswith(".docx") else there[name] != data)
    ]
    assert unequal == [], "orch protocols --site pilcam2 --expected"


def test_one_protocol_for_each_family_and_an_index() -> None:
    assert [one.name for one in pages()] == ["index", "nodal", "grace-ada"]
    assert page("grace-ada").title.fr == "Protocole d'accès : GRACE et ADA"


def test_the_same_day_and_facts_give_the_same_bytes() -> None:
    assert files(pages()) == files(pages())


@pytest.mark.parametrize("name", ["index", "nodal", "grace-ada"])
def test_both_languages_say_the_same(name: str) -> None:
    """Same code in the same order: what is to be typed does not hang on the reader's language."""
    for text in page(name).texts():
        assert bool(text.en) == bool(text.fr), text
        codes = [[span.text for span in spans(words) if span.kind == "code"] for words in text]
        assert sorted(codes[0]) == sorted(codes[1]), text


def prose(document: Document, language: str) -> list[str]:
    """All running text, without link targets and with an X for code."""
    texts = [text.of(language) for text in document.texts()]
    return ["".join("X" if span.kind == "code" else span.text for span in spans(text)) for text in texts]


def test_french_typography() -> None:
    for document in pages():
        for text in prose(document, "fr"):
            assert not re.search(r" [;:!?»]|« |\w'\w", text), text
            assert not re.search(r"[^\s\d/\w:][;!?]|\w[;!?](?!\w)", text), f"a space is missing: {text}"


def test_code_is_left_alone() -> None:
    marked = "voir : `echo 'a' ; b` ! et [le site : ici](doc:x;y)"
    shown = polish(marked, "fr")
    assert shown == f"voir{NARROW}: `echo 'a' ; b`{NARROW}! et [le site{NARROW}: ici](doc:x;y)"
    assert polish("« l'index »", "fr") == f"«{NARROW}l’index{NARROW}»"
    assert polish("200 Go, don't", "en") == f"200{NO_BREAK}Go, don’t"
    for document in pages():
        for code in document.codes():
            assert not set(code.text) & set(f"‘’“”«»{NARROW}{NO_BREAK}"), code.text


def test_english_has_no_french_spaces() -> None:
    assert [text for document in pages() for text in prose(document, "en") if re.search(r" [;:!?]", text)] == []


def test_every_failure_kind_is_explained() -> None:
    assert [kind.name for kind in KINDS if kind.name not in KIND_WORDS] == []


def test_settings_for_the_editor_are_json() -> None:
    code = next(code for code in page("grace-ada").codes() if code.place.en == "settings.json")
    settings = json.loads("{" + code.text.rstrip(",") + "}")
    assert list(settings["remote.SSH.serverInstallPath"]) == ["ada", "grace", "nodal"]


def test_markdown_holds_every_command_of_the_model() -> None:
    document = page("nodal")
    for language in LANGUAGES:
        text = files([document], ["md"])[f"nodal.{language}.md"].decode()
        fences = re.findall(r"^```(\w+)\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)
        assert [body for kind, body in fences if kind != "text" or "Host " in body] == [
            code.text for code in document.codes()
        ]


def test_word_has_headings_contents_properties_and_code_that_word_leaves_alone() -> None:
    data = files([page("grace-ada")], ["docx"])["grace-ada.fr.docx"]
    word = docx.Document(io.BytesIO(data))
    headings = [line.text for line in word.paragraphs if line.style and line.style.name == "Heading 1"]
    assert headings[0] == "1.  Les machines"
    assert len(headings) == len(page("grace-ada").headings())
    xml = members(data)["word/document.xml"].decode()
    assert 'TOC \\o "1-1"' in xml
    assert all(
        f'w:anchor="s{number}"' in xml and f'w:name="s{number}"' in xml for number in range(1, len(headings) + 1)
    )
    for name in ("Code", "Code Words"):
        settings = word.styles[name].element.rPr
        assert settings.find(qn("w:noProof")) is not None
        assert settings.find(qn("w:lang")).get(qn("w:val")) == "zxx"
    assert word.styles["Normal"].element.rPr.find(qn("w:lang")).get(qn("w:val")) == "fr-FR"
    about = word.core_properties
    assert (about.title, about.language) == (page("grace-ada").title.of("fr"), "fr-FR")
    assert about.created is not None and about.created.strftime("%Y-%m-%d") == DATE


def test_word_holds_the_text_of_every_command() -> None:
    document = page("nodal")
    word = docx.Document(io.BytesIO(files([document], ["docx"])["nodal.en.docx"]))
    shown = [line.text for line in word.paragraphs if line.style and line.style.name == "Code"]
    assert [text for text in shown if text in {code.text for code in document.codes()}] == [
        code.text for code in document.codes()
    ]


def test_names_of_the_reader_and_measured_facts_are_used() -> None:
    known = {"grace": Known("grace", 1_767_225_600.0, facts("NVIDIA GH200 480GB", "550.54.15"), ())}
    text = files(pages("alice", known), ["md"])["grace-ada.en.md"].decode()
    assert "User alice" in text and "jdupont" not in text
    assert "| GPU | NVIDIA GH200 480GB, driver 550.54.15 (CUDA 12.4) | GH200 |" in text
    assert "Measured by `orch doctor`: GRACE 2026-01-01. Not measured yet, as the site file says: ADA." in text
    assert "NVIDIA GH200 480GB, 550.54.15\n```" in text


def facts(gpu: str, driver: str) -> HostFacts:
    """This machine's facts with another card."""
    card = Card(0, "GPU-1", gpu, driver, 97871, 0, 0, "9.0")
    return dataclasses.replace(HostFacts.from_json(json.loads(json.dumps(probe()))), cards=(card,))


def test_a_site_without_hosts_has_no_protocol() -> None:
    with pytest.raises(NotFound, match="no host to describe"):
        guides(Site(), {}, COMMANDS)


def test_a_caption_says_where_lines_run() -> None:
    assert Code("x", ("windows",)).caption() == Text(
        "On your computer (Windows), in PowerShell", "Sur votre ordinateur (Windows), dans PowerShell"
    )
    captions = {code.caption().en for code in page("nodal").codes() if code.where != FILE}
    assert captions == {
        "On NODAL",
        "On your computer (Windows), in PowerShell",
        "On your computer (macOS), in a terminal",
        "On your computer (Linux), in a terminal",
        "On your computer (macOS, Linux), in a terminal",
        "On your computer (Windows, macOS, Linux), in a terminal",
    }
