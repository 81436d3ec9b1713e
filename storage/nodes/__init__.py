"""The nodes that share a customer's database: their identity, their right to write, and what each has written."""
