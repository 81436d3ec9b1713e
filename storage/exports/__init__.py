"""Export jobs and their files: columns, spreadsheets, whose data a call holds; and saved column sets."""
