"""The gate: contract and facts to a verdict, the verdict to words, and what follows from it at the doors.

    judging   the three values of one run, kept with it, and the same run again
    text      a verdict for a person
    gap       required, measured and unknown, control by control
    follow    what a verdict asks of the doors, against what is in force there

The judgement itself is `limen.verify.verdict`; it stands alone, so that an outsider runs the same file.
"""
