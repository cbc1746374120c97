"""Where the guide's scripts find the database."""
