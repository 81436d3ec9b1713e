"""The nodes that share a customer's database: their identity, which of them may write, and what each has written."""
