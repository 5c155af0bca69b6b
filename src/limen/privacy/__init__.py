"""People's detail: how it is erased (`erasure`), whose name is opened and by whom (`naming`), how long it stays (`retention`).

Verbs beside `authority`, which they use as a value that they are given. docs/privacy.md says the same in plain words.
"""
