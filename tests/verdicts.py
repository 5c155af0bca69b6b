"""Verdicts for tests of the forms in which they are printed: of the shipped contract by the evaluator, and made by hand."""

from clauses import daily, document
from limen.assurance import profile
from limen.assurance.contract.parse import parsed
from limen.verify.verdict import evaluate

DAY_US = 86_400_000_000


def judged(*, purpose="renewal", as_of="2026-04-09T00:00:00Z", waivers=(), dwell=7, disputed=None):
    """A verdict on the shipped contract: some clauses met, those of malicious components breached, the rest unknown."""
    settings = {"contract": "quillwork-2026", "vendor": "quillwork", "starts": "2026-03-20", "ends": "2026-06-20"}
    contract = {**parsed(profile.contract(settings).encode(), "contract.yaml"), "waivers": list(waivers)}
    days = 20
    facts = [
        *daily("named_share", "2026-03-20", [[[9, 9]]] * days),
        *daily("static_keys", "2026-03-20", [[0]] * days),
        *daily("revoke_us", "2026-03-20", [[45_000]] + [[]] * (days - 1)),
        *daily("bom_age_days", "2026-03-20", [[n % 7] for n in range(days)]),
        *daily("malicious_dwell_us", "2026-03-20", [[n * DAY_US] if n < dwell else [] for n in range(days)]),
    ]
    for fact in facts:
        if fact["measure"] == "revoke_us":
            fact["disputed"] = disputed
    return evaluate(contract, document(facts, as_of, start="2026-03-20"), as_of, purpose)


CLAUSES = [
    ("LM-01", "met", "measured", None, [1, 1], None),
    ("LM-05.1", "unknown", "measured", "no pause was measured in the window", None, "one drill"),
    ("LM-10", "breached", "measured", "7 days passed", 604_800_000_000, "no day before 2026-06-23 in the window"),
    ("10.2 (b)", "unknown", "evidence", "no report covers the window", None, "a report of type 2"),
]


def clause(ref, verdict, grade, why, value, green, **more):
    worst = [{"value": value, "at": "2026-03-31T09:00:00Z", "entries": [4711, 4712, 4711]}] if verdict == "breached" else []
    return {
        "ref": ref,
        "control": ref.partition(".")[0] if ref.startswith("LM") else "",
        "text": f"What {ref} asks.",
        "measure": "notice_latency_us",
        "grade": grade,
        "statistic": "max",
        "window": {"from": "2026-01-01", "to": "2026-04-03"},
        "n": 3,
        "value": value,
        "threshold": 86_400_000_000,
        "comparator": "<=",
        "verdict": verdict,
        "why": why or "as asked",
        "worst": worst,
        "green": green,
        "cure_ends": None,
        "runs": [{"from": "2026-03-25", "to": "2026-04-01"}] if verdict == "breached" else [],
        "waiver": None,
        "disputed": None,
        "consequence": None if verdict == "met" else "block_renewal",
        "owner": "lab/mira",
        "due": None,
        **more,
    }


def verdict(outcome="fail", **more):
    clauses = [clause(*one) for one in CLAUSES]
    if outcome == "pass":
        clauses = [clause(ref, "met", grade, None, [1, 1], None) for ref, _, grade, _, _, _ in CLAUSES]
    return {
        "v": 1,
        "vendor": "quillwork",
        "as_of": "2026-04-09T00:00:00Z",
        "renewal": True,
        "contract": {"id": "quillwork-2026", "digest": "ab" * 32},
        "facts": {"digest": "cd" * 32, "log": {"origin": "aurelia.example/log", "size": 4800}},
        "clauses": clauses,
        "money": {"currency": "USD", "months": [], "total": "0.00"},
        "consequences": [],
        "decision": "RENEW" if outcome == "pass" else "DO NOT RENEW",
        "outcome": outcome,
        "notice_deadline": "2026-12-02",
        **more,
    }
