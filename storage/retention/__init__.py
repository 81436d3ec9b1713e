"""Retention rules, the moment at which a call is due, and the sweep that erases what is due."""
