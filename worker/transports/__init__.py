"""Ways to deliver: each is one ``deliver`` that tells the ledger just before the mail leaves."""
