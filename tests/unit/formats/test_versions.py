"""Each ecosystem's own order; what is no version is unknown; keys of equal versions are equal and hash alike."""

from __future__ import annotations

import pytest

from limen.formats.versions import LONGEST, certain, key, known

ASCENDING = {
    "PyPI": "0.1-bulbasaur 1.0.dev1 1.0a1.dev1 1.0a1 1.0rc1 1.0 1.0+abc 1.0+1 1.0.post1 1.1.dev1 1.82.7 1.82.8 1.82.10 1!0.1",
    "npm": "0.0.1 1.0.0-0 1.0.0-9 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-rc.2 1.0.0-rc.11 1.0.0 v1.0.1 1.10.0",
    "crates.io": "0.9.0 1.0.0-pre 1.0.0",
    "Go": "0.0.0-20190101000000-abcdef123456 0.1.0 go1.21rc1 go1.21rc2 go1.21 go1.21.1 v1.22.0",
    "Maven": "1-alpha-1 1-beta-1 1-milestone-1 1-rc-1 1-SNAPSHOT 1 1-sp 1-abc 1-1 1.0.1 1.1 1.10",
    "Debian:12": "1.0~rc1-1 1.0-1~deb12u1 1.0-1 1.0-1+b1 1.0a-1 1.0.1-1 1:0.1",
    "Ubuntu": "2.38-1ubuntu6 2.38-1ubuntu6.1 2.39",
    "Red Hat:9": "1.0~rc1-1 1.0-1.el9 1.0-2.el9 1.0^git1-1 1.0a-1 1.0.1-1 1:0.1-1",
    "Alpine:v3.20": "1.2_alpha1 1.2_rc1 1.2 1.2-r1 1.2_p1 1.2a 1.2.05 1.2.1 1.10",
    "NuGet": "1.0.0-ALPHA 1.0.0-beta.2 1.0.0-beta.11 1.0.0 1.0.0.1 1.0.1",
    "RubyGems": "1.0.a 1.0.a.1 1.0.b 1.0 1.0.1.pre 1.0.1 1.10",
    "Packagist": "1.0-dev 1.0-alpha1 1.0-beta1 1.0-RC1 1.0 1.0.0 1.0-p1 1.1",
}
EQUAL = {
    "PyPI": "1.0 1.0.0 v1.0 01.0",
    "npm": "1.0.0 v1.0.0 =1.0.0 1.0.0+build 1.0",
    "Go": "1.21.0 v1.21.0 go1.21 1.21.0+incompatible",
    "Maven": "1 1.0 1.0.0 1-ga 1.final 1-0 01",
    "Debian": "1.0 0:1.0 1.0-0 1.00",
    "Red Hat": "1.0-1 0:1.0-1 1.0-01",
    "Alpine": "1.0-r1 1.0-r01",
    "NuGet": "1.0 1.0.0.0 1.0.0+x",
    "RubyGems": "1 1.0 1.0.0",
    "Packagist": "1.0-rc1 v1.0RC1 1.0.rc.1",
}
NONE = {
    "PyPI": ["<unknown>", "${version}", "1.0 or so", "*"],
    "npm": ["latest", "*", "1.x", "^1.0.0", "file:../x", "1.0.0-", "1.0.0-a..b", "1.0.0beta"],
    "Go": ["(devel)", "latest", "go"],
    "Maven": ["latest", "unspecified", "${project.version}"],
    "Debian": ["unknown", "1.0_1", "a:1.0", "1.0\n"],
    "Red Hat": ["1.0 1", "a:1"],
    "Alpine": ["1.2_blah", "latest", "1.2A", "1.0~abcdef"],
    "NuGet": ["1.0.0.0.0", "latest"],
    "RubyGems": ["latest", "1..0"],
    "Packagist": ["latest", "1.2.#"],
}


@pytest.mark.parametrize(("ecosystem", "versions"), ASCENDING.items())
def test_each_comes_before_the_next(ecosystem, versions):
    keys = [key(ecosystem, version) for version in versions.split()]
    assert None not in keys
    assert all(keys[i] < keys[j] for i in range(len(keys)) for j in range(i + 1, len(keys)))


@pytest.mark.parametrize(("ecosystem", "versions"), EQUAL.items())
def test_spellings_of_one_version_are_equal(ecosystem, versions):
    keys = [key(ecosystem, version) for version in versions.split()]
    assert None not in keys
    assert len(set(keys)) == 1


@pytest.mark.parametrize(("ecosystem", "texts"), NONE.items())
def test_what_is_no_version_has_no_place(ecosystem, texts):
    assert [text for text in [*texts, "", "1" * (LONGEST + 1)] if key(ecosystem, text) is not None] == []


def test_an_ecosystem_without_rules_here_has_no_order():
    assert known("Debian:12")
    assert known("PyPI")
    assert not known("Hackage")
    assert key("Hackage", "1.0") is None


def test_a_version_from_before_pep_440_has_an_order_but_decides_nothing():
    assert key("PyPI", "0.1-bulbasaur") < key("PyPI", "0.1-charmander") < key("PyPI", "0.0.dev0")
    assert certain("PyPI", "0.1-bulbasaur") is None
    assert certain("PyPI", "1.82.8") == key("PyPI", "1.82.8")
