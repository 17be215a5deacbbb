"""What to send with: the settings of the system, its companies and their users."""
