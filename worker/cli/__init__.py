"""The ``postmeter`` command, one module a verb."""
