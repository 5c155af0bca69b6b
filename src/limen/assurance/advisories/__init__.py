"""What is known to be bad: OSV records with every revision, when bad packages could be had, and what vendors say about it (VEX).

    zipped    the members of a zip, one by one
    feed      what a feed's bytes hold: pieces that each should be one record
    fold      feeds, windows and VEX documents as `advisories.db`
    values    what the questions answer with
    known     the questions: revisions, findings, packages, windows, statements, each as known at a time
    entering  who may say what: signatures of feeds, and the entries
    inbox     the watched directory

The record is the log: a feed is one blob and one entry, and `advisories.db` is made again from them. docs/advisories.md.
"""
