"""`kashi demo`: `story` runs the steps, `cast` has the parties, `scenario` their usage, `trace`
that of a real cluster, and `forgery` tampers with the result.
"""
