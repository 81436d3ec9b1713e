"""Export jobs and their files: columns, spreadsheets, the choice of a subject's data; and saved column sets."""
