"""Several nodes hold the keys of a customer: the table of what all of them cut, and this node as one of them."""
