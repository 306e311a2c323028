"""Mutation testing of the code that decides about money.

Each *mutant* is one module with one small defect: a comparison turned, a statement left out, a
number one higher. If the unit tests do not notice, either a test is missing or the defect is none;
`docs/mutation.md` lists those and says why.

    python -m tests.mutation                 all modules; status 1 if an unexplained mutant survives
    python -m tests.mutation tariff meter    these modules

Why not mutmut: it leaves alone what is decorated (in this code every property) and what stands
outside of functions (defaults and bounds of structs, the audit's queries), and it knows nothing of
SQL built in Python, where a dropped condition is the mistake to fear.
"""
