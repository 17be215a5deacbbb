"""The ledger: every job a worker has accepted, every slot, every hold, in one SQL database."""
