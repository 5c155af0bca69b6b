"""A model's digest is that of all its files, and of the program in docs/formats/model-answers.md."""

import shutil
import subprocess

import pytest

from limen.core.errors import Invalid
from limen.models.digest import digest_of

SAID = r"find -L . -type f | sed 's,^\./,,' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum"


@pytest.fixture
def model(tmp_path):
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(bytes(1000))
    (model / "sub" / "a file.txt").write_text("x")
    return model


def test_it_is_what_the_documented_program_prints(model):
    done = subprocess.run(["sh", "-c", SAID], cwd=model, capture_output=True, text=True, check=True)
    assert digest_of(model) == "sha256:" + done.stdout.split()[0]


def test_any_change_changes_it(model):
    first = digest_of(model)
    (model / "sub" / "a file.txt").write_text("y")
    second = digest_of(model)
    (model / "sub" / "a file.txt").rename(model / "sub" / "another.txt")
    assert len({first, second, digest_of(model)}) == 3


def test_a_hubs_cache_of_links_is_the_same_model(model, tmp_path):
    linked = tmp_path / "linked"
    shutil.copytree(model, linked)
    (linked / "model.safetensors").unlink()
    (linked / "model.safetensors").symlink_to(model / "model.safetensors")
    assert digest_of(linked) == digest_of(model)


def test_what_is_no_model_is_refused(model, tmp_path):
    with pytest.raises(Invalid, match=r"no config\.json"):
        digest_of(tmp_path)
    (model / "loop").symlink_to(model, target_is_directory=True)
    with pytest.raises(Invalid, match="neither a file nor a directory"):
        digest_of(model)
