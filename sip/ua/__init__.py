"""The user agent: dialogs, sessions, session timers, offers and answers; pure."""
