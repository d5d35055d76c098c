"""What is to be sent: one delivery for each destination and scene."""
