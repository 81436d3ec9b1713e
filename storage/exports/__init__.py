"""Export jobs and their files, and the column sets that administrators keep."""
