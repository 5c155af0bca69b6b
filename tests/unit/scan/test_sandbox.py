"""What runs in the box reaches no network, sees no more than it was given, and changes nothing of it."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from limen.scan import confine, sandbox
from limen.scan.sandbox import Box, SandboxFailed, SandboxRefused

PROBE = """
import json, os, socket, sys
def tried(act):
    try:
        act()
        return "done"
    except OSError as e:
        return type(e).__name__
out = {
    "network": tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)),
    "elsewhere": tried(lambda: open(sys.argv[2]).read()),
    "given": tried(lambda: open(sys.argv[3] + "/x").read()),
    "write": tried(lambda: open(sys.argv[3] + "/y", "w")),
    "processes": os.getpid(),
    "names": sorted(n for n in os.environ if n not in ("LC_CTYPE",)),
}
print(json.dumps(out))
"""


@pytest.fixture
def probe(tmp_path):
    """Runs the probe boxed or not; a listener, a directory that is given, and a document that is not."""
    given = tmp_path / "given"
    given.mkdir()
    (given / "x").write_text("x")
    (tmp_path / "secret").write_text("s")
    system = [p for p in ("/usr", "/lib", "/lib64", "/bin") if Path(p).exists()]
    python = Path(sys.base_prefix)
    readable = [*((Path(p), p) for p in system), (python, str(python)), (given, "/given")]

    def run(*, boxed):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            arguments = [str(listener.getsockname()[1]), str(tmp_path / "secret"), "/given" if boxed else str(given)]
            box = Box(readable=tuple(readable), environment={"ONE": "1"}, boxed=boxed, timeout_s=30)
            return json.loads(box.run([str(Path(os.path.realpath(sys.executable))), "-I", "-S", "-c", PROBE, *arguments]))

    return run


def test_in_the_box_there_is_no_network_and_nothing_but_what_was_given(probe):
    seen = probe(boxed=True)
    assert seen["network"] == "OSError"
    assert seen["elsewhere"] == "FileNotFoundError"
    assert seen["given"] == "done"
    assert seen["write"] == "OSError"
    assert seen["processes"] == 1
    assert seen["names"] == ["ONE"]


def test_without_the_box_the_same_program_reaches_all_of_it(probe):
    seen = probe(boxed=False)
    assert (seen["network"], seen["elsewhere"], seen["write"]) == ("done", "done", "done")


def test_a_kernel_that_refuses_is_told_with_ways_to_go_on(monkeypatch, tmp_path):
    denied = tmp_path / "confine.py"
    source = Path(confine.__file__).read_text()
    broken = source.replace('call("unshare", libc.unshare(spaces))', 'raise OSError(1, "unshare: Operation not permitted")')
    assert broken != source
    denied.write_text(broken)
    monkeypatch.setattr(sandbox.confine, "__file__", str(denied))
    with pytest.raises(SandboxRefused, match="unshare") as told:
        Box().run(["/bin/true"])
    assert "--unconfined" in told.value.hint
    assert "--no-secrets" in told.value.hint


def test_a_program_that_fails_is_an_error_and_not_an_empty_answer():
    with pytest.raises(SandboxFailed, match="ended with 127"):
        Box().run(["/not/there"])


def test_bounds_hold_inside():
    system = tuple((Path(p), p) for p in ("/usr", "/lib", "/lib64", "/bin") if Path(p).exists())
    python = Path(sys.base_prefix)
    words = [
        os.path.realpath(sys.executable),
        "-I",
        "-S",
        "-c",
        "import resource as r; print(r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_FSIZE))",
    ]
    assert Box(readable=(*system, (python, str(python)))).run(words) == b"(0, 0) (1073741824, 1073741824)\n"
