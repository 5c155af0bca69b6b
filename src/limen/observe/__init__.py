"""What other systems logged: imported, kept apart from the ledger's accesses, and never more than *observed*."""
