"""What an index of wheels (PEP 503) or a folder of wheels holds of one package, read with the standard library."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser
from typing import Any, Dict, List, Optional, Tuple

TIMEOUT = 20.0  # seconds
_PLATFORM = re.compile(r"(?:many)?linux(?:_\d+_\d+|\d+)?_(x86_64|aarch64)")


def offers(index: str, package: str) -> List[Dict[str, Any]]:
    """Return the wheels of a package for Linux in an index: `{"file", "version", "python", "arch"}`.

    Raises
    ------
    OSError
        The index does not answer (a page that is not there is an empty list).
    """
    url = "{}/{}/".format(index.rstrip("/"), package)
    if url.startswith("file:"):
        url += "index.html"  # a server would add it
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            text = answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        if error.code in (403, 404):  # stores of files refuse what they do not have
            return []
        raise OSError("{} answers {}".format(url, error)) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, FileNotFoundError):
            return []
        raise OSError("{}: {}".format(url, error.reason)) from error
    except ValueError as error:
        raise OSError("{} is no address: {}".format(index, error)) from error
    return _wheels(_files(text))


def kept(folder: str, package: str) -> List[Dict[str, Any]]:
    """Return the wheels of a package for Linux in a folder; none when there is no such folder."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return _wheels([name for name in names if name.lower().startswith(package + "-")])


def _wheels(names: List[str]) -> List[Dict[str, Any]]:
    return [wheel for wheel in map(parse, names) if wheel]


def parse(name: str) -> Optional[Dict[str, Any]]:
    """Read a wheel's file name (PEP 427); None when it is none, or not for Linux on a processor we know."""
    if not name.endswith(".whl"):
        return None
    parts = name[:-4].split("-")
    platform = _PLATFORM.search(parts[-1])
    if len(parts) not in (5, 6) or not platform:
        return None
    return {"file": name, "version": parts[1], "python": parts[-3], "arch": platform.group(1)}


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.files: List[str] = []

    def handle_starttag(self, tag: str, attrs: "List[Tuple[str, Optional[str]]]") -> None:
        link = dict(attrs).get("href") if tag == "a" else None
        if link:
            self.files.append(os.path.basename(urllib.parse.unquote(urllib.parse.urlsplit(link).path)))


def _files(page: str) -> List[str]:
    links = _Links()
    links.feed(page)
    return links.files
