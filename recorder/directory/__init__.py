"""Import of users from Microsoft Graph or a CSV file."""
