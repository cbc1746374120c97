"""What Groat does: one async function a verb, over values. The only callers of statements.

HTTP, the command line and the jobs are thin surfaces over these functions, so that each verb has one meaning.
"""
