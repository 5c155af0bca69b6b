"""What becomes of a leak between the download and the forum, and whether its copies are still named.

`texts`: the two data sets. `transforms`: what leakers, converters and cleaners do to records. `doors`: two people's downloads
from a running gateway, and `limen trace` on what is made of them. `tools/robustness` prints the table of docs/marks.md.
"""
