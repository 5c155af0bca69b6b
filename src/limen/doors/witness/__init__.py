"""The witness's door: C2SP tlog-witness over HTTP. It may stand on a machine that has nothing else of limen."""
