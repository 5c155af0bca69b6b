"""Watching: a reader of the log that says what a security lead should look at. Never in the way of a request.

    rules     the thresholds as plain values, and what each rule is called
    past      what somebody did before: days, hours, networks; plain values
    fold      one pass over entries: state in, findings out. Pure; the same entries and rules give the same findings
    advised   what was matched with an advisory, as findings
    observed  the same questions to other systems' logs, when they were imported
    networks  where sessions came from: in memory alone
    finding   one finding, and its bytes
    book      DATA/watch.db: how far the log was read, the findings, and what is still to be sent
    keeper    what is found goes into the book, and is queued for whom it concerns
    target    one receiver, as limen.toml names it
    outgoing  webhook, e-mail, syslog, file: one attempt each
    courier   attempt after attempt, until it arrives
    watch     the thread that reads, and `replay`

A finding implicates an access, never a person: nothing follows from it by itself. Nobody is paused by it.
"""
