"""What could not be delivered: dlq.db."""
