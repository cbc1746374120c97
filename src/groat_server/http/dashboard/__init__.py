"""The dashboard: pages for people, rendered here, over the same operations as the rest of HTTP.

`pages` renders, `access` lets in, `forms` reads what people send, `static` serves what pages load; each other module is
one page, or a few that belong together. Nothing here has SQL or arithmetic of its own: a figure on a page is one of a
report or an operation, so that it can be had over the API, and by its SQL, as well.
"""
