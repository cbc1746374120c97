"""The hot routes: charges, batches of them, holds and captures, served by plain ASGI in front of the application.

What is here decides only what is surely right: a request in the usual form, with a token that was good a moment ago and
a body that keeps every rule. All others go, as they came, to the application's own routes, which have the one
definition of what is valid and of how it is refused. So a request is answered alike whichever way it takes.

`reading` turns bodies into values, `writing` receipts into answers; `routes` stands between them and the operations.
"""
