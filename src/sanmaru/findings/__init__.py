"""What a table shows before anything is trained: typed sections with findings, computed with polars."""
