"""What `groat tail` and `groat top` are made of."""
