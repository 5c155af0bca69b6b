"""The configuration: what the epoch makes of the log's name."""

from __future__ import annotations

import pytest

from limen.config import Config, Marks, load, token_pin
from limen.core.errors import Invalid, MarkKeyUnavailable


def test_the_log_s_name_carries_its_epoch(tmp_path):
    (tmp_path / "limen.toml").write_text('[ledger]\norigin = "lab.example/log"\n')
    assert load(tmp_path).ledger.origin == "lab.example/log"

    (tmp_path / "epoch").write_text("2\n")

    assert load(tmp_path).ledger.origin == "lab.example/log/epoch-2"


def test_a_directory_without_a_file_has_its_epoch_too(tmp_path):
    (tmp_path / "epoch").write_text("1\n")

    assert load(tmp_path).ledger.origin == "limen.local/log/epoch-1"


@pytest.mark.parametrize("text", ["", "one", "-1", "٣", "1.0"])
def test_an_epoch_that_is_no_number_is_refused(tmp_path, text):
    (tmp_path / "epoch").write_text(text)

    with pytest.raises(Invalid, match="is not a number"):
        load(tmp_path)


def test_a_configured_name_that_looks_like_an_epoch_s_is_refused(tmp_path):
    (tmp_path / "limen.toml").write_text('[ledger]\norigin = "lab.example/log/epoch-3"\n')

    with pytest.raises(Invalid, match=r"ledger\.origin"):
        load(tmp_path)


def test_a_second_place_of_the_published_log_is_another_for_each_epoch(tmp_path):
    (tmp_path / "limen.toml").write_text('[ledger]\npublish = "s3://logs/lab/"\n')
    (tmp_path / "epoch").write_text("1\n")

    assert load(tmp_path).ledger.publish == "s3://logs/lab/epoch-1"


def test_how_far_advisories_reach_by_themselves_is_set_in_whole_numbers(tmp_path):
    (tmp_path / "limen.toml").write_text("[assurance]\ncap_vendors = 0\nlookback_days = 7\n")

    found = load(tmp_path).assurance

    assert (found.cap_vendors, found.cap_people, found.lookback_days) == (0, 50, 7)


def test_a_negative_cap_is_refused(tmp_path):
    (tmp_path / "limen.toml").write_text("[assurance]\ncap_vendors = -1\n")

    with pytest.raises(Invalid, match=r"assurance\.cap_vendors"):
        load(tmp_path)


def test_where_mark_keys_rest_is_said_whole_or_refused(tmp_path):
    for text, why in (
        ('keep = "drawer"', "Invalid enum value"),
        ('keep = "split"', "marks.escrow: is empty"),
        ('keep = "token"', "marks.token: is empty"),
        ('module = "/lib/x.so"', "one of them is missing"),
        ('pin = "1234"', "unknown field"),
    ):
        (tmp_path / "limen.toml").write_text(f"[marks]\n{text}\n")
        with pytest.raises(Invalid, match=why):
            load(tmp_path)
    (tmp_path / "limen.toml").write_text('[marks]\nkeep = "token"\nmodule = "/lib/x.so"\ntoken = "limen"\nlevels = "nuida16"\n')
    assert load(tmp_path).marks.token == "limen"


def test_a_tokens_pin_comes_from_the_environment_or_its_own_file(tmp_path, monkeypatch):
    config = Config(data=tmp_path, marks=Marks(module="m", token="t", pin_file="token.pin"))
    monkeypatch.delenv("LIMEN_PKCS11_PIN", raising=False)
    with pytest.raises(MarkKeyUnavailable, match="there is no PIN"):
        token_pin(Config(data=tmp_path))
    with pytest.raises(MarkKeyUnavailable, match="can't be read from"):
        token_pin(config)
    (tmp_path / "token.pin").write_text("4711\n")
    (tmp_path / "token.pin").chmod(0o640)
    with pytest.raises(MarkKeyUnavailable, match="can be read by others"):
        token_pin(config)
    (tmp_path / "token.pin").chmod(0o600)
    assert token_pin(config) == "4711"
    monkeypatch.setenv("LIMEN_PKCS11_PIN", "0815")
    assert token_pin(config) == "0815"
