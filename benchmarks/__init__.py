"""What is fast, and what is lost: shown against the limit and against what a user could pick instead.

Every measurement is a module with `measure(context) -> list[Row]`. All of it stays on this machine. Only ratios inside
one run mean something: machines differ, and all of them are noisy.
"""
