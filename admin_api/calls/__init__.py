"""Calls over HTTP: search, details, media, holds, notes and attachments."""
