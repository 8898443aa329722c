"""bridge carries CI and deployment events to chat.

The way of an event, and the module of each step::

             while the CI system waits                              in the worker
    receive -> verify -> normalise -> fold -> route ->[ store ]-> render -> deliver -> settle
    receive.py verify.py sources/     fold.py route.py  store/    render.py deliver.py  retry.py
                                                                            destinations/

Imports run one way (a contract in ``pyproject.toml`` keeps it)::

    cli -> demo -> app -> web -> receive | deliver -> config -> store | destinations
        -> sources | fold | route | render | retry -> verify | codec | message -> event -> observe -> errors

The pure middle (event, errors, verify, fold, route, render, retry, message) has no I/O, no clock and no dice:
time and chance come in as arguments.
"""

__version__ = "0.1.0"
