"""`kashi demo`: `story` tells it, `scenario` has the usage, `cast` who takes part, `trace` reads a
real cluster's, `forgery` tampers with the result.
"""
