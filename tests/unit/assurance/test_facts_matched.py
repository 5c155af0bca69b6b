"""Facts about components, from bills of material and advisories that an open gateway was given."""

import asyncio

from advising import a_night, malicious, us
from limen.assurance.facts.book import Facts

HOUR = 3_600_000_000


def told(tmp_path, *, read=True):
    """Quillwork's measures at noon of the day after, by measure: the newest day's samples, or None where nobody can say."""

    async def whole():
        async with a_night(tmp_path / "data") as night:
            night.at("2031-03-24T00:00:00Z")
            await night.bom("quillwork", {"litellm": "1.82.8", "httpx": "0.28.1"}, "2031-03-24T00:00:00Z")
            night.at("2031-03-24T11:15:00Z")
            await night.feed(malicious())
            night.at("2031-03-25T12:00:00Z")
            gateway = night.gateway
            facts = gateway.facts
            if not read:
                facts = Facts(tmp_path / "other", gateway.custody.ledger, origin=gateway.config.ledger.origin)
                (tmp_path / "other").mkdir()
            document = facts.document("quillwork", us("2031-03-25T12:00:00Z"), us("2031-03-25T00:00:00Z"))
            if not read:
                facts.close()
            return {fact["measure"]: [one["value"] for one in fact["samples"]] for fact in document["facts"]}

    return asyncio.run(whole())


def test_what_was_matched_is_what_facts_say_of_components(tmp_path):
    found = told(tmp_path)

    assert found["malicious_open"] == [1]
    assert found["malicious_dwell_us"] == [36 * HOUR]
    assert found["bom_unknown_days"] == [0]


def test_facts_that_read_no_matching_say_nothing_of_components(tmp_path):
    found = told(tmp_path, read=False)

    assert "malicious_open" not in found
    assert "malicious_dwell_us" not in found
