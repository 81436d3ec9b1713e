"""The administrator's page: HTML for people, on top of the same API that scripts use.

Every view calls the endpoints of the API as functions (`framework.page_request`), with the rights of the signed-in
person. So the page can show and do only what the API allows, and every action is audited the same way. Nothing here
imports `storage` for data. Without scripts, everything except playback works; scripts only add convenience.
"""
