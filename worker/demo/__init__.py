"""``postmeter demo``: two companies, two workers, one of them killed, and the limits held."""
