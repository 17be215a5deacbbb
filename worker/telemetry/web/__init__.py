"""The pages for people on the metrics port: the status page and the runbook."""
