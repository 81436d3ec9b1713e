"""Retention rules, the time at which a call is due, and the sweep that erases due calls."""
