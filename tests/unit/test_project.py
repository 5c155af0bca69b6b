"""The project about itself: what is tracked, what is pinned, what the documents say, and what `--help` imports."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

from limen.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "limen"

# One letter of each stands in brackets, or this pattern would find itself.
MACHINE = re.compile(
    r"(?<![\w.$}])/(?:wor[k]|roo[t]|far[m]|tm[p]|hom[e])/[\w.-]+|/op[t]/pypi"
    r"|pyp[i]\.org/simple|files\.pythonhoste[d]\.org|registry\.npmj[s]\.org|deb\.debia[n]\.org|proxy\.golan[g]\.org"
)
HEAVY = {
    *("alembic", "asyncio", "awscrt", "cedarpy", "cryptography", "http", "httptools", "importlib.metadata", "joserfc", "logging"),
    *("msgspec", "numpy", "pyarrow", "rich", "sqlalchemy", "sqlite3", "ssl", "structlog", "uvicorn", "uvloop"),
}


def tracked(*patterns):
    listed = subprocess.run(["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


def traces_of_a_machine(text):
    return [found.group() for found in MACHINE.finditer(text)]


def test_no_tracked_file_names_a_place_of_one_machine_or_a_registry():
    hits = {}
    for path in tracked():
        if found := traces_of_a_machine(path.read_bytes().decode("utf-8", "replace")):
            hits[str(path.relative_to(ROOT))] = found[:3]
    assert hits == {}


@pytest.mark.parametrize(
    "text",
    ["open('/{}work/main/x')", "DATA=/{}home/ada/limen", "--index-url https://pyp{}i.org/simple", " /{}tmp/x1"],
)
def test_that_check_finds_what_it_looks_for(text):
    assert traces_of_a_machine(text.format(""))
    assert traces_of_a_machine(text) == []  # so that it does not find these samples here


def test_that_check_lets_other_paths_be():
    assert traces_of_a_machine("/var/lib/limen tests/work/x $TMPDIR/x https://example.org/work /tile/0/x001") == []


def test_every_module_opens_with_its_promise():
    silent = [
        str(path.relative_to(ROOT))
        for path in sorted(PACKAGE.rglob("*.py"))
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_every_directory_of_modules_is_a_package():
    assert [str(p) for p in {path.parent for path in PACKAGE.rglob("*.py")} if not (p / "__init__.py").exists()] == []


def fetchers(paths):
    """Modules that import what fetches from a network, by name of the standard library's one."""
    return [path.name for path in paths if re.search(r"urllib\.request|from urllib import.*request", path.read_text())]


def test_pure_modules_and_the_verifier_fetch_nothing():
    pure = [path for part in ("core", "formats", "verify") for path in PACKAGE.glob(f"{part}/*.py")]
    assert len(pure) > 20
    assert fetchers(pure) == []


def test_that_check_sees_one_that_fetches(tmp_path):
    (tmp_path / "x.py").write_text("import urllib.request\n")
    (tmp_path / "y.py").write_text("from urllib.parse import quote\n")
    assert fetchers(sorted(tmp_path.iterdir())) == ["x.py"]


# --- the documents


def slug(heading):
    """The anchor that forges give a heading."""
    text = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", lambda m: m.group(1) or "", heading.strip()).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def prose(path):
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def broken_links(path, root=ROOT):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        goal = (path.parent / name).resolve() if name else path
        if not goal.exists() or not goal.is_relative_to(root):
            yield f"{path.name}: {target} is not there"
        elif anchor and anchor not in {slug(h) for h in re.findall(r"^#+ (.*)$", prose(goal), re.MULTILINE)}:
            yield f"{path.name}: {target} has no such heading"


def test_every_link_inside_the_project_leads_somewhere():
    assert [broken for path in tracked("*.md") for broken in broken_links(path)] == []


def test_that_check_sees_a_dead_link(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](nowhere.md) [b](#here) [c](#there) [d](https://example.org)\n")
    assert [line.split()[1] for line in broken_links(page, tmp_path)] == ["nowhere.md", "#there"]


def test_a_module_that_names_a_document_names_one_that_exists():
    named = {
        (str(path.relative_to(ROOT)), name)
        for path in PACKAGE.rglob("*.py")
        for name in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text())
    }
    assert sorted(pair for pair in named if not (ROOT / pair[1]).exists()) == []


def commands_shown(path):
    """Each `limen WORD` in code, in a line or in a block, unless its line says that it is not built yet."""
    code = re.compile(r"`(?:tools/|\S+/)?limen ([a-z][a-z-]*)")
    fenced = False
    for line in path.read_text().splitlines():
        fenced ^= line.startswith("```")
        words = re.findall(r"^(?:\$ )?limen ([a-z][a-z-]*)", line) if fenced else code.findall(line)
        yield from (word for word in words if "not built yet" not in line.lower())


def test_documents_show_no_command_that_does_not_exist():
    assert [f"{p.name}: {word}" for p in tracked("*.md") for word in commands_shown(p) if word not in COMMANDS] == []


def test_that_check_sees_a_command_in_a_line_and_in_a_block(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("limen is `limen one` or\n```sh\nlimen two --x\n```\nlater `limen three` (not built yet)\n")
    assert list(commands_shown(page)) == ["one", "two"]


def test_every_command_of_the_table_can_be_loaded():
    asked = (
        f"from limen.cli import COMMANDS, limen\nfor name in {list(COMMANDS)!r}: assert limen.get_command(None, name).help, name"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- what is pinned


def requirements(lock):
    """Each requirement of a lock file, with its hashes: continued lines joined, comments left out."""
    lines = [line for line in lock.splitlines() if not line.lstrip().startswith("#")]
    return [line for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines() if line.strip()]


def unpinned(lock):
    exact = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w,.-]+\])?==\S+( ;[^#]*?)?( +--hash=sha256:[0-9a-f]{64})+ *$")
    return [line[:60] for line in requirements(lock) if not exact.match(line)]


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def names(lock):
    return {plain(re.match(r"[\w.-]+", line).group()) for line in requirements(lock)}


@pytest.mark.parametrize("path", tracked("*.lock"), ids=lambda p: p.name)
def test_a_lock_file_pins_everything_by_hash(path):
    lock = path.read_text()
    assert unpinned(lock) == []
    assert names(lock)


def test_that_check_sees_what_is_not_pinned():
    good = "a==1 \\\n    --hash=sha256:" + "0" * 64 + "\n    # via b\n"
    assert unpinned(good) == []
    for bad in (
        "a==1",
        "a>=1 --hash=sha256:" + "0" * 64,
        "--index-url https://example.org",
        "a @ https://example.org/a.whl",
        "-e .",
    ):
        assert unpinned(good + bad)


def test_the_lock_files_hold_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = {plain(re.match(r"[\w.-]+", line).group()) for line in project["project"]["dependencies"]}
    for_work = {plain(re.match(r"[\w.-]+", line).group()) for line in project["dependency-groups"]["dev"]}
    served = names((ROOT / "requirements.lock").read_text())
    developed = names((ROOT / "requirements-dev.lock").read_text())
    assert asked <= served <= developed
    assert for_work <= developed


# --- what starts quickly


def imported_by(code):
    """The modules that a fresh interpreter has loaded after running this."""
    program = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split())


def test_help_imports_nothing_heavy():
    before = imported_by("")
    loaded = imported_by("from limen.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass")
    assert "limen.cli" in loaded
    assert sorted((loaded - before) & HEAVY) == []


def test_that_check_sees_something_heavy():
    assert imported_by("import sqlalchemy") & HEAVY


def test_tools_are_one_verb_each_and_can_be_run():
    named = set(re.findall(r"tools/([a-z]+)", (ROOT / "Makefile").read_text()))
    there = {path.name: path for path in tracked("tools/*") if path.parent == ROOT / "tools"}  # folders hold a verb's parts
    assert named <= set(there)
    assert [name for name, path in there.items() if not path.stat().st_mode & 0o100] == []
