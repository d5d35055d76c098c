"""What media servers share."""
