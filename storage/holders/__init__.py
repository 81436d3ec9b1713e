"""Holders of a customer's keys on several nodes: the table of cuts that all make, and this node as one holder."""
