"""The code with one thing changed, many times over: do the tests see it?"""
