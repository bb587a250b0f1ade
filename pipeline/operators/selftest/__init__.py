"""The command ``selftest``: one small document goes the whole way, on the operator's own Aruna.

``command`` has the stages in their order and deletes what they made; ``report`` prints them.
``hooks`` judges the registration, ``matching`` finds a label for its filters, ``service`` asks the
service itself, ``source`` uploads the document, ``following`` watches what comes of it.
"""
