"""What is seen: metrics, health, logs and events, all made from facts."""
