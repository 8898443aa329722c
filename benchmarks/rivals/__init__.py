"""What a user could pick instead of bridge: everything that takes the same events to the same chat.

`products.PRODUCTS` says how each is started; one that is not installed is left out, and named. Each gets what it needs
to do its best: no access log, keep-alive, no grouping. Most take GitHub's own signed request. Alertmanager takes only
alerts of its own form, small and not signed.
"""
