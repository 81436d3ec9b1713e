"""Signing in to the page: passwords, passkeys, one-time codes, OpenID Connect, invitations."""
