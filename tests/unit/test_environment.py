"""Start-up code in the environment: what is found, what is passed over, and why neither goes by name."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from limen import environment
from limen.core.errors import Denied
from limen.environment import KNOWN, check_startup_code, unexpected_startup_code

# The shape of the line that came with LiteLLM 1.82.8, with a harmless payload.
POISON = b"import os, subprocess, sys; subprocess.Popen([sys.executable, '-c', 'pass'])\n"


@pytest.fixture
def site_dir(tmp_path):
    directory = tmp_path / "site-packages"
    directory.mkdir()
    return directory


def names(found):
    return [hit.path.name for hit in found]


def test_a_poisoned_pth_is_found_with_its_line_and_the_hash_to_allow_it_by(site_dir):
    (site_dir / "litellm_init.pth").write_bytes(POISON)
    (hit,) = unexpected_startup_code([site_dir])
    assert hit.path.name == "litellm_init.pth"
    assert hit.why == "line 1 runs code at every start of Python"
    assert hit.digest == hashlib.sha256(POISON).hexdigest()


def test_the_interpreter_does_run_what_is_found(site_dir, tmp_path):
    ran = tmp_path / "ran"
    (site_dir / "x.pth").write_text(f"import pathlib; pathlib.Path({str(ran)!r}).touch()\n")
    subprocess.run([sys.executable, "-c", f"import site; site.addsitedir({str(site_dir)!r})"], check=True)
    assert ran.exists()
    assert names(unexpected_startup_code([site_dir])) == ["x.pth"]


def test_lines_that_only_name_directories_are_harmless(site_dir):
    (site_dir / "__editable__.limen-0.1.0.pth").write_text("/somewhere/src\n# import os\n\nimportant/things\n")
    assert unexpected_startup_code([site_dir]) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"/a/path\nimport os\n",
        b"import\tos\n",
        b"\xef\xbb\xbfimport os\n",
        b"# a comment\r\nimport os\r\n",
        b"/a/path\x0cimport os\n",
        b"/a/path\xe2\x80\xa8import os\n",
        b"/caf\xe9\nimport os\n",
        b"/a/path\rimport os",
    ],
)
def test_an_executable_line_is_found_however_it_is_written(site_dir, raw):
    (site_dir / "x.pth").write_bytes(raw)
    assert names(unexpected_startup_code([site_dir])) == ["x.pth"]


def test_a_hidden_pth_is_found(site_dir):
    (site_dir / ".pth").write_bytes(POISON)
    (site_dir / ".quiet.pth").write_bytes(POISON)
    assert names(unexpected_startup_code([site_dir])) == [".pth", ".quiet.pth"]


def test_a_start_file_is_found_unless_it_is_all_comment(site_dir):
    (site_dir / "x.start").write_text("package.module:function\n")
    (site_dir / "y.start").write_text("# nothing\n\n")
    assert names(unexpected_startup_code([site_dir])) == ["x.start"]


def test_allowing_is_by_hash_so_one_changed_byte_is_found(site_dir):
    allow = KNOWN | {hashlib.sha256(POISON).hexdigest()}
    (site_dir / "known.pth").write_bytes(POISON)
    assert unexpected_startup_code([site_dir], allow) == []
    (site_dir / "known.pth").write_bytes(POISON + b"\n")
    assert names(unexpected_startup_code([site_dir], allow)) == ["known.pth"]


def test_a_known_name_with_other_content_is_found(site_dir):
    (site_dir / "distutils-precedence.pth").write_bytes(POISON)
    assert names(unexpected_startup_code([site_dir])) == ["distutils-precedence.pth"]


@pytest.mark.parametrize("name", ["sitecustomize.py", "usercustomize.py", "sitecustomize.pyc"])
def test_a_customizing_module_is_found_wherever_modules_come_from(site_dir, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / name).write_bytes(b"x = 1\n")
    assert unexpected_startup_code([site_dir]) == []
    (hit,) = unexpected_startup_code([site_dir], import_dirs=[elsewhere])
    assert (hit.path.name, hit.digest) == (name, hashlib.sha256(b"x = 1\n").hexdigest())
    assert unexpected_startup_code([site_dir], {hit.digest}, import_dirs=[elsewhere]) == []


def test_a_directory_that_a_path_line_adds_is_searched_for_customizing_modules(site_dir, tmp_path):
    added = tmp_path / "added"
    added.mkdir()
    (added / "sitecustomize.py").write_text("x = 1\n")
    (site_dir / "x.pth").write_text(f"{added}\n")
    assert [hit.path for hit in unexpected_startup_code([site_dir])] == [(added / "sitecustomize.py").resolve()]


def test_a_customizing_package_cannot_be_allowed_by_one_hash(site_dir):
    package = site_dir / "sitecustomize"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (hit,) = unexpected_startup_code([site_dir], KNOWN | {hashlib.sha256(b"").hexdigest()})
    assert hit.digest == ""


def test_what_cannot_be_read_is_not_cleared(site_dir):
    (site_dir / "x.pth").symlink_to(site_dir / "nowhere")
    (hit,) = unexpected_startup_code([site_dir])
    assert hit.why == environment.UNREADABLE


def test_one_directory_under_two_names_is_reported_once(site_dir, tmp_path):
    (site_dir / "x.pth").write_bytes(POISON)
    (tmp_path / "lib64").symlink_to(site_dir)
    assert len(unexpected_startup_code([site_dir, tmp_path / "lib64"])) == 1


def test_a_directory_that_is_not_there_holds_nothing(tmp_path):
    assert unexpected_startup_code([tmp_path / "none"]) == []


@pytest.fixture
def poisoned(site_dir, monkeypatch):
    (site_dir / "litellm_init.pth").write_bytes(POISON)
    monkeypatch.setattr(environment, "site_directories", lambda: [site_dir])
    return site_dir / "litellm_init.pth"


def test_production_refuses_to_start_and_says_what_to_do(poisoned):
    with pytest.raises(Denied) as refusal:
        check_startup_code(strict=True)
    text = str(refusal.value)
    assert str(poisoned.resolve()) in text
    assert hashlib.sha256(POISON).hexdigest() in text
    assert "allowed_startup" in text


def test_development_warns_and_goes_on(poisoned):
    with structlog.testing.capture_logs() as logged:
        (hit,) = check_startup_code(strict=False)
    assert [line["path"] for line in logged] == [str(hit.path)] == [str(poisoned.resolve())]


def test_production_starts_when_the_hash_is_allowed(poisoned):
    assert poisoned.exists()
    assert check_startup_code(allowed=[hashlib.sha256(POISON).hexdigest()], strict=True) == []


def test_this_environment_of_pinned_packages_is_clean():
    sites = environment.site_directories()
    assert Path(os.__file__).parent.resolve() in {path.resolve() for path in environment.import_directories()}
    assert unexpected_startup_code(sites, import_dirs=environment.import_directories()) == []
