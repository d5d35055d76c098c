"""What the media servers share: settings, paths, the wanted state, answers, failures and the check."""
