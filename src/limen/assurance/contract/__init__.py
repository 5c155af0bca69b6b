"""Contracts as a closed table: YAML in, with every mistake named by line and column; one JSON form out.

Read `form` first: every field there is, and what may stand in it. `marked` reads YAML without trusting it, `parse` makes the
JSON form of it or says all that is wrong, `schema` is the same table for editors, `book` is which contracts and waivers the
log says were in force.
The JSON form is what `limen.verify.verdict` evaluates, and what an evidence bundle carries.
"""
