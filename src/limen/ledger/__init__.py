"""The tamper-evident log: sequencer, stores, publisher and proofs."""
