"""Which vendors ran what an advisory names: what they said they run, held against what was known to be bad, at any time.

values   the question, and the answer of one vendor
judge    one vendor's answer. Pure
hits     all advisories against all bills of material at once: vendors and packages that meet
act      what follows from a hit: who decides, and by which limits nobody needs to. Pure
actions  what followed, from the log
"""
