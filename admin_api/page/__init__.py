"""The administrator's page: HTML for people, on top of the same API that scripts use.

Every view asks the API in this process (`client`), with the rights of whoever signed in, so the page can show and do
what the API allows and nothing else, and every act stands in the audit log the same way. Nothing here imports
`storage` for data. Without scripts everything but playing works; scripts only make it more comfortable.
"""
