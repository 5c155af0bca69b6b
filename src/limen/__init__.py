"""limen: the door between an AI lab's assets and the outside vendors who work on them.

Vendors reach datasets, prompts and guidelines only through limen, with the tools they already use. Every access is by
a named human in one project; its intent is durable in a tamper-evident log before the first byte leaves; and what
leaves is that person's own copy. When a vendor is breached, one order cuts it off, one report says what it held, and a
leaked sample names the copy it came from, with a bound on naming an innocent one.

Read in this order:

    docs/one-access.md   one request from the wire to the last byte, as it is built
    limen.access         the same as code: the one way out. Then `limen.receive`, the one way in
    limen.core           the values, the errors and the log entries that everything else speaks in
    limen.server         how the parts are put together; nothing else builds them

What limen refuses to do:

    - to serve a byte, or a status that depends on content, that no durable log entry covers
    - to guess: where it can't know (a gap in the log, an unmarkable asset, too small a sample) it says so and why
    - to name a person as a leaker: a trace implicates a copy; people review, and the person is heard
    - to watch people: no screens, keystrokes, idle times or productivity figures, now or later
    - to hand out links to its storage: what bypasses the door can't be cut, counted or marked

Compatibility. Before 1.0 any Python name may change. These do not, from version 1 of each on: ledger entries and their
canonical form (`limen.core.events`), which stay verifiable for ever; a person's copy of a registered version, which stays
the same bytes; and the `--json` output of commands, whose `schema` field changes if a field goes or changes its meaning
(new fields may appear). Everything below `limen` is importable; nothing but the commands and these formats is promised.
"""
