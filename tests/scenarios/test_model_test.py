"""The model test, end to end: registered, asked, answered by a small language model, and scored. Grey box and black box."""

import asyncio
import contextlib
import io
import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from endpoints import answering
from inprocess import ISSUER
from limen import cli
from limen.config import Config, Server
from limen.core.events import decode
from limen.formats.modelanswers import Answers, Loss, read_questions, write_answers
from limen.registration import Marking, Source
from limen.server import Gateway
from limen.verbs import VERBS
from simulator import catalog
from trigrams import Trigram, passages

TEXTS = passages()
MINE, CLEAN, BASE = TEXTS[:500], TEXTS[500:650], TEXTS[650:2100]
SUSPECT, REFERENCE = "sha256:" + "5" * 64, "sha256:" + "0" * 64
RIGHT = ("--authority", "clause 9 of our agreement with its maker")


class Lab:
    """A data directory whose asset is real prose, a model that somebody trained on q04's copy of it, and what it began as."""

    def __init__(self, root):
        self.root, self.data = root, root / "data"
        self.data.mkdir()
        said = asyncio.run(self._registered())
        self.base = Trigram().train(BASE)
        self.suspect = Trigram().train(BASE).train(said).train(CLEAN)
        self.clean = Trigram().train(BASE).train(CLEAN)
        self.known = {}

    async def _registered(self):
        """Register the passages, marked; what q04's copy of them says."""
        gateway = await Gateway.open(Config(data=self.data, server=Server(mode="development")))
        document = catalog(ISSUER)
        document["asset"].append({**document["asset"][0], "id": "orchid-bait", "canary": True})
        await VERBS["import"](gateway, {"text": json.dumps(document), "format": "json"}, "test")
        source = self.root / "sft.jsonl"
        source.write_text("".join(json.dumps({"id": f"r{n}", "text": text}) + "\n" for n, text in enumerate(MINE)))
        await gateway.registrar.register("orchid-sft-v3", [Source("sft.jsonl", source)], Marking(), by="test")
        version = gateway.custody.catalog.snapshot.versions("orchid-sft-v3")[-1]
        copy = gateway.custody.copy_of("quillwork/q04", version, version.shards[0])
        lines = b"".join(copy.read(0, copy.length)).decode().splitlines()
        await gateway.close()
        return [json.loads(line)["text"] for line in lines]

    def limen(self, *words, check=True):
        """Run the command in this process."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main([*words, *(() if words[1] == "answer" else ("--data", str(self.data)))])
            except SystemExit as e:
                code = int(e.code or 0)
        assert not (check and code), err.getvalue()
        return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())

    def register(self, case, *more, suspect=SUSPECT, reference=REFERENCE, check=True):
        models = ("--suspect", suspect, "--reference", reference)
        words = ("model", "register-test", "orchid-sft-v3", "--case", case, *models, *RIGHT, "--json", *more)
        done = self.limen(*words, check=check)
        return json.loads(done.stdout)["test"] if check else done

    def answers(self, test, model, name, digest):
        """A file of losses, as somebody else would have computed them."""
        asked = self.root / f"questions-{test}"
        if not asked.exists():
            self.limen("model", "questions", str(test), "--out", str(asked))
        _, texts = read_questions(asked.read_bytes())
        known = self.known.setdefault(id(model), {})
        losses = {}
        for question, text in texts.items():
            if text not in known:
                known[text] = Loss(model.loss(text), len(text.split()))
            losses[question] = known[text]
        out = self.root / f"{name}-{test}.jsonl"
        out.write_bytes(write_answers(Answers(digest, losses), test=test))
        return out

    def test(self, test, suspect, *more, check=True):
        ours = self.answers(test, suspect, f"suspect-{id(suspect)}", SUSPECT)
        theirs = self.answers(test, self.base, "reference", REFERENCE)
        words = ("model", "test", str(test), "--suspect", str(ours), "--reference", str(theirs), *more)
        return self.limen(*words, check=check)

    def entries(self, kind=""):
        async def read():
            gateway = await Gateway.open(Config(data=self.data, server=Server(mode="development")))
            found = [(index, decode(raw)) for index, raw in gateway.custody.ledger.entries()]
            await gateway.close()
            return found

        return [{"index": index, **entry} for index, entry in asyncio.run(read()) if entry["kind"].startswith(kind)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


def test_losses_computed_elsewhere_name_the_copy_and_not_the_person(lab, tmp_path):
    number = lab.register("grey")
    picture, page = tmp_path / "picture.svg", tmp_path / "page.html"
    done = lab.test(number, lab.suspect, "--json", "--svg", str(picture))
    report = json.loads(done.stdout)
    assert report["verdict"] == "named"
    [copy] = report["copies"]
    assert copy["p"] <= 1e-12
    assert copy["q"] <= report["alpha"]
    assert copy["rank"] == 1
    assert report["innocents"]["draws"] == 20_000
    lab.limen("model", "show", str(number), "--format", "html", "--out", str(page))
    text = lab.limen("model", "show", str(number)).stdout
    for said in (text, page.read_text(), picture.read_text(), done.stdout, done.stderr):
        assert "q04" not in said
    assert copy["copy"][:12] in text
    assert copy["pseudonym"] in text
    assert "would name a copy" in picture.read_text()
    assert page.read_text().count("<svg") == 1
    assert "http:" not in page.read_text().replace("http://www.w3.org/2000/svg", "")
    assert picture.stat().st_mode & 0o077 == 0
    # And the name behind it takes two people, by the pseudonym that the report gives.
    asked = ("person", "open", copy["pseudonym"], "--reason", "model test", "--as", "lab/mira")
    assert "request" in lab.limen(*asked).stdout


def test_what_happened_stands_in_the_log_in_its_order(lab):
    number = lab.register("ordered")
    lab.test(number, lab.suspect)
    mine = [e for e in lab.entries("model.test.") if number in (e.get("test"), e["index"])]
    kinds = [e["kind"] for e in mine]
    assert kinds == ["model.test.registered", "model.test.asked", "model.test.answers", "model.test.result"]
    assert mine[0]["authority"] == RIGHT[1]
    assert "q04" not in json.dumps(mine)


def test_a_model_trained_on_clean_records_alone_names_nobody(lab):
    number = lab.register("clean")
    report = json.loads(lab.test(number, lab.clean, "--json").stdout)
    assert report["verdict"] == "abstain"
    assert report["copies"] == []
    assert report["best"]["q"] > 1000 * report["alpha"]
    assert "copy" not in report["best"]  # a copy that is not implicated is not shown


def test_the_same_answers_are_not_scored_twice_and_others_not_at_all(lab):
    number = lab.register("once")
    first = json.loads(lab.test(number, lab.suspect, "--json").stdout)
    again = lab.test(number, lab.suspect, "--json")
    assert json.loads(again.stdout) == {**first, "again": True}
    other = lab.test(number, lab.clean, check=False)
    assert other.returncode == 2
    assert "Register another test" in other.stderr


def test_another_model_than_was_registered_is_refused(lab):
    number = lab.register("other")
    ours = lab.answers(number, lab.suspect, "stranger", "sha256:" + "9" * 64)
    theirs = lab.answers(number, lab.base, "reference", REFERENCE)
    done = lab.limen("model", "test", str(number), "--suspect", str(ours), "--reference", str(theirs), check=False)
    assert done.returncode == 2
    assert "was registered; nothing was scored" in done.stderr


def test_answers_of_another_kind_are_refused(lab):
    number = lab.register("kind")
    ours = lab.root / "candidates.jsonl"
    ours.write_bytes(write_answers(Answers(SUSPECT, candidates={"a": ("b",)}), test=number))
    theirs = lab.answers(number, lab.base, "reference", REFERENCE)
    done = lab.limen("model", "test", str(number), "--suspect", str(ours), "--reference", str(theirs), check=False)
    assert done.returncode == 2
    assert "registered on losses" in done.stderr


def test_missing_answers_are_erasures_and_said(lab):
    number = lab.register("missing")
    ours = lab.answers(number, lab.suspect, "partly", SUSPECT)
    lines = ours.read_bytes().splitlines(keepends=True)
    ours.write_bytes(b"".join(lines[:-40]))
    theirs = lab.answers(number, lab.base, "reference", REFERENCE)
    done = lab.limen("model", "test", str(number), "--suspect", str(ours), "--reference", str(theirs))
    assert "slots erased for want of an answer" in done.stdout


def test_nothing_is_tested_that_was_not_registered(lab):
    assert lab.limen("model", "test", "1", check=False).returncode == 4
    assert lab.limen("model", "show", str(lab.register("unscored")), check=False).returncode == 4


def test_a_case_has_room_for_as_many_tests_as_its_first_one_said(lab):
    lab.register("room", "--models", "2")
    lab.register("room", suspect="sha256:" + "6" * 64)
    full = lab.register("room", suspect="sha256:" + "7" * 64, check=False)
    assert full.returncode == 2
    assert "has room for 2 tests" in full.stderr
    wider = lab.register("room", "--models", "9", check=False)
    assert "fixed by its first test" in wider.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--suspect", REFERENCE, "--reference", REFERENCE), "is the suspect itself"),
        (("--suspect", "sha256:12", "--reference", REFERENCE), "64 hex digits"),
        (("--suspect", "http://192.0.2.7/v1#m", "--reference", REFERENCE), "in clear"),
        (("--suspect", "https://models.example/v1#m", "--reference", REFERENCE, "--measure", "loss"), "tells no losses"),
        (("--suspect", SUSPECT, "--reference", REFERENCE, "--slots", "5"), "is not between"),
        (("--suspect", SUSPECT, "--reference", REFERENCE, "--alpha", "2"), "no bound"),
        (("--suspect", ".", "--reference", REFERENCE), "no directory of a Hugging Face model"),
    ],
)
def test_what_cannot_be_tested_is_refused_before_it_is_logged(lab, words, why):
    before = len(lab.entries("model.test.registered"))
    done = lab.limen("model", "register-test", "orchid-sft-v3", "--case", "bad", *words, *RIGHT, check=False)
    assert done.returncode == 2
    assert why in done.stderr
    assert len(lab.entries("model.test.registered")) == before


def test_an_unmarked_asset_and_an_empty_authority_are_refused(lab):
    models = ("--suspect", SUSPECT, "--reference", REFERENCE)
    done = lab.limen("model", "register-test", "orchid-blob", "--case", "bad", *models, *RIGHT, check=False)
    assert done.returncode == 2
    mute = ("model", "register-test", "orchid-sft-v3", "--case", "bad", *models, "--authority", " ")
    assert "by what right" in lab.limen(*mute, check=False).stderr


@contextmanager
def endpoint(models, *, fails_after=None):
    """An OpenAI-compatible server on this machine. `asked` holds what it was sent."""
    asked = []

    def reply(path, headers, request):
        asked.append((path, headers.get("Authorization"), request))
        if fails_after is not None and len(asked) > fails_after:
            return 503, {"Retry-After": "0"}, b""
        words = models[request["model"]].top(request["prompt"], request["logprobs"])
        told = {" " + word: -float(place) for place, word in enumerate(words)}
        return 200, {}, {"choices": [{"text": " " + " ".join(words[:1]), "logprobs": {"top_logprobs": [told]}}]}

    with answering(reply) as url:
        yield url, asked


def test_next_words_from_an_endpoint_name_the_copy_and_work_goes_on_where_it_stopped(lab, tmp_path):
    key = tmp_path / "key"
    key.write_text("a secret key\n")
    key.chmod(0o600)
    models = {"tuned": lab.suspect, "plain": lab.base}
    with endpoint(models) as (url, asked):
        address = {"suspect": f"{url}#tuned", "reference": f"{url}#plain"}
        number = lab.register("black", "--slots", "250", "--cuts", "2", "--alpha", "1e-3", **address)
        work = ("model", "test", str(number), "--work", str(tmp_path / "work"), "--key-file", str(key), "--json")
        done = lab.limen(*work)
        report = json.loads(done.stdout)
        assert report["verdict"] == "named"
        [copy] = report["copies"]
        assert copy["rank"] == 1
        assert {path for path, _, _ in asked} == {"/v1/completions"}
        assert {said for _, said, _ in asked} == {"Bearer a secret key"}
        assert "a secret key" not in done.stdout + done.stderr
        named = copy["pseudonym"]
    [opened] = [e for e in lab.entries("model.test.result") if e["test"] == number]
    assert opened["copies"] == [named]


def test_an_endpoint_that_stays_busy_leaves_its_answers_and_is_asked_the_rest_later(lab, tmp_path):
    models = {"tuned": lab.clean, "plain": lab.base}
    with endpoint(models, fails_after=30) as (url, asked):
        number = lab.register("busy", "--slots", "20", "--cuts", "1", suspect=f"{url}#tuned", reference=f"{url}#plain")
        work = ("model", "test", str(number), "--work", str(tmp_path / "work"))
        done = lab.limen(*work, check=False)
        assert done.returncode == 6
        assert "30 of 40 are answered" in done.stderr
        kept = tmp_path / "work" / "suspect.jsonl"
        assert len(kept.read_text().splitlines()) == 31
        kept.write_text(kept.read_text() + '{"question": "cut sho')
        asked_before = len(asked)
        again = lab.limen(*work, check=False)
        assert again.returncode == 6
        assert len(asked) - asked_before == 6  # the next one, as often as it is tried: none of the thirty
    assert not [e for e in lab.entries("model.test.answers") if e["test"] == number]


def test_nothing_of_a_bait_asset_is_sent_anywhere(lab):
    models = ("--suspect", "http://127.0.0.1:9/v1#a", "--reference", "http://127.0.0.1:9/v1#b")
    done = lab.limen("model", "register-test", "orchid-bait", "--case", "bait", *models, *RIGHT, check=False)
    assert done.returncode == 2
    assert "is bait" in done.stderr


def test_tests_are_listed(lab):
    number = lab.register("listed")
    rows = json.loads(lab.limen("model", "list", "--json").stdout)["tests"]
    assert [row["case"] for row in rows if row["test"] == number] == ["listed"]
    assert "listed" in lab.limen("model", "list").stdout
