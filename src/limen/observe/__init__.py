"""What other systems logged, read into observations: facts of grade *observed*.

An observation never becomes an access: it lies apart in `DATA/observed`, and no entry of the ledger repeats it. The
ledger holds what was imported (inputs, digests, covered intervals); what no interval covers is *cannot say*.
"""
