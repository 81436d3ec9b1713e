"""The nodes that share the database of a customer: who they are, which of them may write, and what each has written."""
