"""`limen init`: by options and at a terminal, it notes what there is, imports it, and overwrites nothing."""

import json
import os
import pty
import select
import subprocess
import sys
import time

import pytest

from limen.cli import _survey
from limen.config import load
from limen.core.errors import Invalid


def test_without_a_terminal_nothing_is_asked_and_nothing_hangs(tmp_path, limen):
    code, out, err = limen("init", tmp_path / "data")
    assert (code, out) == (0, "")
    assert "Next: edit" in err
    assert load(tmp_path / "data").survey == load(tmp_path / "nowhere").survey


def test_what_is_told_by_options_is_noted_and_the_first_import_is_run(tmp_path, limen):
    (tmp_path / "clone").mkdir()
    (tmp_path / "bom.json").write_text("{}")
    options = ["--vendor", "quillwork=ops@quillwork.example", "--bucket", "s3://orchid-data/sft/", "--yes"]
    options += ["--repository", tmp_path / "clone", "--bom", tmp_path / "bom.json"]
    code, _, err = limen("init", tmp_path / "data", *options)
    assert code == 0
    survey = load(tmp_path / "data").survey
    assert (survey.buckets, survey.repositories) == (("s3://orchid-data/sft/",), (str(tmp_path / "clone"),))
    assert survey.boms == (str(tmp_path / "bom.json"),)
    assert "does not read bills of material yet" in " ".join((tmp_path / "data" / "limen.toml").read_text().split("limen "))
    assert "now `limen import" in err
    assert err.count("\n  limen ") == 3
    vendors = json.loads(limen("vendor", "list", "--data", tmp_path / "data", "--json")[1])
    assert [v["vendor"] for v in vendors["vendors"]] == ["quillwork"]


def test_a_directory_that_is_there_is_left_alone(tmp_path, limen):
    limen("init", tmp_path / "data")
    before = (tmp_path / "data" / "limen.toml").read_bytes()
    code, _, err = limen("init", tmp_path / "data", "--bucket", "s3://other", "--listen", "127.0.0.1:1")
    assert code == 2
    assert "nothing was changed" in err
    assert (tmp_path / "data" / "limen.toml").read_bytes() == before


def test_a_configuration_that_lies_there_alone_is_used_and_kept(tmp_path, limen):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "limen.toml").write_text('[ledger]\norigin = "kept.example/log"\n')
    code, _, err = limen("init", tmp_path / "data", "--bucket", "s3://other")
    assert code == 0
    assert "stays as it is" in err
    assert load(tmp_path / "data").ledger.origin == "kept.example/log"
    assert limen("ledger", "head", "--data", tmp_path / "data")[1].startswith("kept.example/log\n")


def test_a_step_that_fails_is_told_and_the_directory_is_there(tmp_path, limen):
    (tmp_path / "bad.json").write_text('{"vendor": [{"id": "NO"}]}')
    code, _, err = limen("init", tmp_path / "data", "--catalog", tmp_path / "bad.json")
    assert code == 6
    assert "not all was done by: limen import" in err
    assert (tmp_path / "data" / "ledger.db").exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("vault=x", "does not begin with"),
        ("nonsense:a=s3://b", "is none of"),
        ("vault:v=s3://b/c skew=ten", "not a number"),
        ("vault:v=s3://b/c colour=red", "is unknown"),
        ("vault:v='s3://b", "can't be read"),
        ("vault:v=/nowhere/at/all", "is not there"),
    ],
)
def test_a_log_that_is_badly_told_is_refused_with_its_form(text, why):
    with pytest.raises(Invalid, match=why):
        _survey.log(text)


def test_a_log_is_noted_with_the_command_that_imports_it(tmp_path):
    told = _survey.log("cloudtrail:trail-eu=s3://trail/AWSLogs skew=600 gap=60 covers=a/b scope=s3://one scope=s3://two")
    words = " ".join(_survey.import_words(told))
    assert words == (
        "observe import cloudtrail s3://trail/AWSLogs --source trail-eu"
        " --skew 600 --gap 60 --covers a/b --scope s3://one --scope s3://two"
    )
    (tmp_path / "limen.toml").write_text(_survey.as_toml(_survey.Told(logs=[told], boms=['a "b"\\']).survey))
    assert load(tmp_path).survey.log == (told,)
    assert load(tmp_path).survey.boms == ('a "b"\\',)


def conversation(command, answers):
    """Run a command on a terminal and answer its questions: (text of a question, answer)."""
    master, slave = pty.openpty()
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, close_fds=True)
    os.close(slave)
    seen, deadline = "", time.monotonic() + 60
    try:
        for question, answer in [*answers, (None, None)]:
            while question is None or question not in seen:
                ready, _, _ = select.select([master], [], [], max(0, deadline - time.monotonic()))
                assert ready, f"nothing came after: {seen[-500:]}"
                try:
                    got = os.read(master, 65_536)
                except OSError:
                    got = b""  # the other end is closed
                if not got:
                    break
                seen += got.decode()
            if question is not None:
                seen = seen.rpartition(question)[2]
                os.write(master, answer.encode() + b"\n")
        return process.wait(60), seen
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_at_a_terminal_it_asks_and_asks_again_after_a_wrong_answer(tmp_path):
    (tmp_path / "clone").mkdir()
    command = [sys.executable, "-m", "limen", "init", str(tmp_path / "data")]
    answers = [
        ("Outside vendor", "Quillwork"),
        ("is not ID=CONTACT", "quillwork=ops@quillwork.example"),
        ("Outside vendor", ""),
        ("Bucket", "s3://orchid-data/sft"),
        ("Bucket", ""),
        ("Repository", str(tmp_path / "clone")),
        ("Repository", ""),
        ("Log (", ""),
        ("materials", ""),
    ]
    code, said = conversation(command, answers)
    assert code == 0, said
    assert load(tmp_path / "data").survey.buckets == ("s3://orchid-data/sft",)
    assert "limen scan" in said


def test_with_yes_nothing_is_asked_at_a_terminal_either(tmp_path):
    code, said = conversation([sys.executable, "-m", "limen", "init", str(tmp_path / "data"), "--yes"], [])
    assert code == 0
    assert "What is there?" not in said
