"""Data subject requests (Art. 15 to 20 GDPR) from receipt to answer."""
