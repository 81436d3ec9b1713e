"""The import of users from Microsoft Graph or a CSV file."""
