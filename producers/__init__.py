"""What applications import to send email through Postmeter, and the wire contract."""
