"""What the scripts in `recipes/` share, for your own scripts too.

`sources` has data sets from a URL with a checksum or from a local folder, `aside` keeps rows for one last score,
`course` walks from variants to a served model and scores those rows, `readme` writes the figures into a README.
"""
