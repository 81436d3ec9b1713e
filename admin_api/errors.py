"""The root of this package's own errors."""


class AdminApiError(Exception):
    """Root of the errors of the admin API and its page."""
