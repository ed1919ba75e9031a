"""The rules of the house (CONTRIBUTING.md), held against the whole tree."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import statistics
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("orchestrator", "trainer", "jobs", "setup")
# They run where jobs run: on Linux.
HOST_ONLY = {
    "jobs.agent",
    "jobs.keeper",
    "jobs.daemon",
    "jobs.watcher",
    "jobs.submitting",
    "jobs.moving",
    "jobs.releasing",
    "jobs.cards",
    "jobs.slurmtask",
    "jobs.standing",
    "jobs.subreaper",
}
Function = ast.FunctionDef | ast.AsyncFunctionDef

# Not written with all their letters, so that this page does not find itself.
_MACHINE_PATHS = re.compile(r"/wor[k]/|/roo[t]/|/home/[a-z]+[/.]|/Users/[A-Za-z]|[A-Z]:\\\\?Users\\")
_UNWANTED = re.compile(r"TOD[O]|FIXM[E]|XX[X]\b|BEGIN [A-Z ]*PRIVATE KE[Y]")


@cache
def tracked() -> tuple[Path, ...]:
    """All files that git keeps or would keep; where there is no git (a source archive), all there are."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split("\0") if listed.returncode == 0 else map(str, ROOT.rglob("*"))
    return tuple(path for name in names if name and (path := ROOT / name).is_file())


@cache
def modules() -> dict[str, ast.Module]:
    """Dotted name and syntax tree of every module of the four packages."""
    files = [path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES]
    return {dotted(path): ast.parse(path.read_text(encoding="utf-8")) for path in files}


def dotted(path: Path) -> str:
    """`jobs/spec.py` is `jobs.spec`, `jobs/__init__.py` is `jobs`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def functions() -> Iterator[tuple[str, Function]]:
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{name}.{node.name}", node


def texts() -> Iterator[tuple[str, str]]:
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data:
            yield str(path.relative_to(ROOT)), data.decode("utf-8", "replace")


def length(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


# --- Form ------------------------------------------------------------------------------------------------------------


def test_functions_are_short() -> None:
    lengths = sorted(length(node) for _, node in functions())
    assert statistics.median(lengths) <= 10
    assert lengths[int(len(lengths) * 0.9)] <= 30
    assert [f"{name}: {length(node)} lines" for name, node in functions() if length(node) > 60] == []


def test_modules_are_short() -> None:
    lines = {path: text.count("\n") for path, text in texts() if path.endswith(".py")}
    assert {path: count for path, count in lines.items() if count > 400} == {}


def lacks_types(node: Function) -> bool:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    bare = any(one and one.annotation is None and one.arg not in ("self", "cls") for one in arguments)
    return bare or (node.returns is None and node.name != "__init__")


def test_everything_is_annotated() -> None:
    assert [name for name, node in functions() if lacks_types(node)] == []


def test_every_module_says_in_one_line_what_it_owns() -> None:
    captions = {name: (ast.get_docstring(tree) or "").split("\n")[0] for name, tree in modules().items()}
    assert [name for name, caption in captions.items() if len(caption) < 15] == []


def test_public_names_have_docstrings() -> None:
    def public(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                if ast.get_docstring(node) is None:
                    yield f"{prefix}.{node.name}"
                if isinstance(node, ast.ClassDef):
                    yield from public(node.body, f"{prefix}.{node.name}")

    assert [found for name, tree in modules().items() for found in public(tree.body, name)] == []


def test_no_assert_speaks_to_people() -> None:
    """An assert may state what the types cannot; a message in it would be an error text that `-O` takes away."""
    found = [
        f"{name}:{node.lineno}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert) and node.msg is not None
    ]
    assert found == []


def test_nothing_is_pickled_between_programs() -> None:
    risky = re.compile(r"pickle\.(load|dump)s?\(|weights_only=False|allow_pickle=True")
    ours = [(path, text) for path, text in texts() if path.endswith(".py") and path.split("/")[0] in PACKAGES]
    assert [f"{path}: {match[0]}" for path, text in ours for match in risky.finditer(text)] == []


def test_almost_nothing_is_patched_in_tests() -> None:
    sources = [text for path, text in texts() if path.startswith("tests/") and path.endswith(".py")]
    count = sum(len(re.findall(r"\bpatch\(|MagicMock\(|\.setattr\(|\.setitem\(", text)) for text in sources)
    tests = sum(len(re.findall(r"^ *def test_", text, re.MULTILINE)) for text in sources)
    assert count <= 0.02 * tests, f"{count} patches in {tests} tests; put a real file, process or program there instead"


# --- Layers ----------------------------------------------------------------------------------------------------------


def targets(name: str, node: ast.AST) -> set[str]:
    """Modules of ours that an import statement in module `name` loads; `from . import x` loads x, if x is one."""
    known = modules()
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names} & known.keys()
    if not isinstance(node, ast.ImportFrom):
        return set()
    base = node.module or ""
    if node.level:
        is_package = (ROOT / name.replace(".", "/")).is_dir()
        parts = name.split(".")[: None if is_package and node.level == 1 else -(node.level - is_package)]
        base = ".".join([*parts, *filter(None, [node.module])])
    inner = {f"{base}.{alias.name}" for alias in node.names} & known.keys()
    return inner or {base} & known.keys()


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports_of(name: str) -> set[str]:
    """All modules of ours that a module loads at run time, inside functions too."""
    loaded, frontier = set(), [modules()[name].body]
    while frontier:
        for node in frontier.pop():
            loaded |= targets(name, node)
            if not is_for_types(node):
                frontier.append(list(ast.iter_child_nodes(node)))  # type: ignore[arg-type]
    return loaded - {name}


def test_no_import_cycle() -> None:
    graph = {name: imports_of(name) for name in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_layers_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    checked = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def run_python(code: str, *arguments: str) -> None:
    """Run code in a fresh isolated Python with the tree first in its path; its complaint is the failure."""
    head = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-W", "error::SyntaxWarning", "-c", head + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


IMPORT_ALL = """
import importlib
def import_all(names):
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:
            sys.exit(f"{name}: {type(error).__name__}: {error}")
"""
BLOCK = "blocked = sys.argv[1].split(); sys.modules.update(dict.fromkeys(blocked))\n"
IMPORT_REST = "import_all(sys.argv[2:])"


def names(*packages: str) -> list[str]:
    return [name for name in modules() if name.split(".")[0] in packages and not name.endswith("__main__")]


def test_the_laptop_side_starts_on_windows() -> None:
    """What Windows lacks is taken away after the libraries are there (they know Windows) and before we are."""
    lacking = {
        "os": "fork getuid geteuid getgid setsid killpg uname sched_getaffinity mkfifo pread pwrite posix_fallocate "
        "O_CLOEXEC O_NONBLOCK O_DIRECTORY O_NOFOLLOW WNOHANG sysconf confstr getloadavg nice statvfs chown wait4 pipe2",
        "signal": "SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGQUIT SIGTSTP SIGCONT alarm setitimer "
        "pthread_sigmask sigwait sigtimedwait set_wakeup_fd",
        "socket": "AF_UNIX",
    }
    modules = "fcntl pwd grp resource termios tty pty syslog crypt spwd nis readline curses _posixshmem"
    libraries = "subprocess shutil tempfile multiprocessing asyncio yaml sqlalchemy numpy pandas paramiko rich.live "
    libraries += "jinja2 jsonschema matplotlib.figure matplotlib.backends.backend_agg concurrent.futures http.server"
    code = "import_all(sys.argv[1].split())\nimport os, signal, socket, types\n"
    for module, attributes in lacking.items():
        code += f"for name in {attributes.split()!r}: vars({module}).pop(name, None)\n"
    code += f"sys.modules.update(dict.fromkeys({modules.split()!r}), msvcrt=types.ModuleType('msvcrt'))\n"
    ours = [name for name in names("jobs", "setup", "orchestrator") if name not in HOST_ONLY]
    run_python(IMPORT_ALL + code + "sys.platform = 'win32'\n" + IMPORT_REST, libraries, *ours)


def test_the_laptop_side_needs_no_library_of_the_trainer() -> None:
    run_python(BLOCK + IMPORT_ALL + IMPORT_REST, "torch nibabel scipy trainer", *names("jobs", "setup", "orchestrator"))


@pytest.mark.slow
def test_the_trainer_needs_no_library_of_the_laptop_side() -> None:
    blocked = "yaml sqlalchemy paramiko pandas matplotlib rich jinja2 submitit jsonschema orchestrator setup"
    run_python(BLOCK + IMPORT_ALL + IMPORT_REST, blocked, *names("jobs", "trainer"))


def old_python() -> str | None:
    """A Python 3.9 of this machine, if it has one: in PATH, or kept by pyenv."""
    kept = Path(os.environ.get("PYENV_ROOT", Path("~/.pyenv").expanduser()))
    candidates = ["python3.9", *map(str, kept.glob("versions/3.9*/bin/python"))]
    for candidate in candidates:
        try:
            ask = [candidate, "-I", "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 9))"]
            done = subprocess.run(ask, stderr=subprocess.DEVNULL, check=False)
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    return None


OLD_PYTHON = old_python()  # looked for before the tests get a home of their own


def test_jobs_is_written_for_python_3_9() -> None:
    for path in tracked():
        if path.relative_to(ROOT).parts[0] == "jobs" and path.suffix == ".py":
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 9))
            future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
            assert future or len(tree.body) < 5, f"{path} lacks: from __future__ import annotations"


@pytest.mark.skipif(OLD_PYTHON is None, reason="no Python 3.9 on this machine")
def test_jobs_starts_on_python_3_9() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + IMPORT_ALL + "import_all(sys.argv[1:])"
    command = [str(OLD_PYTHON), "-I", "-S", "-B", "-c", code, *names("jobs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- Packaging -------------------------------------------------------------------------------------------------------


def test_nothing_can_be_taken_for_our_setup_package() -> None:
    assert [path for path in tracked() if path.name == "setup.py"] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_name_is_ours_alone(package: str) -> None:
    owners = importlib.metadata.packages_distributions().get(package, [])
    assert set(owners) <= {"orch-lab"}, (
        f"{package} was overwritten by another distribution: use an environment of its own"
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("orch_lab-*.whl")
    return path


def test_the_wheel_holds_the_four_packages_and_all_their_files(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = {path.relative_to(ROOT).as_posix() for path in tracked()}
    assert inside == {name for name in ours if name.split("/")[0] in PACKAGES}
    assert {f"{package}/py.typed" for package in PACKAGES} <= inside


def test_the_wheel_starts_without_any_library(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from orchestrator.cli import main; sys.exit(main(['--help']))"
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", code, str(tmp_path)]
    started = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (started.returncode, started.stderr) == (0, "")
    assert "sweep" in started.stdout


# --- Texts -----------------------------------------------------------------------------------------------------------


def test_texts_name_no_machine_and_leave_nothing_open() -> None:
    found = [f"{path}: {match[0]}" for path, text in texts() for match in _MACHINE_PATHS.finditer(text)]
    found += [f"{path}: {match[0]}" for path, text in texts() for match in _UNWANTED.finditer(text)]
    assert found == []


def anchors(text: str) -> set[str]:
    """Anchors as code hosts make them from headings: lower case, blanks to dashes, signs dropped."""
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path) -> Iterator[str]:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(<?([^)>\s]+)>?[^)]*\)|<img[^>]+src=\"([^\"]+)\"", text):
        target, _, anchor = (link[0] or link[1]).partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        there = (path.parent / target) if target else path
        if not there.exists() or (anchor and anchor not in anchors(there.read_text(encoding="utf-8"))):
            yield f"{path.relative_to(ROOT)}: {link[0] or link[1]}"


def test_links_lead_somewhere() -> None:
    pages = [path for path in tracked() if path.suffix == ".md"]
    assert pages
    assert [broken for page in pages for broken in broken_links(page)] == []
